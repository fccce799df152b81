"""Strangers of one age, sex or origin, measured: how often two are taken for one person.

The photos are named as those of UTKFace, AGE_SEX_ORIGIN_..., by labels that its authors gave
(Zhang, Song and Qi, Age progression/regression by conditional adversarial autoencoder, 2017), which
those who are shown might not give themselves.  Who they are is not said.  Each photo counts as
another person, so that those who are in it twice raise the rates: they are upper bounds, and what
is compared is their ratios (NIST IR 8280 calls these demographic differentials).  Children are by
far the most alike, so sexes and origins are compared among adults: a group that shows more children
would seem to be harder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from mien.cli import console
from mien.cli.options import DEFAULT_DETECTOR, DEFAULT_MODEL, DetectorName, ModelName, Threshold
from mien.cli.render import Answer, Table
from mien.errors import BadInput
from mien.evaluation.people import embed_largest
from mien.evaluation.scores import impostor_scores
from mien.files import walk
from mien.recognition.model import Model, load
from mien.types import Embeddings, Progress, Skipped, silent

AGES = ((0, 9), (10, 19), (20, 39), (40, 59), (60, 116))
SEXES = ("male", "female")
ORIGINS = ("White", "Black", "Asian", "Indian", "other")
ADULTS = "adults"
ADULT = 20  # years
LEAST = 10  # pairs that have to reach the threshold for their share to say something


@dataclass(frozen=True, slots=True)
class Differential:
    """How often two strangers of a group are taken for one person."""

    group: str
    photos: int
    pairs: int
    fmr: float | None  # None: too few pairs reach the threshold to tell
    ratio: float | None  # to that of adults


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Faces, and the groups that each belongs to."""

    vectors: Embeddings  # (N, D) of unit length
    groups: tuple[tuple[str, ...], ...]  # N times an age and, of adults, a sex and an origin
    skipped: tuple[Skipped, ...]  # photos that cannot be used, and why


def groups(name: str) -> tuple[str, ...]:
    """The groups of whom a file's name describes, nothing where it does not."""
    try:
        age, sex, origin = (int(part) for part in name.split("_")[:3] if part.isdecimal())
        (span,) = (f"{first} to {last}" for first, last in AGES if first <= age <= last)
        adult = (ADULTS, SEXES[sex], ORIGINS[origin])
    except (ValueError, IndexError):
        return ()
    return (span, *adult) if age >= ADULT else (span,)


def embed(
    model: Model, folder: Path, photos: int, *, seed: int = 0, progress: Progress = silent
) -> Labelled:
    """The largest face of each of so many photos of a folder, drawn at random.

    Raises:
        BadInput: fewer than two photos that say what they show can be used.
    """
    labelled = [path for path in walk([folder]) if groups(path.name)]
    drawn = np.sort(np.random.default_rng(seed).permutation(len(labelled))[:photos])
    paths = [labelled[k] for k in drawn]
    faces = embed_largest([model], paths, progress, "embedding")
    shown = tuple(groups(path.name) for path in faces.photos)
    if len(shown) < 2:
        raise BadInput(
            f"{folder} has {len(shown)} usable photos that are named AGE_SEX_ORIGIN_..., as those"
            " of UTKFace: two are needed at least"
        )
    return Labelled(faces.vectors[0], shown, tuple(faces.skipped))


def differentials(faces: Labelled, threshold: float) -> list[Differential]:
    """The rate of adults, and of each group of which there are two faces.

    Args:
        faces: each is taken for another person's.
        threshold: of the cosine.
    """
    found: list[Differential] = []
    for name in (ADULTS, *(f"{first} to {last}" for first, last in AGES), *SEXES, *ORIGINS):
        vectors = faces.vectors[[name in shown for shown in faces.groups]]
        if len(vectors) > 1:
            adults = found[0].fmr if found and found[0].group == ADULTS else None
            found.append(_differential(name, vectors, threshold, adults))
    return found


def _differential(
    group: str, vectors: Embeddings, threshold: float, adults: float | None
) -> Differential:
    scores = impostor_scores(vectors, np.arange(len(vectors)))
    reached = int((scores >= threshold).sum())
    fmr = reached / len(scores) if reached >= LEAST else None
    ratio = fmr / adults if fmr is not None and adults else None
    return Differential(group, len(vectors), len(scores), fmr, ratio)


_COLUMNS = {
    "GROUP": "{group}",
    "PHOTOS": "{photos:,}",
    "PAIRS": "{pairs:,}",
    "FMR": "{fmr:.3%}",
    "RATIO": "{ratio:.1f}",
}


def main(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Photos that are named AGE_SEX_ORIGIN_..., as those of UTKFace."
        ),
    ],
    *,
    photos: Annotated[int, typer.Option(metavar="N", min=2, help="Drawn from the folder.")] = 4000,
    threshold: Threshold = None,
    model: ModelName = DEFAULT_MODEL,
    detector: DetectorName = DEFAULT_DETECTOR,
) -> Answer:
    """Measure how often strangers of one age, sex or origin are taken for one person.

    Sexes and origins are those of adults.  A group with too few pairs to tell has no FMR.
    """
    network = load(model, detector=detector)
    score = network.policy(threshold=threshold).threshold
    faces = embed(network, folder, photos, progress=console.progress)
    found = differentials(faces, score)
    content = {
        "model_id": network.model_id,
        "threshold": score,
        "photos": len(faces.vectors),
        "groups": found,
        "skipped": faces.skipped,
    }
    note = f"pairs of two photos of one group, at the threshold {score:.3f}"
    return Answer(content, [Table(_COLUMNS, found)], [note], faces.skipped)
