"""Enrolling folders: what is added, kept, moved and removed, and that a kill loses nothing."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import children
import pytest
from disks import closed
from fakes import FakeModel, SquareFaces, save_photo

from mien import images
from mien.errors import BadInput, CannotWrite, FacebankMismatch
from mien.facebank.facebank import Facebank
from mien.facebank.rows import Person
from mien.images import read
from mien.recognition.thresholds import Impostors
from mien.types import Embeddings
from mien.verbs.enroll import Enrolment, Odd, enroll, enroll_person, rebuild

ANN, BEN, EVE = 1, 2, 3  # seeds of photos
T = TypeVar("T")


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def facebank(model: FakeModel) -> Iterator[Facebank]:
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ann has two photos, one of them deeper; Ben has one."""
    save_photo(tmp_path / "people" / "Ann" / "1.png", ANN)
    save_photo(tmp_path / "people" / "Ann" / "2025" / "2.png", ANN, shade=5)
    save_photo(tmp_path / "people" / "Ben" / "1.png", BEN)
    return tmp_path / "people"


def looks(model: FakeModel) -> int:
    """At how many pictures the model's detector has looked."""
    assert isinstance(model.detector, SquareFaces)
    return model.detector.pictures


def vector(path: Path, model: FakeModel) -> Embeddings:
    """(1, D), of the face in a photo."""
    image = read(path)
    return model.embed(image, model.detect(image))


def files(facebank: Facebank) -> dict[str, list[str]]:
    """Of each person."""
    return {
        person.name: sorted(photo.file for photo in facebank.photos(person.name))
        for person in facebank.people()
    }


def counts(done: Enrolment) -> tuple[int, int, int, int]:
    return done.added, done.kept, done.removed, len(done.skipped)


def test_a_folder_becomes_people(folder: Path, facebank: Facebank, model: FakeModel) -> None:
    done = enroll(folder, facebank, model)
    assert done == Enrolment(added=3, kept=0, removed=0, skipped=(), people=2)
    assert files(facebank) == {"Ann": ["Ann/1.png", "Ann/2025/2.png"], "Ben": ["Ben/1.png"]}
    photo = facebank.photos("Ben")[0]
    assert (photo.folder, photo.size, photo.confidence) == (str(folder), 32, 1)
    assert facebank.search(vector(photo.path, model), 0.99)[0].person == "Ben"


def test_again_does_nothing(folder: Path, facebank: Facebank, model: FakeModel) -> None:
    enroll(folder, facebank, model)
    before = facebank.photos(), looks(model)
    assert enroll(folder, facebank, model) == Enrolment(0, 3, 0, (), 2)
    assert (facebank.photos(), looks(model)) == before


def test_what_is_new_joins_and_what_is_gone_leaves(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    save_photo(folder / "Ben" / "2.png", BEN, shade=9)
    save_photo(folder / "Eve" / "1.png", EVE)
    shutil.rmtree(folder / "Ann" / "2025")
    assert counts(enroll(folder, facebank, model)) == (2, 2, 1, 0)
    assert files(facebank) == {
        "Ann": ["Ann/1.png"],
        "Ben": ["Ben/1.png", "Ben/2.png"],
        "Eve": ["Eve/1.png"],
    }
    shutil.rmtree(folder / "Ann")
    assert counts(enroll(folder, facebank, model)) == (0, 3, 1, 0)
    assert list(files(facebank)) == ["Ben", "Eve"]
    assert looks(model) == 5


def test_a_changed_photo_takes_the_place_of_the_old(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    save_photo(folder / "Ben" / "1.png", EVE)
    assert counts(enroll(folder, facebank, model)) == (1, 2, 1, 0)
    assert facebank.search(vector(folder / "Ben" / "1.png", model), 0.99)[0].person == "Ben"


@pytest.mark.parametrize("faces", [0, 4, None])
def test_a_changed_photo_that_cannot_be_used_leaves_the_old_one(
    folder: Path, facebank: Facebank, model: FakeModel, faces: int | None
) -> None:
    enroll(folder, facebank, model)
    before = facebank.photos()
    if faces is None:
        (folder / "Ben" / "1.png").write_bytes(b"half a pho")
    else:
        save_photo(folder / "Ben" / "1.png", BEN, faces=faces)
    assert counts(enroll(folder, facebank, model)) == (0, 2, 0, 1)
    assert facebank.photos() == before


def test_files_that_move_are_not_looked_at_again(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    (folder / "Ann" / "1.png").rename(folder / "Ann" / "renamed.png")
    (folder / "Ann" / "2025" / "2.png").rename(folder / "Ben" / "2.png")
    assert counts(enroll(folder, facebank, model)) == (0, 3, 0, 0)
    assert files(facebank) == {"Ann": ["Ann/renamed.png"], "Ben": ["Ben/1.png", "Ben/2.png"]}
    assert looks(model) == 3
    assert counts(enroll(folder, facebank, model)) == (0, 3, 0, 0)


def test_two_photos_may_swap_their_names(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    (folder / "Ann" / "1.png").rename(folder / "x")
    (folder / "Ann" / "2025" / "2.png").rename(folder / "Ann" / "1.png")
    (folder / "x").rename(folder / "Ann" / "2025" / "2.png")
    assert counts(enroll(folder, facebank, model)) == (0, 3, 0, 0)
    assert len(facebank.photos("Ann")) == 2


def test_a_renamed_sub_folder_renames_the_person(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    (folder / "Ann").rename(folder / "Anna")
    assert counts(enroll(folder, facebank, model)) == (0, 3, 0, 0)
    assert list(files(facebank)) == ["Anna", "Ben"]


@pytest.mark.parametrize("moved", [False, True])
def test_a_person_renamed_in_the_facebank_stays_renamed(
    folder: Path, facebank: Facebank, model: FakeModel, moved: bool
) -> None:
    enroll(folder, facebank, model)
    facebank.rename("Ann", "Ann Lee")
    if moved:
        folder = folder.rename(folder.with_name("moved"))
    save_photo(folder / "Ann" / "0 first.png", ANN, shade=9)
    save_photo(folder / "Ann" / "3.png", ANN, shade=7)
    assert counts(enroll(folder, facebank, model)) == (2, 3, 0, 0)
    assert facebank.people() == [Person("Ann Lee", 4), Person("Ben", 1)]
    assert {photo.folder for photo in facebank.photos()} == {str(folder)}
    (folder / "Ann" / "3.png").unlink()
    assert counts(enroll(folder, facebank, model)) == (0, 4, 1, 0)


def test_a_renamed_person_stays_so_when_all_their_photos_are_replaced(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    facebank.rename("Ann", "Ann Lee")
    shutil.rmtree(folder / "Ann")
    save_photo(folder / "Ann" / "new.png", ANN, shade=9)
    assert counts(enroll(folder, facebank, model)) == (1, 1, 2, 0)
    assert files(facebank) == {"Ann Lee": ["Ann/new.png"], "Ben": ["Ben/1.png"]}


def test_two_sub_folders_can_be_one_person(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    facebank.rename("Ben", "Ann", merge=True)
    save_photo(folder / "Ben" / "2.png", BEN, shade=9)
    assert counts(enroll(folder, facebank, model)) == (1, 3, 0, 0)
    assert facebank.people() == [Person("Ann", 4)]


def test_other_folders_are_left_alone(
    folder: Path, tmp_path: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    other = tmp_path / "other"
    save_photo(other / "Ann" / "1.png", ANN, shade=20)
    save_photo(other / "Eve" / "1.png", EVE)
    shutil.copy(folder / "Ben" / "1.png", other / "Eve" / "2.png")
    done = enroll(other, facebank, model)
    assert counts(done) == (2, 0, 0, 1)
    assert done.people == 3
    assert counts(enroll(folder, facebank, model)) == (0, 3, 0, 0)
    assert facebank.people() == [Person("Ann", 3), Person("Ben", 1), Person("Eve", 1)]


def test_a_copy_of_a_folder_changes_nothing(
    folder: Path, tmp_path: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    before = facebank.photos()
    shutil.copytree(folder, tmp_path / "copy")
    assert counts(enroll(tmp_path / "copy", facebank, model)) == (0, 3, 0, 0)
    assert facebank.photos() == before


def test_a_copy_of_a_photo_is_kept_once_and_belongs_to_one_person(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    shutil.copy(folder / "Ann" / "1.png", folder / "Ann" / "copy.png")
    shutil.copy(folder / "Ann" / "1.png", folder / "Ben" / "copy.png")
    done = enroll(folder, facebank, model)
    assert counts(done) == (3, 1, 0, 1)
    ((path, reason),) = done.skipped
    assert path == folder / "Ben" / "copy.png"
    assert "the same photo is Ann's" in reason
    assert facebank.people() == [Person("Ann", 2), Person("Ben", 1)]
    for name in ("1.png", "copy.png"):
        (folder / "Ann" / name).unlink()
    assert counts(enroll(folder, facebank, model)) == (0, 3, 0, 0)
    assert facebank.people() == [Person("Ann", 1), Person("Ben", 2)]


def test_one_bad_photo_does_not_stop_the_others(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    bad = {
        save_photo(folder / "loose.png", EVE): "not in a person's folder",
        folder / "Ann" / "empty.png": "empty",
        folder / "Ann" / "text.jpg": "not a JPEG",
        save_photo(folder / "Ben" / "nobody.png", BEN, faces=0): "no face",
        save_photo(folder / "Ben" / "three.png", BEN, faces=3): "3 faces",
        save_photo(folder / "unknown" / "1.png", EVE): "cannot be a person's name",
    }
    (folder / "Ann" / "empty.png").touch()
    (folder / "Ann" / "text.jpg").write_text("no picture")
    (folder / "Ann" / "notes.txt").write_text("not even a photo by its name")
    done = enroll(folder, facebank, model)
    assert counts(done) == (3, 0, 0, 6)
    assert done.people == 2
    reasons = dict(done.skipped)
    assert reasons.keys() == bad.keys()
    for path, reason in bad.items():
        assert reason in reasons[path]
        assert "\n" not in reasons[path]


def test_the_largest_face_on_request(folder: Path, facebank: Facebank, model: FakeModel) -> None:
    save_photo(folder / "Eve" / "three.png", EVE, faces=3)
    assert counts(enroll(folder, facebank, model, largest=True)) == (4, 0, 0, 0)
    assert facebank.photos("Eve")[0].size == 32
    assert facebank.photos("Eve")[0].confidence < 1


@pytest.mark.parametrize(
    "name",
    ["J. R. R. Tolkien", " spaced  out ", "Zoe\u0308", "李小龙", "A...", "👩\u200d🚀", "-rf"],
)
def test_people_of_any_name(
    tmp_path: Path, facebank: Facebank, model: FakeModel, name: str
) -> None:
    save_photo(tmp_path / "people" / name / "a b.ü.png", ANN)
    assert counts(enroll(tmp_path / "people", facebank, model)) == (1, 0, 0, 0)
    assert counts(enroll(tmp_path / "people", facebank, model)) == (0, 1, 0, 0)
    assert len(facebank.photos(name)) == 1


def test_names_that_cannot_be_stored_are_reported(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    latin = os.fsdecode(b"caf\xe9")
    for place in (folder / latin / "1.png", folder / "Ann" / f"{latin}.png",
                  folder / "a\\b" / "1.png", folder / "a\nb" / "1.png"):  # fmt: skip
        save_photo(place, EVE)
    assert counts(enroll(folder, facebank, model)) == (3, 0, 0, 4)


def test_each_file_is_read_and_looked_at_once(
    folder: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    read_bytes = images.read_bytes

    def read(path: Path) -> bytes:
        reads.append(path)
        return read_bytes(path)

    monkeypatch.setattr(images, "read_bytes", read)
    made: list[Facebank] = []

    def make() -> Facebank:
        made.append(Facebank.create(":memory:", model_id=model.model_id, dim=model.dim))
        return made[0]

    assert counts(enroll(folder, make, model)) == (3, 0, 0, 0)
    assert len(reads) == len(set(reads)) == looks(model) == 3
    assert counts(enroll(folder, made[0], model)) == (0, 3, 0, 0)
    assert (len(reads), looks(model)) == (6, 3)
    assert counts(rebuild(folder, made[0], model)) == (3, 0, 0, 0)
    assert (len(reads), looks(model), len(made)) == (9, 6, 1)


def test_a_folder_without_people_is_an_error(
    tmp_path: Path, facebank: Facebank, model: FakeModel
) -> None:
    (tmp_path / "empty").mkdir()
    save_photo(tmp_path / "loose" / "1.png", ANN)
    save_photo(tmp_path / "useless" / "Ann" / "1.png", ANN, faces=0)
    for name, words in {
        "empty": "no people",
        "loose": "no people",
        "useless": "none of 1 photos",
        "missing": "readable folder",
        "loose/1.png": "readable folder",
    }.items():
        for use in (enroll, rebuild):
            with pytest.raises(BadInput, match=words) as caught:
                use(tmp_path / name, facebank, model)
            assert "\n" not in str(caught.value)
        with pytest.raises(BadInput) as beforehand:
            enroll(tmp_path / name, lambda: pytest.fail("an empty one was made"), model)
        assert str(beforehand.value) == str(caught.value)
    assert facebank.photos() == []


def test_when_nothing_can_be_used_nothing_changes(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    before = facebank.photos()
    (folder / "Ben" / "1.png").unlink()
    for path in folder.glob("Ann/**/*.png"):
        path.write_bytes(b"")
    with pytest.raises(BadInput, match="none of 2 photos"):
        enroll(folder, facebank, model)
    assert facebank.photos() == before


def test_a_folder_that_cannot_be_listed_removes_nobody(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    """What cannot be seen is not gone."""
    enroll(folder, facebank, model)
    with closed(folder / "Ann"):
        done = enroll(folder, facebank, model)
        assert (done.kept, done.removed) == (1, 0)
        assert ["Ann cannot be listed" in one.reason for one in done.skipped] == [True]
        with pytest.raises(BadInput, match="Ann cannot be listed"):
            rebuild(folder, facebank, model)
    assert len(facebank.photos()) == 3


def test_an_empty_folder_may_be_a_disk_that_is_away(
    folder: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    facebank.rename("Ben", "Benjamin")
    (folder / "Ben").rename(away := folder.parent / "away")
    (folder / "Ben").mkdir()
    done = enroll(folder, facebank, model)
    assert counts(done) == (0, 2, 0, 1)
    assert done.skipped[0].path == folder / "Ben"
    assert "is empty: what Benjamin has from it is kept" in done.skipped[0].reason
    with pytest.raises(BadInput, match="Ben is empty, and Benjamin came from it"):
        rebuild(folder, facebank, FakeModel("other-9"))
    (folder / "Ben").rmdir()
    away.rename(folder / "Ben")
    assert counts(enroll(folder, facebank, model)) == (0, 3, 0, 0)
    assert facebank.people() == [Person("Ann", 2), Person("Benjamin", 1)]


def test_another_model_must_rebuild(folder: Path, facebank: Facebank, model: FakeModel) -> None:
    enroll(folder, facebank, model)
    with pytest.raises(FacebankMismatch, match="--rebuild"):
        enroll(folder, facebank, FakeModel("other-9"))
    assert len(facebank.photos()) == 3


def test_rebuilding_looks_at_everything_and_keeps_names(
    folder: Path, tmp_path: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    save_photo(tmp_path / "other" / "Eve" / "1.png", EVE)
    save_photo(tmp_path / "other" / "Eve" / "2.png", EVE, shade=5)
    enroll(tmp_path / "other", facebank, model)
    facebank.rename("Ann", "Ann Lee")
    facebank.rename("Eve", "Eva")
    (tmp_path / "other" / "Eve" / "2.png").unlink()
    (folder / "Ann" / "1.png").unlink()
    shutil.copy(folder / "Ben" / "1.png", folder / "Ann" / "3.png")

    other = FakeModel("other-9")
    done = rebuild(folder, facebank, other)
    assert counts(done) == (3, 0, 2, 2)
    assert looks(other) == 4
    assert facebank.model_id == "other-9"
    assert facebank.people() == [Person("Ann Lee", 2), Person("Eva", 1)]
    reasons = dict(done.skipped)
    assert "does not exist" in reasons[tmp_path / "other" / "Eve" / "2.png"]
    assert "the same photo is Ann Lee's" in reasons[folder / "Ben" / "1.png"]


def test_rebuilding_without_a_folder_that_photos_came_from_changes_nothing(
    folder: Path, tmp_path: Path, facebank: Facebank, model: FakeModel
) -> None:
    enroll(folder, facebank, model)
    save_photo(tmp_path / "other" / "Eve" / "1.png", EVE)
    enroll(tmp_path / "other", facebank, model)
    before = facebank.photos()
    with pytest.raises(BadInput, match="people is missing, and Ann came from it"):
        folder.rename(tmp_path / "unplugged")
        rebuild(tmp_path / "other", facebank, FakeModel("other-9"))
    assert facebank.photos() == before
    assert facebank.model_id == model.model_id
    assert counts(rebuild(tmp_path / "unplugged", facebank, FakeModel("other-9"))) == (4, 0, 0, 0)


def test_progress_sees_every_photo(folder: Path, facebank: Facebank, model: FakeModel) -> None:
    shown: list[tuple[str, int]] = []

    def progress(things: Sequence[T], doing: str) -> Iterable[T]:
        shown.append((doing, len(things)))
        return things

    enroll(folder, facebank, model, progress=progress)
    assert shown == [("enrolling", 3)]


def test_a_full_disk_keeps_what_was_enrolled_before(tmp_path: Path, model: FakeModel) -> None:
    folder, path = tmp_path / "people", tmp_path / "f"
    for number in range(60):
        save_photo(folder / f"P{number % 7}" / f"{number}.png", number)

    def fill_up() -> None:
        children.limit_files(48_000)
        with Facebank.create(path, model_id=model.model_id, dim=model.dim) as facebank:
            enroll(folder, facebank, model)

    assert isinstance(children.error_of(fill_up), CannotWrite)
    with Facebank.open(path, model_id=model.model_id) as facebank:
        before = facebank.photos()
        assert 0 < len(before) < 60
        done = enroll(folder, facebank, model)
        assert counts(done) == (60 - len(before), len(before), 0, 0)
        assert facebank.photos()[: len(before)] == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(where)]
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root may mount a small disk")
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, tmp_path: Path, model: FakeModel) -> None:
    folder, path, ballast = tmp_path / "people", small_disk / "f", small_disk / "ballast"
    for number in range(60):
        save_photo(folder / f"P{number % 7}" / f"{number}.png", number)
    ballast.write_bytes(bytes(64 * 1024))
    with Facebank.create(path, model_id=model.model_id, dim=model.dim) as facebank:
        with pytest.raises(CannotWrite) as caught:
            enroll(folder, facebank, model)
        assert str(caught.value).endswith("free some space")
        before = facebank.photos()
        assert 0 < len(before) < 60
        ballast.unlink()
        assert counts(enroll(folder, facebank, model)) == (60 - len(before), len(before), 0, 0)
    with Facebank.open(path, model_id=model.model_id) as facebank:
        assert facebank.photos()[: len(before)] == before


def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path, model: FakeModel) -> None:
    """Enrolling is killed, what is there is checked, and so on until everything is there."""
    folder, path, said = tmp_path / "people", tmp_path / "f", tmp_path / "said"
    for number in range(150):
        save_photo(folder / f"P{number % 20}" / f"{number}.png", number)

    def acknowledge(things: Sequence[T], doing: str) -> Iterator[T]:
        """Writes a line for each photo that is done, as a progress bar would go on."""
        with said.open("w") as lines:
            for thing in things:
                yield thing
                if doing == "enrolling":
                    lines.write("done\n")
                    lines.flush()

    def create() -> Facebank:
        return Facebank.create(path, model_id=model.model_id, dim=model.dim)

    def work() -> None:
        with create() as facebank:
            enroll(folder, facebank, model, progress=acknowledge)

    moments = random.Random(0)
    held: set[str] = set()
    kills = 0
    while len(held) < 150:
        said.write_text("")
        (process,) = children.start(work)
        enough = len(held) + moments.randrange(15)  # photos: it ends
        while process.is_alive() and said.read_text().count("\n") < enough:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        with create() as facebank:
            facebank.templates()
            now = {photo.sha256 for photo in facebank.photos()}
        db = sqlite3.connect(path)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
        assert now >= held
        assert len(now) >= said.read_text().count("\n")
        held = now
    assert kills >= 5


def test_photos_of_one_person_wherever_they_are(
    tmp_path: Path, facebank: Facebank, model: FakeModel
) -> None:
    one = save_photo(tmp_path / "a" / "IMG_1.png", ANN)
    save_photo(tmp_path / "b" / "deep" / "2.png", ANN, shade=3)
    picture = read(save_photo(tmp_path / "c.png", ANN, shade=6))
    done = enroll_person("Ann", [one, tmp_path / "b", picture], facebank, model)
    assert counts(done) == (3, 0, 0, 0)
    assert counts(enroll_person("Ann", [one, picture], facebank, model)) == (0, 2, 0, 0)
    assert files(facebank)["Ann"][0] == "2.png"
    with pytest.raises(BadInput, match=r"none of 1 photos of Ben.*the same photo is Ann's"):
        enroll_person("Ben", one, facebank, model)
    with pytest.raises(TypeError, match="an RGB array of uint8"):
        enroll_person("Ben", picture / 255, facebank, model)


def test_a_face_in_a_box(tmp_path: Path, facebank: Facebank, model: FakeModel) -> None:
    dark = save_photo(tmp_path / "dark.png", ANN, faces=0)
    two = save_photo(tmp_path / "two.png", ANN, faces=2)
    with pytest.raises(BadInput, match="no face was found in it"):
        enroll_person("Ann", dark, facebank, model)
    enroll_person("Ann", dark, facebank, model, box=(4, 4, 28, 30))
    enroll_person("Ben", two, facebank, model, box=(1, 0, 30, 17))
    (by_hand,), (found,) = facebank.photos("Ann"), facebank.photos("Ben")
    assert (by_hand.confidence, by_hand.size) == (0, 26)
    assert (found.confidence, found.size) == (1, 16)  # the smaller of two, and the more certain
    for box in [(0, 0, 10), (0, 0, 33, 30), (5, 5, 5, 9), (9, 0, 3, 30), (float("nan"), 0, 3, 3)]:
        with pytest.raises(BadInput, match=r"is not x1, y1, x2, y2 in a photo of 32 x 32"):
            enroll_person("Eve", save_photo(tmp_path / "c.png", EVE), facebank, model, box=box)
    with pytest.raises(BadInput, match="a box is of one photo, and there are 2"):
        enroll_person("Eve", [dark, two], facebank, model, box=(1, 1, 9, 9))


def test_files_called_after_people(tmp_path: Path, facebank: Facebank, model: FakeModel) -> None:
    for name, seed in (("Ann", ANN), ("Ann 2", ANN), ("Ben Smith-03", BEN), ("7", EVE)):
        save_photo(tmp_path / "a" / f"{name}.png", seed, shade=len(name))
    with pytest.raises(BadInput, match="--as NAME"):
        enroll(tmp_path / "a", facebank, model)
    assert counts(enroll(tmp_path / "a", facebank, model, file_names=True)) == (4, 0, 0, 0)
    assert files(facebank) == {
        "7": ["7.png"],
        "Ann": ["Ann 2.png", "Ann.png"],
        "Ben Smith": ["Ben Smith-03.png"],
    }
    (tmp_path / "a" / "Ann 2.png").unlink()
    assert counts(enroll(tmp_path / "a", facebank, model, file_names=True)) == (0, 3, 1, 0)


def test_the_main_face_is_taken_where_it_is_clear(
    tmp_path: Path, facebank: Facebank, model: FakeModel
) -> None:
    save_photo(tmp_path / "Ann" / "1.png", ANN, faces=2)  # one is twice as large
    save_photo(tmp_path / "Ben" / "1.png", BEN, faces=4)  # 4 : 3
    done = enroll(tmp_path, facebank, model)
    assert (done.added, done.others) == (1, 1)
    assert "4 faces were found in it" in done.skipped[0].reason
    assert facebank.photos("Ann")[0].size == 32


def test_what_is_odd_is_said(tmp_path: Path, facebank: Facebank) -> None:
    model = FakeModel(impostors=Impostors((0.5, 0.01, 0.001), (0.0, 0.8, 0.9), {1: 1.0}))
    for name, seeds in (("Ann", [ANN] * 4), ("Ben", [BEN, BEN, EVE, EVE]), ("Eve", [EVE, 5, 6])):
        for number, seed in enumerate(seeds):
            save_photo(tmp_path / name / f"{number}.png", seed, shade=number + len(name))
    done = enroll(tmp_path, facebank, model)
    assert done.odd == (Odd("Ben", 4, 2, 0), Odd("Eve", 3, 1, 3))
    assert enroll(tmp_path, facebank, model).odd == ()  # said once


def test_a_folder_without_photos_names_nobody_by_their_files(
    tmp_path: Path, facebank: Facebank, model: FakeModel
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="has no people"):
        enroll(tmp_path / "empty", facebank, model, file_names=True)
