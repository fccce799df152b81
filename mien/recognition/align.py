"""Alignment: five landmarks to an upright crop.  Owns the template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import NoFace
from mien.images import read
from mien.recognition import quality
from mien.types import Crops, Detector, Face, Image

SIZE = 112  # pixels, the side of a crop
MARGIN = 0.5  # of a face's size, the margin of a cut-out
TINY = 1e-6  # the scale, or the spread in square pixels, of points that are no face

# Where the eyes, the nose and the corners of the mouth belong in it, x and y (ArcFace, 1801.07698).
TEMPLATE: NDArray[np.float64] = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
TEMPLATE.flags.writeable = False


# Where the five points lie in a box around a face, in shares of its sides: the mean of what our
# detector finds in faces that look ahead.
_IN_BOX = np.array([[0.28, 0.35], [0.72, 0.35], [0.5, 0.57], [0.3, 0.72], [0.7, 0.72]])


def similarity(points: ArrayLike) -> NDArray[np.float64]:
    """The similarity transform that brings five points closest to the template.

    Least squares in closed form, without reflection (Umeyama, 1991).  In the plane such a map is
    z -> a z + b of complex numbers, so it is an ordinary straight-line fit.

    Args:
        points: (5, 2) x and y in pixels of the picture, in the order of `Face.points`.

    Returns:
        (2, 3) matrix M with template = M @ (x, y, 1).

    Raises:
        ValueError: not five finite points, or degenerate ones, such as five equal points.
    """
    source = np.asarray(points, np.float64)
    if source.shape != TEMPLATE.shape or not np.isfinite(source).all():
        raise ValueError(f"a face has five points (x, y), not {source.tolist()}")
    z, goal = source @ (1, 1j), TEMPLATE @ (1, 1j)
    centred = z - z.mean()
    spread = np.vdot(centred, centred).real
    a = np.vdot(centred, goal) / spread if spread > TINY else 0
    if abs(a) < TINY:
        raise ValueError(f"these points do not fix a face: {source.tolist()}")
    b = goal.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def crop(image: Image, points: ArrayLike, *, margin: int = 0) -> Image:
    """The aligned face, its points on the template; black outside the picture.

    A large face is first averaged down by an integer factor: bilinear sampling alone would skip
    most of its pixels, and the crop would flicker with every shift.

    Args:
        image: the picture, RGB.
        points: (5, 2) x and y, in pixels of the picture.
        margin: pixels of the crop that are added on every side, at the same scale.

    Returns:
        (112 + 2 margin, 112 + 2 margin, 3) RGB.

    Raises:
        ValueError: as `similarity`.
    """
    matrix = similarity(points)
    matrix[:, 2] += margin
    return warp(image, matrix, SIZE + 2 * margin)


def warp(image: Image, matrix: NDArray[np.float64], side: int) -> Image:
    """A square view of a picture, black outside it; averaged down as in `crop`.

    Args:
        image: the picture, RGB.
        matrix: (2, 3), a similarity: from (x, y, 1) in the picture to the view.
        side: of the view, in pixels.

    Returns:
        (side, side, 3) RGB.
    """
    matrix = matrix.copy()
    factor = max(1, int(1 / np.hypot(*matrix[:, 0])))
    left, top, right, bottom = _region(image, matrix, side, spare=2 * factor)
    columns, rows = (right - left) // factor, (bottom - top) // factor
    if not (columns and rows):
        return np.zeros((side, side, 3), np.uint8)
    part = image[top : top + factor * rows, left : left + factor * columns]
    small = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    matrix[:, 2] += matrix[:, :2] @ (left, top)
    matrix[:, :2] *= factor
    # Points count from the picture's corner, OpenCV from the middle of its first pixel.
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return cast("Image", cv2.warpAffine(small, matrix, (side, side), flags=cv2.INTER_LINEAR))


def crops(image: Image, faces: Sequence[Face]) -> Crops:
    """The aligned crops of a picture's faces, (N, 112, 112, 3), in their order."""
    aligned = [crop(image, face.points) for face in faces]
    return np.stack(aligned) if aligned else np.empty((0, SIZE, SIZE, 3), np.uint8)


def points_in(box: ArrayLike) -> NDArray[np.float32]:
    """Where the points of a face are, (5, 2), that looks ahead and is known by its box alone.

    Args:
        box: x1, y1, x2, y2.
    """
    edges = np.asarray(box, np.float64)
    points: NDArray[np.float64] = edges[:2] + _IN_BOX * (edges[2:] - edges[:2])
    return points.astype(np.float32)


def cut_out(image: Image, box: Sequence[float]) -> Image:
    """A face cut out with a margin of half its size, clipped to the picture.

    Args:
        image: the picture, RGB.
        box: x1, y1, x2, y2 in its pixels; one outside the picture gives an empty one.
    """
    x1, y1, x2, y2 = box
    margin = MARGIN * max(x2 - x1, y2 - y1)
    left, top, right, bottom = (
        max(0, round(edge)) for edge in (x1 - margin, y1 - margin, x2 + margin, y2 + margin)
    )
    return image[top:bottom, left:right]


def read_face(path: Path, detector: Detector, *, margin: int = 0) -> Image:
    """The aligned largest face of a photo in a file, with a margin in pixels.

    Raises:
        NoFace: the photo shows no face that can be aligned.
        BadInput: it cannot be read.
    """
    image = read(path)
    faces = quality.largest(detector(image))
    if not faces:
        raise NoFace(f"{path} shows no face")
    try:
        return crop(image, faces[0].points, margin=margin)
    except ValueError as error:
        raise NoFace(f"{path} shows nothing that can be aligned: {error}") from error


def _region(image: Image, matrix: NDArray[np.float64], side: int, spare: int) -> list[int]:
    """Left, top, right and bottom of the region that a crop shows, with some pixels around it."""
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]])
    shown = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    limit = image.shape[1::-1]
    low = np.clip(np.floor(shown.min(0)) - spare, 0, limit)
    high = np.clip(np.ceil(shown.max(0)) + spare, 0, limit)
    return [int(edge) for edge in (*low, *high)]
