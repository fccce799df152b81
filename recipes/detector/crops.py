"""Hard views of single faces, each with its points as they are known from the clean photo.

A view is what the second network is shown of a candidate: the face about upright in a crop of 64 x
64, as well placed as the finder's points are at first, or the network's own at the second look.
What is turned by more, far too large or small, or aside, is no face here: so is the candidate seen
whose points are wrong, and of four turns of a crop the one that is upright.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.recognition.detect.mien_detector import GOAL, SIDE, to_crop
from mien.types import Image
from recipes.detector.labels import MIRRORED, SIZE
from recipes.detector.scenes import Material, Matrix, Scenes, blended, hide, relight, similar, spoil

SIDEWAYS = 0.6  # distance of the eyes, in parts of that from them to the mouth, below which
OFTEN = 5  # times as often a face is shown: it is in profile, or nearly
AROUND = 92  # pixels of what the finder mistook, in the scale of a crop
BLANK = np.zeros((SIDE, SIDE, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class View:
    """A candidate's crop and what is to be said of it."""

    pixels: Image  # (SIDE, SIDE, 3) RGB
    points: Matrix  # (5, 2) in it
    trust: float  # of the points, in [0, 1]
    face: bool  # whether it is an upright face


class Views:
    """Makes views without end; the same ones of the same seed.

    Args:
        material: see `Scenes`.
        mistaken: what is no face though the finder took it for one, (N, AROUND, AROUND, 3): the
            crop and as much around it as may be needed to move it.
        seed: of all chance.
        near: share of the faces that are placed as well as at the second look.
    """

    def __init__(
        self, material: Material, mistaken: NDArray[np.uint8], seed: int, *, near: float = 0.6
    ) -> None:
        self._of, self._mistaken, self._near = material, mistaken, near
        self._random, self._scenes = np.random.default_rng(seed), Scenes(material, seed + 1)
        points = material.labels.faces[material.rows, 0, 4:].reshape(-1, 5, 2)
        down = points[:, 3:].mean(1) - points[:, :2].mean(1)
        sideways = np.hypot(*(points[:, 1] - points[:, 0]).T) < SIDEWAYS * np.hypot(*down.T)
        self._rows = np.concatenate([material.rows, np.repeat(material.rows[sideways], OFTEN - 1)])

    def __call__(self) -> View:
        """The next one."""
        random = self._random
        if random.random() < 0.18:
            return View(spoil(random, relight(random, self._nothing())), GOAL, 0.0, False)
        i = int(random.choice(self._rows))
        points = self._of.labels.faces[i, 0, 4:].reshape(5, 2).astype(float)
        mirrored = random.random() < 0.5
        if mirrored:
            points = (points * (-1, 1) + (SIZE, 0))[MIRRORED]
        wrong = random.random() < 0.15
        moved = self._moved(wrong=wrong)
        matrix = to_crop(points.astype(np.float32))
        matrix = np.hstack([moved[:, :2] @ matrix[:, :2], moved @ [*matrix[:, 2:], [1]]])
        pixels = self._photo(i, points, matrix, mirrored=mirrored)
        if random.random() < 0.06:  # cut by the picture's border
            pixels = pixels.copy()
            side = np.rot90(pixels, int(random.integers(4)))
            side[:, : int(random.uniform(0.05, 0.35) * SIDE)] = 0
        goal = points @ matrix[:, :2].T + matrix[:, 2]
        trust = 0.0 if wrong else float(self._of.labels.trust[i])
        pixels = spoil(random, pixels) if random.random() < 0.6 else pixels
        return View(pixels, goal, trust, not wrong)

    def _moved(self, *, wrong: bool) -> Matrix:
        """(2, 3): how a candidate lies beside where it should, in its crop."""
        random = self._random
        turn, grow, shift = (
            (0.25, 0.07, 0.04) if random.random() < self._near else (1.2, 0.25, 0.13)
        )
        angle, scale = random.normal(0, 0.16) * turn, np.exp(random.normal(0, 0.6) * grow)
        aside = random.normal(0, 0.6, 2) * shift
        if wrong:
            how = random.random()
            if how < 0.6:
                angle += random.uniform(0.9, 2 * np.pi - 0.9)
            elif how < 0.8:
                scale *= random.choice([random.uniform(2.3, 4), random.uniform(0.2, 0.42)])
            else:
                away = random.normal(0, 1, 2)
                aside += away / np.hypot(*away) * random.uniform(0.42, 0.8)
        middle = np.full(2, SIDE / 2)
        return similar(float(scale), float(angle), middle, middle + aside * SIDE)

    def _photo(self, i: int, points: Matrix, matrix: Matrix, *, mirrored: bool) -> Image:
        """A photo through a map of its pixels to the crop; sharp, or as if it were smaller."""
        random, size = self._random, (SIDE, SIDE)
        coarse = int(random.choice([0, 0, 1, 1, 2])) if random.random() < 0.6 else 0
        level = max(coarse, self._of.level(float(np.hypot(*matrix[:, 0]))))
        photo = np.asarray(self._of.photos[level][i])
        if mirrored:
            photo = np.ascontiguousarray(photo[:, ::-1])
        if level == 2 and random.random() < 0.4:
            photo = np.asarray(cv2.resize(photo, (24, 24), interpolation=cv2.INTER_AREA))
        factor = SIZE / len(photo)
        if random.random() < 0.12:
            photo = hide(random, photo, points / factor)
        photo = relight(random, photo)
        matrix = matrix.copy()
        matrix[:, :2] *= factor
        matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # from corners to middles of pixels
        smooth = coarse > 0 and random.random() < 0.3
        how = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
        border = int(random.choice([cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE]))
        pixels = cv2.warpAffine(photo, matrix, size, flags=how, borderMode=border)
        if random.random() < 0.6:
            inside = cv2.warpAffine(np.full(photo.shape[:2], 255, np.uint8), matrix, size)
            around = BLANK if random.random() < 0.45 else self._ground()
            pixels = blended(around, pixels, inside)
        return cast("Image", pixels)

    def _ground(self) -> Image:
        """What lies around a photo."""
        if self._random.random() < 0.5:
            i = int(self._random.choice(self._of.rows))
            return np.ascontiguousarray(self._of.photos[1][i, 4:68, 4:68])
        return _small(self._scenes.background())

    def _nothing(self) -> Image:
        """A crop without a face."""
        random = self._random
        if len(self._mistaken) and random.random() < 0.6:
            pixels = self._mistaken[int(random.integers(len(self._mistaken)))]
            moved = self._moved(wrong=False)
            moved[:, 2] -= moved[:, :2] @ np.full(2, (AROUND - SIDE) / 2)
            pixels = cv2.warpAffine(pixels, moved, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
            return np.ascontiguousarray(pixels[:, ::-1] if random.random() < 0.5 else pixels)
        decoy = self._scenes.decoy() if random.random() < 0.6 else None
        if decoy is not None and min(decoy.shape[:2]) >= 6:
            return _small(decoy)
        canvas = self._scenes.background()
        if random.random() < 0.3:
            self._scenes.thing(canvas)
        return _small(canvas)


def _small(picture: Image) -> Image:
    how = cv2.INTER_AREA if max(picture.shape) > SIDE else cv2.INTER_LINEAR
    return cast("Image", cv2.resize(picture, (SIDE, SIDE), interpolation=how))
