"""Shared by the databases other than our own file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mien.facebank.rows import Photo
from mien.types import Embeddings, Match

CANDIDATES = 32  # candidates that the database returns for each face, to be scored again here


def contents(
    batches: Iterable[tuple[list[Photo], Embeddings]], dim: int
) -> tuple[list[Photo], Embeddings]:
    """All photos, and the vector of each, (N, D)."""
    photos: list[Photo] = []
    parts = [np.zeros((0, dim), np.float32)]
    for some, vectors in batches:
        photos += some
        parts.append(vectors)
    return photos, np.concatenate(parts)


def nearest(
    query: Embeddings, people: Sequence[str], templates: Embeddings, count: int
) -> list[Match]:
    """The people nearest to a face, best first, among the candidates that the engine found."""
    if not people:
        return []
    scores = (templates @ query).clip(-1, 1)
    best = scores.argsort(kind="stable")[::-1][:count]
    return [Match(people[row], float(scores[row])) for row in best]
