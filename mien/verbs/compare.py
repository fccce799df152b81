"""Two photos to one answer: are they of one person?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import NoFace
from mien.recognition.model import Model
from mien.types import Image, largest_face


@dataclass(frozen=True, slots=True)
class Comparison:
    """How alike the faces in two photos are."""

    score: float  # cosine, in [-1, 1]
    threshold: float  # the score from which they are taken for one person
    faces: tuple[int, int]  # found in either photo; the largest was compared

    @property
    def same(self) -> bool:
        """Whether the two are taken for one person."""
        return self.score >= self.threshold


def compare(first: Image, second: Image, *, model: Model, mirror: bool = False) -> Comparison:
    """Whether the largest faces of two photos are of one person.

    Args:
        first: a photo, as `mien.images.read` gives it.
        second: another.
        model: finds and embeds the faces, and has the threshold.
        mirror: see `Model.embed`.

    Raises:
        NoFace: none was found in one of the photos.
    """
    a, faces_in_first = _largest(first, "first", model, mirror)
    b, faces_in_second = _largest(second, "second", model, mirror)
    score = float(np.clip(a @ b, -1, 1))  # round-off
    return Comparison(score, model.threshold, (faces_in_first, faces_in_second))


def _largest(
    image: Image, which: str, model: Model, mirror: bool
) -> tuple[NDArray[np.float32], int]:
    """The vector of the largest face, (D,), and how many faces there are."""
    faces = model.detect(image)
    if not faces:
        raise NoFace(
            f"no face was found in the {which} photo: use one that shows it from the front"
        )
    return model.embed(image, [largest_face(faces)], mirror=mirror)[0], len(faces)
