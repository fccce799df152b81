"""Exact search that reads a byte a number: most rows are ruled out by a bound, the rest re-ranked.

Rows and queries are rounded to small integers, whose products ONNX Runtime adds up without error as
fast as memory hands them over.  With x̂ and q̂ what was rounded to, Cauchy and Schwarz bound what the
rounding can have cost:

    |q·x - q̂·x̂|  =  |q·(x - x̂) + (q - q̂)·x̂|  <=  |q| |x - x̂| + |q - q̂| |x̂|

So a row whose q̂·x̂ stays below the k-th best score found by more than that cannot be among the k
best.  All others are scored anew with their float32 numbers: what is found is what `ExactIndex`
finds, whatever the rows are; only the time depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mien.index.exact import check, largest
from mien.runtime import product
from mien.types import Embeddings, Scores

BLOCK = 1 << 18  # rows that share a scale, and are multiplied at a time
# Rows have 7 bits and queries 8: on processors without VNNI two products are added in 16 bits,
# which 2 * 64 * 255 does not leave.
ROW_LIMIT, QUERY_LIMIT = 64, 127
AT_A_TIME = 1 << 14  # rows that are scored anew, so that memory stays bounded


_Best: TypeAlias = tuple[Scores, NDArray[np.intp]]  # (M, k), (M, k), best first


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Rows rounded to integers, block by block."""

    values: NDArray[np.int8]  # (N * D,): of each block its (D, B), one after the other
    bounds: NDArray[np.float32]  # (blocks, 3): step, longest rounding error, longest rounded row


def encode(rows: Embeddings) -> Codes:
    """The codes of rows, (N, D)."""
    values = np.empty(rows.size, np.int8)
    bounds = np.zeros((-(-len(rows) // BLOCK), 3), np.float32)
    dim = rows.shape[1]
    for number, start in enumerate(range(0, len(rows), BLOCK)):
        block = np.asarray(rows[start : start + BLOCK])
        out = values[start * dim : start * dim + block.size].reshape(dim, len(block))
        step = np.float32(max(block.max(initial=0), -block.min(initial=0)) / ROW_LIMIT) or 1
        bounds[number, 0] = step
        for first in range(0, len(block), 1024):  # fits the processor's cache
            part = block[first : first + 1024]
            rounded = np.rint(part / step)
            out[:, first : first + 1024] = rounded.T
            rounded *= step
            norms = np.linalg.norm(part - rounded, axis=1).max(), _longest(rounded)
            bounds[number, 1:] = np.maximum(bounds[number, 1:], norms)
    return Codes(values, bounds)


class Int8Index:
    """Every query against every row, a quarter of the memory read."""

    def __init__(self, rows: Embeddings, codes: Codes | None = None) -> None:
        """An index over `rows`, (N, D), each of unit length; N may be 0.

        They are not copied and must not change; they may be a memory map, of which searches read
        little.

        Args:
            rows: the vectors.
            codes: what `encode` made of them, if it is known already.
        """
        if rows.ndim != 2:
            raise ValueError(f"rows must have shape (N, D), not {rows.shape}")
        self._rows = rows
        dim = rows.shape[1]
        codes = codes or encode(rows)
        self._bounds = codes.bounds.astype(float)
        self._longest = float(self._bounds[:, 1:].sum(axis=1).max(initial=0))
        self._products: list[Any] = []
        for start in range(0, len(rows), BLOCK):
            size = min(BLOCK, len(rows) - start)
            block = codes.values[start * dim : (start + size) * dim].reshape(dim, size)
            self._products.append(product(block, QUERY_LIMIT + 1))

    def __len__(self) -> int:
        return len(self._rows)

    def search(self, queries: Embeddings, k: int) -> tuple[Scores, NDArray[np.intp]]:
        """Scores and row numbers of the k best rows, best first; see `ExactIndex.search`."""
        check(queries, k, self._rows.shape[1])
        parts = [self._search(queries[i : i + 64], k) for i in range(0, len(queries), 64)]
        if not parts:
            nothing = np.zeros((0, min(k, len(self))))
            return nothing.astype(np.float32), nothing.astype(np.intp)
        scores, rows = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(rows)

    def _search(self, queries: Embeddings, k: int) -> tuple[Scores, NDArray[np.intp]]:
        steps = np.abs(queries).max(axis=1, initial=0) / QUERY_LIMIT
        steps[steps == 0] = 1
        rounded = np.rint(queries / steps[:, None])
        codes = (rounded + (QUERY_LIMIT + 1)).astype(np.uint8)
        lengths = np.linalg.norm(queries, axis=1).astype(float)  # (M,)
        errors = np.linalg.norm(queries - rounded * steps[:, None], axis=1).astype(float)
        # Twice the rounding of a float32 dot product, since the scores are compared with it too.
        slack = 2 * queries.shape[1] * 2.0**-24 * lengths * self._longest + 1e-7

        shape = len(queries), min(k, len(self))
        best: _Best = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.intp)
        for number, multiply in enumerate(self._products):
            sums = multiply(codes)  # (M, B), int32
            start = number * BLOCK
            seeds = largest(sums, k)
            which = np.repeat(np.arange(len(queries)), seeds.shape[1])
            rows = seeds.ravel() + start
            floor = _merge(best, which, self._score(queries, which, rows), rows)[0][:, -1]
            step, error, longest = self._bounds[number]
            margin = lengths * error + errors * longest + slack  # (M,)
            least = np.ceil((floor - margin) / (step * steps.astype(float)) - 0.01)
            limit = np.clip(least, -(2**31), 2**31 - 1).astype(np.int32)
            # Several times faster than nonzero of two dimensions.
            which, rows = np.divmod(np.flatnonzero(sums >= limit[:, None]), sums.shape[1])
            rows += start
            best = _merge(best, which, self._score(queries, which, rows), rows)
        return best

    def _score(
        self, queries: Embeddings, which: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> Scores:
        """The score of each query of `which` with the row beside it in `rows`."""
        scores = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), AT_A_TIME):
            part = slice(start, start + AT_A_TIME)
            scores[part] = np.einsum("ij,ij->i", queries[which[part]], self._rows[rows[part]])
        return scores


def _merge(best: _Best, which: NDArray[np.intp], scores: Scores, rows: NDArray[np.intp]) -> _Best:
    """The best of the best and of more, of which each belongs to the query in `which`."""
    queries, k = best[0].shape
    which = np.concatenate([np.repeat(np.arange(queries), k), which])
    scores = np.concatenate([best[0].ravel(), scores])
    rows = np.concatenate([best[1].ravel(), rows])
    order = np.lexsort((-scores, which))
    starts = np.searchsorted(which[order], np.arange(queries))
    kept = order[starts[:, None] + np.arange(k)]  # (M, k)
    return scores[kept], rows[kept]


def _longest(rows: Embeddings) -> float:
    return float(np.linalg.norm(rows, axis=1).max(initial=0))
