"""Points go where the template says, whatever the size, turn and place of the face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.recognition.align import SIZE, TEMPLATE, crop, crops, cut_out, similarity
from mien.types import Face, Image


def moved(scale: float, degrees: float, x: float, y: float) -> NDArray[np.float64]:
    """The template's points, turned, scaled and shifted."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    points: NDArray[np.float64] = scale * TEMPLATE @ np.array([[c, s], [-s, c]]) + (x, y)
    return points


def noise(height: int, width: int) -> Image:
    """Smooth random colours."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@settings(deadline=None)
@given(
    scale=st.floats(0.01, 100),
    degrees=st.floats(-180, 180),
    x=st.floats(-1e4, 1e4),
    y=st.floats(-1e4, 1e4),
)
def test_similarity_brings_the_points_to_the_template(
    scale: float, degrees: float, x: float, y: float
) -> None:
    points = moved(scale, degrees, x, y)
    matrix = similarity(points)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-5)


def test_similarity_is_the_least_squares_one() -> None:
    points = moved(2.5, 30, 40, -7) + np.random.default_rng(1).normal(0, 9, (5, 2))
    # u = a x - b y + c and v = b x + a y + d, solved as ten equations.
    x, y = points.T
    one, nil = np.ones(5), np.zeros(5)
    rows = np.vstack([np.stack([x, -y, one, nil], 1), np.stack([y, x, nil, one], 1)])
    a, b, c, d = np.linalg.lstsq(rows, TEMPLATE.T.ravel())[0]
    np.testing.assert_allclose(similarity(points), [[a, -b, c], [b, a, d]], atol=1e-9)


def test_similarity_never_mirrors() -> None:
    mirrored = TEMPLATE * (-1, 1) + (SIZE, 0)
    assert np.linalg.det(similarity(mirrored)[:, :2]) > 0


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), 1234.1),
        np.full((5, 2), np.nan),
        np.where(np.eye(5, 2) > 0, np.inf, TEMPLATE),
        TEMPLATE[:4],
    ],
    ids=["one point", "not numbers", "infinite", "four points"],
)
def test_points_that_are_no_face_are_refused(points: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="points"):
        similarity(points)


def test_a_face_on_the_template_is_left_alone() -> None:
    image = noise(SIZE, SIZE)
    np.testing.assert_array_equal(crop(image, TEMPLATE), image)


def test_a_shifted_face_is_cut_out() -> None:
    image, points = noise(400, 300), moved(1, 0, 100, 200)
    np.testing.assert_array_equal(crop(image, points), image[200 : 200 + SIZE, 100 : 100 + SIZE])


def test_a_box_is_cut_out_with_half_its_size_around_it() -> None:
    image = noise(100, 200)
    np.testing.assert_array_equal(cut_out(image, [40, 30, 60, 50]), image[20:60, 30:70])
    np.testing.assert_array_equal(cut_out(image, [180, 0, 240, 60]), image[:90, 150:])
    for outside in ([-90, 0, -60, 30], [0, -90, 30, -60], [300, 0, 330, 30], [0, 200, 30, 230]):
        assert not cut_out(image, outside).size


def test_margin_adds_around_the_same_crop() -> None:
    image, points = noise(500, 500), moved(1.7, 12, 150, 120)
    wide = crop(image, points, margin=8)
    assert wide.shape == (SIZE + 16, SIZE + 16, 3)
    np.testing.assert_allclose(wide[8:-8, 8:-8].astype(int), crop(image, points), atol=2)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.9, 3.7, 8.2])
@pytest.mark.parametrize("degrees", [0, 25, -90])
def test_marks_in_the_picture_land_on_the_template(scale: float, degrees: float) -> None:
    points = moved(scale, degrees, 700, 700)
    points -= points.mean(0) - 700
    marked = points[[0, 2, 4]]  # an eye in red, the nose in green, the mouth in blue
    bells = np.exp(-(((np.arange(1400) + 0.5)[:, None, None] - marked) ** 2) / (18 * scale**2))
    image = (255 * np.einsum("xk,yk->yxk", bells[:, :, 0], bells[:, :, 1])).astype(np.uint8)
    seen = crop(image, points).astype(float)
    weights = seen / seen.sum((0, 1))
    middle = np.arange(SIZE) + 0.5
    found = np.stack([middle @ weights.sum(0), middle @ weights.sum(1)], 1)
    np.testing.assert_allclose(found, TEMPLATE[[0, 2, 4]], atol=0.1)


def test_a_large_face_is_averaged_not_sampled() -> None:
    stripes = np.zeros((1000, 1000, 3), np.uint8)
    stripes[:, ::2] = 255
    seen = crop(stripes, moved(7.9, 0, 20.3, 30.7))
    assert 120 < seen.mean() < 135
    assert seen.std() < 12


def test_beyond_the_picture_is_black() -> None:
    image = np.full((200, 200, 3), 255, np.uint8)
    half = crop(image, TEMPLATE - [SIZE / 2, 0])
    assert half[:, : SIZE // 2].max() == 0
    assert half[:, SIZE // 2 :].min() == 255
    assert crop(image, TEMPLATE + 5000).max() == 0
    assert crop(image, 5000 * TEMPLATE).shape == (SIZE, SIZE, 3)


def test_a_picture_wider_than_opencv_warps() -> None:
    image = np.zeros((SIZE, 40_000, 3), np.uint8)
    image[:, -SIZE:] = noise(SIZE, SIZE)
    points = moved(1, 0, 40_000 - SIZE, 0)
    np.testing.assert_array_equal(crop(image, points), image[:, -SIZE:])


def test_crops_stacks_the_faces_in_their_order() -> None:
    image = noise(300, 600)
    places = [(10, 20), (250, 40)]
    faces = [
        Face(np.zeros(4, np.float32), (TEMPLATE + place).astype(np.float32), 1.0)
        for place in places
    ]
    stacked = crops(image, faces)
    assert stacked.shape == (2, SIZE, SIZE, 3)
    for one, (x, y) in zip(stacked, places, strict=True):
        np.testing.assert_allclose(one.astype(int), image[y : y + SIZE, x : x + SIZE], atol=1)


def test_no_faces_give_no_crops() -> None:
    assert crops(noise(80, 80), []).shape == (0, SIZE, SIZE, 3)
