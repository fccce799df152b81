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
    threshold: float  # the score that makes them one person
    faces: tuple[int, int]  # number of faces in each photo; the largest was compared

    @property
    def same(self) -> bool:
        """Whether they are taken for one person."""
        return self.score >= self.threshold


def compare(
    first: Image,
    second: Image,
    model: Model,
    *,
    policy: Policy | None = None,
    mirror: bool = False,
) -> Comparison:
    """Whether the largest faces in two photos are of one person.

    Args:
        first: a photo, as `mien.read` returns it.
        second: another.
        model: finds and embeds the faces.
        policy: the score that they need to be one person's; the model's own by default.
        mirror: see `Model.embed`.

    Raises:
        NoFace: none was found in one of the photos.
    """
    policy = policy or model.policy()
    a, b = (model.look(image, limit=1, mirror=mirror) for image in (first, second))
    for which, looked in (("first", a), ("second", b)):
        if not looked.found:
            raise NoFace(
                f"no face was found in the {which} photo: use one that shows a face from the front"
            )
    score = float(np.clip(a.vectors[0] @ b.vectors[0], -1, 1))  # round-off
    return Comparison(score, policy.threshold, (a.found, b.found))
