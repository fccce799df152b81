"""Unit vectors to groups of one person each, without a name for any."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadInput, needs_extra
from mien.recognition.policy import Policy
from mien.types import Embeddings

FMR = 2.5e-3  # of the mean cosine that joins two groups; docs/thresholds.md has the figures
MOST = 30_000  # vectors: their distances take 3.6 GB
_BLOCK = 1024  # rows of the distances at a time


def group(vectors: Embeddings, threshold: float) -> NDArray[np.intp]:
    """The group of each vector, (N,): 0 is the largest, and so on down to groups of one.

    Average linkage (Sokal and Michener, 1958): the two groups that are most alike become one, as
    long as the mean cosine between them reaches the threshold.  Memory and time grow with the
    square of N.

    Args:
        vectors: (N, D) of unit length.
        threshold: the mean cosine that makes one group of two.

    Raises:
        BadInput: more than `MOST` vectors.
        MissingExtra: SciPy is not installed.
    """
    if len(vectors) > MOST:
        raise BadInput(
            f"{len(vectors)} faces are too many to group at once, {MOST} is the most: "
            "take parts of the photos, or --min-face"
        )
    with needs_extra("grouping faces", "cluster"):
        from scipy.cluster.hierarchy import fcluster, linkage
    if len(vectors) < 2:
        return np.zeros(len(vectors), np.intp)
    labels = fcluster(linkage(_distances(vectors), "average"), 1 - threshold, "distance")
    _, first, label, counts = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    place = np.empty(len(counts), np.intp)
    place[np.lexsort((first, -counts))] = np.arange(len(counts))
    return place[label]


def default_threshold(policy: Policy) -> float:
    """The mean cosine that makes one group of two: what one in 400 pairs of strangers reaches."""
    return policy.impostors.threshold(FMR) if policy.impostors else policy.threshold


def _distances(vectors: Embeddings) -> NDArray[np.float64]:
    """One minus the cosine of each pair, in SciPy's order: row by row above the diagonal."""
    count, start = len(vectors), 0
    distances = np.empty(count * (count - 1) // 2)
    for top in range(0, count, _BLOCK):
        scores = vectors[top : top + _BLOCK] @ vectors[top:].T
        above = 1 - scores[np.triu(np.ones(scores.shape, bool), k=1)]
        distances[start : start + len(above)] = np.clip(above, 0, 2)  # round-off
        start += len(above)
    return distances
