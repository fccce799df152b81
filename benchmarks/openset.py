"""Strangers and people who are known, measured: who gets a name, and is it the right one?

Half of the people are enrolled with half of their photos; their other photos, and all photos of
strangers, the other half or others, are looked up.  TPIR is the share of the former that get the
right name, FPIR the share of the latter that get any (ISO/IEC 19795-1).  How several photos of a
person are combined to one score is what is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.people import Embedded, Folder, about, embed
from mien import files
from mien.cli import console
from mien.cli.options import DEFAULT_DETECTOR, DEFAULT_MODEL, DetectorName, ModelName
from mien.cli.render import Answer, Table
from mien.errors import BadInput
from mien.evaluation.calibrate import distribution
from mien.evaluation.metrics import tpir_at_fpir
from mien.evaluation.people import embed_largest
from mien.recognition.model import Model, load
from mien.recognition.thresholds import Impostors
from mien.types import Embeddings, Scores

FPIRS = (1e-2, 1e-3)
ASKED = (1e-1, 1e-2, 1e-3)  # of thresholds


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """The photos of P people, one person's after the other's."""

    vectors: Embeddings  # (N, D)
    first: NDArray[np.intp]  # (P,) row of each person's first photo

    @property
    def photos(self) -> NDArray[np.intp]:
        """How many photos each has, (P,)."""
        return np.diff(np.append(self.first, len(self.vectors)))

    @property
    def person(self) -> NDArray[np.intp]:
        """Whose each photo is, (N,)."""
        return np.repeat(np.arange(len(self.first)), self.photos)

    @property
    def means(self) -> Embeddings:
        """The mean of each person's vectors, (P, D), shorter than 1 where there are several."""
        sums = np.add.reduceat(self.vectors, self.first)
        return np.asarray(sums / self.photos[:, None], np.float32)

    @property
    def templates(self) -> Embeddings:
        """The same at unit length."""
        templates: Embeddings = self.means / np.linalg.norm(self.means, axis=1, keepdims=True)
        return templates


def _mean(faces: Embeddings, enrolled: Enrolled) -> Scores:
    return faces @ enrolled.templates.T


def _mean_score(faces: Embeddings, enrolled: Enrolled) -> Scores:
    return faces @ enrolled.means.T


def _best(faces: Embeddings, enrolled: Enrolled) -> Scores:
    best: Scores = np.maximum.reduceat(faces @ enrolled.vectors.T, enrolled.first, axis=1)
    return best


def _z_norm(faces: Embeddings, enrolled: Enrolled) -> Scores:
    """In standard deviations of what the others enrolled score with a person."""
    others = enrolled.templates @ enrolled.templates.T
    others = others[~np.eye(len(others), dtype=bool)].reshape(len(others), -1)  # (P, P - 1)
    scores: Scores = (_mean(faces, enrolled) - others.mean(axis=1)) / others.std(axis=1)
    return scores


def _t_norm(faces: Embeddings, enrolled: Enrolled) -> Scores:
    """In standard deviations of what a face scores with everyone but the nearest."""
    scores = _mean(faces, enrolled)
    others = np.sort(scores, axis=1)[:, :-1]
    normed: Scores = (scores - others.mean(axis=1)[:, None]) / others.std(axis=1)[:, None]
    return normed


def _s_norm(faces: Embeddings, enrolled: Enrolled) -> Scores:
    return _z_norm(faces, enrolled) + _t_norm(faces, enrolled)


COMBINATIONS: dict[str, Callable[[Embeddings, Enrolled], Scores]] = {
    "mean": _mean,  # one vector, at unit length: what the facebank does
    "best": _best,  # of the photos' scores
    "mean-score": _mean_score,  # of the photos' scores
    # Score normalisation, with those enrolled as the cohort: Auckenthaler et al., Score
    # normalization for text-independent speaker verification systems, 2000.
    "z-norm": _z_norm,
    "t-norm": _t_norm,
    "s-norm": _s_norm,
}


@dataclass(frozen=True, slots=True)
class Tpir:
    """How many of the photos of people who are enrolled get the right name.  Rates in [0, 1]."""

    combination: str
    fpir: float
    tpir: float | None  # mean over the draws; None: too few strangers to tell
    std: float | None  # their sample standard deviation; 0 where there is one draw


@dataclass(frozen=True, slots=True)
class Strangers:
    """How many of the photos of strangers get a name, at the threshold for a rate."""

    fpir: float  # that was asked for
    calibrated_on: str  # "model": what its file says; "enrolled": the people who are enrolled
    measured: float  # mean over the draws
    std: float


def combinations(
    faces: Embedded,
    *,
    seeds: int = 10,
    photos: int | None = None,
    others: Embeddings | None = None,
) -> list[Tpir]:
    """The TPIR of each combination at each of `FPIRS`.

    Args:
        faces: of whom half are enrolled, those drawn.
        seeds: how often to draw, from seed 0 on.
        photos: enrolled of a person at most; half of what there is in any case, rounded down.
        others: (M, D), the strangers; by default the half that is not enrolled.
    """
    found: dict[tuple[str, float], list[float | None]] = {
        (name, fpir): [] for fpir in FPIRS for name in COMBINATIONS
    }
    for seed in range(seeds):
        enrolled, known, own, strange = _draw(faces, seed, photos, others)
        for name, score in COMBINATIONS.items():
            scores = score(known, enrolled)
            right = scores.argmax(axis=1) == own
            strangers = score(strange, enrolled).max(axis=1)
            for fpir in FPIRS:
                rate = tpir_at_fpir(scores.max(axis=1), right, strangers, fpir)
                found[name, fpir].append(rate)
    return [
        Tpir(name, fpir, *(_spread(told) if len(told) == seeds else (None, None)))
        for (name, fpir), rates in found.items()
        for told in [[rate for rate in rates if rate is not None]]
    ]


def strangers(
    faces: Embedded,
    model: Model,
    *,
    seeds: int = 10,
    photos: int | None = None,
    others: Embeddings | None = None,
) -> list[Strangers]:
    """How often strangers get a name where a threshold is to keep that to a rate.

    The threshold is that of the model, if its file knows of strangers; and one for which the people
    who are enrolled have been the strangers, to each other.  Arguments as of `combinations`.
    """
    found: dict[tuple[float, str], list[float]] = {}
    for seed in range(seeds):
        enrolled, _, _, strange = _draw(faces, seed, photos, others)
        scores = _mean(strange, enrolled).max(axis=1)
        known: dict[str, Impostors | None] = {
            "model": model.own.impostors if model.own else None,
            "enrolled": distribution(enrolled.vectors, enrolled.person),
        }
        for name, impostors in known.items():
            if impostors is None:
                continue
            for fpir in ASKED:
                threshold = impostors.threshold_among(enrolled.photos.tolist(), fpir)
                found.setdefault((fpir, name), []).append(float((scores >= threshold).mean()))
    return [Strangers(*case, *_spread(rates)) for case, rates in found.items()]


def _draw(
    faces: Embedded, seed: int, photos: int | None, others: Embeddings | None
) -> tuple[Enrolled, Embeddings, NDArray[np.intp], Embeddings]:
    """Who is enrolled, their other photos and whose these are, and those of strangers."""
    random = np.random.default_rng(seed)
    chosen = random.permutation(faces.people)[: faces.people // 2]
    learned: list[NDArray[np.intp]] = []
    asked: list[NDArray[np.intp]] = []
    for one in chosen:
        rows = random.permutation(np.flatnonzero(faces.person == one))
        count = max(1, min(len(rows) // 2, photos or len(rows)))
        learned.append(rows[:count])
        asked.append(rows[count:])
    counts = [len(rows) for rows in learned]
    enrolled = Enrolled(
        faces.vectors[np.concatenate(learned)], np.cumsum([0, *counts[:-1]], dtype=np.intp)
    )
    own = np.repeat(np.arange(len(chosen)), [len(rows) for rows in asked])
    if others is None:
        others = faces.vectors[~np.isin(faces.person, chosen)]
    return enrolled, faces.vectors[np.concatenate(asked)], own, others


def _spread(rates: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(rates)), float(np.std(rates, ddof=1)) if len(rates) > 1 else 0.0


_COMBINATIONS = {
    "COMBINATION": "{combination}",
    "FPIR": "{fpir:g}",
    "TPIR": "{tpir:.2%} ± {std:.2%}",
}
_STRANGERS = {
    "FPIR ASKED FOR": "{fpir:g}",
    "CALIBRATED ON": "{calibrated_on}",
    "FPIR MEASURED": "{measured:.3%} ± {std:.3%}",
}


def main(
    folder: Folder,
    *,
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many random draws of who is enrolled.")
    ] = 10,
    photos: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, show_default="half", help="Photos to enrol of a person at most."
        ),
    ] = None,
    others: Annotated[
        Path | None,
        typer.Option(
            "--strangers",
            metavar="FOLDER",
            show_default="the people who are not enrolled",
            help="Photos of strangers.",
        ),
    ] = None,
    model: ModelName = DEFAULT_MODEL,
    detector: DetectorName = DEFAULT_DETECTOR,
) -> Answer:
    """Measure how many people are named rightly while few strangers get a name.

    Half of the people are enrolled.
    """
    network = load(model, detector=detector)
    faces = embed(network, folder, console.progress)
    if not (faces.photos_each > 1).any():
        raise BadInput(f"{folder} has one photo of each person: add others to look up")
    skipped = faces.skipped
    strange = None
    if others:
        seen = embed_largest([network], list(files.walk([others])), console.progress, "embedding")
        (strange,) = seen.vectors
        skipped += tuple(seen.skipped)
    found = combinations(faces, seeds=seeds, photos=photos, others=strange)
    named = strangers(faces, network, seeds=seeds, photos=photos, others=strange)
    return Answer(
        about(network, faces, seeds) | {"combinations": found, "strangers": named},
        [Table(_COMBINATIONS, found), "", Table(_STRANGERS, named)],
        [f"{len(faces.vectors)} photos of {faces.people} people, {seeds} draws"],
        skipped,
    )
