"""Two photos to one answer: are they of one person?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.errors import NoFace
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.types import Image


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


def compare(
    first: Image,
    second: Image,
    model: Model,
    *,
    policy: Policy | None = None,
    mirror: bool = False,
) -> Comparison:
    """Whether the largest faces of two photos are of one person.

    Args:
        first: a photo, as `mien.images.read` gives it.
        second: another.
        model: finds and embeds the faces.
        policy: from which score on they are one person's; by default the model's own.
        mirror: see `Model.embed`.

    Raises:
        NoFace: none was found in one of the photos.
    """
    policy = policy or model.policy()
    a, b = (model.look(image, limit=1, mirror=mirror) for image in (first, second))
    for which, looked in (("first", a), ("second", b)):
        if not looked.found:
            raise NoFace(
                f"no face was found in the {which} photo: use one that shows it from the front"
            )
    score = float(np.clip(a.vectors[0] @ b.vectors[0], -1, 1))  # round-off
    return Comparison(score, policy.threshold, (a.found, b.found))
