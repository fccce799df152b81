"""Others' recognition to be measured beside: what `face_recognition` does by default, through dlib.

The package itself cannot be installed without a compiler; its models can, and so can dlib built
ready (`dlib-bin`).  The three calls here are those that its `face_locations` and `face_encodings`
make.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MissingExtra
from mien.types import Image


class FaceRecognition:
    """dlib's HOG detector on the picture at twice its size, five points, and a ResNet of 29 layers.

    Raises:
        MissingExtra: dlib or the models are not installed.
    """

    name = "face_recognition"

    def __init__(self) -> None:
        spec = importlib.util.find_spec("face_recognition_models")
        try:
            dlib = importlib.import_module("dlib")
        except ModuleNotFoundError as error:
            raise MissingExtra("measuring face_recognition", "peers") from error
        if spec is None or spec.origin is None:
            raise MissingExtra("measuring face_recognition", "peers")
        models = Path(spec.origin).parent / "models"  # not imported: it wants an old setuptools
        self._detect = dlib.get_frontal_face_detector()
        self._points = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
        self._embed = dlib.face_recognition_model_v1(
            str(models / "dlib_face_recognition_resnet_model_v1.dat")
        )

    def detect(self, image: Image) -> list[Any]:
        """dlib's rectangles."""
        return list(self._detect(image, 1))

    def embed(self, image: Image, boxes: list[Any]) -> NDArray[np.float64]:
        """(N, 128) of what was detected; to be compared by distance."""
        vectors = [
            self._embed.compute_face_descriptor(image, self._points(image, box), 1) for box in boxes
        ]
        return np.array(vectors).reshape(-1, 128)

    def embed_crop(self, crop: Image) -> NDArray[np.float64]:
        """(128,) of one picture that is a face already, 150 x 150."""
        return np.array(self._embed.compute_face_descriptor(crop))


def boxes_of(rectangles: list[Any]) -> NDArray[np.float32]:
    """(N, 4) x1, y1, x2, y2 of dlib's rectangles."""
    sides = [(box.left(), box.top(), box.right() + 1, box.bottom() + 1) for box in rectangles]
    return np.array(sides, np.float32).reshape(-1, 4)
