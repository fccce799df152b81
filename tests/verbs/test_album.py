"""A collection that is asked: what is looked at again, who is found, and what is written."""

from __future__ import annotations

import csv
import errno
import multiprocessing
import os
import random
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import children
import numpy as np
import pytest
from fakes import FakeModel, SquareFaces, save_photo
from PIL import Image as Pillow

from mien import images
from mien.collection import photo_index
from mien.collection.album import AlbumPhoto, album
from mien.collection.fill import Update, look, update
from mien.collection.photo_index import PhotoIndex
from mien.collection.rows import IndexedPhoto, Way
from mien.collection.tables import APPLICATION_ID
from mien.errors import BadInput, UnknownPerson
from mien.facebank.facebank import Facebank
from mien.images import as_stored, orientation, read
from mien.sidecar import path_of
from mien.types import Skipped
from mien.verbs.album import write_csv, write_page, write_sidecars
from mien.verbs.enroll import enroll

ANNA, BERT, CLEO = 1, 2, 3  # seeds


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def bank(tmp_path: Path, model: FakeModel) -> Iterator[Facebank]:
    save_photo(tmp_path / "people/Anna/1.png", ANNA)
    save_photo(tmp_path / "people/Bert/1.png", BERT)
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as bank:
        enroll(tmp_path / "people", bank, model)
        yield bank


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    save_photo(folder / "anna.png", ANNA, shade=3)
    save_photo(folder / "trip/anna too.png", ANNA, shade=6)
    save_photo(folder / "cleo.png", CLEO)
    save_photo(folder / "dark.png", CLEO, faces=0)
    left, right = (Pillow.open(folder / name) for name in ("anna.png", "cleo.png"))
    bert = Pillow.open(save_photo(tmp_path / "b.png", BERT, shade=2))
    both = Pillow.new("RGB", (96, 32))
    for place, one in enumerate((left, bert, right)):
        both.paste(one, (32 * place, 0))
    both.save(folder / "both.png")
    return folder


class ThreeFaces(SquareFaces):
    """Faces of one size, side by side."""

    def __call__(self, image):  # type: ignore[no-untyped-def]
        """As many as the picture is times as wide as high."""
        found = []
        for place in range(image.shape[1] // image.shape[0]):
            side = image.shape[0]
            piece = image[:, place * side : (place + 1) * side]
            for face in super().__call__(piece):
                shift = (place * side, 0)
                points = (face.points + shift).astype(np.float32)
                found.append(type(face)((face.box + 2 * shift).astype(np.float32), points, 1.0))
        return found


class Asked:
    """An index that is filled and asked with one model."""

    def __init__(self, path: Path, model: FakeModel) -> None:
        self.path, self.model, self.index = path, model, PhotoIndex(path)
        self.forget = self.index.forget

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, *error: object) -> None:
        self.index.close()

    def update(self, folder: Path, **how: Any) -> Update:
        """See `mien.update`."""
        return update(folder, self.model, self.index, **how)

    def ask(
        self, folder: Path, bank: Facebank | None, people: Sequence[str] = ()
    ) -> list[AlbumPhoto]:
        """See `mien.album`."""
        return album(folder, self.model, self.index, bank, people)


@pytest.fixture
def asked(tmp_path: Path, model: FakeModel) -> Iterator[Asked]:
    object.__setattr__(model, "detector", ThreeFaces())
    with Asked(tmp_path / "index/index.db", model) as asked:
        yield asked


def names(asked: Asked, photos: Path, bank: Facebank | None, *people: str) -> list[str]:
    return [entry.path.name for entry in asked.ask(photos, bank, people)]


def test_photos_with_everyone_asked_for(photos: Path, asked: Asked, bank: Facebank) -> None:
    assert asked.update(photos).added == 5
    assert names(asked, photos, bank, "Anna") == ["anna.png", "both.png", "anna too.png"]
    assert names(asked, photos, bank, "Anna", "Bert") == ["both.png"]
    assert len(names(asked, photos, bank)) == 5
    assert names(asked, photos / "trip", bank) == ["anna too.png"]
    assert [entry.people for entry in asked.ask(photos, None)] == [[]] * 5
    with pytest.raises(UnknownPerson, match="Dan"):
        asked.ask(photos, bank, ["Anna", "Dan"])


def test_only_what_is_new_or_changed_is_looked_at(
    photos: Path, asked: Asked, bank: Facebank, model: FakeModel
) -> None:
    asked.update(photos)
    again = asked.update(photos)
    assert (again.added, again.kept, again.removed) == (0, 5, 0)
    save_photo(photos / "anna.png", BERT, shade=9)
    os.utime(photos / "anna.png", ns=(1, 1))
    (photos / "cleo.png").unlink()
    save_photo(photos / "new.png", BERT)
    changed = asked.update(photos)
    assert (changed.added, changed.kept, changed.removed) == (2, 3, 1)
    assert names(asked, photos, bank, "Bert") == ["anna.png", "both.png", "new.png"]


def test_a_change_of_the_facebank_shows_without_a_look(
    photos: Path, asked: Asked, bank: Facebank, tmp_path: Path, model: FakeModel
) -> None:
    asked.update(photos)
    assert names(asked, photos, bank, "Anna") == ["anna.png", "both.png", "anna too.png"]
    bank.rename("Anna", "Anne")
    save_photo(tmp_path / "more/Cleo/1.png", CLEO)
    enroll(tmp_path / "more", bank, model)
    (photos / "anna.png").write_bytes(b"")  # would be found out if it were looked at
    assert names(asked, photos, bank, "Anne", "Cleo") == ["both.png"]


def test_what_was_looked_at_before_a_kill_stays(photos: Path, asked: Asked) -> None:
    class Killed(BaseException):
        pass

    def progress(things, doing):  # type: ignore[no-untyped-def]
        yield from things[:2]
        raise Killed

    with pytest.raises(Killed):
        asked.update(photos, progress=progress)
    assert asked.update(photos).added == 3


def test_a_kill_at_any_moment_loses_nothing(
    photos: Path, asked: Asked, model: FakeModel, tmp_path: Path
) -> None:
    for number in range(60):
        save_photo(photos / f"{number}.png", number)
    path, kills, kept = tmp_path / "killed.db", 0, 0
    moments = random.Random(0)

    def work() -> None:
        with Asked(path, model) as killed:
            killed.update(photos)

    for moment in sorted(moments.uniform(0.001, 0.1) for _ in range(20)):  # the early ones first
        (process,) = children.start(work)
        time.sleep(moment)
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        with Asked(path, model) as found:
            entries = found.ask(photos, None)
        assert len(entries) >= kept
        kept = len(entries)
    assert kills
    with Asked(path, model) as found:
        assert found.update(photos).kept == kept
        asked.update(photos)
        assert found.ask(photos, None) == asked.ask(photos, None)


def test_a_kill_loses_the_last_moment_alone(tmp_path: Path, model: FakeModel) -> None:
    """Photos are written together, and those of a moment ago are on the disk."""
    for number in range(200):
        save_photo(tmp_path / f"in/{number:03}.png", number)
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def slowly(things, doing):  # type: ignore[no-untyped-def]
        for number, thing in enumerate(things):
            sender.send((number, time.monotonic()))
            time.sleep(0.02)
            yield thing

    def work() -> None:
        photo_index.COMMIT_EVERY = 0.2
        with Asked(tmp_path / "index.db", model) as killed:
            killed.update(tmp_path / "in", progress=slowly)

    (process,) = children.start(work)
    done: list[tuple[int, float]] = []
    while len(done) < 60 and receiver.poll(60):
        done.append(receiver.recv())
    process.kill()
    process.join()
    old = [number for number, at in done if at < done[-1][1] - 0.3]
    statements: list[str] = []
    with Asked(tmp_path / "index.db", model) as found:
        found.index._db.set_trace_callback(statements.append)
        update = found.update(tmp_path / "in")
    assert update.kept >= old[-1] > 20
    assert statements.count("COMMIT") < 20


def test_bad_photos_are_told_each_time_and_looked_at_once(
    photos: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "bad.jpg").write_text("no picture")
    (photos / "gone.jpg").symlink_to(photos / "nothing")
    for added in (6, 0):
        update = asked.update(photos)
        assert update.added == added
        assert {path.name for path, _ in update.skipped} == {"bad.jpg", "gone.jpg"}
        assert all(str(path) in reason for path, reason in update.skipped)
    monkeypatch.setattr("mien.images.readers", lambda: "a newer mien")
    assert asked.update(photos).added == 1  # which may read more, of what was bad
    assert asked.update(photos).added == 0


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_fails_once_is_tried_again(
    photos: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    whole = images.read_bytes

    def failing(path: Path) -> bytes:
        if path.name in ("anna.png", "new.png"):
            raise BadInput(f"{path} cannot be read ({os.strerror(number)}): check who may read it")
        return whole(path)

    asked.update(photos)
    save_photo(photos / "new.png", CLEO, shade=9)
    save_photo(photos / "anna.png", ANNA, shade=9)
    os.utime(photos / "anna.png", ns=(1, 1))
    monkeypatch.setattr(images, "read_bytes", failing)
    update = asked.update(photos)
    assert (update.added, update.kept, update.removed) == (0, 4, 0)
    assert {path.name for path, _ in update.skipped} == {"anna.png", "new.png"}
    assert len(asked.ask(photos, None)) == 5  # one as it was
    monkeypatch.setattr(images, "read_bytes", whole)
    update = asked.update(photos)
    assert (update.added, update.kept, update.skipped) == (2, 4, ())


def _emptied(trip: Path) -> Callable[[], None]:
    """As where the disk is not plugged in that is mounted there."""
    trip.rename(away := trip.parent.parent / "away")
    trip.mkdir()

    def back() -> None:
        trip.rmdir()
        away.rename(trip)

    return back


def _unplugged(trip: Path) -> Callable[[], None]:
    """A link's target goes."""
    target = trip.resolve()
    away = target.rename(target.with_name("away"))

    def back() -> None:
        away.rename(target)

    return back


@pytest.mark.parametrize("leave", [_emptied, _unplugged])
def test_what_is_away_is_kept_until_it_is_to_be_forgotten(
    photos: Path, asked: Asked, bank: Facebank, leave: Callable[[Path], Callable[[], None]]
) -> None:
    trip = photos / "trip"
    save_photo(trip / "deep/x.png", BERT, shade=5)
    if leave is _unplugged:
        trip.rename(photos.parent / "disk")
        trip.symlink_to(photos.parent / "disk")
    asked.update(photos)
    back = leave(trip)
    update = asked.update(photos)
    assert (update.added, update.kept, update.removed) == (0, 4, 0)
    ((path, reason),) = update.skipped
    assert path == trip and "2 photos" in reason and "--forget" in reason
    assert names(asked, photos, bank, "Anna") == ["anna.png", "both.png", "anna too.png"]
    back()
    update = asked.update(photos)
    assert (update.added, update.kept, update.removed, update.skipped) == (0, 6, 0, ())
    assert asked.forget(trip) == 0  # all are there
    leave(trip)
    assert asked.forget(trip / "deep") == 1
    assert asked.forget(trip) == 1
    update = asked.update(photos)
    assert (update.kept, update.removed) == (4, 0)
    assert not [one for one in update.skipped if "--forget" in one.reason]


def test_a_folder_that_was_on_another_disk_is_not_deleted(
    photos: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = Path.stat

    def mounted(path: Path, **how: Any) -> SimpleNamespace:
        found = status(path, **how)
        fields = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
        return SimpleNamespace(**fields | {"st_dev": found.st_dev + ("trip" in path.parts)})

    monkeypatch.setattr(Path, "stat", mounted)
    asked.update(photos)
    shutil.rmtree(photos / "trip")
    update = asked.update(photos)
    assert (update.removed, [path for path, _ in update.skipped]) == (0, [photos / "trip"])
    monkeypatch.setattr(Path, "stat", status)
    asked.update(photos)
    save_photo(photos / "trip/anna too.png", ANNA, shade=6)
    asked.update(photos)
    shutil.rmtree(photos / "trip")
    assert asked.update(photos).removed == 1


def test_a_folder_that_fails_for_a_moment_is_not_deleted(
    photos: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def failing(path: Any = ".") -> Any:
        if Path(path).name == "trip":
            monkeypatch.undo()
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return scandir(path)

    asked.update(photos)
    monkeypatch.setattr(os, "scandir", failing)
    update = asked.update(photos)
    assert (update.kept, update.removed) == (4, 0)
    assert [path for path, _ in update.skipped] == [photos / "trip"]
    assert asked.update(photos).kept == 5


def test_photos_that_move_keep_what_is_known_of_them(
    photos: Path, asked: Asked, model: FakeModel
) -> None:
    asked.update(photos)
    faces = asked.ask(photos, None)
    looks = model.detector.pictures  # type: ignore[attr-defined]
    (photos / "trip").rename(photos / "journey")
    (photos / "anna.png").rename(photos / "swap")
    (photos / "dark.png").rename(photos / "anna.png")
    (photos / "swap").rename(photos / "dark.png")
    shutil.copy(photos / "both.png", photos / "both again.png")
    (photos / "cleo.png").rename(photos / "journey/cleo.png")
    update = asked.update(photos)
    assert (update.added, update.kept, update.removed, update.skipped) == (0, 6, 0, ())
    found = {entry.path.name: entry.faces for entry in asked.ask(photos, None)}
    swapped = {"anna.png": "dark.png", "dark.png": "anna.png"}
    for entry in faces:
        assert found[swapped.get(entry.path.name, entry.path.name)] == entry.faces
    assert found["both again.png"] == found["both.png"]
    assert model.detector.pictures == looks  # type: ignore[attr-defined]
    assert asked.update(photos).kept == 6


def test_a_photo_renamed_over_by_another_is_followed(photos: Path, asked: Asked) -> None:
    asked.update(photos)
    (photos / "anna.png").rename(photos / "old anna.png")
    save_photo(photos / "anna.png", BERT, shade=9)
    update = asked.update(photos)
    assert (update.added, update.kept, update.removed) == (1, 5, 0)
    asked.update(photos.parent)
    (photos / "cleo.png").rename(photos.parent / "cleo.png")
    assert asked.update(photos).removed == 1


def test_an_index_of_an_earlier_format_is_filled_again(
    photos: Path, tmp_path: Path, model: FakeModel
) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        for table in ("album", "photo", "face"):
            db.execute(f"CREATE TABLE {table} (x)")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 2")
    with Asked(tmp_path / "old.db", model) as old:
        assert old.update(photos).added == 5


def test_a_folder_without_photos_forgets_nothing(
    photos: Path, asked: Asked, bank: Facebank
) -> None:
    asked.update(photos)
    photos.rename(photos.parent / "elsewhere")
    photos.mkdir()
    with pytest.raises(BadInput, match="holds no photos"):
        asked.update(photos)
    assert len(asked.ask(photos, bank)) == 5


def test_other_files_are_refused(tmp_path: Path, asked: Asked) -> None:
    (tmp_path / "text").write_text("no index " * 99)
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE t (x)")
    for name in ("text", "other.db"):
        with pytest.raises(BadInput, match="not an index"):
            PhotoIndex(tmp_path / name)
    assert asked.path.stat().st_mode & 0o077 == 0


def test_another_model_embeds_the_faces_that_are_known(photos: Path, asked: Asked) -> None:
    asked.update(photos)
    looks = asked.model.detector.pictures  # type: ignore[attr-defined]
    other = FakeModel("another")
    object.__setattr__(other, "detector", asked.model.detector)
    assert asked.index.of_other_models(Way.of(other)) == 5
    assert update(photos, other, asked.index).added == 5
    assert asked.model.detector.pictures == looks  # type: ignore[attr-defined]
    assert asked.index.of_other_models(Way.of(other)) == 0
    assert update(photos, other, asked.index).kept == 5
    assert [len(one.faces) for one in album(photos, other, asked.index, None)] == [1, 3, 1, 0, 1]


def test_each_way_to_look_has_faces_of_its_own(photos: Path, asked: Asked) -> None:
    paths = sorted(photos.rglob("*.png"))
    asked.update(photos)
    plain = [one.vectors for one in asked.index.photos(Way.of(asked.model))]
    for one, other in zip(
        look(paths, asked.model, asked.index, mirror=True),
        look(paths, asked.model, mirror=True),
        strict=True,
    ):
        assert isinstance(one, IndexedPhoto) and isinstance(other, IndexedPhoto)
        assert (one.vectors == other.vectors).all()
    again = [one.vectors for one in asked.index.photos(Way.of(asked.model))]
    assert all((one == other).all() for one, other in zip(plain, again, strict=True))
    assert not all(
        (one == other.vectors).all()
        for one, other in zip(
            plain, asked.index.photos(Way.of(asked.model, mirror=True)), strict=True
        )
    )


def test_what_was_found_is_the_same_with_and_without_the_index(photos: Path, asked: Asked) -> None:
    (photos / "bad.jpg").write_text("no picture")
    paths = sorted(photos.rglob("*.*"))
    fresh = list(look(paths, asked.model))
    for _ in range(2):
        looks = asked.model.detector.pictures  # type: ignore[attr-defined]
        kept = list(look(paths, asked.model, asked.index))
        for one, other in zip(fresh, kept, strict=True):
            if isinstance(one, Skipped) or isinstance(other, Skipped):
                assert one == other
                continue
            assert (one.path, one.sha256, one.width, one.height) == (
                (other.path, other.sha256, other.width, other.height)
            )
            assert (one.vectors == other.vectors).all()
            for face, again in zip(one.faces, other.faces, strict=True):
                assert (face.key, face.worth, face.thumb) == (again.key, again.worth, again.thumb)
                assert (face.face.points == again.face.points).all()
    assert asked.model.detector.pictures == looks  # type: ignore[attr-defined]


def test_the_index_is_encrypted_once_there_is_a_key(
    photos: Path, tmp_path: Path, asked: Asked
) -> None:
    pytest.importorskip("sqlcipher3", reason="needs mien[encryption]")
    asked.update(photos)
    asked.index.close()
    assert b"anna.png" in asked.path.read_bytes()
    with PhotoIndex(asked.path, key="secret") as index:
        assert update(photos, asked.model, index).kept == 5
    assert b"anna.png" not in b"".join(one.read_bytes() for one in asked.path.parent.iterdir())
    with pytest.raises(BadInput, match="facebank's key"):
        PhotoIndex(asked.path)


def test_nothing_is_left_of_what_is_forgotten(photos: Path, asked: Asked) -> None:
    asked.update(photos)
    shutil.rmtree(photos)
    assert asked.index.forget(photos) == 5
    left = b"".join(one.read_bytes() for one in asked.path.parent.iterdir())
    assert b"anna" not in left


def test_the_table(photos: Path, asked: Asked, bank: Facebank, tmp_path: Path) -> None:
    asked.update(photos)
    write_csv(tmp_path / "faces.csv", asked.ask(photos, bank))
    with (tmp_path / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7  # 3 + 1 + 1 + 1, and the dark photo
    assert [row["person"] for row in rows if row["path"].endswith("both.png")] == [
        "Anna",
        "Bert",
        "",
    ]


def test_the_page_asks_nobody_else(
    photos: Path, asked: Asked, bank: Facebank, tmp_path: Path
) -> None:
    bank.rename("Anna", '<Ann> & "co"')
    asked.update(photos)
    write_page(tmp_path / "pages/album.html", asked.ask(photos, bank))
    text = (tmp_path / "pages/album.html").read_text()
    assert "&lt;Ann&gt; &amp;" in text
    assert "<Ann>" not in text
    targets = set(re.findall(r'(?:src|href)="([^"]+)"', text))
    assert "../photos/trip/anna%20too.png" in targets
    assert not [one for one in targets if ":" in one or one.startswith("//")]


def test_sidecars_say_where_everyone_is(photos: Path, asked: Asked, bank: Facebank) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    asked.update(photos)
    path_of(photos / "anna.png").write_text("another program's")
    write_sidecars([entry for entry in asked.ask(photos, bank) if "trip" in entry.path.parts])
    theirs = path_of(photos / "trip/anna too.png").rename(photos / "trip/anna too.xmp")
    theirs.write_text(theirs.read_text().replace("mien:regions=", "mien:other="))
    written, skipped = write_sidecars(asked.ask(photos, bank))
    assert written == 1
    assert [path.name for path, _ in skipped] == ["anna.png", "anna too.png"]
    assert "anna.png.xmp is no XMP" in skipped[0].reason
    assert "anna too.xmp has regions" in skipped[1].reason
    text = path_of(photos / "both.png").read_text()
    assert re.findall(r'mwg-rs:Name="(\w+)"', text) == ["Anna", "Bert"]
    assert re.findall(r'stArea:x="([\d.]+)"', text) == ["0.166667", "0.500000"]
    assert not path_of(photos / "cleo.png").exists()
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before
    assert write_sidecars(asked.ask(photos, bank))[0] == 0
    assert asked.update(photos).added == 0  # they are no photos


@pytest.mark.parametrize("turned", range(1, 9))
def test_boxes_are_where_the_file_has_the_face(tmp_path: Path, turned: int) -> None:
    stored = Pillow.new("RGB", (80, 60))
    stored.paste((250, 250, 250), (8, 12, 24, 24))
    exif = Pillow.Exif()
    exif[0x0112] = turned
    stored.save(tmp_path / "a.png", exif=exif)
    data = (tmp_path / "a.png").read_bytes()
    image = read(tmp_path / "a.png")
    height, width = image.shape[:2]
    ys, xs = (image[:, :, 0] > 128).nonzero()
    upright = (xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height)
    assert orientation(data) == turned
    assert as_stored(upright, turned) == pytest.approx((0.1, 0.2, 0.3, 0.4))
