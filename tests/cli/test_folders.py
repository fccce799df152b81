"""Every command that takes folders leaves out, names and counts the same things."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from commands import Run
from disks import closed
from fakes import save_photo

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
def people(tmp_path: Path, bare: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of twenty people, of two photos each; the first is enrolled from elsewhere."""
    monkeypatch.setenv("MIEN_ALBUM", str(tmp_path / "album.db"))
    save_photo(tmp_path / "known/P0/0.png", 0)
    assert (
        bare("enroll", tmp_path / "known", "--model", model_file, "--detector", "whole").code == 0
    )
    folder = tmp_path / "people"
    for seed in range(20):
        for number in range(2):
            save_photo(folder / f"P{seed}/{number}.png", seed, shade=4 * number)
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
