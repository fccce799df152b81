"""YuNet, from a file of the user's own: a small network that finds faces in one shot.

Wu, Peng, Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research.
Files of it are published with libfacedetection and in OpenCV's zoo of models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien.errors import BadModel
from mien.recognition.detect.nms import Floats, nms
from mien.recognition.onnx.session import runtime_errors, session
from mien.types import Face, Image

LONGEST = 2048  # pixels: pictures with a longer side are shrunk to this, which bounds the memory
STRIDES = (8, 16, 32)  # pixels between the places of its three grids
UNION = 0.45  # part of their union that two boxes may share


class YuNet:
    """Finds faces and their five points, best confidence first.

    Args:
        file: an ONNX file of YuNet that takes pictures of any size.
        threshold: confidence in [0, 1] from which something is a face.
        threads: that work on one picture; by default as many as there are processors to use.

    Raises:
        BadModel: the file is missing or damaged, or no YuNet.
    """

    def __init__(self, file: Path, *, threshold: float = 0.7, threads: int | None = None) -> None:
        self.threshold = threshold
        self._file = file
        self._network = session(file, threads=threads, otherwise=f"{file} is no network of YuNet")
        self._outputs = [output.name for output in self._network.get_outputs()]
        missing = {f"{part}_{s}" for part in ("cls", "obj", "bbox", "kps") for s in STRIDES}
        if missing - set(self._outputs):
            raise BadModel(f"{file} is no network of YuNet: give one of libfacedetection's")
        self._input = self._network.get_inputs()[0].name

    def __call__(self, image: Image) -> list[Face]:
        """The faces of a picture, boxes clipped to it; an empty list where there are none.

        Raises:
            BadModel: the network takes pictures of one size only.
        """
        shrink = min(1.0, LONGEST / max(image.shape))
        rows, columns = (max(1, round(side * shrink)) for side in image.shape[:2])
        small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
        pixels = np.zeros((-(-rows // 32) * 32, -(-columns // 32) * 32, 3), np.float32)
        pixels[:rows, :columns] = small[:, :, ::-1]
        try:
            said = self._network.run(None, {self._input: pixels.transpose(2, 0, 1)[None]})
        except runtime_errors() as error:
            raise BadModel(f"{self._file} does not take pictures of any size") from error
        outputs = dict(zip(self._outputs, said, strict=True))
        found = np.concatenate([self._decoded(outputs, s, pixels.shape[1]) for s in STRIDES])
        found = found[nms(found[:, 1:5], found[:, 0], limit=UNION)]
        size = np.array(image.shape[1::-1])
        places = found[:, 1:].reshape(-1, 7, 2) * (size / (columns, rows))
        boxes = places[:, :2].clip(0, size).reshape(-1, 4).astype(np.float32)
        return [
            Face(box=box, points=points, confidence=float(sure))
            for box, points, sure in zip(
                boxes, places[:, 2:].astype(np.float32), found[:, 0], strict=True
            )
            if box[0] < box[2] and box[1] < box[3]
        ]

    def _decoded(self, outputs: dict[str, Any], stride: int, width: int) -> Floats:
        """(N, 15) confidence, box and points of a grid, where they reach the threshold."""
        part = {name: outputs[f"{name}_{stride}"][0] for name in ("cls", "obj", "bbox", "kps")}
        sure = np.sqrt(part["cls"][:, 0].clip(0, 1) * part["obj"][:, 0].clip(0, 1))
        kept = np.flatnonzero(sure >= self.threshold)
        columns = width // stride
        place = np.stack([kept % columns, kept // columns], 1)
        middle = (place + part["bbox"][kept, :2]) * stride
        half = np.exp(part["bbox"][kept, 2:]) * stride / 2
        points = (place[:, None] + part["kps"][kept].reshape(-1, 5, 2)) * stride
        rows = [sure[kept, None], middle - half, middle + half, points.reshape(-1, 10)]
        return np.hstack(rows).astype(np.float32)
