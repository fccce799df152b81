"""A collection that is asked: what is looked at again, who is found, and what is written."""

from __future__ import annotations

import csv
import os
import random
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import children
import pytest
from fakes import FakeModel, SquareFaces, save_photo
from PIL import Image as Pillow

from mien.errors import BadInput, UnknownPerson
from mien.facebank.bank import Facebank
from mien.images import as_stored, orientation, read
from mien.sidecar import path_of
from mien.verbs.album import Album, write_csv, write_page, write_sidecars
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
                found.append(type(face)(face.box + 2 * shift, face.points + shift, 1.0))
        return found


@pytest.fixture
def album(tmp_path: Path, model: FakeModel) -> Iterator[Album]:
    object.__setattr__(model, "detector", ThreeFaces())
    with Album(tmp_path / "index/album.db", model) as album:
        yield album


def names(album: Album, photos: Path, bank: Facebank | None, *people: str) -> list[str]:
    return [entry.path.name for entry in album.ask(photos, bank, people)]


def test_photos_with_everyone_asked_for(photos: Path, album: Album, bank: Facebank) -> None:
    assert album.update(photos).added == 5
    assert names(album, photos, bank, "Anna") == ["anna.png", "both.png", "anna too.png"]
    assert names(album, photos, bank, "Anna", "Bert") == ["both.png"]
    assert len(names(album, photos, bank)) == 5
    assert names(album, photos / "trip", bank) == ["anna too.png"]
    assert [entry.people for entry in album.ask(photos, None)] == [[]] * 5
    with pytest.raises(UnknownPerson, match="Dan"):
        album.ask(photos, bank, ["Anna", "Dan"])


def test_only_what_is_new_or_changed_is_looked_at(
    photos: Path, album: Album, bank: Facebank, model: FakeModel
) -> None:
    album.update(photos)
    again = album.update(photos)
    assert (again.added, again.kept, again.removed) == (0, 5, 0)
    save_photo(photos / "anna.png", BERT, shade=9)
    os.utime(photos / "anna.png", ns=(1, 1))
    (photos / "cleo.png").unlink()
    save_photo(photos / "new.png", BERT)
    changed = album.update(photos)
    assert (changed.added, changed.kept, changed.removed) == (2, 3, 1)
    assert names(album, photos, bank, "Bert") == ["anna.png", "both.png", "new.png"]


def test_a_change_of_the_facebank_shows_without_a_look(
    photos: Path, album: Album, bank: Facebank, tmp_path: Path, model: FakeModel
) -> None:
    album.update(photos)
    assert names(album, photos, bank, "Anna") == ["anna.png", "both.png", "anna too.png"]
    bank.rename("Anna", "Anne")
    save_photo(tmp_path / "more/Cleo/1.png", CLEO)
    enroll(tmp_path / "more", bank, model)
    (photos / "anna.png").write_bytes(b"")  # would be found out if it were looked at
    assert names(album, photos, bank, "Anne", "Cleo") == ["both.png"]


def test_what_was_looked_at_before_a_kill_stays(photos: Path, album: Album) -> None:
    class Killed(BaseException):
        pass

    def progress(things, doing):  # type: ignore[no-untyped-def]
        yield from things[:2]
        raise Killed

    with pytest.raises(Killed):
        album.update(photos, progress=progress)
    assert album.update(photos).added == 3


def test_a_kill_at_any_moment_loses_nothing(
    photos: Path, album: Album, model: FakeModel, tmp_path: Path
) -> None:
    for number in range(60):
        save_photo(photos / f"{number}.png", number)
    path, moments, kills, kept = tmp_path / "killed.db", random.Random(0), 0, 0

    def work() -> None:
        with Album(path, model) as killed:
            killed.update(photos)

    for _ in range(20):
        process = children.start(work)
        time.sleep(moments.uniform(0.005, 0.1))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        with Album(path, model) as found:
            entries = found.ask(photos, None)
        assert len(entries) >= kept
        kept = len(entries)
    assert kills
    with Album(path, model) as found:
        assert found.update(photos).kept == kept
        album.update(photos)
        assert found.ask(photos, None) == album.ask(photos, None)


def test_bad_photos_are_told_each_time_and_looked_at_once(photos: Path, album: Album) -> None:
    (photos / "bad.jpg").write_text("no picture")
    (photos / "gone.jpg").symlink_to(photos / "nothing")
    for added in (7, 0):
        update = album.update(photos)
        assert update.added == added
        assert [path.name for path, _ in update.skipped] == ["bad.jpg", "gone.jpg"]


def test_a_folder_without_photos_forgets_nothing(
    photos: Path, album: Album, bank: Facebank
) -> None:
    album.update(photos)
    photos.rename(photos.parent / "elsewhere")
    photos.mkdir()
    with pytest.raises(BadInput, match="holds no photos"):
        album.update(photos)
    assert len(album.ask(photos, bank)) == 5


def test_other_files_are_refused(tmp_path: Path, model: FakeModel, album: Album) -> None:
    (tmp_path / "text").write_text("no album " * 99)
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE t (x)")
    for name in ("text", "other.db"):
        with pytest.raises(BadInput, match="not an album"):
            Album(tmp_path / name, model)
    with pytest.raises(BadInput, match="made with the model mean-colours"):
        Album(album.path, FakeModel("another"))
    assert album.path.stat().st_mode & 0o077 == 0


def test_the_table(photos: Path, album: Album, bank: Facebank, tmp_path: Path) -> None:
    album.update(photos)
    write_csv(tmp_path / "faces.csv", album.ask(photos, bank))
    with (tmp_path / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7  # 3 + 1 + 1 + 1, and the dark photo
    assert [row["person"] for row in rows if row["path"].endswith("both.png")] == [
        "Anna",
        "Bert",
        "",
    ]


def test_the_page_asks_nobody_else(
    photos: Path, album: Album, bank: Facebank, tmp_path: Path
) -> None:
    bank.rename("Anna", '<Ann> & "co"')
    album.update(photos)
    write_page(tmp_path / "pages/album.html", album.ask(photos, bank))
    text = (tmp_path / "pages/album.html").read_text()
    assert "&lt;Ann&gt; &amp;" in text
    assert "<Ann>" not in text
    targets = set(re.findall(r'(?:src|href)="([^"]+)"', text))
    assert "../photos/trip/anna%20too.png" in targets
    assert not [one for one in targets if ":" in one or one.startswith("//")]


def test_sidecars_say_where_everyone_is(photos: Path, album: Album, bank: Facebank) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    album.update(photos)
    path_of(photos / "anna.png").write_text("another program's")
    written, skipped = write_sidecars(album.ask(photos, bank))
    assert written == 2
    assert [path.name for path, _ in skipped] == ["anna.png.xmp"]
    text = path_of(photos / "both.png").read_text()
    assert re.findall(r'mwg-rs:Name="(\w+)"', text) == ["Anna", "Bert"]
    assert re.findall(r'stArea:x="([\d.]+)"', text) == ["0.166667", "0.500000"]
    assert not path_of(photos / "cleo.png").exists()
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before
    assert write_sidecars(album.ask(photos, bank))[0] == 0
    assert album.update(photos).added == 0  # they are no photos


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
