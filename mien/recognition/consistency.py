"""Whether a person's photos show one person: those unlike the others, and parts unlike each other.

Strangers set the measure: photos that are no more alike than some pairs of strangers are hardly of
one person.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.recognition.thresholds import Impostors
from mien.types import Embeddings

STRANGE = 0.05  # a photo that so many strangers are as like to a person is hardly of them
APART = 0.01  # parts whose means so many pairs of strangers reach are hardly of one person
_ROUNDS = 10  # of dividing photos in two; few move after the third


def unlike(vectors: Embeddings, impostors: Impostors) -> list[tuple[int, float]]:
    """The photos of a person, (N, D), that are unlike their others, each with its score.

    The least like the others, and again without it, while it is strange.  Of two photos that differ
    nobody can say which is the wrong one: both are named.
    """
    strange = impostors.threshold(STRANGE)
    own, found = list(range(len(vectors))), list[tuple[int, float]]()
    while len(own) > 1:
        rest = vectors[own].sum(axis=0) - vectors[own]  # (k, D): all but each
        rest /= np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-12)
        scores = np.einsum("kd,kd->k", rest, vectors[own])
        worst = int(scores.argmin())
        if scores[worst] >= strange * impostors.gain(len(own) - 1):
            break
        if len(own) == 2:
            return [*found, *((row, float(scores[0])) for row in own)]
        found.append((own.pop(worst), float(scores[worst])))
    return found


def parts(vectors: Embeddings, impostors: Impostors) -> list[list[int]]:
    """The rows of a person's photos, (N, D), by whom they seem to show: the largest part first.

    Photos are divided in two where they differ most, and each part again.  They stay one where the
    two means are more alike than those of nearly all strangers, or where one part is one photo: see
    `unlike`.
    """
    found, todo = [], [list(range(len(vectors)))]
    while todo:
        rows = todo.pop()
        halves = _halves(vectors[rows])
        if min(map(len, halves)) > 1 and _apart(vectors[rows], halves, impostors):
            todo += [[rows[place] for place in half] for half in halves]
        else:
            found.append(rows)
    return sorted(found, key=lambda rows: (-len(rows), rows))


def likeness(vectors: Embeddings, some: Sequence[int], others: Sequence[int]) -> float:
    """The cosine of two means."""
    means = [vectors[list(rows)].sum(axis=0) for rows in (some, others)]
    lengths = np.prod([np.linalg.norm(mean) for mean in means])
    return float(np.clip(means[0] @ means[1] / max(lengths, 1e-12), -1, 1))


def _apart(vectors: Embeddings, halves: Sequence[Sequence[int]], impostors: Impostors) -> bool:
    gains = impostors.gain(len(halves[0])) * impostors.gain(len(halves[1]))
    return likeness(vectors, *halves) < impostors.threshold(APART) * gains


def _halves(vectors: Embeddings) -> tuple[list[int], list[int]]:
    """Two groups of vectors, each nearer to its own mean, beginning with two that are far apart."""
    first = int((vectors @ vectors.sum(axis=0)).argmin())
    second = int((vectors @ vectors[first]).argmin())
    means = vectors[[first, second]]
    nearest = np.zeros(len(vectors), int)
    for _ in range(_ROUNDS):
        nearest = (vectors @ means.T).argmax(axis=1)
        if nearest.all() or not nearest.any():
            break
        means = np.stack([vectors[nearest == side].sum(axis=0) for side in (0, 1)])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    first_half, second_half = ((nearest == side).nonzero()[0].tolist() for side in (0, 1))
    return first_half, second_half
