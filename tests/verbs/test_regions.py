"""Regions that others have named: matched to faces, cut out, and told where they match none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import FakeModel
from PIL import Image as Pillow

from mien.errors import BadInput
from mien.images import as_stored
from mien.sidecar import Region, path_of, write
from mien.verbs.regions import cut_regions

Box = tuple[float, float, float, float]
LEFT, RIGHT = (0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 1.0)  # what SquareFaces finds in two squares


def photo(
    path: Path, named: Sequence[tuple[str, Box]], *, faces: int = 2, orientation: int = 1
) -> Path:
    """A photo that EXIF turns upright, and its sidecar, as of another program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    upright = Pillow.effect_noise((64 * faces, 64), 60).convert("RGB")
    turned = {6: Pillow.Transpose.ROTATE_90, 8: Pillow.Transpose.ROTATE_270}.get(orientation)
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    (upright.transpose(turned) if turned else upright).save(path, exif=exif)
    write(path, [Region(*one) for one in named], (64 * faces, 64))
    if named:
        sidecar = path_of(path)
        sidecar.write_text(sidecar.read_text().replace("mien:regions=", "mien:other="))
    return path


def cut(folder: Path) -> dict[str, int]:
    """How many faces everyone has."""
    return {one.name: len(list(one.iterdir())) for one in sorted(folder.iterdir())}


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return tmp_path / "people"


def test_each_name_gets_its_face(tmp_path: Path, people: Path) -> None:
    photo(tmp_path / "photos" / "1.png", [("Ann", LEFT), ("Ben", RIGHT)])
    photo(tmp_path / "photos" / "trip" / "2.png", [("Ben", (0.55, 0.1, 0.95, 0.9))])
    done = cut_regions(tmp_path / "photos", people, FakeModel())
    assert (done.photos, done.named, done.matched, done.faces) == (2, 3, 3, 3)
    assert done.skipped == ()
    assert cut(people) == {"Ann": 1, "Ben": 2}
    assert people.stat().st_mode & 0o777 == 0o700
    again = cut_regions(tmp_path / "photos", people, FakeModel())
    assert cut(people) == {"Ann": 1, "Ben": 2}
    assert again.faces == 3


@pytest.mark.parametrize("orientation", [6, 8])
@pytest.mark.parametrize("as_shown", [False, True])
def test_a_turned_photo_is_read_as_it_fits(
    tmp_path: Path, people: Path, orientation: int, as_shown: bool
) -> None:
    boxes = [("Ann", LEFT), ("Ben", RIGHT)]
    if not as_shown:
        boxes = [(name, as_stored(box, orientation)) for name, box in boxes]
    photo(tmp_path / "a" / "1.png", boxes, orientation=orientation)
    assert cut_regions(tmp_path / "a", people, FakeModel()).skipped == ()
    assert cut(people) == {"Ann": 1, "Ben": 1}


def test_the_best_faces_are_taken(tmp_path: Path, people: Path) -> None:
    for name, box in (("1.png", LEFT), ("2.png", RIGHT), ("3.png", RIGHT)):
        photo(tmp_path / "a" / name, [("Ann", box)])
    done = cut_regions(tmp_path / "a", people, FakeModel(), most=2)
    assert (done.matched, done.faces) == (3, 2)
    assert all(not one.name.endswith("-0-0.png") for one in (people / "Ann").iterdir())


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ([("Ann", (0.0, 0.7, 0.2, 0.9))], "names Ann where no face was found"),
        ([("Ann", (0.0, 0.0, 0.02, 0.02))], "names Ann where no face was found"),
        ([("unknown", LEFT)], "cannot be a person's name"),
    ],
)
def test_what_matches_no_face_is_told(
    tmp_path: Path, people: Path, named: list[tuple[str, Box]], why: str
) -> None:
    photo(tmp_path / "a" / "1.png", [*named, ("Ben", RIGHT)])
    done = cut_regions(tmp_path / "a", people, FakeModel())
    assert [why in one.reason for one in done.skipped] == [True]
    assert cut(people) == {"Ben": 1}


def test_two_names_for_one_face_are_none(tmp_path: Path, people: Path) -> None:
    path = photo(tmp_path / "a" / "1.png", [("Ann", LEFT), ("Ben", RIGHT)])
    path.with_name(".picasa.ini").write_text(
        "[Contacts2]\n1=Eve;\n[1.png]\nfaces=rect64(80000000ffffffff),1\n"
    )
    done = cut_regions(tmp_path / "a", people, FakeModel())
    assert "Ben in" in done.skipped[0].reason
    assert "Eve in" in done.skipped[0].reason
    assert cut(people) == {"Ann": 1}


def test_nobody_named_is_said(tmp_path: Path, people: Path) -> None:
    photo(tmp_path / "a" / "1.png", [])
    with pytest.raises(BadInput, match="none of 1 photos has a face that a program has named"):
        cut_regions(tmp_path / "a", people, FakeModel())
    assert not people.exists()
