"""Every command that takes folders leaves out, names and counts the same things."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack, chdir
from pathlib import Path

import numpy as np
import pytest
from commands import Run, is_a_sentence
from disks import closed, full_disk, happening, make_deep
from fakes import save_photo

from mien import formats
from mien.images import encode

COMMANDS = [  # that take many photos; M is a model's file
    "identify {folder} --model {m} --detector whole",
    "enroll {folder} --model {m} --detector whole",
    "album {folder} --model {m} --detector whole",
    "cluster {folder} --model {m} --detector whole --out groups",
    "embed {folder} --model {m} --detector whole --out vectors.parquet",
    "speed {folder} --model {m} --detector whole",
    "calibrate {m} {folder} --fmr 0.05 --detector whole",
    "evaluate {m} {folder} --detector whole",
    "prepare {folder} --aligned --resize --out data",
]


@pytest.fixture
def people(tmp_path: Path, bare: Run, model_file: Path) -> Path:
    """A folder of twenty people, of two photos each; the first is enrolled from elsewhere."""
    save_photo(tmp_path / "known/P0/0.png", 0)
    assert (
        bare("enroll", tmp_path / "known", "--model", model_file, "--detector", "whole").code == 0
    )
    folder = tmp_path / "people"
    for seed in range(20):
        for number in range(2):
            save_photo(folder / f"P{seed}/{number}.png", seed, shade=4 * number, side=64)
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=lambda text: text.split()[0])
def test_what_cannot_be_looked_at_stops_nothing(
    bare: Run, model_file: Path, people: Path, command: str
) -> None:
    if command.startswith("embed"):
        pytest.importorskip("pyarrow", reason="needs the extra embed")
    words = command.format(folder=people, m=model_file).split()
    (people / "Unplugged").symlink_to("nowhere")
    (people / "Loop").symlink_to(people / "Loop")
    (people / "P1/up").symlink_to(people)
    os.mkfifo(people / "P1/pipe.jpg")
    (people / "P2/3.png").symlink_to("gone.png")
    save_photo(people / "lost+found/1.png", 99)
    with closed(people / "lost+found"):
        result = bare(*words)
    assert result.code == 3
    for named in ("Unplugged", "Loop", "lost+found", "pipe.jpg", "3.png"):
        (line,) = {line for line in result.err.splitlines() if named in line}
        assert line.startswith("skipped ") and line.count(": ") == 1
    if command.startswith(("identify", "album")):
        assert result.out.count("P19/") == 2


def _halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda text: text.split()[0])
def test_a_photo_that_fails_stops_no_other(
    bare: Run, model_file: Path, people: Path, command: str
) -> None:
    if command.startswith("embed"):
        pytest.importorskip("pyarrow", reason="needs the extra embed")
    words = command.format(folder=people, m=model_file).split()
    if command.startswith("prepare"):
        words += ["--workers", "1"]
    events: dict[str, int | Callable[[Path], object]] = {
        "closed.png": errno.EACCES,
        "broken disk.png": errno.EIO,
        "server away.png": errno.ESTALE,
        "no memory.png": errno.ENOMEM,
        "vanishes.png": Path.unlink,
        "changes.png": _halve,
        "loses all.png": lambda path: os.truncate(path, 0),
    }
    for place, name in enumerate(events):
        save_photo(people / f"P{place}/{name}", place, shade=9)
    (people / "P8/zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as made, chdir(people):
        made.bind("P9/socket.jpg")
    (people / "P9/folder.jpg").mkdir()
    make_deep(people / "P9/folder.jpg", "d" * 200)
    with happening(events):
        result = bare(*words)
    assert result.code == 3, result.err
    named = [*events, "zero.png", "socket.jpg", "ddd"]
    lines = [line for line in result.err.splitlines() if line.startswith("skipped ")]
    assert len(lines) == len(set(lines))
    if command.startswith("embed"):  # names some, and says where all are
        assert sum(any(name in line for name in named) for line in lines) == 6
        assert "the column error of" in result.err
    else:
        for name in named:
            assert sum(name in line for line in lines) == 1, name
    assert re.search(
        rf"^skipped {len(named)}\b|^{len(named)} skipped", result.err + result.out, re.M
    )
    if command.startswith(("identify", "album")):
        assert result.out.count("P19/") == 2


@pytest.mark.parametrize(
    ("command", "fault", "code", "skipped"),
    [
        ("identify {folder} --save named", "closed", 3, 2),
        ("identify {folder} --save named", "full", 3, 40),
        ("album {folder} --xmp", "closed", 3, 2),
        ("album {folder} --csv named/P0/a.csv --html named/P0/a.html", "closed", 3, 0),
        ("album {folder} --csv /dev/full --html /dev/full", "", 3, 0),
        ("cluster {folder} --min-face 0 --out groups", "full", 3, 20),
        ("cluster {folder} --out named/P0/groups", "closed", 2, 0),
        ("evaluate {folder} --report a.md --pictures plots", "full", 3, 0),
        ("evaluate {folder} --report named/P0/a.html --pictures named/P0", "closed", 3, 0),
        ("embed {folder} --out a.parquet", "full", 2, 0),
        ("embed {folder} --out named/P0/a.parquet", "closed", 2, 0),
        ("enroll {folder} --facebank other.db", "full", 2, 0),
        ("enroll {folder} --facebank named/P0/other.db", "closed", 2, 0),
        ("album {folder} --index other.db", "full", 2, 0),
        ("album {folder} --index named/P0/other.db", "closed", 2, 0),
        ("prepare {folder} --aligned --resize --workers 1 --out data", "full", 2, 0),
        ("prepare {folder} --aligned --resize --workers 1 --out named/P0/data", "closed", 2, 0),
        ("people export out.jsonl", "full", 2, 0),
        ("people export named/P0/out.jsonl", "closed", 2, 0),
    ],
)
def test_an_output_that_cannot_be_made_takes_nothing_else_away(
    bare: Run, model_file: Path, people: Path, command: str, fault: str, code: int, skipped: int
) -> None:
    """One of many is skipped and named; without the only one the answer is told all the same."""
    for package in ("pyarrow", "matplotlib", "jinja2"):
        pytest.importorskip(package)
    fake = ["--model", str(model_file), "--detector", "whole"]
    words = [word.format(folder=people) for word in command.split()]
    if words[0] == "evaluate":
        words.insert(1, str(model_file))
        fake = fake[2:]
    elif words[0] in ("prepare", "people"):
        fake = []
    if "album" in words:
        assert bare("album", people, *fake).code == 0
    shut = people / "P0" if "--xmp" in words else people.parent / "named/P0"
    shut.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if fault == "closed":
            stack.enter_context(closed(shut))
            shut.chmod(0o555 if "--xmp" in words else 0)  # one may look, but not write
        elif fault == "full":
            stack.enter_context(full_disk(100))
        result = bare(*words, *fake)
    assert result.code == code, result.err
    if code == 2:
        assert is_a_sentence(result.err) and result.out == ""
    else:
        assert len(result.out.splitlines()) > 5
        unmade = result.err.count("cannot be written")
        assert unmade >= max(skipped, 1)
        assert not skipped or f"skipped {unmade} " in result.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda text: text.split()[0])
def test_a_folder_is_taken_but_for_what_is_excluded_and_what_others_keep(
    bare: Run, model_file: Path, people: Path, command: str
) -> None:
    if command.startswith("embed"):
        pytest.importorskip("pyarrow", reason="needs the extra embed")
    for place in ("@eaDir", "#recycle", ".hidden", "P3/$RECYCLE.BIN", "bad", "P4/Bad"):
        (people / place).mkdir()
        (people / place / "broken.jpg").write_bytes(b"no picture")
    for copy in (people / "P5/made", people / "P6/1.mien.jpg"):
        shutil.copytree(people / "@eaDir", copy)
    (people / "P5/made/.nomedia").touch()
    (people / "P7/x.mien.jpg").write_bytes(b"no picture")
    (people / "P8/worse.gif").write_bytes(b"no picture")
    drawing = formats.marked(encode(np.zeros((9, 9, 3), np.uint8), ".jpg"), "drawing")
    (people / "P9/moved.jpg").write_bytes(drawing[:-99])
    words = command.format(folder=people, m=model_file).split()
    result = bare(*words, "--exclude", "bad", "--exclude", "*.gif", "--include", "P*")
    assert result.code == 0, result.err
    assert "broken" not in result.err + result.out


def test_no_photos_but_what_cannot_be_looked_at_is_2(
    bare: Run, model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/photos").symlink_to("unplugged")
    result = bare("identify", "disk", "--model", model_file, "--detector", "whole")
    assert (result.code, result.out) == (2, "")
    assert "photos leads nowhere" in result.err


def test_the_album_and_the_facebank_keep_what_they_cannot_see(
    bare: Run, model_file: Path, people: Path, tmp_path: Path
) -> None:
    fake = ("--model", model_file, "--detector", "whole")
    disk = tmp_path / "disk"
    people.rename(disk)
    people.mkdir()
    (people / "P0").symlink_to(disk / "P0")
    shutil.copytree(disk / "P1", people / "P1")
    assert bare("enroll", people, *fake).code == bare("album", people, *fake).code == 0
    disk.rename(tmp_path / "unplugged")
    for command in ("enroll", "album"):
        away = bare(command, people, *fake, "--json")
        assert (away.code, away.document["removed"]) == (3, 0)
    assert len(bare("people", "--json").document["people"]) == 2
    save_photo(people / "P2/1.png", 2)
    for command in ("enroll", "album"):
        less = bare(command, people, *fake, "--include", "P2", "--json").document
        assert less["removed"] == 0


def test_a_second_run_finds_nothing_of_the_first(bare: Run, model_file: Path, people: Path) -> None:
    fake = ("--model", model_file, "--detector", "whole")
    groups = people / "mien-clusters"
    assert bare("cluster", people, "--out", groups, *fake).code == 0
    bare("identify", people, "--save", people / "named", *fake)
    bare("identify", people, "--save", people, *fake)
    bare("enroll", groups, "--cluster", 1, "--as", "Ann", *fake)
    before = {f"{path}" for path in people.glob("P*/?.png")}
    photos = bare("album", people, "--json", *fake).document["photos"]
    assert {photo["path"] for photo in photos} == before
