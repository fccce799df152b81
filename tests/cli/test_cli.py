"""The command line: what it prints where, how it ends, and what it never overwrites."""

from __future__ import annotations

import errno
import io
import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from commands import Result, Run, is_a_sentence
from fakes import MeanColours, save_photo
from PIL import Image as Pillow

from mien import files
from mien.cli import app
from mien.cli.album import _people
from mien.errors import without_password
from mien.evaluation import report
from mien.facebank import stores
from mien.facebank.facebank import Facebank
from mien.facebank.rows import Photo
from mien.images import read
from mien.types import Match

ANNA, BERT, STRANGER = 1, 2, 3  # seeds
GROUPS: dict[str, Any] = {str(one.name): one.typer_instance for one in app.registered_groups}
COMMANDS = [
    f"{name} {command.name}".split()
    for name, group in {"": app, **GROUPS}.items()
    for command in group.registered_commands
]


@pytest.fixture
def mien(bare: Run, model_file: Path) -> Run:
    """Runs a command that looks at pictures of colours, each a face."""
    asking = {"enroll", "identify", "compare", "cluster", "album", "review", "find"}
    fake = ("--model", model_file, "--detector", "whole")

    def run(*arguments: object) -> Result:
        return bare(*arguments, *(fake if arguments[0] in asking else ()))

    return run


@pytest.fixture
def people(tmp_path: Path, mien: Run) -> Path:
    """A folder of two people, who are enrolled."""
    folder = tmp_path / "people"
    save_photo(folder / "Anna/1.png", ANNA, side=64)
    save_photo(folder / "Anna/2.png", ANNA, shade=9, side=64)
    save_photo(folder / "Bert B/1.png", BERT, side=64)
    assert mien("enroll", folder).code == 0
    return folder


@pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
def test_help_has_an_example_of_the_command(bare: Run, command: list[str]) -> None:
    result = bare(*command, "--help")
    assert result.code == 0
    words = " ".join(result.out.split())
    assert f"Example: mien {' '.join(command)}" in words if command else "Exit codes: 0" in words
    assert "<bool>" not in words


def test_help_may_be_asked_for_in_short(bare: Run) -> None:
    assert bare("people", "list", "-h") == bare("people", "list", "--help")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(bare: Run, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_MIEN_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "mien ide")
    monkeypatch.setenv("COMP_WORDS", "mien ide")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    result = bare()
    assert "identify" in result.out
    assert "compare" not in result.out


def test_no_arguments_show_the_help(bare: Run) -> None:
    result = bare()
    assert (result.code, result.out.strip(), result.err) == (2, bare("--help").out.strip(), "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("identify", "text.jpg", "--fmr", "1e-3"), "how alike strangers are"),
        (("enroll", "text.jpg"), "give --as NAME"),
        (("enroll", "text.jpg", "--box", "1,2,3,4"), "give --as NAME"),
        (("enroll", "text.jpg", "--as", "A", "--box", "1,2"), "is X1,Y1,X2,Y2 in pixels"),
        (("enroll", "text.jpg", "--as", "A", "--box", "b"), "not 'b'"),
        (("enroll", "text.jpg", "--as", "A", "--as", "B"), "give one --as"),
        (("enroll", ".", "--cluster", "1", "--dry-run", "--as", "A"), "leave out --cluster"),
        (("enroll", "--from-regions", "."), "none of 1 photos has a face"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_2(
    mien: Run, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "text.jpg").write_text("this is no picture, no facebank and no model")
    result = mien(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert is_a_sentence(result.err)


@pytest.mark.parametrize("place", ["/dev/zero", "pipe"])
@pytest.mark.parametrize(
    "words",
    [
        "--key-file {} people list",
        "people encrypt --new-key-file {}",
        "people import {}",
        "people list --facebank {}",
        "identify p.png --model {}",
        "identify p.png --detector {}",
        "identify p.png --calibration {}",
        "album p.png --index {}",
        "serve --token-file {}",
        "train --config {}",
        "evaluate {m} photos --labels {}",
        "adopt {} --out x.onnx",
        "export {} --out x.onnx",
    ],
)
def test_a_device_or_a_pipe_that_nobody_fills_is_no_file_of_ours(
    bare: Run,
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    place: str,
) -> None:
    """They would be read for ever, or waited for."""
    if words.startswith(("train", "export")):
        pytest.importorskip("torch", reason="needs the extra train")
    monkeypatch.setenv("MIEN_KEY_FILE", "")  # and so as it was, when this ends
    save_photo(tmp_path / "p.png", ANNA)
    save_photo(tmp_path / "photos/p.png", ANNA)
    save_photo(tmp_path / "known/Anna/1.png", ANNA)
    bare("enroll", "known", "--model", model_file, "--detector", "whole")
    os.mkfifo("pipe")
    result = bare(*words.replace("{m}", str(model_file)).format(place).split())
    assert result.code == 2
    assert is_a_sentence(result.err), result.err


def test_enroll_says_what_became_of_the_photos(mien: Run, people: Path) -> None:
    (people / "Anna/1.png").unlink()
    save_photo(people / "Cleo/1.png", STRANGER)
    (people / "Cleo/bad.jpg").write_text("no picture")
    result = mien("enroll", people)
    assert result.code == 3
    assert result.out == (
        f"1 photo added, 2 kept, 1 removed: 3 people in {people.parent}/facebank.db\n"
    )
    assert f"skipped {people}/Cleo/bad.jpg" in result.err
    assert "skipped 1 photo\n" in result.err


def test_enroll_leaves_no_facebank_where_there_is_nobody(mien: Run, tmp_path: Path) -> None:
    (tmp_path / "people/Anna").mkdir(parents=True)
    empty = mien("enroll", "people")
    assert empty.err == "people has no people: put photos into a folder for each, people/NAME/\n"
    save_photo(tmp_path / "people/Anna/1.png", ANNA).write_text("no picture")
    unusable = mien("enroll", "people")
    assert "none of 1 photos in people can be used" in unusable.err
    assert empty.code == unusable.code == mien("enroll", "gone").code == 2
    assert not (tmp_path / "facebank.db").exists()
    save_photo(tmp_path / "people/Anna/2.png", ANNA)
    assert mien("enroll", "people").code == 3


def test_another_models_facebank_is_refused_until_it_is_rebuilt(
    mien: Run, people: Path, tmp_path: Path
) -> None:
    with Facebank.create("other.db", model_id="other-0123", dim=4):
        pass
    at = ("--facebank", "other.db")
    for command in (("enroll", people), ("identify", people)):
        refused = mien(*command, *at)
        assert refused.code == 2
        assert "mien enroll FOLDER --rebuild" in refused.err
        assert is_a_sentence(refused.err)
    assert mien("enroll", people, *at, "--rebuild").code == 0
    assert mien("identify", people, *at).code == 0


def test_the_facebank_is_the_options_else_the_environments_else_the_users(
    mien: Run, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mien("people", "--facebank", "gone.db").code == 2
    assert "Anna" in mien("people").out
    monkeypatch.setenv("MIEN_FACEBANK", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home" / "data"))
    assert mien("enroll", people).code == 0
    (facebank,) = (tmp_path / "home").rglob("facebank.db")
    assert facebank.parent.name == "mien"


def test_update_learns_what_has_come_into_the_folders(
    mien: Run, people: Path, tmp_path: Path
) -> None:
    save_photo(people / "Cleo/1.png", STRANGER)
    save_photo(tmp_path / "s.png", STRANGER)
    assert "unknown" in mien("identify", "s.png").out
    (people / "Anna/bad.jpg").write_text("no picture")
    result = mien("identify", "s.png", "--update")
    assert "Cleo" in result.out
    assert result.code == 3
    assert "bad.jpg" in result.err


def test_saved_copies_of_one_name_stay_apart_and_spare_the_photos(
    mien: Run, people: Path, tmp_path: Path
) -> None:
    photos = [
        save_photo(tmp_path / "in" / name, seed)
        for seed, name in enumerate(("1.png", "a/1.png", "b/1.webp", "b/1.png", "b/2.gif"))
    ]
    before = {photo: photo.read_bytes() for photo in photos}
    result = mien("identify", "in", "--save", "in", "--json")  # into the same folder
    assert result.code == 0
    saved = [Path(photo["saved"]) for photo in result.document["photos"]]
    assert sorted(str(path.relative_to("in")) for path in saved) == [
        "1.mien.png",
        "a/1.mien.png",
        "b/1.mien.png",
        "b/1.webp.mien.jpg",
        "b/2.gif.mien.jpg",
    ]
    assert {photo: photo.read_bytes() for photo in photos} == before
    for photo, copy in zip(result.document["photos"], saved, strict=True):
        assert read(copy).shape == (photo["height"], photo["width"], 3)
        assert (read(copy) != read(photo["path"])).any()


def test_photos_from_anywhere_are_saved_below_one_folder(
    mien: Run, people: Path, tmp_path: Path
) -> None:
    save_photo(tmp_path / "x/1.png", 1)
    save_photo(tmp_path / "y/z/1.png", 2)
    (tmp_path / "w").mkdir()
    result = mien("identify", "w/../x/1.png", tmp_path / "y/z", "--save", "out")
    assert result.code == 0
    assert {str(path) for path in Path("out").rglob("*.png")} == {
        "out/x/1.mien.png",
        "out/y/z/1.mien.png",
    }


def test_a_copy_is_never_written_over_a_photo(mien: Run, people: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "in/1.png", ANNA)
    assert mien("identify", "in", "--save", "in").code == 0
    assert mien("identify", "in", "--save", "in").code == 0  # which passes the copies over
    again = mien("identify", "in/1.png", "in/1.mien.png", "--save", "in")
    assert again.code == 2
    assert "in/1.mien.png is among the photos" in again.err
    assert again.out == ""


def test_a_photo_without_a_face_is_copied_too(
    bare: Run, model_file: Path, people: Path, tmp_path: Path
) -> None:
    save_photo(tmp_path / "grey.png", ANNA, faces=0)
    result = bare("identify", "grey.png", "--save", "out", "--model", model_file)
    assert result.code == 0
    assert "no face" in result.out
    assert (read("out/grey.mien.png") == read("grey.png")).all()


def test_a_photo_whose_copy_cannot_be_written_stops_none_of_the_others(
    bare: Run, model_file: Path, people: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    Pillow.new("RGB", (70_000, 13)).save(tmp_path / "in/1.bmp")
    save_photo(tmp_path / "in/2.png", ANNA, faces=0)
    result = bare("identify", "in", "--save", "out", "--model", model_file)
    assert result.code == 3
    assert "in/1.bmp" in result.err
    assert [path.name for path in Path("out").iterdir()] == ["2.mien.png"]


def test_a_full_or_forbidden_disk_is_said(mien: Run, people: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "1.png", ANNA)
    (tmp_path / "file").touch()
    result = mien("identify", "1.png", "--save", "file")
    assert result.code == 2
    assert "cannot be written" in result.err
    assert is_a_sentence(result.err)


def test_identify_warns_where_nobody_is_known(mien: Run, tmp_path: Path) -> None:
    save_photo(tmp_path / "1.png", ANNA)
    with Facebank.create(tmp_path / "facebank.db", model_id=MeanColours.model_id, dim=12):
        pass
    result = mien("identify", "1.png")
    assert result.code == 0
    assert "nobody is in" in result.err


def test_names_and_files_of_any_letters(mien: Run, tmp_path: Path) -> None:
    names = ["José 王.Jr", "مريم", "a  b", "👩\u200d🔬"]
    for seed, name in enumerate(names):
        save_photo(tmp_path / "people" / name / "1.png", seed)
    assert mien("enroll", "people").code == 0
    assert [person["person"] for person in mien("people", "--json").document["people"]] == sorted(
        names
    )
    assert names[-1] in mien("people").out
    shutil.copy(tmp_path / "people/مريم/1.png", tmp_path / "\x1b[31m\n.png")
    bytes_only = "bytes" if sys.platform == "darwin" else os.fsdecode(b"\xff")
    shutil.copy(tmp_path / "people/مريم/1.png", tmp_path / f"{bytes_only}.png")
    result = mien("identify", "*.png")
    assert result.code == 0
    assert result.out.count("مريم") == 2
    assert "\x1b" not in result.out
    assert len(result.out.splitlines()) == 3
    paths = [photo["path"] for photo in mien("identify", "*.png", "--json").document["photos"]]
    assert all(Path(path).is_file() for path in paths)


@pytest.mark.parametrize("name", ["Anna/1.png", "1.png", "{people}/Anna/1.png", "{id}"])
def test_a_photo_is_deleted_by_its_path_or_id(mien: Run, people: Path, name: str) -> None:
    first, second = mien("people", "photos", "Anna", "--json").document["photos"]
    name = name.format(people=people, id=first["sha256"][:12])
    result = mien("people", "delete", "Anna", "--photo", name, "--yes", "--json")
    assert result.document == {"person": "Anna", "deleted": 1, "photos": 1}
    left = mien("people", "photos", "Anna", "--json").document["photos"]
    assert [photo["sha256"] for photo in left] == [second["sha256"]]


@pytest.mark.parametrize("name", ["9.png", "", "ab"])
def test_a_photo_that_is_not_theirs_is_not_deleted(mien: Run, people: Path, name: str) -> None:
    result = mien("people", "delete", "Anna", "--photo", name, "--yes")
    assert result.code == 2
    assert is_a_sentence(result.err)
    assert "2       Anna" in mien("people").out


@pytest.fixture
def listed(tmp_path: Path) -> str:
    """Two photos of four people, and a list of their pairs."""
    for seed in range(4):
        for number in (1, 2):
            name = f"P{seed}"
            save_photo(tmp_path / f"people/{name}/{name}_000{number}.png", seed, shade=5 * number)
    lines = ["4", *(f"P{i} 1 2" for i in range(4)), *(f"P{i} 1 P{(i + 1) % 4} 2" for i in range(4))]
    (tmp_path / "people/pairs.txt").write_text("\n".join(lines))
    return "people/pairs.txt"


def test_evaluate_several_side_by_side(
    bare: Run, model_file: Path, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    shutil.copy(model_file, "other.onnx")
    command = ("evaluate", model_file, "other.onnx", listed, "--detector", "whole")
    result = bare(*command, "--mirror", "both")
    heading, *rows = result.out.splitlines()
    assert heading.split()[:4] == ["SET", "MODEL", "MIRROR", "ACCURACY"]
    assert [row.split()[2] for row in rows] == ["off", "on", "off", "on"]
    draw = Mock(wraps=report.pictures)
    monkeypatch.setattr(report, "pictures", draw)
    document = bare(*command, "--report", "r.html", "--pictures", "drawn", "--json").document
    draw.assert_called_once()
    assert len(document["evaluations"]) == 2
    assert (document["report"], document["pictures"]) == ("r.html", "drawn")
    assert Path("r.html").read_text("utf-8").startswith("<!doctype html>")
    assert read("drawn/pairs.txt-roc.png").shape[1] > 500
    assert len(list(Path("drawn").iterdir())) == 4  # ROC, DET, and the scores of each


def test_evaluate_checks_the_reports_name_first(bare: Run, model_file: Path, listed: str) -> None:
    result = bare("evaluate", model_file, listed, "--report", "report.pdf")
    assert result.code == 2
    assert "report.pdf must end in .html or .md" in result.err


def test_calibrate(bare: Run, model_file: Path, tmp_path: Path) -> None:
    for seed in range(20):
        for number in range(2):
            save_photo(tmp_path / f"people/{seed}/{number}.png", seed, shade=4 * number)
    (tmp_path / "people/0/bad.jpg").write_text("no picture")
    command = ("calibrate", model_file, "people", "--fmr", "0.05", "--detector", "whole")
    result = bare(*command)
    assert result.code == 3
    heading, row = result.out.splitlines()
    assert heading.split("  ")[0] == "FALSE MATCHES"
    assert row.split()[0] == "0.05"
    document = bare(*command, "--json").document
    assert document["chosen"]["fmr"] == 0.05
    assert document["people"] == 20
    assert document["skipped"][0]["path"].endswith("bad.jpg")


def test_enroll_tries_first_and_takes_photos_of_one_person(mien: Run, people: Path) -> None:
    photo = save_photo(people.parent / "IMG_1.png", ANNA, shade=7)
    before = mien("people", "--json").out
    tried = mien("enroll", photo, "--as", "Anna", "--dry-run")
    assert tried.out.splitlines()[1].split() == ["Anna", "2", "3"]
    assert "dry run, nothing has changed: 1 photo added" in tried.out
    assert mien("people", "--json").out == before
    done = mien("enroll", photo, "--as", "Anna", "--json").document
    assert (done["added"], done["odd"]) == (1, [])
    assert mien("enroll", people, "--rebuild", "--dry-run", "--json").document["dry_run"] is True


@pytest.mark.parametrize("typed", ["Zo\u00eb", "Zoe\u0308", " Zo\u00eb ", "\u00a0Zoe\u0308\t"])
def test_a_name_may_be_typed_in_any_form(
    mien: Run, people: Path, tmp_path: Path, typed: str
) -> None:
    """Composed or not, and with spaces around it, wherever a command takes a name."""
    save_photo(tmp_path / "in/a.png", ANNA, shade=3)
    assert mien("people", "rename", "Anna", typed).code == 0
    assert mien("people", "photos", typed, "--json").document["person"] == "Zo\u00eb"
    found = mien("album", "in", "--index", "index.db", "--with", typed, "--paths")
    assert (found.code, found.out) == (0, "in/a.png\n")
    assert mien("cluster", people, "--min-face", 0, "--facebank", "other.db").code == 0
    group = ("enroll", "--cluster", 1, "--as", typed, "--facebank", "third.db")
    assert mien(*group).code == 0
    named = mien("people", "--json", "--facebank", "third.db").document["people"]
    assert [person["person"] for person in named] == ["Zo\u00eb"]
    assert mien("people", "rename", typed, "Anna").code == 0
    assert mien("people", "rename", "Anna", typed).code == 0
    assert mien("people", "delete", typed, "--yes", "--json").document["person"] == "Zo\u00eb"


@pytest.mark.parametrize("typed", ["Zo\u200be", "Zoe\u202e", "Zo\u00ade", "\u2066Zoe", "a/b", ""])
def test_a_name_that_cannot_be_seen_whole_is_refused(mien: Run, people: Path, typed: str) -> None:
    for command in (
        ("people", "rename", "Anna", typed),
        ("people", "photos", typed),
        ("people", "delete", typed, "--yes"),
        ("album", people, "--index", "index.db", "--with", typed),
    ):
        result = mien(*command)
        assert (result.code, result.out, is_a_sentence(result.err)) == (2, "", True)


def test_an_album_forgets_when_it_is_told_to(mien: Run, people: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "in/a.png", ANNA, shade=3)
    save_photo(tmp_path / "in/disk/b.png", BERT, shade=3)
    at = ("--index", "index.db")
    assert mien("album", "in", *at).code == 0
    (tmp_path / "in/disk/b.png").unlink()
    away = mien("album", "in", *at, "--with", "Bert B")
    assert (away.code, "in/disk/b.png" in away.out) == (3, True)
    assert "in/disk is empty: 1 photo that was there is kept until" in away.err
    forgot = mien("album", *at, "--forget", "in/disk", "--json")
    assert (forgot.code, forgot.document["forgotten"]) == (0, 1)
    assert mien("album", "in", *at, "--forget", "in/disk").code == 0
    assert mien("album", *at).code == 2


def test_an_output_that_cannot_be_made_stops_no_other(
    mien: Run, people: Path, tmp_path: Path
) -> None:
    save_photo(tmp_path / f"in/{'n' * 251}.png", ANNA, shade=3)  # no room for .mien or .xmp
    save_photo(tmp_path / "in/z.png", BERT)
    result = mien("identify", "in", "--save", "out")
    assert result.code == 3
    assert "Anna" in result.out and "Bert B" in result.out
    assert "File name too long" in result.err
    assert (tmp_path / "out/z.mien.png").is_file()
    document = mien("identify", "in", "--save", "out", "--json").document
    assert ["saved" in photo for photo in document["photos"]] == [False, True]
    assert [Path(one["path"]).name[0] for one in document["skipped"]] == ["n"]
    result = mien("album", "in", "--index", "index.db", "--xmp")
    assert result.code == 3
    assert (tmp_path / "in/z.png.xmp").is_file()


def test_a_disk_without_room_for_the_groups_stops_no_answer(
    mien: Run, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_photo(tmp_path / "in/bert.png", BERT, shade=7, side=64)
    shutil.copytree(people, tmp_path / "in/people")
    whole = files._replace
    full = ["group-0001.png"]

    def replace(path: Path, *how: Any) -> None:
        if path.name in full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        whole(path, *how)

    monkeypatch.setattr(files, "_replace", replace)
    command = ("cluster", "in", "--min-face", 0, "--facebank", "other.db")
    result = mien(*command)
    assert (result.code, len(result.out.splitlines())) == (3, 3)
    assert "group-0001.png cannot be written (No space left" in result.err
    assert (tmp_path / "mien-clusters/group-0002.png").is_file()
    full += ["index.html", "clusters.json"]
    document = mien(*command, "--json").document
    assert len(document["groups"]) == 2
    assert [Path(one["path"]).name for one in document["skipped"]] == full
    full.clear()
    assert mien(*command).code == 0
    (cut,) = {one["sha256"][:16] for one in document["groups"][0]["faces"][:1]}
    full += [f"{cut}-0-0.png"]
    named = mien("enroll", "--cluster", 1, "--as", "Anna", "--facebank", "third.db")
    assert named.code == 3
    assert "1 photo added" in named.out or "2 photos added" in named.out


def test_an_album_for_pipes_and_for_people(mien: Run, people: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "in/a.png", ANNA, shade=3)
    save_photo(tmp_path / "in/b\n.png", BERT, shade=3)
    at = ("in", "--index", "index.db")
    assert mien("album", *at, "--paths").out == "in/a.png\nin/b\n.png\n"
    assert mien("album", *at, "--with", "Anna", "--paths").out == "in/a.png\n"
    assert "in/b\ufffd.png" in mien("album", *at).out
    failed = mien("album", *at, "--csv", "in/a.png/x.csv")
    assert failed.code == 3
    assert "Anna" in failed.out and "cannot be written" in failed.err


def test_photos_become_people_and_are_found(
    mien: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        save_photo(tmp_path / f"in/a{number}.png", ANNA, shade=5 * number, side=128)
    for number in range(2):
        save_photo(tmp_path / f"in/b{number}.png", BERT, shade=5 * number, side=128)
    how = ("--index", "index.db", "--facebank", "new.db")
    listed = mien("review", "in", "--list", *how, "--json").document
    assert [len(one["faces"]) for one in listed["questions"]] == [3, 2]
    assert (tmp_path / "mien-review.html").is_file()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nAnn\n- 2\nBen\n"))
    answered = mien("review", "in", *how)
    assert "nobody to suggest" in answered.err and answered.out == "4 faces named\n"
    assert mien("find", "Ann", *how).out.count(".png") == 3
    found = mien("find", "Ben", "--only", "--copy", "for-ben", *how)
    assert found.out.count(".png") == 1 and "1 photo copied to for-ben" in found.err
    none = mien("find", "Ann", "--with", "Ben", *how)
    assert (none.code, none.out) == (0, "")
    assert mien("review", "--undo", *how).out.startswith("undone: ")
    assert mien("find", "Ben", *how).code == 2  # nobody is called so any longer


def test_many_people_leave_room_for_the_photo() -> None:
    from mien.collection.album import AlbumFace, AlbumPhoto

    box = (0.0, 0.0, 1.0, 1.0)
    names = [f"Somebody {number:02}" for number in range(20)]
    faces = tuple(AlbumFace(box, 1.0, Match(name, 0.9)) for name in names)
    shown = _people(AlbumPhoto(Path("a.jpg"), 1, 1, 1, faces))
    assert shown.startswith("Somebody 00, Somebody 01") and shown.endswith("more")
    assert len(shown) <= 40
    assert _people(AlbumPhoto(Path("a.jpg"), 1, 1, 1, faces[:1])) == "Somebody 00"


def test_only_training_needs_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from mien.cli import main; main(sys.argv[1:])"
    for words, status, said in (("models", 0, ""), ("train -d data", 2, "'torch>=")):
        done = subprocess.run(
            [sys.executable, "-c", code, *words.split()], capture_output=True, text=True
        )
        assert done.returncode == status and said in done.stderr


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mien", *map(str, arguments)]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, **options)


def test_a_closed_pipe_is_quiet(mien: Run, people: Path, model_file: Path) -> None:
    for number in range(300):  # more lines than a pipe holds
        save_photo(people / "Anna" / f"{number}.png", number)
    command = ("identify", people, "--json-lines", "--model", model_file, "--detector", "whole")
    process = start(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 141


def test_a_table_that_nobody_reads_to_the_end_is_quiet(bare: Run, tmp_path: Path) -> None:
    with Facebank.create(tmp_path / "facebank.db", model_id="made-up", dim=1) as bank:
        photos = [Photo(f"{n:0200}", f"{n:064x}", "/", "a.jpg", 1, 32) for n in range(1000)]
        bank.add(photos, np.ones((1000, 1), np.float32))
    process = start("people", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == ("", 141)


@pytest.mark.parametrize(
    ("ending", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interruption_is_quiet_and_told(
    mien: Run, people: Path, model_file: Path, ending: int, code: int
) -> None:
    for number in range(500):  # photos of more lines than a pipe holds
        shutil.copy(people / "Anna/1.png", people / f"Anna/x{number}.png")
    command = ("identify", people, "--json-lines", "--model", model_file, "--detector", "whole")
    before = signal.signal(ending, signal.SIG_DFL)  # a shell's background jobs ignore Ctrl-C
    process = start(*command, stdout=subprocess.PIPE)
    signal.signal(ending, before)
    assert process.stdout is not None
    process.stdout.readline()  # it is at work
    process.send_signal(ending)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")


def on_a_terminal(*arguments: object, typed: str = "") -> tuple[int, str]:
    """The exit code of a command on a terminal, and what was to be seen there."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.pop("NO_COLOR", None)
        os.environ.update(TERM="xterm-256color", COLUMNS="120")
        os.execv(sys.executable, [sys.executable, "-m", "mien", *map(str, arguments)])
    os.write(terminal, typed.encode())
    shown = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that the other end is closed
            part = b""
        if not part:
            break
        shown += part
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_colours_and_bars_are_for_terminals(mien: Run, people: Path, model_file: Path) -> None:
    fake = ("--model", model_file, "--detector", "whole")
    code, shown = on_a_terminal("identify", people, *fake)
    assert code == 0
    assert "\x1b[1mPERSON" in shown
    _, shown = on_a_terminal("enroll", people, *fake)
    assert "enrolling" in shown
    plain = mien("enroll", people)
    assert "\x1b" not in plain.out + plain.err
    assert "enrolling" not in plain.err


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 1), ("n\n", 1, 2)])
def test_deleting_asks_on_a_terminal(
    mien: Run, people: Path, answer: str, code: int, left: int
) -> None:
    ended, shown = on_a_terminal("people", "delete", "Anna", typed=answer)
    assert ended == code
    assert "Delete Anna and 2 photos" in shown
    assert len(mien("people", "--json").document["people"]) == left


def test_prepare(bare: Run, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="preparing needs the extra data")
    for name in ("Anna", "Bert"):
        save_photo(tmp_path / f"in/{name}/1.png", ANNA)
        Pillow.new("RGB", (112, 112), "red").save(tmp_path / f"in/{name}/2.png")
    (tmp_path / "people.txt").write_text("Anna\n")
    prepare = ("prepare", "in", "--aligned", "--people", "people.txt", "--out", "data")
    result = bare(*prepare)
    assert result.code == 3
    assert re.search(r"^1 record +of 1 person\n1 skipped +size\nsha256 ", result.out, re.M)
    assert "skipped in/Anna/1.png is 32 x 32" in result.err
    assert "1 person with one picture" in result.err
    document = bare(*prepare, "--json", "--original-layout").document
    assert (document["out"], document["records"], document["people"]) == ("data", 1, 1)
    assert (tmp_path / "data/imgs/0/0.png").is_file()
    assert bare("prepare", "--check", "data").code == 0
    (tmp_path / "data/shard-00000.arrow").write_bytes(b"")
    damaged = bare("prepare", "--check", "data")
    assert (damaged.code, damaged.out) == (2, "")
    assert is_a_sentence(damaged.err)


def test_a_damaged_facebank_is_checked_and_repaired(mien: Run, people: Path) -> None:
    well = mien("people", "check")
    assert (well.code, well.out) == (0, "3 photos well in " + str(people.parent / "facebank.db\n"))
    db = sqlite3.connect("facebank.db")
    db.execute("UPDATE photo SET confidence = 0.123 WHERE person = 'Bert B'")
    db.commit()
    db.close()
    refused = mien("people")
    assert refused.code == 2
    assert is_a_sentence(refused.err)
    assert "photo 3 is damaged" in refused.err
    found = mien("people", "check", "--json")
    assert found.code == 1
    assert [one["person"] for one in found.document["damage"]] == ["Bert B"]
    repaired = mien("people", "repair")
    assert repaired.code == 1
    assert "Bert B" in repaired.out
    assert mien("people", "--json").document["people"] == [{"person": "Anna", "photos": 2}]


def test_an_encrypted_facebank_asks_for_its_key(
    mien: Run, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sqlcipher3", reason="needs mien[encryption]")
    monkeypatch.setenv("MIEN_KEY_FILE", "")
    listed = mien("people").out
    assert "MIEN_KEY" in mien("people", "encrypt").err
    (people.parent / "key").write_text("secret\n")
    done = mien("people", "encrypt", "--new-key-file", "key", "--json")
    assert done.document["encrypted"] is True
    for key in ("", "wrong"):
        monkeypatch.setenv("MIEN_KEY", key)
        refused = mien("people")
        assert refused.code == 2
        assert is_a_sentence(refused.err)
        assert "key" in refused.err
    monkeypatch.setenv("MIEN_KEY", "secret")
    assert mien("people").out == listed
    assert mien("people", "check").code == 0
    monkeypatch.setenv("MIEN_KEY", "")
    assert mien("--key-file", "key", "people").out == listed
    assert "not encrypted now" in mien("--key-file", "key", "people", "decrypt").out
    monkeypatch.setenv("MIEN_KEY_FILE", "")
    assert mien("people").out == listed


def test_the_keyring_keeps_a_key(mien: Run, people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sqlcipher3", reason="needs mien[encryption]")
    keyring = pytest.importorskip("keyring", reason="needs mien[encryption]")
    kept: dict[tuple[str, str], str] = {}
    monkeypatch.setattr(
        keyring, "set_password", lambda service, name, key: kept.update({(service, name): key})
    )
    monkeypatch.setattr(keyring, "get_password", lambda *at: kept.get(at))
    listed = mien("people").out
    assert mien("people", "encrypt", "--keyring").code == 0
    assert [name for _, name in kept] == [str(people.parent / "facebank.db")]
    assert mien("people").out == listed
    kept.clear()
    assert mien("people").code == 2


@pytest.mark.parametrize("address", ["milvus://localhost:1", "postgresql://localhost:1/none"])
def test_an_engine_that_is_not_there_is_a_sentence(bare: Run, address: str) -> None:
    result = bare("people", "list", "--facebank", address)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1


def test_no_command_shows_the_password_of_an_address(
    mien: Run, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mien("people", "export", "out.jsonl")

    def stored(address: str, **about: Any) -> Facebank:
        bank = Facebank.open(people.parent / "facebank.db")
        bank.path = without_password(address)
        return bank

    monkeypatch.setattr(stores, "open_store", stored)
    monkeypatch.setattr(stores, "create_store", stored)
    at = ("--facebank", "postgresql://ann:secret@localhost/faces")
    for command in (("people", "--json"), ("people", "import", "out.jsonl"), ("enroll", "people")):
        result = mien(*command, *at)
        assert "postgresql://localhost/faces" in result.out
        assert "secret" not in result.out + result.err


@pytest.mark.parametrize("command", ["check", "repair", "encrypt", "decrypt", "log"])
def test_what_only_a_file_can_do_is_a_sentence(bare: Run, command: str) -> None:
    result = bare("people", command, "--facebank", "postgresql://ann:secret@localhost:1/none")
    assert (result.code, result.out) == (2, "")
    assert is_a_sentence(result.err)
    assert "mien people move" in result.err
    assert "secret" not in result.err


def test_an_unknowns_row_says_whom_it_is_nearest_to(mien: Run, people: Path) -> None:
    stranger = save_photo(people.parent / "in/a.png", STRANGER)
    assert re.search(r"unknown .*a\.png \(nearest: (Anna|Bert B)\)", mien("identify", stranger).out)
    (face,) = mien("identify", stranger, "--json").document["photos"][0]["faces"]
    assert face["person"] is None and face["nearest"] in ("Anna", "Bert B")
    assert "candidates" not in face
    top = mien("identify", people / "Anna/1.png", "--top", 2)
    assert re.search(r"\(Anna 1\.00, Bert B -?0\.\d\d\)", top.out)
    (face,) = mien("identify", stranger, "--top", 9, "--json").document["photos"][0]["faces"]
    assert {one["person"] for one in face["candidates"]} == {"Anna", "Bert B"}
    assert face["score"] == face["candidates"][0]["score"]
