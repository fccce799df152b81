"""From the scores of impostor pairs to a threshold for any error rate.

The false-match rate (FMR) is that of one comparison: the share of pairs of two people that reach a
threshold.  The false-positive identification rate (FPIR) is that of a search: the share of
strangers who get a name in a facebank.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from mien.errors import BadInput

PER_DECADE = 4  # rates at which a distribution is measured
LAST_RATE = 1e-5
_TAIL = 100  # the tail's line starts at a rate this many times that of its end
_STEPS = 40  # of a bisection of [-1, 1]: to the last bit of a float32 and beyond

# How much higher strangers score with the mean of several photos of a person than with one photo,
# if a card does not say: measured on 200 people of CelebA by mien calibrate.
GAINS = {1: 1.0, 2: 1.0388, 4: 1.0702, 8: 1.0894, 16: 1.0961}

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, repr=False)
class Impostors:
    """The distribution of the scores of strangers.

    Between its points the score is linear in the normal quantile of the rate, and beyond the last
    one it continues that way: a Gaussian tail, which is extrapolated, not measured.
    """

    rates: tuple[float, ...]  # false-match rates in (0, 1), falling; two at least
    scores: tuple[float, ...]  # the threshold of each, rising
    gains: Mapping[int, float]  # photos in a template: factor on strangers' scores, 1 for one photo

    def __repr__(self) -> str:
        return f"<Impostors: {self.scores[-1]:.3f} at a false-match rate of {self.rates[-1]:g}>"

    @classmethod
    def from_calibration(cls, calibration: Mapping[str, Any]) -> Self | None:
        """The distribution in a model's card; None if it has too few points.

        Raises:
            ValueError, TypeError, KeyError: it is not what `mien calibrate` has written.
        """
        if "impostors" in calibration:
            known = calibration["impostors"]
            rates, scores = known["rates"], known["scores"]
            gains = {int(photos): float(gain) for photos, gain in known["gains"].items()}
        else:  # written before there were any
            points = [*calibration.get("table", ()), *filter(None, [calibration.get("chosen")])]
            best = {float(point["fmr"]): float(point["threshold"]) for point in points}
            rates = sorted(best, reverse=True)
            scores, gains = [best[rate] for rate in rates], GAINS
        found = cls(tuple(map(float, rates)), tuple(map(float, scores)), gains)
        if found.is_usable:
            return found
        if "impostors" in calibration:
            raise ValueError("scores must rise where rates fall")
        return None

    @property
    def is_usable(self) -> bool:
        """Whether there are enough points, and scores rise as rates fall."""
        falling = all(a > b for a, b in pairwise((1.0, *self.rates, 0.0)))
        rising = all(a < b for a, b in pairwise((-2.0, *self.scores, 2.0)))
        factors = bool(self.gains) and all(
            photos > 0 and 0 < gain < 10 for photos, gain in self.gains.items()
        )
        return falling and rising and factors and len(self.rates) == len(self.scores) > 1

    def to_json(self) -> dict[str, Any]:
        """What `from_calibration` reads."""
        gains = {str(photos): gain for photos, gain in self.gains.items()}
        return {"rates": list(self.rates), "scores": list(self.scores), "gains": gains}

    def threshold(self, fmr: float) -> float:
        """The score that this share of impostor pairs reaches.

        Raises:
            BadInput: the rate does not lie between 0 and 1.
        """
        deviations, scores = self._line()
        score = np.interp(_deviation(require_rate(fmr)), deviations, scores)
        return float(np.clip(score, -1, 1))

    def fmr(self, threshold: float) -> float:
        """The share of impostor pairs that reach a score."""
        deviations, scores = self._line()
        return _NORMAL.cdf(-float(np.interp(threshold, scores, deviations)))

    def fpir(self, photos: Iterable[int], threshold: float) -> float:
        """The share of strangers who get a name in a facebank.

        Comparisons are taken as independent, which errs on the safe side: somebody who looks like
        one person often looks like another.

        Args:
            photos: how many each person in it has.
            threshold: the score that earns a name.
        """
        return self._fpir(Counter(photos), threshold)

    def _fpir(self, people_with: Mapping[int, int], threshold: float) -> float:
        nobody = 0.0  # logarithm of the probability that a stranger matches none of them
        for number, people in people_with.items():
            rate = self.fmr(threshold / self.gain(number))
            nobody += people * math.log1p(-min(rate, 1 - 1e-12))
        return -math.expm1(nobody)

    def threshold_among(self, photos: Iterable[int], fpir: float) -> float:
        """The score that this share of strangers reaches in a facebank; arguments as for `fpir`.

        Raises:
            BadInput: the rate does not lie between 0 and 1.
        """
        require_rate(fpir)
        people_with = Counter(photos)
        low, high = -1.0, 1.0
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if self._fpir(people_with, middle) <= fpir else (middle, high)
        return high

    def gain(self, photos: int) -> float:
        """The factor on strangers' scores with the mean of a number of photos; linear in log2."""
        counts = sorted(self.gains)
        return float(
            np.interp(
                math.log2(max(photos, 1)),
                [math.log2(count) for count in counts],
                [self.gains[count] for count in counts],
            )
        )

    def _line(self) -> tuple[list[float], list[float]]:
        """Ascending normal quantiles and the scores there, extended beyond the points."""
        deviations = [_deviation(rate) for rate in self.rates]
        first = max(i for i, rate in enumerate(self.rates) if i == 0 or self._starts_tail(rate))
        last = len(self.rates) - 1
        first = min(first, last - 1)
        slope = (self.scores[-1] - self.scores[first]) / (deviations[-1] - deviations[first])
        before = (self.scores[1] - self.scores[0]) / (deviations[1] - deviations[0])
        reach = 40.0  # standard deviations: no rate that a float can hold lies beyond
        return (
            [deviations[0] - reach, *deviations, deviations[-1] + reach],
            [self.scores[0] - reach * before, *self.scores, self.scores[-1] + reach * slope],
        )

    def _starts_tail(self, rate: float) -> bool:
        return rate >= _TAIL * self.rates[-1] * (1 - 1e-9)


def measurable_rates(pairs: int, least: int) -> list[float]:
    """The false-match rates that so many pairs can measure, with `least` false matches each.

    They fall by a quarter of a decade, down to `LAST_RATE`.
    """
    decades = -math.log10(max(LAST_RATE, least / pairs)) if pairs else 0
    steps = math.floor(decades * PER_DECADE + 1e-9)
    return [float(f"{10 ** (-k / PER_DECADE):.6g}") for k in range(1, steps + 1)]


def require_rate(rate: float) -> float:
    """The rate, which lies between 0 and 1.

    Raises:
        BadInput: it does not.
    """
    if not 0 < rate < 1:
        raise BadInput(f"the false-match rate must lie between 0 and 1, not {rate}")
    return rate


def _deviation(rate: float) -> float:
    """Where a standard normal variable is exceeded at this rate."""
    return -_NORMAL.inv_cdf(rate)


def threshold_at_fmr(impostor_scores: ArrayLike, fmr: float) -> float:
    """The smallest threshold whose false-match rate is no more than `fmr`.

    Linear in the number of scores, whose type is kept: the threshold of float32 scores is a float32
    value, so comparing in either precision gives the same answer.

    Args:
        impostor_scores: (N,) scores of pairs of two people, finite.
        fmr: false-match rate to allow, in [0, 1).

    Raises:
        ValueError: no scores, one that is not finite, or a rate outside of [0, 1).
    """
    scores = np.asarray(impostor_scores)
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise ValueError("impostor_scores must be finite numbers in one row, one at least")
    if not 0 <= fmr < 1:
        raise ValueError(f"fmr must lie in [0, 1), not {fmr}")
    scores = scores.astype(np.result_type(scores, np.float32), copy=False)
    rejected = len(scores) - 1 - most_allowed(len(scores), fmr)  # the highest that must not pass
    return float(np.nextafter(np.partition(scores, rejected)[rejected], np.inf))


def most_allowed(impostors: int, fmr: float) -> int:
    """The most false matches k with k / impostors <= fmr, in spite of the product's rounding."""
    nearest = round(fmr * impostors)
    return nearest if nearest / max(impostors, 1) <= fmr else nearest - 1
