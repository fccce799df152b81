"""The detector that was trained for this package: a network that finds faces, and one that looks
at each of them again.

The finder is one-shot and anchor-free, as YuNet and SCRFD are (Tian et al. 2019, "FCOS",
arXiv 1904.01355): for each cell of two grids it says whether a face has its middle there, its box
and its five points.  It sees faces of 9 to 72 pixels, so it is shown a pyramid of the picture whose
levels halve, which begins where the smallest face that is looked for has `SEEN` pixels: a large
photo is mostly looked at small.

The second network sees each candidate upright, in a crop of 64 x 64 of the picture's own pixels.
It says whether that is a face and where its points are, and is asked again with the crop that these
points make.

How both were trained: recipes/detector.  What they reach: docs/models/mien-detector.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import BadInput
from mien.parallel import Team
from mien.recognition.align import SIZE, TEMPLATE, similarity, warp
from mien.recognition.detect.nms import Floats, nms
from mien.recognition.onnx.session import session
from mien.types import Face, Image

WEIGHTS = Path(__file__).parent / "weights"
SMALLEST = 12  # pixels of the smallest face that may be asked for
SEEN = 16.0  # pixels of that face on the largest level
OVERVIEW, LONGEST = 192, 4096  # pixels of the largest level's longer side, at least and at most
LARGEST = 1.5  # times that a small picture is enlarged at most
LAST = 40  # pixels of the longer side that the smallest level has at least
TILE, SHARED = 640, 96  # pixels of a level that the finder is shown at once, and that tiles share
GREY = 127  # what the finder takes for nothing, around a tile
STRIDES = (8, 16)  # pixels of a level between the cells of its two grids
SIDE, SHOWN = 64, 150.0  # pixels of a candidate's crop, and the part of the template that it shows
CROPS = 16  # that the second network is shown at once
CANDIDATE = 0.3  # what the finder must say of a face that is looked at again
LOOKS = 3  # at a candidate, each with the crop that the points of the one before make
HOPELESS = 0.1  # of the second network: below, it is not asked again
WEAK = 0.99  # confidence below which the picture is looked at turned as well
TURNED = 0.98  # and which must be reached there
UNION, SMALLER = 0.4, 0.75  # parts of an area that two faces may share

# From the template to a candidate's crop, and where its points lie in one that is exact.
_ZOOM = SIDE / SHOWN
_SHIFT = SIDE / 2 - np.array([SIZE / 2, 64.0]) * _ZOOM
GOAL = TEMPLATE * _ZOOM + _SHIFT

_NOTHING = np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, np.float32)


class MienDetector:
    """Finds faces and their five points; sub-pixel, best confidence first.

    Where nothing or only weak faces are found, the photo may lie on its side and have no tag that
    says so: it is looked at turned too.  How a face is turned, its points say.

    Args:
        min_face: side in pixels of the smallest face that is looked for, 12 or more.  Of a picture
            whose longer side is over 256 times that, faces under 1/256 of it may be missed, which
            bounds the memory.
        threshold: confidence in [0, 1] from which a candidate is a face.
        threads: that work on one picture; by default as many as there are processors to use.
        weights: folder with finder.onnx and points.onnx; by default those of the package.

    Raises:
        BadInput: `min_face` is under 12.
        BadModel: a weights file is missing or damaged.
    """

    def __init__(
        self,
        *,
        min_face: float = 40,
        threshold: float = 0.97,
        threads: int | None = None,
        weights: Path = WEIGHTS,
    ) -> None:
        if not min_face >= SMALLEST:
            raise BadInput(f"the smallest face is {min_face} pixels: give {SMALLEST} or more")
        self.min_face = min_face
        self.threshold = threshold
        self._team = Team(threads)
        self._finder, self._points = (
            session(
                weights / name,
                threads=1,
                otherwise=f"{weights / name} is missing or damaged: install mien again",
            )
            for name in ("finder.onnx", "points.onnx")
        )

    def __call__(self, image: Image) -> list[Face]:
        """The faces of a picture, boxes clipped to it; an empty list where there are none."""
        boxes, points, sure = self._look(image)
        if not len(sure) or sure[0] < WEAK:
            turned = self._look_turned(image, float(sure[0]) if len(sure) else 0.0)
            boxes, points, sure = turned if len(turned[2]) else (boxes, points, sure)
        boxes = boxes.clip(0, np.tile(image.shape[1::-1], 2)).astype(np.float32)
        return [
            Face(box=box, points=five, confidence=float(one))
            for box, five, one in zip(boxes, points, sure, strict=True)
            if box[0] < box[2] and box[1] < box[3]
        ]

    def _look_turned(self, picture: Image, sure: float) -> tuple[Floats, Floats, Floats]:
        """What is found in the picture turned by 90, 180 or 270 degrees, as it lies in the picture.

        Args:
            picture: RGB.
            sure: the highest confidence as it is; what is not surer does not count.
        """
        times = 1
        while max(picture.shape[:2]) > LONGEST and min(picture.shape[:2]) > 1:
            picture, times = _half(picture), 2 * times
        height, width = picture.shape[:2]
        best: tuple[Floats, Floats, Floats] = _NOTHING
        for quarters in (1, 2, 3):
            boxes, points, found = self._look(np.ascontiguousarray(np.rot90(picture, quarters)))
            if len(found) and found[0] > max(sure, TURNED):
                corners = _turned_back(boxes.reshape(-1, 2, 2), quarters, width, height)
                boxes = np.hstack([corners.min(1), corners.max(1)])
                sure = float(found[0])
                points = _turned_back(points, quarters, width, height)
                best = times * boxes, times * points, found
        return best

    def _look(self, picture: Image) -> tuple[Floats, Floats, Floats]:
        """(N, 4) boxes, (N, 5, 2) points and (N,) confidences, best first."""
        found = self.find(picture)
        boxes, points, sure = found[:, 1:5], found[:, 5:].reshape(-1, 5, 2), found[:, 0]
        for _ in range(LOOKS):
            points, sure = self.look_again(picture, points)
            kept = np.flatnonzero(sure >= HOPELESS)
            boxes, points, sure = boxes[kept], points[kept], sure[kept]
        kept = np.flatnonzero(sure >= self.threshold)
        kept = kept[nms(boxes[kept], sure[kept], limit=UNION)]
        kept = kept[nms(boxes[kept], sure[kept], limit=SMALLER, of="smaller")]
        return boxes[kept], points[kept], sure[kept]

    def find(self, picture: Image) -> Floats:
        """(N, 15) candidates of the finder: confidence, box and points, best first."""
        tiles = [tile for level in self._levels(picture) for tile in _tiles(*level)]
        found = np.concatenate(self._team.map(self._find_in, tiles))
        found = found[nms(found[:, 1:5], found[:, 0], limit=UNION)]
        sides = np.sqrt((found[:, 3] - found[:, 1]) * (found[:, 4] - found[:, 2]))
        return cast("Floats", found[sides >= 0.75 * self.min_face])

    def look_again(self, picture: Image, points: Floats) -> tuple[Floats, Floats]:
        """What the second network says of candidates: (N, 5, 2) points, and (N,) being a face."""
        if not len(points):
            return points, np.empty(0, np.float32)
        matrices = np.array([to_crop(five) for five in points])
        parts = [matrices[i : i + CROPS] for i in range(0, len(matrices), CROPS)]
        said = np.concatenate(self._team.map(lambda part: self._crops(picture, part), parts))
        places = (said[:, :10].reshape(-1, 5, 2) * 8 + GOAL)[:, :, :, None]
        back = np.linalg.inv(matrices[:, None, :, :2])
        points = (back @ (places - matrices[:, None, :, 2:]))[..., 0]
        return points.astype(np.float32), _sigmoid(said[:, 10])

    def _crops(self, picture: Image, matrices: NDArray[np.float64]) -> Floats:
        crops = np.stack([warp(picture, matrix, SIDE) for matrix in matrices])
        return cast("Floats", self._points.run(None, {"pixels": crops})[0])

    def _levels(self, picture: Image) -> Iterator[tuple[Image, NDArray[np.float64]]]:
        """The picture smaller and smaller, each with how many of its pixels one of theirs is."""
        longest = max(picture.shape[:2])
        scale = max(SEEN / self.min_face, min(LARGEST, OVERVIEW / longest))
        scale = min(scale, LONGEST / longest)
        halved, times = picture, 1
        while scale * times <= 0.5 and min(halved.shape[:2]) > 1:
            halved, times = _half(halved), 2 * times
        level = _resized(halved, scale * times)
        size = times * np.array(halved.shape[1::-1]) / level.shape[1::-1]
        while True:
            yield level, size
            if max(level.shape[:2]) < 2 * LAST or min(level.shape[:2]) < 2:
                return
            level, size = _half(level), 2 * size

    def _find_in(self, tile: tuple[Image, NDArray[np.float64], NDArray[np.intp]]) -> Floats:
        pixels, scale, corner = tile
        rows, columns = pixels.shape[:2]
        padded = np.full((-(-rows // 16) * 16, -(-columns // 16) * 16, 3), GREY, np.uint8)
        padded[:rows, :columns] = pixels
        grids = self._finder.run(None, {"pixels": padded[None]})
        found = np.concatenate(
            [_decoded(grid[0], stride) for grid, stride in zip(grids, STRIDES, strict=True)]
        )
        places = found[:, 1:].reshape(-1, 7, 2)
        found[:, 1:] = ((places + corner) * scale).reshape(-1, 14)
        return cast("Floats", found)


def _decoded(grid: Floats, stride: int) -> Floats:
    """(N, 15) confidence, box and points of a grid's (15, H, W), where they are candidates."""
    cells = np.flatnonzero(grid[0] >= np.log(CANDIDATE / (1 - CANDIDATE)))
    said = grid.reshape(15, -1)[:, cells].T
    middle = (np.stack([cells % grid.shape[2], cells // grid.shape[2]], 1) + 0.5) * stride
    centre = middle + said[:, 1:3] * stride
    half = np.exp(said[:, 3:5].clip(-4, 4)) * (1.25 * stride)
    points = middle[:, None] + said[:, 5:].reshape(-1, 5, 2) * (2 * stride)
    parts = [_sigmoid(said[:, :1]), centre - half, centre + half, points.reshape(-1, 10)]
    return np.hstack(parts).astype(np.float32)


def _sigmoid(x: Floats) -> Floats:
    return cast("Floats", 1 / (1 + np.exp(-x)))


def to_crop(points: Floats) -> NDArray[np.float64]:
    """(2, 3) from the picture to a candidate's crop, of the whole picture where it is no face."""
    try:
        matrix = similarity(points) * _ZOOM
    except ValueError:
        return np.eye(2, 3)
    matrix[:, 2] += _SHIFT
    return matrix


def _tiles(
    level: Image, scale: NDArray[np.float64]
) -> Iterator[tuple[Image, NDArray[np.float64], NDArray[np.intp]]]:
    """Parts of a level that share their borders, each with the level's scale and its corner."""
    starts = [range(0, max(1, side - SHARED), TILE - SHARED) for side in level.shape[:2]]
    for top, left in product(*starts):
        yield level[top : top + TILE, left : left + TILE], scale, np.array([left, top])


def _half(image: Image) -> Image:
    """The picture half as large, without its last row or column if they are odd."""
    rows, columns = (side // 2 for side in image.shape[:2])
    whole = image[: 2 * rows, : 2 * columns]
    return cast("Image", cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA))


def _resized(image: Image, scale: float) -> Image:
    """The picture in another size, by linear interpolation."""
    rows, columns = (max(1, round(side * scale)) for side in image.shape[:2])
    if (rows, columns) == image.shape[:2]:
        return image
    return cast("Image", cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR))


def _turned_back(places: Floats, quarters: int, width: int, height: int) -> Floats:
    """Places (..., 2) of a picture that was turned to the left, in the picture of this size."""
    x, y = places[..., 0], places[..., 1]
    back = {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[quarters]
    return np.stack(back, -1)
