"""What two recognisers found is compared face by face, and photos are fitted without being bent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import save_photo

from benchmarks.photo import _fitted, _unseen, ways
from mien import images


def test_faces_that_only_the_other_found() -> None:
    some = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    others = np.array([[1, 1, 11, 11], [50, 50, 60, 60]], np.float32)
    assert _unseen(some, others) == 1
    assert _unseen(others, some) == 1
    assert _unseen(some, some) == 0
    assert _unseen(some[:0], others) == 2
    assert _unseen(some, others[:0]) == 0


def test_a_photo_keeps_its_shape(tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "a.png", 0, faces=2)  # twice as wide as high
    (path,) = _fitted([photo], (64, 48), tmp_path)
    image = images.read(path)
    assert image.shape == (48, 64, 3)
    assert image[:6].max() < 20  # black, through JPEG
    assert (image[10:38].max(axis=(1, 2)) > 40).all()
    assert image[-6:].max() < 20


def test_both_ways_see_the_same_photos(tmp_path: Path, model_file: Path, demo_photos: Path) -> None:
    pytest.importorskip("dlib", reason="measuring it needs mien[peers]")
    ours, theirs = ways(
        [demo_photos / "t1.jpg"], model_file, tmp_path, sizes=[(640, 480)], threads=1, turns=1
    )
    assert ours.faces == theirs.faces == 6
    assert ours.alone == theirs.alone == ours.missed == theirs.missed == 0
    assert theirs.ratio == pytest.approx(theirs.milliseconds / ours.milliseconds)


def test_a_folder_is_measured_too(tmp_path: Path, model_file: Path, demo_photos: Path) -> None:
    photos = [demo_photos / "t1.jpg"] * 2
    one, several = ways(
        photos, model_file, tmp_path, sizes=[(640, 480)], threads=2, turns=1, beside=False
    )
    assert several.name == "mien, 2 at a time"
    assert (several.photos, several.faces) == (one.photos, one.faces) == (2, 12)
    assert several.ratio == pytest.approx(several.milliseconds / one.milliseconds)
