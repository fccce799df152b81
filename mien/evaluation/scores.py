"""The scores of all pairs of photos, and thresholds from more of them than fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.recognition.thresholds import most_allowed
from mien.types import Embeddings, Scores

TILE = 2048  # rows and columns of the score matrix at a time: 17 MB
TEMPLATES = (1, 2, 4, 8, 16)  # numbers of photos in a template
GAIN_AT = 1e-2  # the false-match rate at which gains are measured
_SIGN = np.uint32(1 << 31)

Blocks = Callable[[], Iterable[Scores]]  # the same scores in the same order at each call


def impostor_scores(embeddings: Embeddings, people: ArrayLike) -> Scores:
    """The cosines of all pairs of two different people, each pair once, in no stated order.

    Takes 8 bytes a pair: 20,000 photos make 1.6 GB.

    Args:
        embeddings: (N, D) unit vectors.
        people: (N,) whose they are, any values that can be compared.
    """
    return _all(score_blocks(embeddings, people, same=False))


def genuine_scores(embeddings: Embeddings, people: ArrayLike) -> Scores:
    """The cosines of all pairs of one person; otherwise as `impostor_scores`."""
    return _all(score_blocks(embeddings, people, same=True))


def score_blocks(embeddings: Embeddings, people: ArrayLike, *, same: bool) -> Iterator[Scores]:
    """The cosines of all pairs of one person, or of two, each pair once, some at a time."""
    person = np.asarray(people)
    return _tiles(embeddings, person, embeddings, person, same=same, once=True)


def _tiles(
    first: Embeddings,
    whose: NDArray[Any],
    second: Embeddings,
    others: NDArray[Any],
    *,
    same: bool = False,
    once: bool = False,
) -> Iterator[Scores]:
    """The cosines of the rows of two matrices, of genuine or of impostor pairs.

    With `once`, both are one matrix, each of whose pairs counts once.
    """
    for top in range(0, len(whose), TILE):
        rows = slice(top, top + TILE)
        for left in range(top if once else 0, len(others), TILE):
            columns = slice(left, left + TILE)
            wanted = (whose[rows, None] == others[None, columns]) == same
            if once and left == top:
                wanted = np.triu(wanted, k=1)
            if wanted.any():
                yield (first[rows] @ second[columns].T)[wanted]


def _all(blocks: Iterable[Scores]) -> Scores:
    return np.concatenate([np.empty(0, np.float32), *blocks])


def thresholds_at_fmrs(blocks: Blocks, fmrs: Iterable[float]) -> dict[float, float]:
    """`threshold_at_fmr` of all scores at each rate, without holding the scores in memory.

    They are counted twice: first by the upper half of their bits, then, where a threshold lies, by
    the lower half.  That takes 0.5 MB a rate, however many there are.

    Args:
        blocks: gives the scores, float32, whenever it is called.
        fmrs: false-match rates to allow, in [0, 1).
    """
    counts = np.zeros(1 << 16, np.int64)
    for scores in blocks():
        counts += np.bincount(_ordered(scores) >> 16, minlength=1 << 16)
    up_to = np.cumsum(counts)
    total = int(up_to[-1])
    # Of the highest score that must not pass: how many are below it, and the half of its bits.
    place = {fmr: total - 1 - most_allowed(total, fmr) for fmr in fmrs}
    upper = {fmr: int(np.searchsorted(up_to, at, side="right")) for fmr, at in place.items()}
    halves = sorted(set(upper.values()))
    row_of = np.full(1 << 16, -1)
    row_of[halves] = np.arange(len(halves))
    fine = np.zeros(len(halves) << 16, np.int64)
    for scores in blocks():
        bits = _ordered(scores)
        row = row_of[bits >> 16]
        places = (row << 16 | bits & 0xFFFF)[row >= 0]
        fine += np.bincount(places, minlength=len(fine))
    inside = np.cumsum(fine.reshape(len(halves), -1), axis=1)
    found = {}
    for fmr, half in upper.items():
        rest = place[fmr] - int(up_to[half] - counts[half])
        lower = int(np.searchsorted(inside[row_of[half]], rest, side="right"))
        bits = np.array([half << 16 | lower], np.uint32)
        score = np.where(bits & _SIGN, bits ^ _SIGN, ~bits).view(np.float32)[0]
        found[fmr] = float(np.nextafter(score, np.inf))
    return found


def _ordered(scores: Scores) -> NDArray[np.uint32]:
    """Integers in the order of the scores: those below zero with all bits turned."""
    if not np.isfinite(scores).all():
        raise ValueError("every score must be a finite number")
    bits = scores.view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits ^ _SIGN)


def shares_at(blocks: Iterable[Scores], thresholds: Sequence[float]) -> tuple[int, list[float]]:
    """How many scores there are, and the share of them that reaches each threshold."""
    total, reached = 0, np.zeros(len(thresholds), np.int64)
    for scores in blocks:
        total += len(scores)
        reached += [int((scores >= threshold).sum()) for threshold in thresholds]
    return total, (reached / max(total, 1)).tolist()


def template_gains(embeddings: Embeddings, people: ArrayLike, least: int) -> dict[int, float]:
    """How much higher strangers score with the mean of several photos of a person.

    A mean is shorter than its parts; brought back to unit length it is nearer to everyone.  The
    factor is that of the threshold at `GAIN_AT`, for each number of photos in `TEMPLATES` that
    enough people have.

    Args:
        embeddings: (N, D) unit vectors.
        people: (N,) whose they are, any values that can be compared.
        least: false matches that a threshold must rest on.
    """
    person = np.unique(np.asarray(people), return_inverse=True)[1]
    photos = np.bincount(person)
    own = np.split(np.argsort(person, kind="stable"), np.cumsum(photos)[:-1])
    thresholds: dict[int, float] = {}
    for size in TEMPLATES:
        chunks = [
            rows[start : start + size]
            for rows in own
            for start in range(0, len(rows) - size + 1, size)
        ]
        owner = person[[chunk[0] for chunk in chunks]] if chunks else person[:0]
        if (len(person) - photos[owner]).sum() * GAIN_AT < least:
            break
        sums = embeddings[np.array(chunks)].sum(axis=1)  # (T, D)
        templates = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        strange = partial(_tiles, templates, owner, embeddings, person)
        thresholds[size] = thresholds_at_fmrs(strange, [GAIN_AT])[GAIN_AT]
    one = thresholds.get(1, 0)
    return {size: round(at / one, 4) for size, at in thresholds.items()} if one > 0 else {1: 1.0}
