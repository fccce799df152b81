"""YuNet or SCRFD, from a file of the user's own: networks that find faces in one shot.

Wu, Peng, Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research:
published with libfacedetection and in OpenCV's zoo of models.  Guo et al. 2022, "Sample and
Computation Redistribution for Efficient Face Detection", arXiv 2105.04714: InsightFace's `det_*`
and `scrfd_*` files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien.boxes import Floats, nms
from mien.errors import BadModel
from mien.recognition.onnx.runtime import PLAIN
from mien.recognition.onnx.session import network, runtime_errors
from mien.types import Face, Image

STRIDES = (8, 16, 32)  # pixels between the places of the three grids


@dataclass(frozen=True, slots=True)
class Family:
    """What its networks take, and how they are used."""

    longest: int  # pixels: pictures with a longer side are shrunk to this, which bounds the memory
    threshold: float  # confidence in [0, 1] from which something is a face
    union: float  # part of their union that two boxes may share
    bgr: bool
    mean: float  # subtracted from values of 0 to 255
    deviation: float


YUNET = Family(2048, 0.7, 0.45, bgr=True, mean=0, deviation=1)
SCRFD = Family(640, 0.5, 0.4, bgr=False, mean=127.5, deviation=128)  # the size that it learned at


class OneShot:
    """Finds faces and their five points, best confidence first.

    Args:
        file: an ONNX file of YuNet or SCRFD.
        threshold: confidence in [0, 1] from which something is a face; by default the family's.
        threads: that work on one picture; by default as many as there are processors to use.
        runtime: what runs it, one of `RUNTIMES`.

    Raises:
        BadModel: the file is missing or damaged, or of neither family.
    """

    def __init__(
        self,
        file: Path,
        *,
        threshold: float | None = None,
        threads: int | None = None,
        runtime: str = PLAIN,
    ) -> None:
        self.file = file
        strange = f"{file} is no detector of the YuNet or SCRFD family with five points"
        self._network = network(file, threads=threads, runtime=runtime, otherwise=strange)
        named = {f"{part}_{s}" for part in ("cls", "obj", "bbox", "kps") for s in STRIDES}
        self._family = YUNET if named <= set(self._network.outputs) else SCRFD
        sides = [side for side in self._network.shape[2:] if side]
        # (height, width) where it takes pictures of one size only
        self._fixed = (sides[0], sides[1]) if len(sides) == 2 else None
        self.threshold = self._family.threshold if threshold is None else threshold
        try:
            self(np.zeros((64, 64, 3), np.uint8))
        except runtime_errors(KeyError, ValueError, IndexError) as error:
            raise BadModel(strange) from error

    def __call__(self, image: Image) -> list[Face]:
        """The faces of a picture, boxes clipped to it; an empty list where there are none."""
        height, width = image.shape[:2]
        if self._fixed:
            scale = min(self._fixed[0] / height, self._fixed[1] / width)
        else:
            scale = min(1.0, self._family.longest / max(height, width))
        rows, columns = (max(1, round(side * scale)) for side in (height, width))
        shape = self._fixed or (-(-rows // 32) * 32, -(-columns // 32) * 32)
        pixels = np.zeros((*shape, 3), np.float32)
        pixels[:rows, :columns] = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
        pixels = (pixels[:, :, ::-1] if self._family.bgr else pixels) - self._family.mean
        batch = np.ascontiguousarray((pixels / self._family.deviation).transpose(2, 0, 1)[None])
        said = self._network(batch)
        if self._family is YUNET:
            outputs = dict(zip(self._network.outputs, said, strict=True))
            grids = [_yunet(outputs, s, shape[1], self.threshold) for s in STRIDES]
        else:
            grids = _scrfd(said, shape, self.threshold)
        found = np.concatenate(grids)
        found = found[nms(found[:, 1:5], found[:, 0], limit=self._family.union)]
        size = np.array([width, height])
        places = found[:, 1:].reshape(-1, 7, 2) * (size / (columns, rows))
        boxes = places[:, :2].clip(0, size).reshape(-1, 4).astype(np.float32)
        return [
            Face(box=box, points=points, confidence=float(sure))
            for box, points, sure in zip(
                boxes, places[:, 2:].astype(np.float32), found[:, 0], strict=True
            )
            if box[0] < box[2] and box[1] < box[3]
        ]


def _yunet(outputs: Mapping[str, Any], stride: int, width: int, threshold: float) -> Floats:
    """(N, 15) confidence, box and points of a grid, where they reach the threshold."""
    part = {name: outputs[f"{name}_{stride}"][0] for name in ("cls", "obj", "bbox", "kps")}
    sure = np.sqrt(part["cls"][:, 0].clip(0, 1) * part["obj"][:, 0].clip(0, 1))
    kept = np.flatnonzero(sure >= threshold)
    place = _places(kept, width // stride)
    middle = (place + part["bbox"][kept, :2]) * stride
    half = np.exp(part["bbox"][kept, 2:]) * stride / 2
    points = (place[:, None] + part["kps"][kept].reshape(-1, 5, 2)) * stride
    return _rows(sure[kept], middle - half, middle + half, points)


def _scrfd(outputs: list[Any], shape: tuple[int, ...], threshold: float) -> list[Floats]:
    """The same of all grids: each place has as many rows as there are anchors.

    The outputs have names of no meaning: what they are, their last size says, and which grid's,
    how many rows they have.

    Raises:
        ValueError: they are not the outputs of an SCRFD.
    """
    scores, sides, points = (
        sorted((one for one in outputs if one.shape[-1] == size), key=lambda one: -one.size)
        for size in (1, 4, 10)
    )
    grids = []
    for stride, score, side, five in zip(STRIDES, scores, sides, points, strict=True):
        columns = shape[1] // stride
        anchors, rest = divmod(score.size, columns * (shape[0] // stride))
        if not anchors or rest:
            raise ValueError(f"{score.size} scores of a grid of {columns} columns")
        kept = np.flatnonzero(score >= threshold)
        middle = _places(kept // anchors, columns) * stride
        reach = side.reshape(-1, 2, 2)[kept] * stride  # to the left and up, to the right and down
        five = middle[:, None] + five.reshape(-1, 5, 2)[kept] * stride
        grids.append(_rows(score.ravel()[kept], middle - reach[:, 0], middle + reach[:, 1], five))
    return grids


def _places(cells: Any, columns: int) -> Any:
    """(N, 2) x and y of a grid's cells."""
    return np.stack([cells % columns, cells // columns], 1)


def _rows(sure: Any, first: Any, last: Any, points: Any) -> Floats:
    return np.hstack([sure[:, None], first, last, points.reshape(-1, 10)]).astype(np.float32)
