"""Photos of somebody: chosen, copied and linked."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path

import pytest
from PIL import Image

from mien.collection.album import AlbumFace, AlbumPhoto
from mien.errors import BadInput
from mien.types import Match
from mien.verbs.find import choose, day, gather


def entry(path: Path, *people: str | None, when: str = "") -> AlbumPhoto:
    """A photo of some people, taken on a day."""
    path.parent.mkdir(exist_ok=True)
    exif = Image.Exif()
    if when:
        exif.get_ifd(0x8769)[0x9003] = f"{when.replace('-', ':')} 12:00:00"
    Image.new("RGB", (8, 8), path.name).save(path.with_suffix(".jpg"), exif=exif)
    faces = tuple(AlbumFace((0, 0, 1, 1), 1.0, Match(name, 0.5)) for name in people)
    return AlbumPhoto(path.with_suffix(".jpg"), 8, 8, 1, faces)


def test_only_and_since(tmp_path: Path) -> None:
    alone = entry(tmp_path / "red", "Ann", when="2019-07-14")
    both = entry(tmp_path / "blue", "Ann", "Ben", when="2021-01-01")
    crowd = entry(tmp_path / "green", "Ann", None)
    noon = datetime(2020, 2, 3, 12).timestamp()
    os.utime(crowd.path, (noon, noon))
    everything = [alone, both, crowd]
    assert choose(everything, only=True, people=["Ann"]) == [alone]
    assert choose(everything, only=True, people=["Ann", "Ben"]) == [both]
    assert choose(everything, since=day("2020")) == [both, crowd]
    assert choose(everything, since=day("2019-07"), until=day("2020-02", last=True)) == [
        alone,
        crowd,
    ]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2019", date(2019, 1, 1), date(2019, 12, 31)),
        ("2019-12", date(2019, 12, 1), date(2019, 12, 31)),
        ("2020-02", date(2020, 2, 1), date(2020, 2, 29)),
        ("2020-02-03", date(2020, 2, 3), date(2020, 2, 3)),
    ],
)
def test_days(text: str, first: date, last: date) -> None:
    assert (day(text), day(text, last=True)) == (first, last)


@pytest.mark.parametrize("text", ["yesterday", "2019-13", "2019-1-1-1", ""])
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(BadInput, match="is no day"):
        day(text)


def test_photos_of_one_name_stay_apart_and_none_comes_twice(tmp_path: Path) -> None:
    entries = [entry(tmp_path / "red"), entry(tmp_path / "blue")]
    (tmp_path / "in").mkdir()
    moved = [
        AlbumPhoto(one.path.rename(tmp_path / name), 8, 8, 1, ())
        for one, name in zip(entries, ("a.jpg", "in/a.jpg"), strict=True)
    ]
    assert gather(moved, tmp_path / "out") == (2, ())
    assert gather(moved, tmp_path / "out") == (0, ())
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["a 2.jpg", "a.jpg"]
    assert gather(moved, tmp_path / "links", link=True) == (2, ())
    assert (tmp_path / "links/a.jpg").resolve() == moved[0].path
