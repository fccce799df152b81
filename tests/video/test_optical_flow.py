"""Faces followed by their pixels."""

from __future__ import annotations

import clips
import cv2
import numpy as np
import pytest

from mien.types import Face
from mien.video.optical_flow import follow

ANNA, BERT = 1, 2


def grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def face(x: float, y: float, side: float = 60) -> Face:
    points = np.array([[x + 20, y + 20], [x + 40, y + 20], [x + 30, y + 30], [x + 22, y + 45]])
    points = np.vstack([points, [[x + 38, y + 45]]]).astype(np.float32)
    return Face(np.array([x, y, x + side, y + side], np.float32), points, 0.9)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (6, -4), (-9, 3)])
def test_it_goes_where_the_pixels_go(dx: int, dy: int) -> None:
    before, after = clips.picture((ANNA, 100, 80)), clips.picture((ANNA, 100 + dx, 80 + dy))
    moved = follow(grey(before), grey(after), face(100, 80))
    assert moved is not None
    assert np.allclose(moved.box, face(100 + dx, 80 + dy).box, atol=1.5)
    assert np.allclose(moved.points, face(100 + dx, 80 + dy).points, atol=1.5)


def test_it_grows_with_the_face() -> None:
    before = clips.picture((ANNA, 100, 80))
    matrix = cv2.getRotationMatrix2D((130, 110), 0, 1.1)
    after = cv2.warpAffine(before, matrix, (clips.WIDTH, clips.HEIGHT))
    moved = follow(grey(before), grey(after), face(100, 80))
    assert moved is not None
    assert moved.size == pytest.approx(66, abs=2)


def test_it_is_lost_where_it_is_gone() -> None:
    before, gone = clips.picture((ANNA, 100, 80)), clips.picture()
    assert follow(grey(before), grey(gone), face(100, 80)) is None
    noise = np.random.default_rng(0).integers(0, 256, gone.shape, np.uint8)
    assert follow(grey(before), grey(noise), face(100, 80)) is None
    assert follow(grey(before), grey(before), face(-300, -300)) is None
