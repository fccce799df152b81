"""Changes to a crop that leave the person the same.  Every one takes its random generator."""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np

from mien.types import Image

Random = np.random.Generator


def place(image: Image, size: int, random: Random) -> Image:
    """The middle of a crop with a margin, (size, size, 3): shifted, turned, scaled, mirrored.

    As alignments of a shaky detector differ: deviations of 2 pixels, 4 degrees and 5 %.
    """
    scale, turn = math.exp(random.normal(0, 0.05)), math.radians(random.normal(0, 4))
    middle = np.array([image.shape[1] / 2, image.shape[0] / 2]) - 0.5
    a, b = scale * math.cos(turn), scale * math.sin(turn)
    matrix = np.array([[a, -b, 0], [b, a, 0]])
    matrix[:, 2] = size / 2 - 0.5 + random.normal(0, 2, 2) - matrix[:, :2] @ middle
    placed = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    if random.random() < 0.5:
        placed = placed[:, ::-1]
    return cast("Image", placed)


def relight(image: Image, random: Random) -> Image:
    """Half of the time, another contrast (15 %) and brightness (12 of 255)."""
    if random.random() < 0.5:
        return image
    gain, shift = math.exp(random.normal(0, 0.15)), random.normal(0, 12)
    return cast("Image", np.clip(image * gain + shift, 0, 255).astype(np.uint8))


def degrade(image: Image, random: Random) -> Image:
    """A third of the time, what cheap cameras do: low resolution, blur or JPEG; 1 in 20 grey."""
    chance = random.random()
    size = image.shape[1::-1]
    if chance < 0.15:
        side = int(random.integers(28, 90))
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        image = cast("Image", cv2.resize(small, size, interpolation=cv2.INTER_LINEAR))
    elif chance < 0.25:
        image = cast("Image", cv2.GaussianBlur(image, (0, 0), random.uniform(0.5, 1.8)))
    elif chance < 0.35:
        quality = int(random.integers(20, 70))
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cast("Image", cv2.imdecode(coded, cv2.IMREAD_COLOR))
    if random.random() < 0.05:
        grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        image = cast("Image", np.repeat(grey[:, :, None], 3, axis=2))
    return image
