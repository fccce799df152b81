"""Exact search that reads one byte per dimension: a bound excludes most rows.

Rows and queries are rounded to small integers, whose products ONNX Runtime sums exactly, at the
speed of memory.  Where x̂ and q̂ are the rounded vectors, Cauchy and Schwarz bound the error:

    |q·x - q̂·x̂|  =  |q·(x - x̂) + (q - q̂)·x̂|  <=  |q| |x - x̂| + |q - q̂| |x̂|

So a row whose q̂·x̂ lies further than that below the k-th best score found cannot be among the k
best.  The others are scored again in float32: the result is that of `ExactIndex` whatever the rows,
and only the time depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.facebank.index.exact import check, largest
from mien.facebank.index.matmul import multiplier
from mien.types import Embeddings, Scores

# Rows that are multiplied at a time: their sums fit the processor's cache, where those of many more
# would go to memory and back with every few elements of a row.
BLOCK = 1 << 15
# Rows have 7 bits and queries 8: on processors without VNNI two products are added in 16 bits,
# which 2 * 64 * 255 does not leave.
ROW_LIMIT, QUERY_LIMIT = 64, 127
SUMS = 1 << 25  # sums that are held at a time, but for those of one query
AT_A_TIME = 1 << 14  # rows that are scored again, so that memory stays bounded


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Rows rounded to integers."""

    values: NDArray[np.int8]  # (N * D,): of each block its (D, B), one after the other
    bounds: NDArray[np.float32]  # (3,): step, longest rounding error, longest rounded row


def encode(rows: Embeddings) -> Codes:
    """The codes of rows, (N, D)."""
    values = np.empty(rows.size, np.int8)
    dim = rows.shape[1]
    step = np.float32(max(rows.max(initial=0), -rows.min(initial=0)) / ROW_LIMIT) or 1
    error = longest = 0.0
    for start in range(0, len(rows), BLOCK):
        block = np.asarray(rows[start : start + BLOCK])
        out = values[start * dim : start * dim + block.size].reshape(dim, len(block))
        for first in range(0, len(block), 1024):  # fits the processor's cache
            part = block[first : first + 1024]
            rounded = np.rint(part / step)
            out[:, first : first + 1024] = rounded.T
            rounded *= step
            error, longest = max(error, _longest(part - rounded)), max(longest, _longest(rounded))
    return Codes(values, np.array([step, error, longest], np.float32))


class Int8Index:
    """Exact search that reads a quarter of the memory."""

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
        self._step, self._error, self._longest = codes.bounds.tolist()
        self._products: list[Any] = []
        whole = len(rows) // BLOCK * BLOCK
        for start, end, size in ((0, whole, BLOCK), (whole, len(rows), len(rows) - whole)):
            if start < end:
                blocks = codes.values[start * dim : end * dim].reshape(-1, dim, size)
                self._products.append(multiplier(blocks, QUERY_LIMIT + 1))

    def __len__(self) -> int:
        return len(self._rows)

    def search(self, queries: Embeddings, k: int) -> tuple[Scores, NDArray[np.intp]]:
        """Scores and row numbers of the k best rows, best first; see `ExactIndex.search`."""
        check(queries, k, self._rows.shape[1])
        k = min(k, len(self))
        scores = np.empty((len(queries), k), np.float32)
        rows = np.empty((len(queries), k), np.intp)
        size = max(1, min(64, SUMS // max(1, len(self))))
        for start in range(0, len(queries) if k else 0, size):
            part = slice(start, start + size)
            scores[part], rows[part] = self._search(queries[part], k)
        return scores, rows

    def _search(self, queries: Embeddings, k: int) -> tuple[Scores, NDArray[np.intp]]:
        steps = np.abs(queries).max(axis=1, initial=0) / QUERY_LIMIT
        steps[steps == 0] = 1
        rounded = np.rint(queries / steps[:, None])
        codes = (rounded + (QUERY_LIMIT + 1)).astype(np.uint8)
        lengths = np.linalg.norm(queries, axis=1).astype(float)  # (M,)
        errors = np.linalg.norm(queries - rounded * steps[:, None], axis=1).astype(float)
        margin = lengths * self._error + errors * self._longest
        # Twice the rounding of a float32 dot product, since the scores are compared with it too.
        longest = self._error + self._longest  # that a row can be
        margin += 2 * queries.shape[1] * 2.0**-24 * lengths * longest + 1e-7

        # Of some rows after others, (M, B), int32.
        sums = [part for multiply in self._products for part in multiply(codes)]
        offsets = np.cumsum([0, *(part.shape[1] for part in sums[:-1])])
        best = [largest(part, k) for part in sums]
        tops = [np.take_along_axis(part, here, 1) for part, here in zip(sums, best, strict=True)]
        seeds = np.concatenate([here + i for here, i in zip(best, offsets, strict=True)], axis=1)
        seeds = np.take_along_axis(seeds, largest(np.concatenate(tops, axis=1), k), 1)  # (M, k)
        which = np.repeat(np.arange(len(queries)), k)
        floor = self._score(queries, which, seeds.ravel()).reshape(seeds.shape).min(axis=1)

        least = np.ceil((floor - margin) / (steps.astype(float) * self._step) - 0.01)
        limits = np.clip(least, -(2**31), 2**31 - 1).astype(np.int32)[:, None]  # (M, 1)
        found = []
        for part, offset in zip(sums, offsets, strict=True):
            # Several times faster than nonzero of two dimensions.
            places = np.flatnonzero(part >= limits)
            found.append(np.divmod(places, part.shape[1]) + np.array([[0], [offset]]))
        which, rows = np.concatenate(found, axis=1)
        scores = self._score(queries, which, rows)
        order = np.lexsort((-scores, which))
        starts = np.searchsorted(which[order], np.arange(len(queries)))
        kept = order[starts[:, None] + np.arange(k)]  # (M, k)
        return scores[kept], rows[kept]

    def _score(
        self, queries: Embeddings, which: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> Scores:
        """The score of each query of `which` with the row beside it in `rows`."""
        scores = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), AT_A_TIME):
            part = slice(start, start + AT_A_TIME)
            scores[part] = np.einsum("ij,ij->i", queries[which[part]], self._rows[rows[part]])
        return scores


def _longest(rows: Embeddings) -> float:
    return float(np.linalg.norm(rows, axis=1).max(initial=0))
