"""A detector, an embedder and photos that need no weights and are the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from mien.recognition import align
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.recognition.thresholds import Impostors
from mien.types import Crops, Embeddings, Face, Image


class SquareFaces:
    """A face for each time that a picture is as wide as high, growing to the right; none in black.

    The leftmost is the smallest and the most certain.
    """

    def __init__(self) -> None:
        self.pictures = 0  # how many it has looked at

    def __call__(self, image: Image) -> list[Face]:
        """The faces, from left to right."""
        self.pictures += 1
        if not image.any():
            return []
        height, width = image.shape[:2]
        count = max(1, round(width / height))
        return [
            _square_face(i * width / count, height * (i + 1) / count, confidence=1 - i / count)
            for i in range(count)
        ]


def _square_face(left: float, side: float, *, confidence: float) -> Face:
    points = align.TEMPLATE * (side / align.SIZE) + (left, 0)
    box = np.array([left, 0, left + side, side], np.float32)
    return Face(box=box, points=points.astype(np.float32), confidence=confidence)


class MeanColours:
    """The mean colours of a crop's four quarters, at unit length: like colours score high."""

    dim = 12
    model_id = "mean-colours"

    def __call__(self, crops: Crops) -> Embeddings:
        """(N, 12), one vector a crop."""
        quarters = crops.reshape(-1, 2, align.SIZE // 2, 2, align.SIZE // 2, 3)
        means = quarters.mean(axis=(2, 4)).reshape(-1, self.dim) - 127.25  # never all zero
        vectors: Embeddings = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype("f4")
        return vectors


class FakeModel(Model):
    """The two above as a model that names a face from a score of 0.9 on."""

    def __init__(
        self, model_id: str = MeanColours.model_id, impostors: Impostors | None = None
    ) -> None:
        embedder = MeanColours()
        embedder.model_id = model_id
        super().__init__(SquareFaces(), embedder, Policy(0.9, impostors))


def colours(seed: int) -> NDArray[np.uint8]:
    """Four random colours, (2, 2, 3): one person's."""
    return np.random.default_rng(seed).integers(0, 256, (2, 2, 3), np.uint8)


def save_photo(path: Path, seed: int, *, faces: int = 1, shade: int = 0, side: int = 32) -> Path:
    """Leave a photo of the person of a seed in a file, whose folders are made.

    Args:
        path: ends in a lossless format's name, such as .png.
        seed: who it is.
        faces: how many `SquareFaces` finds in it.
        shade: added to every colour; tells photos of a person apart.
        side: pixels of a face.
    """
    quarters = np.clip(colours(seed).astype(int) + shade, 1, 255).astype(np.uint8)
    face = quarters.repeat(side // 2, axis=0).repeat(side // 2, axis=1)  # (side, side, 3)
    image = np.tile(face, (1, faces, 1)) if faces else np.zeros_like(face)
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(image).save(path)
    return path
