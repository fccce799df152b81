"""A picture at smaller and smaller sizes, for detectors that look for faces of any size."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import BadInput
from mien.types import Image

SMALLEST = 12  # pixels of the smallest face that may be asked for, and of what is seen at once


def require_min_face(pixels: float) -> None:
    """Do nothing for the side of a face that can be looked for.

    Raises:
        BadInput: it is under `SMALLEST`, or no number.
    """
    if not pixels >= SMALLEST:
        raise BadInput(f"the smallest face is {pixels} pixels: give {SMALLEST} or more")


def in_halves(picture: Image) -> list[Image]:
    """The picture, and smaller and smaller ones, each the mean of 2 x 2 pixels of the one before.

    What is cut out small is sampled from one of about its size: quick, and without aliasing.
    """
    halves = [picture]
    while min(halves[-1].shape[:2]) >= 2 * SMALLEST:
        rows, columns = (side // 2 for side in halves[-1].shape[:2])
        halves.append(shrunk(halves[-1][: 2 * rows, : 2 * columns], rows, columns))
    return halves


def depth_of(shrink: ArrayLike, halves: list[Image]) -> NDArray[np.intp]:
    """Which of the halves to sample for results that many times smaller than the picture."""
    return np.clip(np.log2(shrink), 0, len(halves) - 1).astype(np.intp)


def shrunk(picture: Image, rows: int, columns: int) -> Image:
    """The picture in another size, each pixel the mean of what it covers."""
    return cast("Image", cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA))
