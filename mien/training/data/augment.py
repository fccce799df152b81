"""Augmentations of a crop.  Each takes a random generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import cv2
import numpy as np

from mien.errors import BadInput
from mien.recognition.align import SIZE, TEMPLATE
from mien.types import Image

Random = np.random.Generator
Augmentation = tuple[str, float]  # a name, and the chance that it is made


def middle(image: Image) -> Image:
    """The middle of a picture, (112, 112, 3)."""
    top, left = (image.shape[0] - SIZE) // 2, (image.shape[1] - SIZE) // 2
    return image[top : top + SIZE, left : left + SIZE]


def crop(image: Image, random: Random) -> Image:
    """The middle of a picture, (112, 112, 3): shifted, turned and scaled.

    As alignments of a shaky detector differ: deviations of 2 pixels, 4 degrees and 5 %.
    """
    scale, turn = math.exp(random.normal(0, 0.05)), math.radians(random.normal(0, 4))
    centre = np.array([image.shape[1] / 2, image.shape[0] / 2]) - 0.5
    a, b = scale * math.cos(turn), scale * math.sin(turn)
    matrix = np.array([[a, -b, 0], [b, a, 0]])
    matrix[:, 2] = SIZE / 2 - 0.5 + random.normal(0, 2, 2) - matrix[:, :2] @ centre
    return cast("Image", cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR))


def flip(image: Image, random: Random) -> Image:
    """As in a mirror."""
    return image[:, ::-1]


def light(image: Image, random: Random) -> Image:
    """Another contrast (15 %) and brightness (12 of 255)."""
    gain, shift = math.exp(random.normal(0, 0.15)), random.normal(0, 12)
    return cast("Image", np.clip(image * gain + shift, 0, 255).astype(np.uint8))


def low_resolution(image: Image, random: Random) -> Image:
    """As from a face of 28 to 90 pixels."""
    side = int(random.integers(28, 90))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return cast("Image", cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def blur(image: Image, random: Random) -> Image:
    """Out of focus by 0.5 to 1.8 pixels."""
    return cast("Image", cv2.GaussianBlur(image, (0, 0), random.uniform(0.5, 1.8)))


def jpeg(image: Image, random: Random) -> Image:
    """Stored at a quality of 20 to 70."""
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(20, 70))])[1]
    return cast("Image", cv2.imdecode(coded, cv2.IMREAD_COLOR))


def grey(image: Image, random: Random) -> Image:
    """Without colour."""
    return cast("Image", np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2))


def dark(image: Image, random: Random) -> Image:
    """Underexposed: a gamma of 1.3 to 2.6, 25 to 90 % of the light, and noise."""
    gain = random.uniform(0.25, 0.9) * 255
    dimmed = (image / 255.0) ** random.uniform(1.3, 2.6) * gain
    noise = random.normal(0, random.uniform(2, 9), image.shape)
    return cast("Image", np.clip(dimmed + noise, 0, 255).astype(np.uint8))


def side_light(image: Image, random: Random) -> Image:
    """Lit from one side, by a factor of up to 2.5 at the border."""
    turn, strength = random.uniform(0, 2 * math.pi), random.uniform(0.3, 0.9)
    y, x = (np.linspace(-1, 1, side) for side in image.shape[:2])
    gain = np.exp(strength * (x * math.cos(turn) + y[:, None] * math.sin(turn)))
    return cast("Image", np.clip(image * gain[:, :, None], 0, 255).astype(np.uint8))


def colour(image: Image, random: Random) -> Image:
    """Another white balance (12 % a channel)."""
    gains = np.exp(random.normal(0, 0.12, 3))
    return cast("Image", np.clip(image * gains, 0, 255).astype(np.uint8))


def erase(image: Image, random: Random) -> Image:
    """A rectangle of 15 to 50 pixels a side in one colour."""
    width, height = random.integers(15, 50, 2)
    left, top = random.integers(0, SIZE - width), random.integers(0, SIZE - height)
    image = image.copy()
    image[top : top + height, left : left + width] = random.integers(0, 256, 3)
    return image


def occlude(image: Image, random: Random) -> Image:
    """Under a mask or behind dark glasses, drawn where the template has mouth and eyes."""
    image, colour = image.copy(), [int(value) for value in random.integers(0, 256, 3)]
    points = TEMPLATE + random.normal(0, 1.5, TEMPLATE.shape)
    left, right, nose = points[0], points[1], points[2]
    if random.random() < 0.5:
        rim = np.array([[4, nose[1]], nose - [0, 6], [108, nose[1]], [96, 112], [16, 112]])
        cv2.fillPoly(image, [rim.astype(np.int32)], colour)
    else:
        radius = (int(random.integers(13, 18)), int(random.integers(9, 14)))
        for eye in (left, right):
            cv2.ellipse(image, (eye.astype(int).tolist(), radius, 0), colour, -1)
        cv2.line(image, left.astype(int).tolist(), right.astype(int).tolist(), colour, 2)
    return image


# What a teacher sees too, and what only the student sees; applied in this order, each with its
# default probability.
GENTLE: dict[str, tuple[Callable[[Image, Random], Image], float]] = {
    "crop": (crop, 1.0),
    "flip": (flip, 0.5),
    "light": (light, 0.5),
}
HARSH: dict[str, tuple[Callable[[Image, Random], Image], float]] = {
    "low_resolution": (low_resolution, 0.15),
    "blur": (blur, 0.1),
    "jpeg": (jpeg, 0.1),
    "grey": (grey, 0.05),
    "dark": (dark, 0.1),
    "side_light": (side_light, 0.1),
    "colour": (colour, 0.1),
    "occlude": (occlude, 0.1),
    "erase": (erase, 0.05),
}
AUGMENTATIONS = GENTLE | HARSH


def parse(text: str) -> tuple[Augmentation, ...]:
    """What "flip,blur:0.3" names: names and chances; "all" is all of them, "" is none.

    Raises:
        BadInput: no such augmentation, or a chance that is not in [0, 1].
    """
    if text == "all":
        text = ",".join(AUGMENTATIONS)
    found = []
    for part in filter(None, text.split(",")):
        name, _, chance = part.partition(":")
        if name not in AUGMENTATIONS:
            names = ", ".join(AUGMENTATIONS)
            raise BadInput(f"there is no augmentation {name!r}; use some of: {names}")
        try:
            value = float(chance or AUGMENTATIONS[name][1])
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise BadInput(f"the chance of {name} is {chance!r}; give one from 0 to 1")
        found.append((name, value))
    return tuple(found)


def augmented(
    image: Image, chosen: tuple[Augmentation, ...], random: Random
) -> tuple[Image, Image]:
    """The teacher's and the student's view of a picture, each (112, 112, 3).

    Args:
        image: at least 112 x 112; one with a margin can be shifted without a black border.
        chosen: names and chances, as `parse` gives them.
        random: the source of all randomness.
    """
    chances = dict(chosen)
    shifted = random.random() < chances.get("crop", 0.0)
    image = crop(image, random) if shifted else middle(image)
    for name in ("flip", "light"):
        if random.random() < chances.get(name, 0.0):
            image = GENTLE[name][0](image, random)
    image = seen = np.ascontiguousarray(image)
    for name, (change, _) in HARSH.items():
        if random.random() < chances.get(name, 0.0):
            seen = change(seen, random)
    return image, seen
