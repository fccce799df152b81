"""What engines other than our own file have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mien.facebank.rows import Photo
from mien.types import Embeddings, Match

CANDIDATES = 32  # templates that the engine returns for each face, to be scored again here


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


def template(vectors: Embeddings) -> Embeddings:
    """The mean of someone's vectors, (N, D), scaled back to unit length, (D,)."""
    total = vectors.sum(axis=0)
    unit: Embeddings = (total / max(float(np.linalg.norm(total)), 1e-12)).astype("<f4")
    return unit


def match(
    query: Embeddings, people: Sequence[str], templates: Embeddings, threshold: float
) -> Match:
    """The person nearest to a face, among the candidates that the engine found."""
    if not people:
        return Match(None, -1.0)
    scores = templates @ query
    best = int(scores.argmax())
    score = float(scores[best].clip(-1, 1))
    return Match(people[best] if score >= threshold else None, score)
