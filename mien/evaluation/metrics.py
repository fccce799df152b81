"""From scores and labels to accuracy, error rates and thresholds.

A pair is accepted as one person where its score is at least the threshold.  A false match is an
accepted pair of two people, a false non-match a rejected pair of one person.  All rates are
fractions in [0, 1].  Nothing here knows pictures, people or models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.recognition.thresholds import most_allowed, threshold_at_fmr

Floats: TypeAlias = NDArray[np.float64]

# False matches that a rate must rest on: with 30 it is within 30 % at 90 % confidence, if pairs are
# independent (Doddington et al., The NIST speaker recognition evaluation, 2000).
ERRORS_TO_TRUST = 30


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """Every outcome that some threshold can give, from accepting nobody to accepting everyone."""

    thresholds: Floats  # (T,) falling; the first is inf, the others are the distinct scores
    fmr: Floats  # (T,) rising from 0 to 1: false-match rate
    tmr: Floats  # (T,) rising from 0 to 1: true-match rate


@dataclass(frozen=True, slots=True, eq=False)
class FoldAccuracy:
    """Accuracy on each fold with the threshold that is best on the others."""

    accuracy: Floats  # (F,) one for each fold
    thresholds: Floats  # (F,)

    @property
    def mean(self) -> float:
        """Mean of the folds' accuracies."""
        return float(self.accuracy.mean())

    @property
    def std(self) -> float:
        """Sample standard deviation of the folds' accuracies (F - 1 degrees of freedom).

        LFW's result tables print the standard error of the mean, which is this / sqrt(F).
        """
        return float(self.accuracy.std(ddof=1))

    @property
    def threshold(self) -> float:
        """Mean of the folds' thresholds."""
        return float(self.thresholds.mean())


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """What one threshold does to pairs."""

    threshold: float
    accuracy: float  # share of pairs judged correctly
    fmr: float  # false-match rate, among pairs of two people
    fnmr: float  # false non-match rate, among pairs of one person


def roc(scores: ArrayLike, same: ArrayLike) -> Roc:
    """The receiver operating characteristic; equal scores are accepted or rejected together.

    Args:
        scores: (N,) finite, higher means more alike.
        same: (N,) true where the pair is one person.

    Raises:
        ValueError: shapes that differ, a score that is not finite, or pairs of one kind only.
    """
    values, genuine = _checked(scores, same)
    thresholds, true_matches, false_matches = _accepted(values, genuine)
    return Roc(
        thresholds=np.concatenate([[np.inf], thresholds]),
        fmr=np.concatenate([[0], false_matches / false_matches[-1]]),
        tmr=np.concatenate([[0], true_matches / true_matches[-1]]),
    )


def rates(scores: ArrayLike, same: ArrayLike, threshold: float) -> ErrorRates:
    """Accuracy and error rates at a threshold; arguments and errors as `roc`."""
    values, genuine = _checked(scores, same)
    accepted = values >= threshold
    return ErrorRates(
        threshold=threshold,
        accuracy=float((accepted == genuine).mean()),
        fmr=float(accepted[~genuine].mean()),
        fnmr=float((~accepted[genuine]).mean()),
    )


def best_threshold(scores: ArrayLike, same: ArrayLike) -> float:
    """The threshold that judges most pairs correctly; the highest if several do.

    Every way to split the scores is tried, at the midpoint of each gap.  Arguments and errors as
    for `roc`.
    """
    values, genuine = _checked(scores, same)
    distinct, true_matches, false_matches = _accepted(values, genuine)
    right = np.concatenate([[0], true_matches - false_matches])  # and a constant
    best = int(right.argmax())
    if best == 0:  # nobody
        return float(np.nextafter(distinct[0], np.inf))
    if best == len(distinct):  # everyone
        return float(distinct[-1])
    upper, lower = distinct[best - 1], distinct[best]
    return float(max(upper / 2 + lower / 2, np.nextafter(lower, np.inf)))  # not lowered by rounding


def accuracy_by_folds(scores: ArrayLike, same: ArrayLike, folds: ArrayLike) -> FoldAccuracy:
    """LFW's protocol: each fold is judged with the threshold that is best on all the others.

    Huang et al., Labeled Faces in the Wild, 2007.

    Args:
        scores: (N,) finite, higher means more alike.
        same: (N,) true where the pair is one person.
        folds: (N,) the fold of each pair, any integers, of two kinds or more.

    Raises:
        ValueError: as `roc`, or fewer than two folds.
    """
    values, genuine = _checked(scores, same)
    fold_of = np.asarray(folds)
    if fold_of.shape != values.shape:
        raise ValueError(f"folds must have shape {values.shape}, not {fold_of.shape}")
    names = np.unique(fold_of)
    if len(names) < 2:
        raise ValueError("the threshold comes from the other folds: there must be two or more")
    inside = [fold_of == name for name in names]
    thresholds = np.array([best_threshold(values[~here], genuine[~here]) for here in inside])
    accuracy = [
        ((values[here] >= threshold) == genuine[here]).mean()
        for here, threshold in zip(inside, thresholds, strict=True)
    ]
    return FoldAccuracy(accuracy=np.array(accuracy), thresholds=thresholds)


def deal_folds(same: ArrayLike, folds: int) -> NDArray[np.intp]:
    """A fold for each pair, (N,): pairs of each kind are dealt out in turn (stratified)."""
    genuine = np.asarray(same, bool)
    dealt = np.empty(len(genuine), np.intp)
    for kind in (genuine, ~genuine):
        dealt[kind] = np.arange(kind.sum()) % folds
    return dealt


def tar_at_far(scores: ArrayLike, same: ArrayLike, far: float) -> float | None:
    """The highest true-match rate among thresholds with a false-match rate of at most `far`.

    None with fewer than 1 / far pairs of two people: too few to measure such a rate.
    Arguments and errors otherwise as `roc`; far in (0, 1).
    """
    values, genuine = _checked(scores, same)
    impostors = values[~genuine]
    if most_allowed(len(impostors), far) == 0:
        return None
    return float((values[genuine] >= threshold_at_fmr(impostors, far)).mean())


def eer(scores: ArrayLike, same: ArrayLike) -> float:
    """The equal error rate: where false matches are as frequent as false non-matches.

    The ROC is interpolated linearly.  Arguments and errors
    as `roc`.
    """
    curve = roc(scores, same)
    return float(np.interp(0, curve.fmr + curve.tmr - 1, curve.fmr))


def ranks(scores: ArrayLike, right: ArrayLike) -> NDArray[np.intp]:
    """The place of the right column in each row, (P,), from 1; who scores as high comes before.

    Args:
        scores: (P, G) of every search with everyone enrolled.
        right: (P,) the column that each search should find.
    """
    values = np.asarray(scores)
    own = np.take_along_axis(values, np.asarray(right)[:, None], axis=1)
    places: NDArray[np.intp] = (values >= own).sum(axis=1)
    return places


def tpir_at_fpir(
    scores: ArrayLike, right: ArrayLike, strangers: ArrayLike, fpir: float
) -> float | None:
    """The true-positive identification rate at a false-positive identification rate.

    It is the share of searches whose best score reaches the threshold and is the right person's.
    None where it cannot be measured: no searches, or fewer than 1 / fpir of strangers.

    Args:
        scores: (P,) the best score of each search for someone enrolled.
        right: (P,) whether it is that person's.
        strangers: (S,) the best score of each search for someone who is not.
        fpir: false-positive identification rate, in (0, 1).
    """
    found, lookalikes = np.asarray(scores), np.asarray(strangers)
    if not found.size or most_allowed(len(lookalikes), fpir) == 0:
        return None
    return float((np.asarray(right) & (found >= threshold_at_fmr(lookalikes, fpir))).mean())


def _checked(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    values, genuine = np.asarray(scores, np.float64), np.asarray(same)
    if values.ndim != 1 or genuine.shape != values.shape or genuine.dtype != np.bool_:
        raise ValueError(
            f"scores and same must be two rows of one length, same of booleans, "
            f"not {values.shape} and {genuine.shape} {genuine.dtype}"
        )
    if not np.isfinite(values).all():
        raise ValueError("every score must be a finite number")
    if genuine.all() or not genuine.any():
        raise ValueError("there must be pairs of both kinds, same and different")
    return values, genuine


def _accepted(
    values: Floats, genuine: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.intp], NDArray[np.intp]]:
    """The distinct scores, falling, and how many pairs of each kind score at least as high."""
    order = np.argsort(-values)
    falling = values[order]
    last = np.flatnonzero(np.append(np.diff(falling) != 0, True))  # of each run of equal scores
    matches = np.cumsum(genuine[order], dtype=np.intp)[last]
    return falling[last], matches, last + 1 - matches
