"""Tracks: the faces of one person in consecutive frames, and how faces are matched to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.boxes import overlap
from mien.types import Embeddings, Face, Match

SAME = 0.25  # IoU from which a face continues a track
BEST = 5  # embeddings kept for a track's name
TINY = 1e-6

Vector = NDArray[np.float32]  # (D,), of unit length


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A face that was embedded."""

    time: float  # seconds
    face: Face
    worth: float  # see `mien.recognition.quality.worth`
    vector: Vector


@dataclass(slots=True, eq=False)
class Track:
    """One person for as long as they stay in sight."""

    number: int  # from 1, in order of appearance
    face: Face  # its last known position
    start: float  # seconds
    end: float  # when it was last in sight
    stills: int = 0  # pictures in which it is
    hits: int = 1  # number of detections
    misses: int = 0  # consecutive misses
    followed: bool = True  # from the picture before to this one
    looked: float = 0  # when it was last embedded
    looks: list[Observation] = field(
        default_factory=list
    )  # the best, the one that is worth most first
    match: Match | None = None  # None: not looked up yet

    @property
    def confirmed(self) -> bool:
        """Whether it counts as a face: detected twice, or the detector has not run again yet."""
        return self.hits > 1 or not self.misses

    def mean(self) -> Vector:
        """The mean of the best vectors, weighted by quality, at unit length."""
        total = np.sum([max(look.worth, TINY) * look.vector for look in self.looks], axis=0)
        return np.asarray(total / max(float(np.linalg.norm(total)), TINY), np.float32)

    def add(self, look: Observation) -> None:
        """Keep an observation if it is among the best."""
        self.looked = look.time
        self.looks = sorted([*self.looks, look], key=lambda one: -one.worth)[:BEST]


def match_by_iou(tracks: Sequence[Track], faces: Sequence[Face]) -> list[tuple[int, int]]:
    """Greedy matching of tracks to faces, as pairs of indices, highest IoU first."""
    if not (tracks and faces):
        return []
    common = overlap(
        np.stack([track.face.box for track in tracks]), np.stack([face.box for face in faces])
    )
    pairs = []
    while common.max() >= SAME:
        row, column = np.unravel_index(common.argmax(), common.shape)
        pairs.append((int(row), int(column)))
        common[row], common[:, column] = 0, 0
    return pairs


def nearest(vector: Vector, tracks: Sequence[Track]) -> tuple[Track | None, float]:
    """The track whose mean is nearest to a vector, and the cosine; (None, -1) without tracks."""
    if not tracks:
        return None, -1.0
    means: Embeddings = np.stack([track.mean() for track in tracks])
    scores = means @ vector
    return tracks[int(scores.argmax())], float(scores.max())
