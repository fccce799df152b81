"""Exact search: one matrix product, no build time, nothing missed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.types import Embeddings, Scores


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
        rows, dim = self._rows.shape
        if queries.ndim != 2 or queries.shape[1] != dim:
            raise ValueError(f"queries must have shape (M, {dim}), not {queries.shape}")
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        scores = queries @ self._rows.T  # (M, N)
        if k < rows:
            best = np.argpartition(scores, rows - k, axis=1)[:, rows - k :]  # (M, k), unordered
        else:
            best = np.broadcast_to(np.arange(rows), scores.shape)
        found = np.take_along_axis(scores, best, axis=1)
        order = np.argsort(-found, axis=1)
        return np.take_along_axis(found, order, axis=1), np.take_along_axis(best, order, axis=1)
