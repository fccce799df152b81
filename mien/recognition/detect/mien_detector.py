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

The last word on the points has the third network of MTCNN, which is shown each face upright and as
large as those that it was trained on.

How both were trained: recipes/detector.  What they reach: docs/models/mien-detector.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.boxes import Floats, nms
from mien.errors import BadModel
from mien.files import contents
from mien.parallel import Team
from mien.recognition.align import SIZE, TEMPLATE
from mien.recognition.detect import mtcnn
from mien.recognition.detect.pyramid import depth_of, in_halves, require_min_face, shrunk
from mien.recognition.onnx.runtime import PLAIN
from mien.recognition.onnx.session import network
from mien.types import Face, Image

WEIGHTS = Path(__file__).parent / "weights"
SEEN = 16.0  # pixels of that face on the largest level
OVERVIEW, LONGEST = 192, 4096  # pixels of the largest level's longer side, at least and at most
LARGEST = 1.5  # times that a small picture is enlarged at most
LAST = 40  # pixels of the longer side that the smallest level has at least
TILE, SHARED = 640, 96  # pixels of a level that the finder is shown at once, and that tiles share
GREY = 127  # what the finder takes for nothing, around a tile
STRIDES = (8, 16)  # pixels of a level between the cells of its two grids
SIDE, SHOWN = 64, 150.0  # pixels of a candidate's crop, and the part of the template that it shows
TINY = 1e-6  # the scale, or the spread in square pixels, of points that are no face
CROPS = 16  # that the other networks are shown at once
CANDIDATE = 0.3  # what the finder must say of a face that is looked at again
HOPELESS = 0.1  # of the second network: below, it is not asked again
WEAK = 0.9975  # confidence below which the picture is looked at turned too, and needed there
# Where nothing is found, candidates are looked at as they are and aside, by a part of their side.
ASIDE = 0.06 * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], np.float32)
GRID = 8  # places in a pixel where the points may be that make a crop
SHARE = 0.05  # of the picture's longer side that a face has which shows how that lies
UNION, SMALLER = 0.4, 0.5  # parts of an area that two faces may share

# Where the points lie in a candidate's crop that is exact.
_ZOOM = SIDE / SHOWN
GOAL = (TEMPLATE - (SIZE / 2, 64)) * _ZOOM + SIDE / 2
# And in what MTCNN's last network is shown, of the size and place that its boxes have.
CUT, SURE = 48, 0.7  # pixels of it, and the confidence from which its points count
CUT_GOAL = (TEMPLATE - (54.3, 70.1)) * (CUT / 95.3) + CUT / 2


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
        runtime: what runs it, one of `RUNTIMES`.

    Raises:
        BadInput: `min_face` is under 12.
        BadModel: a weights file is missing or damaged.
    """

    networks = ("finder", "points", "confirm")

    def __init__(
        self,
        *,
        min_face: float = 40,
        threshold: float = 0.99,
        threads: int | None = None,
        weights: Path = WEIGHTS,
        runtime: str = PLAIN,
    ) -> None:
        require_min_face(min_face)
        self.min_face = min_face
        self.threshold = threshold
        self._team = Team(threads)
        self._folder = weights
        self._finder, self._points, self._confirm = (
            network(
                self.network(name),
                threads=1,
                runtime=runtime,
                otherwise=_unusable(self._path(name)),
            )
            for name in self.networks
        )

    def network(self, name: str) -> bytes:
        """The ONNX file of one of `networks`.

        Raises:
            BadModel: it is missing.
        """
        if name in mtcnn.FILES:
            return mtcnn.network(name)
        try:
            return contents(self._path(name))
        except OSError as error:
            raise BadModel(_unusable(self._path(name))) from error

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.onnx"

    def __call__(self, image: Image) -> list[Face]:
        """The faces of a picture, boxes clipped to it; an empty list where there are none."""
        halves = in_halves(image)
        found = self.find(halves, self.min_face)
        turned, (boxes, points, sure) = 0, self._faces(halves, found)
        if not len(sure) or sure[0] < WEAK:
            quarters = self._lies(image)
            seen = self._look_turned(image, quarters) if quarters else None
            if seen:
                turned, (boxes, points, sure) = 90 * quarters, seen
            elif not len(sure):
                boxes, points, sure = self._doubted(halves, found)
        boxes = boxes.clip(0, np.tile(image.shape[1::-1], 2)).astype(np.float32)
        return [
            Face(box=box, points=five, confidence=float(one), turned=turned)
            for box, five, one in zip(boxes, points, sure, strict=True)
            if box[0] < box[2] and box[1] < box[3]
        ]

    def _lies(self, picture: Image) -> int:
        """Quarter turns to the left after which a face is not weak; 0: none is.

        Only large faces are looked for, in a picture that is no larger than that takes: this is
        done for all pictures that show nobody.
        """
        small, times = picture, 1
        least = max(2 * self.min_face, max(picture.shape[:2]) * SHARE)
        while least > 4 * SEEN * times and min(small.shape[:2]) > 1:
            small, times = _half(small), 2 * times
        best, sure = 0, WEAK
        for quarters in (1, 2, 3):
            upright = np.ascontiguousarray(np.rot90(small, quarters))
            found = self._look(upright, least / times)[2]
            if len(found) and found[0] > sure:
                best, sure = quarters, float(found[0])
        return best

    def _look_turned(self, picture: Image, quarters: int) -> tuple[Floats, Floats, Floats] | None:
        """What `_look` finds in the picture turned to the left, as it lies in the picture."""
        times = 1
        while max(picture.shape[:2]) > LONGEST and min(picture.shape[:2]) > 1:
            picture, times = _half(picture), 2 * times
        height, width = picture.shape[:2]
        upright = np.ascontiguousarray(np.rot90(picture, quarters))
        boxes, points, sure = self._look(upright, self.min_face / times)
        if not len(sure):
            return None
        corners = _turned_back(boxes.reshape(-1, 2, 2), quarters, width, height)
        boxes = np.hstack([corners.min(1), corners.max(1)])
        return times * boxes, times * _turned_back(points, quarters, width, height), sure

    def _look(self, picture: Image, min_face: float) -> tuple[Floats, Floats, Floats]:
        """(N, 4) boxes, (N, 5, 2) points and (N,) confidences, best first."""
        halves = in_halves(picture)
        return self._faces(halves, self.find(halves, min_face))

    def _faces(self, halves: list[Image], found: Floats) -> tuple[Floats, Floats, Floats]:
        """The candidates that are faces: as `_look`."""
        boxes, points, finder = _parts(found)
        points, odds = self.look_again(halves, points)
        kept = _best(boxes, odds, HOPELESS)
        boxes, finder = boxes[kept], finder[kept]
        points, odds = self.look_again(halves, points[kept])
        return self._sure(halves, boxes, points, odds + finder)

    def _doubted(self, halves: list[Image], found: Floats) -> tuple[Floats, Floats, Floats]:
        """The same where those are none, by the mean of more looks."""
        boxes, points, finder = _parts(found)
        for _ in range(2):
            points, odds = self.look_again(halves, points)
        hopeful = odds + finder >= _logit(HOPELESS)
        boxes, points, finder = boxes[hopeful], points[hopeful], finder[hopeful]
        sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], 1))
        views = points + ASIDE[:, None, None] * sides[:, None, None]
        odds = self.look_again(halves, views.reshape(-1, 5, 2))[1].reshape(len(ASIDE), -1).mean(0)
        return self._sure(halves, boxes, points, odds + finder)

    def _sure(
        self, halves: list[Image], boxes: Floats, points: Floats, odds: Floats
    ) -> tuple[Floats, Floats, Floats]:
        kept = _best(boxes, odds, self.threshold)
        return boxes[kept], self.settle(halves, points[kept]), _sigmoid(odds[kept])

    def find(self, halves: list[Image], min_face: float) -> Floats:
        """(N, 15) candidates of the finder: confidence, box and points, best first."""
        tiles = [tile for level in self._levels(halves, min_face) for tile in _tiles(*level)]
        found = np.concatenate(self._team.map(self._find_in, tiles))
        found = found[nms(found[:, 1:5], found[:, 0], limit=UNION)]
        sides = np.sqrt((found[:, 3] - found[:, 1]) * (found[:, 4] - found[:, 2]))
        return cast("Floats", found[sides >= 0.75 * min_face])

    def look_again(self, halves: list[Image], points: Floats) -> tuple[Floats, Floats]:
        """What the second network says of candidates: (N, 5, 2) points, (N,) log-odds of a face.

        Args:
            halves: of the picture.
            points: (N, 5, 2) where the candidates' are, about.
        """

        def say(crops: Image) -> Floats:
            return cast("Floats", self._points(crops)[0])

        said, back = self._in_crops(say, halves, points, GOAL, SIDE)
        return back(8 * said[:, :10].reshape(-1, 5, 2) + GOAL), said[:, 10]

    def settle(self, halves: list[Image], points: Floats) -> Floats:
        """(N, 5, 2) the points that MTCNN's network gives, or these where it sees no face."""

        def say(crops: Image) -> Floats:
            swapped = np.ascontiguousarray(crops.swapaxes(1, 2))  # see `mtcnn`
            return np.hstack(self._confirm(swapped)[1:])

        said, back = self._in_crops(say, halves, points, CUT_GOAL, CUT)
        places = CUT * said[:, :10].reshape(-1, 2, 5).swapaxes(1, 2)
        return np.where(said[:, 10:, None] >= SURE, back(places), points)

    def _in_crops(
        self,
        say: Callable[[Image], Floats],
        halves: list[Image],
        points: Floats,
        goal: NDArray[np.float64],
        side: int,
    ) -> tuple[Floats, Callable[[NDArray[Any]], Floats]]:
        """(N, 11) what a network says of crops, and what leads from there to the picture."""
        # Off the grid, the last bit of a sum, which differs between processors, would move pixels.
        matrices = to_crop(np.floor(points * GRID + 0.5) / GRID, goal)
        parts = [matrices[i : i + CROPS] for i in range(0, len(matrices), CROPS)]
        said = self._team.map(lambda part: say(_crops(halves, part, side)), parts)

        def back(places: NDArray[Any]) -> Floats:
            moved = (places - matrices[:, None, :, 2])[..., None]
            return (np.linalg.inv(matrices[:, None, :, :2]) @ moved)[..., 0].astype(np.float32)

        return np.concatenate([np.empty((0, 11), np.float32), *said]), back

    def _levels(
        self, halves: list[Image], min_face: float
    ) -> Iterator[tuple[Image, NDArray[np.float64]]]:
        """The picture smaller and smaller, each with how many of its pixels one of theirs is."""
        longest = max(halves[0].shape[:2])
        scale = max(SEEN / min_face, min(LARGEST, OVERVIEW / longest))
        scale = min(scale, LONGEST / longest)
        times = 2 ** int(depth := depth_of(1 / scale, halves))
        level = _resized(halves[depth], scale * times)
        size = times * np.array(halves[depth].shape[1::-1]) / level.shape[1::-1]
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
        grids = self._finder(padded[None])
        found = np.concatenate(
            [_decoded(grid[0], stride) for grid, stride in zip(grids, STRIDES, strict=True)]
        )
        places = found[:, 1:].reshape(-1, 7, 2)
        found[:, 1:] = ((places + corner) * scale).reshape(-1, 14)
        return cast("Floats", found)


def _unusable(path: Path) -> str:
    return f"{path} is missing or damaged: install mien again"


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


def _parts(found: Floats) -> tuple[Floats, Floats, Floats]:
    """(N, 4) boxes, (N, 5, 2) points and (N,) log-odds of candidates."""
    return found[:, 1:5], found[:, 5:].reshape(-1, 5, 2), _logit(found[:, 0])


def _best(boxes: Floats, odds: Floats, least: float) -> NDArray[np.intp]:
    """The rows of this confidence and more, each face once, best first."""
    kept = np.flatnonzero(_sigmoid(odds) >= least)
    kept = kept[nms(boxes[kept], odds[kept], limit=UNION)]
    return kept[nms(boxes[kept], odds[kept], limit=SMALLER, of="smaller")]


def _logit(x: Any) -> Floats:
    return cast("Floats", np.log(x / (1 - x)))


def _sigmoid(x: Floats) -> Floats:
    return cast("Floats", 1 / (1 + np.exp(-x)))


def to_crop(points: Floats, goal: NDArray[np.float64] = GOAL) -> NDArray[np.float64]:
    """From the picture to crops in which the points lie on the goal: (..., 2, 3) matrices.

    They are `align.similarity` of many; where that fixes no face, at the picture's own scale.
    """
    z, there = points.astype(np.float64) @ (1, 1j), goal @ (1, 1j)
    centred = z - z.mean(-1, keepdims=True)
    spread = (np.abs(centred) ** 2).sum(-1)
    a = (centred.conj() @ there) / np.where(spread > TINY, spread, 1)
    a = np.where(np.abs(a) > TINY, a, 1)
    b = there.mean() - a * z.mean(-1)
    rows = [[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def _crops(halves: list[Image], matrices: NDArray[np.float64], side: int) -> Image:
    """(N, side, side, 3): what candidates' crops show, black where the picture ends."""
    crops = np.empty((len(matrices), side, side, 3), np.uint8)
    scale = np.hypot(*matrices[:, :, 0].T)
    depths = depth_of(1 / scale, halves)
    for crop, matrix, depth in zip(crops, matrices, depths, strict=True):
        from_half = matrix * [[2.0**depth, 2.0**depth, 1]]
        # Points count from the picture's corner, OpenCV from the middle of its first pixel.
        from_half[:, 2] += from_half[:, :2] @ (0.5, 0.5) - 0.5
        cv2.warpAffine(halves[depth], from_half, (side, side), dst=crop)
    return crops


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
    return shrunk(image[: 2 * rows, : 2 * columns], rows, columns)


def _resized(image: Image, scale: float) -> Image:
    """The picture in another size, sampled between its pixels."""
    rows, columns = (max(1, int(side * scale + 0.5)) for side in image.shape[:2])
    if (rows, columns) == image.shape[:2]:
        return image
    x, y = image.shape[1] / columns, image.shape[0] / rows
    matrix = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    resized = cv2.warpAffine(
        image, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return cast("Image", resized)


def _turned_back(places: Floats, quarters: int, width: int, height: int) -> Floats:
    """Places (..., 2) of a picture that was turned to the left, in the picture of this size."""
    x, y = places[..., 0], places[..., 1]
    back = {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[quarters]
    return np.stack(back, -1)
