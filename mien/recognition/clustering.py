"""Clusters unit vectors into groups of one person each.

Agglomerative clustering on the cosine of the groups' templates, as when a face is looked up in a
facebank.  The threshold follows from the scores of strangers: in the model's calibration, and among
these very faces.  A model separates the people it was calibrated on better than others, such as
children; where a face's strangers score higher than usual, its threshold rises with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadInput
from mien.recognition.policy import Policy
from mien.recognition.thresholds import GAINS, Impostors
from mien.types import Embeddings

POOR = 0.25  # quality (`mien.recognition.quality.worth`) below which a face starts no group
FOUNDING = 0.5  # FMR at which a single face would start a group; see `_founding_rate`
FEW_FOUND = 1e-3  # upper limit of that FMR, for few faces
JOINING = 0.01  # share of groups of two that may take in a stranger when the rest join
_GROWTH = 1.5  # exponent of a group's size by which a stranger does less harm there
LAXEST = 1e-2  # FMR of any comparison
ONE_PHOTO = 1e-6  # FMR at which two faces in one photo are one person: a mirror, a mosaic
_BEYOND = 1e-9  # FMR that suffices for any two faces, however high their strangers score
_UPPER, _LOWER = 0.1, 0.3  # quantiles of a face's strangers between which its tail begins
_FEW = 20  # too few strangers to estimate the tail
_SAMPLE = 1000  # strangers sampled to estimate a face's tail
_MARGINS = (0.25, 0.15, 0.1, 0.05, 0.025, 0.0)  # above the threshold: the surest merge first
_NEAR = 0.1  # below the threshold: less similar ones wait for the next pass
_BLOCK = 1024  # rows of the scores at a time
_PASSES, _JOINS = 8, 4

_NORMAL = NormalDist()
_Rows = NDArray[np.intp]


def group(
    vectors: Embeddings,
    policy: Policy,
    *,
    threshold: float | None = None,
    photos: Sequence[int] | None = None,
    poor: NDArray[np.bool_] | None = None,
    earlier: Sequence[int] | None = None,
    same: Sequence[tuple[int, int]] = (),
    apart: Sequence[tuple[int, int]] = (),
) -> NDArray[np.intp]:
    """The group of each vector, (N,): 0 is the largest, and so on down to groups of one.

    Faces first form groups, at a threshold that rises with their number; a large group has a better
    template, so it needs a lower mean score than a pair.  The rest then join the groups, large ones
    more easily: a stranger among twenty does less harm.  Two faces in one photo are two people,
    unless they are so similar that the photo must show a mirror or be a mosaic.
    Time grows with the square of N, memory with N.

    Args:
        vectors: (N, D) of unit length.
        policy: of the model that made them.
        threshold: the cosine of two templates that makes one group of two, whatever their size and
            however many faces there are; found from the policy by default.
        photos: the number of the photo that each face is in; by default each is in one of its own.
        poor: (N,) which faces may join groups and not found them; none by default.
        earlier: numbers of groups from an earlier run, -1 for faces that are new or were alone.
            These groups stay apart and keep their faces; others join them or found new ones.
        same: pairs of faces that are one person, as somebody has said ("must-link").
        apart: pairs of faces that are not ("cannot-link").

    Raises:
        BadInput: the vectors are not finite.
    """
    if not np.isfinite(vectors).all():
        raise BadInput("a face has a vector that is not finite: export the model again")
    count = len(vectors)
    sound = np.ones(count, bool) if poor is None else ~poor
    rule = _Rule.of(policy, threshold)
    forest = _Forest(vectors, rule, np.arange(count) if photos is None else np.asarray(photos))
    if earlier is not None:
        forest.restore(np.asarray(earlier))
    forest.told(same, apart)
    rate = _founding_rate(int(sound.sum()))
    for _ in range(_PASSES):
        if not forest.found(np.flatnonzero(forest.alive & (sound | forest.is_group)), rate):
            break
    for _ in range(_JOINS):
        if not forest.join(rate):
            break
    return _by_size(forest.label)


def founding_threshold(policy: Policy, faces: int) -> float:
    """The lowest score at which two of so many faces form a group."""
    return _Rule.of(policy, None).threshold(_founding_rate(faces))


def _founding_rate(faces: int) -> float:
    """The FMR at which faces form groups.

    Their pairs grow with the square of their number.  One over the number would keep the share of
    faces in a wrong pair constant, were the tail of strangers' scores a Gaussian's; it is heavier.
    """
    return float(min(FOUNDING * max(faces, 1) ** -1.5, FEW_FOUND))


@dataclass(frozen=True, slots=True)
class _Rule:
    """The threshold of a false-match rate, from the scores of strangers."""

    impostors: Impostors | None
    fixed: float | None  # instead, whatever the rate

    @classmethod
    def of(cls, policy: Policy, threshold: float | None) -> _Rule:
        if threshold is None and policy.impostors is None:
            threshold = policy.threshold
        return cls(policy.impostors, threshold)

    def threshold(self, rate: float) -> float:
        if self.fixed is not None or self.impostors is None:
            return self.fixed if self.fixed is not None else 1.0
        return self.impostors.threshold(min(rate, LAXEST))

    def gains(self, counts: NDArray[np.intp]) -> NDArray[np.float32]:
        known = self.impostors.gains if self.impostors else GAINS
        sizes = sorted(known)
        found = np.interp(
            np.log2(np.maximum(counts, 1)), np.log2(sizes), [known[size] for size in sizes]
        )
        return found.astype(np.float32)


class _Forest:
    """Groups that grow: each goes by the row of one of its faces.

    Scores are divided by the gains of both sides, so that those of strangers are alike whatever the
    size of the groups.
    """

    def __init__(self, vectors: Embeddings, rule: _Rule, photos: NDArray[np.intp]) -> None:
        count = len(vectors)
        self.rule = rule
        self.label = np.arange(count)
        self.alive = np.ones(count, bool)
        self.count = np.ones(count, np.intp)
        self.settled = np.zeros(count, bool)  # groups of an earlier run
        self._sum = vectors.astype(np.float32, copy=True)
        self._template = self._sum.copy()  # scaled by one over the gain
        self._members: dict[int, list[int]] = {}  # of groups of two and more
        self._apart = _apart(vectors, photos, rule.threshold(ONE_PHOTO))
        self._level = np.zeros((2, count), np.float32)  # score and slope of the strangers' tail

    @property
    def is_group(self) -> NDArray[np.bool_]:
        return self.count > 1

    def restore(self, earlier: NDArray[np.intp]) -> None:
        """Restore the groups of an earlier run, which stay apart."""
        for number in np.unique(earlier[earlier >= 0]):
            first, *rest = np.flatnonzero(earlier == number).tolist()
            for row in rest:
                self._merge(first, row)
            self.settled[first] = True

    def told(self, same: Sequence[tuple[int, int]], apart: Sequence[tuple[int, int]]) -> None:
        """Heed what somebody has said of pairs of faces."""
        for one, other in same:
            if self.label[one] != self.label[other]:
                self._merge(self.label[one], self.label[other])
        for one, other in apart:
            self._apart.setdefault(one, []).append(other)
            self._apart.setdefault(other, []).append(one)

    def found(self, rows: _Rows, rate: float) -> int:
        """Merge rows while any two reach their threshold; returns the number of merges."""
        merges = 0
        self._measure(rate)
        threshold = self._thresholds(rate)
        best, margin = self._nearest(rows, rows, threshold)
        near = margin > -_NEAR
        rows, partner, excess = rows[near], np.full(len(self.label), -1), np.zeros(len(self.label))
        partner[rows], excess[rows] = best[near], margin[near]
        for least in _MARGINS:
            while True:
                rows = rows[self.alive[rows]]
                one = rows[excess[rows] >= least]
                one = one[(partner[partner[one]] == one) & (one < partner[one])]
                if not len(one):
                    break
                other = partner[one]
                kept = np.array([self._merge(*pair) for pair in zip(one, other, strict=True)])
                threshold[kept] = (threshold[one] + threshold[other]) / 2
                merges += len(kept)
                gone = np.zeros(len(self.label), bool)
                gone[one] = gone[other] = True
                rows = rows[self.alive[rows]]
                stale = gone[rows] | gone[partner[rows]]
                again, rest = rows[stale], rows[~stale]
                partner[again], excess[again] = self._nearest(again, rows, threshold)
                best, margin = self._nearest(rest, kept, threshold)
                nearer = margin > excess[rest]
                partner[rest[nearer]], excess[rest[nearer]] = best[nearer], margin[nearer]
        return merges

    def join(self, rate: float) -> int:
        """Let the remaining faces join similar groups; returns how many did."""
        groups = np.flatnonzero(self.alive & self.is_group)
        left = np.flatnonzero(self.alive & ~self.is_group)
        if not len(groups) or not len(left):
            return 0
        self._measure(rate)
        partner, excess = np.full(len(left), -1), np.full(len(left), -1.0)
        classes = np.floor(np.log2(self.count[groups])).astype(int)
        for size in np.unique(classes):
            threshold = self._thresholds(JOINING / len(left) * 2.0 ** (_GROWTH * (size - 1)))
            best, margin = self._nearest(left, groups[classes == size], threshold)
            nearer = margin > excess
            partner[nearer], excess[nearer] = best[nearer], margin[nearer]
        joined = 0
        for place in np.argsort(-excess, kind="stable"):
            row, group = int(left[place]), int(partner[place])
            if excess[place] < 0:
                break
            if group not in self.label[self._apart_from(row)]:
                self._merge(group, row)
                joined += 1
        return joined

    def _merge(self, one: int, other: int) -> int:
        """Merge two groups; returns the row of the result."""
        if self.count[one] < self.count[other] or self.settled[other]:
            one, other = other, one
        members = self._members.pop(int(other), [int(other)])
        self.label[members] = one
        self._members.setdefault(int(one), [int(one)]).extend(members)
        self.count[one] += self.count[other]
        self.count[other], self.alive[other] = 0, False
        self._sum[one] += self._sum[other]
        length = max(float(np.linalg.norm(self._sum[one])), 1e-12)
        gain = self.rule.gains(self.count[one : one + 1])[0]
        self._template[one] = self._sum[one] / (length * gain)
        return int(one)

    def _measure(self, rate: float) -> None:
        """How high each group's strangers score: where their tail begins, and its slope.

        Who reaches the threshold may be the same person, and is left out.
        """
        if self.rule.fixed is not None:
            return
        live = np.flatnonzero(self.alive)
        sample = live
        if len(live) > _SAMPLE:
            sample = np.sort(np.random.default_rng(0).choice(live, _SAMPLE, replace=False))
        same = self.rule.threshold(rate)
        span = _deviation(_UPPER) - _deviation(_LOWER)
        for top in range(0, len(live), _BLOCK):
            rows = live[top : top + _BLOCK]
            scores = np.sort(self._template[rows] @ self._template[sample].T, axis=1)
            strangers = (scores < same).sum(axis=1)
            every = np.arange(len(rows))
            upper, lower = (
                scores[every, np.maximum(np.ceil(strangers * (1 - share)).astype(int) - 1, 0)]
                for share in (_UPPER, _LOWER)
            )
            known = strangers >= _FEW
            self._level[0, rows] = np.where(known, upper, -1)
            self._level[1, rows] = np.where(known, (upper - lower) / span, 0)

    def _thresholds(self, rate: float) -> NDArray[np.float32]:
        """Each group's threshold; two groups need the mean of theirs."""
        rate = min(rate, LAXEST)
        least = self.rule.threshold(rate)
        most = max(least, self.rule.threshold(_BEYOND))
        start, slope = self._level
        own = start + slope * (_deviation(rate) - _deviation(_UPPER))
        return np.clip(own, least, most).astype(np.float32)

    def _nearest(
        self, rows: _Rows, others: _Rows, threshold: NDArray[np.float32]
    ) -> tuple[_Rows, NDArray[np.float32]]:
        """For each row the one that exceeds the threshold by most, and by how much."""
        best, margin = np.full(len(rows), -1), np.full(len(rows), -np.inf, np.float32)
        if not len(others):
            return best, margin
        place = np.full(len(self.label), -1)
        place[others] = np.arange(len(others))
        half = threshold / 2
        columns = np.column_stack([self._template[others], -half[others]]).T
        settled = self.settled[others]
        for top in range(0, len(rows), _BLOCK):
            part = rows[top : top + _BLOCK]
            ones = np.ones((len(part), 1), np.float32)
            scores = np.hstack([self._template[part], ones]) @ columns
            scores[self.settled[part][:, None] & settled] = -np.inf
            for number, row in enumerate(part.tolist()):
                if place[row] >= 0:
                    scores[number, place[row]] = -np.inf
                if len(apart := self._apart_from(row)):
                    there = place[self.label[apart]]
                    scores[number, there[there >= 0]] = -np.inf
            found = scores.argmax(axis=1)
            best[top : top + len(part)] = others[found]
            margin[top : top + len(part)] = scores[np.arange(len(part)), found] - half[part]
        return best, margin

    def _apart_from(self, row: int) -> list[int]:
        """The faces that share a photo with a group's faces and are other people."""
        if not self._apart:
            return []
        return [face for own in self._members.get(row, [row]) for face in self._apart.get(own, ())]


def _apart(vectors: Embeddings, photos: NDArray[np.intp], threshold: float) -> dict[int, list[int]]:
    """For each face those of its photo that are other people."""
    order = np.argsort(photos, kind="stable")
    ends = np.flatnonzero(np.diff(photos[order])) + 1
    found = {}
    for rows in np.split(order, ends):
        if len(rows) > 1:
            others = vectors[rows] @ vectors[rows].T < threshold
            found.update(
                {int(row): rows[other].tolist() for row, other in zip(rows, others, strict=True)}
            )
    return found


def _by_size(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Labels as numbers from 0: the largest group first, ties by first face."""
    _, first, label, counts = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    place = np.empty(len(counts), np.intp)
    place[np.lexsort((first, -counts))] = np.arange(len(counts))
    return place[label]


def _deviation(rate: float) -> float:
    return -_NORMAL.inv_cdf(rate)
