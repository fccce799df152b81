"""Calibration: from photos of many people to the threshold of a false-match rate.

The false-match rate is the share of pairs of two different people that reach the threshold.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mien import files
from mien.errors import BadInput
from mien.evaluation.metrics import ERRORS_TO_TRUST
from mien.evaluation.people import embed_largest, embed_people
from mien.evaluation.scores import score_blocks, shares_at, template_gains, thresholds_at_fmrs
from mien.recognition.model import Model
from mien.recognition.thresholds import GAINS, Impostors, measurable_rates, require_rate
from mien.types import Embeddings, Progress, Skipped, silent

FMRS = (1e-2, 1e-3, 1e-4, 1e-5)
# The lowest false-match rate that unsorted photos can measure, as some people are in them twice:
# in some 150 pairs of FairFace's 5,000 validation photos, one in 80,000.
UNSORTED = 1e-4


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and what it does.  Rates are fractions in [0, 1]."""

    fmr: float  # the requested false-match rate; the measured one is no higher
    threshold: float  # a cosine: the lowest that keeps this rate
    tmr: float | None  # true-match rate, among pairs of one person; None: there were none


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold for a model, and where it comes from."""

    model_id: str
    chosen: OperatingPoint
    table: tuple[OperatingPoint, ...]  # at every rate of `FMRS` that the pairs can measure
    impostors: Impostors | None  # the scores of strangers; None: too few pairs for two rates
    source: str  # name of the folder
    people: int
    photos: int
    impostor_pairs: int  # pairs of two people
    genuine_pairs: int  # pairs of one person
    skipped: tuple[Skipped, ...]  # not to be used, and why

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON; skipped photos as path and reason."""
        skipped = [{"path": str(path), "reason": reason} for path, reason in self.skipped]
        known = {"impostors": self.impostors.to_json()} if self.impostors else {}
        content = asdict(self)
        del content["impostors"]
        return content | known | {"skipped": skipped}


def calibrate(
    model: Model,
    folder: str | Path,
    *,
    choice: files.Choice = files.EVERYTHING,
    fmr: float = 1e-4,
    strangers: bool = False,
    people: str | Path | None = None,
    progress: Progress = silent,
) -> Calibration:
    """The threshold of a false-match rate, from every pair of photos in a folder of people.

    The largest face of each photo counts.  Photos that cannot be read or show no face are skipped
    and listed.  Pairs of a few hundred people are not independent: the rates of new people scatter
    more than the number of pairs suggests.

    Args:
        model: what finds and embeds faces.
        folder: `<name>/*.jpg`, photos of one person in a folder of their own.
        choice: which of the photos to use.
        fmr: false-match rate to allow, in (0, 1).
        strangers: every photo below the folder shows somebody else, wherever it lies; rates below
            `UNSORTED` are then extrapolated.
        people: another folder like `folder`, of whom true matches are told, and how much higher
            strangers score with several photos of a person; by default those in `folder`.
        progress: is given the photos to look at.

    Raises:
        BadInput: no folder of people, or too few pairs to know so small a rate.
    """
    require_rate(fmr)
    person_of, loose = _who(folder, choice, strangers)
    _require_pairs(person_of.values(), fmr, folder)  # before the long part
    faces = embed_largest([model], list(person_of), progress, "calibrating")
    whose = [person_of[path] for path in faces.photos]
    pairs = _require_pairs(whose, fmr, folder)
    (embeddings,) = faces.vectors
    (own,), names, skipped = faces.vectors, whose, [*loose, *faces.skipped]
    if people:
        others, names = embed_people([model], people, choice, progress, "measuring people")
        (own,) = others.vectors
        skipped += others.skipped
    rarest = UNSORTED if strangers else 0
    trusted = [rate for rate in FMRS if rate >= max(rarest, ERRORS_TO_TRUST / pairs)]
    thresholds, impostors = _measure(embeddings, whose, [fmr, *trusted], own, names, rarest)
    genuine, tmrs = shares_at(score_blocks(own, names, same=True), thresholds)
    chosen, *table = (
        OperatingPoint(rate, threshold, tmr if genuine else None)
        for rate, threshold, tmr in zip([fmr, *trusted], thresholds, tmrs, strict=True)
    )
    return Calibration(
        model_id=model.model_id,
        chosen=chosen,
        table=tuple(table),
        impostors=impostors,
        source=Path(os.path.realpath(folder)).name,
        people=len(set(whose)),
        photos=len(whose),
        impostor_pairs=pairs,
        genuine_pairs=genuine,
        skipped=tuple(skipped),
    )


def _who(
    folder: str | Path, choice: files.Choice, strangers: bool
) -> tuple[dict[Path, str], list[Skipped]]:
    """The person of each photo, and which photos are nobody's."""
    if strangers:
        found = files.walk([folder], choice=choice)
        return {path: str(path) for path in found}, list(found.skipped)
    return files.photos_of_people(folder, choice)


def distribution(embeddings: Embeddings, whose: ArrayLike) -> Impostors | None:
    """The distribution of strangers' scores; None: too few pairs for two rates.

    Args:
        embeddings: (N, D) unit vectors.
        whose: (N,) whose they are, any values that can be compared.
    """
    return _measure(embeddings, whose, [], embeddings, whose)[1]


def _measure(
    embeddings: Embeddings,
    whose: ArrayLike,
    fmrs: Sequence[float],
    own: Embeddings,
    names: ArrayLike,
    rarest: float = 0,
) -> tuple[list[float], Impostors | None]:
    """The threshold at each rate, and the distribution at rates of at least `rarest`.

    Its gains are those of `own`.
    """
    several = np.unique(np.asarray(names)).size < len(own)  # somebody has two photos to average
    rates = measurable_rates(_pairs(np.asarray(whose).tolist()), ERRORS_TO_TRUST)
    rates = [rate for rate in rates if rate >= rarest]
    found = thresholds_at_fmrs(lambda: score_blocks(embeddings, whose, same=False), {*fmrs, *rates})
    gains = template_gains(own, names, ERRORS_TO_TRUST) if several else GAINS
    impostors = Impostors(tuple(rates), tuple(found[rate] for rate in rates), gains)
    return [found[fmr] for fmr in fmrs], impostors if impostors.is_usable else None


def _pairs(whose: Collection[Hashable]) -> int:
    """Pairs of two people."""
    return (len(whose) ** 2 - sum(photos**2 for photos in Counter(whose).values())) // 2


def _require_pairs(whose: Collection[str], fmr: float, folder: str | Path) -> int:
    pairs = _pairs(whose)
    if pairs * fmr < ERRORS_TO_TRUST:
        raise BadInput(
            f"{folder} gives {pairs} pairs of two people and a false-match rate of {fmr:g} needs "
            f"{ERRORS_TO_TRUST / fmr:.0f}: add folders of people with photos, or allow a higher one"
        )
    return pairs
