"""Exact search: one matrix product, no build time, nothing missed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.types import Embeddings, Scores

BLOCK = 1 << 22  # scores that are held at a time


class ExactIndex:
    """Every query against every row."""

    def __init__(self, rows: Embeddings) -> None:
        """An index over `rows`, (N, D), each of unit length; N may be 0.

        They are not copied and must not change.
        """
        if rows.ndim != 2:
            raise ValueError(f"rows must have shape (N, D), not {rows.shape}")
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def search(self, queries: Embeddings, k: int) -> tuple[Scores, NDArray[np.intp]]:
        """Scores and row numbers of the k best rows, best first.

        Args:
            queries: (M, D), each of unit length.
            k: how many rows to return; no more than there are.

        Returns:
            Dot products and row numbers, both (M, min(k, N)).  Rounding may leave a score a hair
            outside [-1, 1]; equal scores come in any order.

        Raises:
            ValueError: k is below 1, or the queries do not have D columns.
        """
        check(queries, k, self._rows.shape[1])
        found = np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.intp)
        size = max(k, BLOCK // max(len(queries), 1))
        for start in range(0, len(self), size):
            scores = queries @ self._rows[start : start + size].T  # (M, B)
            here = largest(scores, k)
            top = np.take_along_axis(scores, here, axis=1)
            scores = np.concatenate([found[0], top], axis=1)
            rows = np.concatenate([found[1], here + start], axis=1)
            order = np.argsort(-scores, axis=1)[:, :k]
            found = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, 1)
        return found


def check(queries: Embeddings, k: int, dim: int) -> None:
    """Raise ValueError unless an index of `dim` columns can be asked this."""
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"queries must have shape (M, {dim}), not {queries.shape}")
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")


def largest(values: NDArray[np.generic], k: int) -> NDArray[np.intp]:
    """Where the k largest of each row are, (M, min(k, B)), in any order."""
    columns = values.shape[1]
    if k == 1:  # several times faster than a partition
        best: NDArray[np.intp] = values.argmax(axis=1)[:, None]
        return best
    if k < columns:
        return np.argpartition(values, columns - k, axis=1)[:, columns - k :]
    return np.broadcast_to(np.arange(columns), values.shape)
