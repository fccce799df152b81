"""The detector that ships: every face, however it stands, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien import images
from mien.errors import BadModel
from mien.recognition.align import crop
from mien.recognition.detect import mien_detector as module
from mien.recognition.detect.mien_detector import WEIGHTS, MienDetector
from mien.types import Image

ASTRONAUT = Path(__file__).parents[2] / "docs" / "astronaut.jpg"


@pytest.fixture(scope="module")
def detector() -> MienDetector:
    return MienDetector(threads=1)


@pytest.fixture(scope="module")
def astronaut() -> Image:
    """512 x 512, one face of about 110 pixels."""
    return images.read(ASTRONAUT)


@pytest.fixture(scope="module")
def crowd(astronaut: Image) -> Image:
    """1280 x 768 with 15 faces."""
    return np.tile(np.asarray(cv2.resize(astronaut, (256, 256)), np.uint8), (3, 5, 1))


def test_one_face_where_it_is(detector: MienDetector, astronaut: Image) -> None:
    (face,) = detector(astronaut)
    eye, other, nose, *mouth = face.points
    assert abs(eye - (204, 101)).max() < 6 and abs(other - (247, 103)).max() < 6
    assert eye[0] < nose[0] < other[0] and min(point[1] for point in mouth) > nose[1]
    assert face.box[0] < eye[0] and face.box[2] > other[0]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_that_lies_on_its_side_or_head(
    detector: MienDetector, astronaut: Image, quarters: int
) -> None:
    (upright,) = detector(astronaut)
    turned = np.ascontiguousarray(np.rot90(astronaut, quarters))
    (face,) = detector(turned)
    assert (upright.turned, face.turned) == (0, 360 - 90 * quarters)
    straight, back = (crop(*one) for one in ((astronaut, upright.points), (turned, face.points)))
    assert np.abs(straight.astype(float) - back).mean() < 12  # the same view of the same face


@pytest.mark.parametrize("degrees", [-45, -20, 20, 45])
def test_a_tilted_face(detector: MienDetector, astronaut: Image, degrees: int) -> None:
    middle = (226.0, 125.0)
    matrix = cv2.getRotationMatrix2D(middle, degrees, 1.0)
    tilted = np.asarray(cv2.warpAffine(astronaut, matrix, (512, 512)), np.uint8)
    expected = detector(astronaut)[0].points @ matrix[:, :2].T + matrix[:, 2]
    found = min(detector(tilted), key=lambda face: float(np.abs(face.points - expected).max()))
    np.testing.assert_allclose(found.points, expected, atol=6)


@pytest.mark.parametrize("size", [16, 24, 40])
def test_small_faces_where_they_are_asked_for(astronaut: Image, size: int) -> None:
    small = cv2.resize(astronaut, None, fx=size / 110, fy=size / 110, interpolation=cv2.INTER_AREA)
    canvas = np.full((480, 640, 3), 90, np.uint8)
    canvas[200 : 200 + len(small), 300 : 300 + len(small)] = small
    (face,) = MienDetector(min_face=size, threads=1)(canvas)
    assert 0.5 < face.size / size < 2
    assert MienDetector(min_face=4 * size, threads=1)(canvas) == []


def test_a_dark_photo(detector: MienDetector, astronaut: Image) -> None:
    assert len(detector((astronaut * 0.08).astype(np.uint8))) == 1


def test_tiles_find_what_the_whole_finds(
    detector: MienDetector, crowd: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = detector(crowd)
    monkeypatch.setattr(module, "TILE", 256)
    tiles = detector(crowd)
    for face in whole:
        nearest = min(tiles, key=lambda other: float(np.abs(other.points - face.points).max()))
        np.testing.assert_allclose(nearest.points, face.points, atol=5)


def test_a_mirrored_photo_has_mirrored_points(detector: MienDetector, astronaut: Image) -> None:
    (face,) = detector(astronaut)
    (other,) = detector(np.ascontiguousarray(astronaut[:, ::-1]))
    back = (other.points * (-1, 1) + (512, 0))[[1, 0, 2, 4, 3]]
    np.testing.assert_allclose(back, face.points, atol=3)


def test_a_hundred_megapixels_take_bounded_memory() -> None:
    pytest.importorskip("resource", reason="Windows does not say what a process took")
    code = """
import resource, sys
import numpy as np
from mien.recognition.detect.mien_detector import MienDetector
detect = MienDetector(threads=1, min_face=160)
detect(np.full((600, 800, 3), 90, np.uint8))
for rows, columns in ((10_000, 10_000), (100, 1_000_000)):
    photo = np.full((rows, columns, 3), 90, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert detect(photo) == []
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert all(int(grown) * unit < 300e6 for grown in done.stdout.split())  # as the photo itself


def test_weights_that_are_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"finder\.onnx is missing or damaged"):
        MienDetector(weights=tmp_path)
    for name in ("finder.onnx", "points.onnx"):
        (tmp_path / name).write_bytes((WEIGHTS / name).read_bytes())
    (tmp_path / "points.onnx").write_bytes(b"no network")
    with pytest.raises(BadModel, match=r"points\.onnx is missing or damaged"):
        MienDetector(weights=tmp_path)


def test_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*.onnx")) < 500_000
