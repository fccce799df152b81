"""Where to put the threshold: photos of many people to the score that few strangers reach.

A threshold is stated with its false-match rate: the share of pairs of two different people that it
takes for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mien import files
from mien.errors import BadInput
from mien.evaluation.metrics import ERRORS_TO_TRUST
from mien.evaluation.protocol import genuine_scores, impostor_scores
from mien.recognition.align import largest
from mien.recognition.model import Model
from mien.recognition.thresholds import Impostors, require_rate, template_gains, threshold_at_fmr
from mien.types import Embeddings, Progress, Scores, Skipped, silent

FMRS = (1e-2, 1e-3, 1e-4, 1e-5)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and what it does.  Rates are fractions in [0, 1]."""

    fmr: float  # false-match rate that was asked for; the measured one is no higher
    threshold: float  # a cosine: the smallest with no more false matches
    tmr: float | None  # true-match rate, among pairs of one person; None: there were none


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold for a model, and where it comes from."""

    model_id: str
    chosen: OperatingPoint
    table: tuple[OperatingPoint, ...]  # at every rate of `FMRS` that the pairs can tell
    impostors: Impostors | None  # how alike strangers are; None: too few pairs for two rates
    source: str  # name of the folder
    people: int
    photos: int
    impostor_pairs: int  # pairs of two people
    genuine_pairs: int  # pairs of one person
    skipped: tuple[Skipped, ...]  # not to be used, and why

    def to_json(self) -> dict[str, Any]:
        """The fields above as what can be printed as JSON; what was skipped as path and reason."""
        skipped = [{"path": str(path), "reason": reason} for path, reason in self.skipped]
        known = {"impostors": self.impostors.to_json()} if self.impostors else {}
        content = asdict(self)
        del content["impostors"]
        return content | known | {"skipped": skipped}


def calibrate(
    model: Model,
    folder: str | Path,
    *,
    fmr: float = 1e-4,
    progress: Progress = silent,
) -> Calibration:
    """The threshold of a false-match rate, from every pair of photos in a folder of people.

    The largest face of each photo counts.  Photos that cannot be read or show no face are skipped
    and listed.  Pairs of a few hundred people are not independent: the rates of new people scatter
    more than the number of pairs suggests.

    Args:
        model: what finds and embeds faces.
        folder: `<name>/*.jpg`, photos of one person in a folder of their own.
        fmr: false-match rate to allow, in (0, 1).
        progress: is given the photos to look at.

    Raises:
        BadInput: no folder of people, or too few pairs to know so small a rate.
    """
    require_rate(fmr)
    person_of, skipped = files.photos_of_people(folder)
    _require_pairs(person_of.values(), fmr, folder)  # before the long part
    rows = {}
    for path in progress(list(person_of), "calibrating"):
        try:
            rows[path] = model.embedder(largest(path, model.detector)[None])[0]
        except BadInput as error:
            skipped.append(Skipped(path, str(error)))
    whose = [person_of[path] for path in rows]
    _require_pairs(whose, fmr, folder)
    embeddings = np.array(list(rows.values()), np.float32)
    impostors = impostor_scores(embeddings, whose)
    genuine = genuine_scores(embeddings, whose)
    trusted = [rate for rate in FMRS if len(impostors) * rate >= ERRORS_TO_TRUST]
    return Calibration(
        model_id=model.model_id,
        chosen=_operating_point(impostors, genuine, fmr),
        table=tuple(_operating_point(impostors, genuine, rate) for rate in trusted),
        impostors=distribution(embeddings, whose),
        source=Path(folder).resolve().name,
        people=len(set(whose)),
        photos=len(whose),
        impostor_pairs=len(impostors),
        genuine_pairs=len(genuine),
        skipped=tuple(skipped),
    )


def distribution(embeddings: Embeddings, whose: ArrayLike) -> Impostors | None:
    """How alike people are who are strangers to each other; None: too few pairs for two rates.

    Args:
        embeddings: (N, D) unit vectors.
        whose: (N,) whose they are, any values that can be compared.
    """
    gains = template_gains(embeddings, whose, ERRORS_TO_TRUST)
    found = Impostors.measured(impostor_scores(embeddings, whose), gains, ERRORS_TO_TRUST)
    return found if found.is_usable else None


def _operating_point(impostors: Scores, genuine: Scores, fmr: float) -> OperatingPoint:
    threshold = threshold_at_fmr(impostors, fmr)
    tmr = float((genuine >= threshold).mean()) if len(genuine) else None
    return OperatingPoint(fmr=fmr, threshold=threshold, tmr=tmr)


def _require_pairs(whose: Collection[str], fmr: float, folder: str | Path) -> None:
    count = len(whose)
    pairs = (count**2 - sum(n**2 for n in Counter(whose).values())) // 2
    if pairs * fmr < ERRORS_TO_TRUST:
        raise BadInput(
            f"{folder} gives {pairs} pairs of two people and a false-match rate of {fmr:g} needs "
            f"{ERRORS_TO_TRUST / fmr:.0f}: add folders of people with photos, or allow a higher one"
        )
