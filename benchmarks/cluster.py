"""Ways to group faces, measured on people who are known: pairwise F, purity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.people import Embedded, Folder, about, embed
from mien.cli import console
from mien.cli.options import DEFAULT_DETECTOR, DEFAULT_MODEL, DetectorName, ModelName
from mien.cli.render import Answer, Table
from mien.errors import needs_extra
from mien.recognition.grouping import default_threshold, group
from mien.recognition.model import load
from mien.types import Embeddings


@dataclass(frozen=True, slots=True)
class Grouping:
    """How right groups are.  Shares in [0, 1]; a face in no group is a group of one."""

    f: float  # harmonic mean of the next two
    precision: float  # of pairs in one group, those of one person
    recall: float  # of pairs of one person, those in one group
    purity: float  # of faces in groups of two and more, those of their group's main person
    grouped: float  # of all faces, those in groups of two and more


@dataclass(frozen=True, slots=True)
class Measured:
    """A way to group, with the setting that was best on other people; means over the draws."""

    way: str
    settings: tuple[float, ...]  # of each draw
    mean: Grouping
    std: Grouping  # sample standard deviations


def _hdbscan(vectors: Embeddings, setting: float) -> NDArray[np.intp]:
    from sklearn.cluster import HDBSCAN

    finder = HDBSCAN(min_cluster_size=int(setting), min_samples=2, metric="precomputed", copy=True)
    return _alone(finder.fit_predict(_distances(vectors)))


def _dbscan(vectors: Embeddings, setting: float) -> NDArray[np.intp]:
    from sklearn.cluster import DBSCAN

    finder = DBSCAN(eps=1 - setting, min_samples=2, metric="precomputed")
    return _alone(finder.fit_predict(_distances(vectors)))


WAYS: dict[str, tuple[Callable[[Embeddings, float], NDArray[np.intp]], tuple[float, ...]]] = {
    "average linkage": (group, (0.25, 0.3, 0.325, 0.35, 0.375, 0.4)),  # mean cosines
    "hdbscan": (_hdbscan, (2, 3, 4, 5, 6, 8)),  # faces in a group
    "dbscan": (_dbscan, (0.45, 0.5, 0.55, 0.6, 0.65)),  # cosines
}


def compare(faces: Embedded, default: float, *, seeds: int = 5) -> list[Measured]:
    """Each way on half of the people, drawn, with the setting of the best F on the other half.

    Args:
        faces: of people who are known.
        default: the mean cosine that `mien cluster` takes, which is measured too.
        seeds: how often to draw, from seed 0 on.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    with needs_extra("grouping faces", "cluster"):
        import sklearn.cluster  # noqa: F401
    ways = {**WAYS, "as mien cluster": (group, (default,))}
    found: dict[str, list[tuple[float, Grouping]]] = {way: [] for way in ways}
    for seed in range(seeds):
        drawn = np.random.default_rng(seed).permutation(faces.people)[: faces.people // 2]
        half = np.isin(faces.person, drawn)
        for way, (run, settings) in ways.items():
            others, own = faces.vectors[half], faces.person[half]
            best = max(settings, key=lambda setting: judge(run(others, setting), own).f)
            found[way].append((best, judge(run(faces.vectors[~half], best), faces.person[~half])))
    return [_mean(way, runs) for way, runs in found.items()]


def judge(groups: NDArray[np.intp], person: NDArray[np.intp]) -> Grouping:
    """How right groups are, given whose each face is, both (N,) from 0."""
    counts = np.zeros((groups.max() + 1, person.max() + 1), np.int64)
    np.add.at(counts, (groups, person), 1)
    together, shared = _pairs(counts), _pairs(counts.sum(axis=1))
    precision, recall = (
        together / total if total else 1.0 for total in (shared, _pairs(counts.sum(axis=0)))
    )
    several = counts[counts.sum(axis=1) > 1]
    return Grouping(
        f=2 * precision * recall / (precision + recall) if together else 0.0,
        precision=precision,
        recall=recall,
        purity=float(several.max(axis=1).sum() / several.sum()) if len(several) else 1.0,
        grouped=float(several.sum() / len(person)),
    )


def _pairs(counts: NDArray[np.int64]) -> int:
    return int((counts * (counts - 1) // 2).sum())


def _mean(way: str, runs: list[tuple[float, Grouping]]) -> Measured:
    names = Grouping.__slots__
    values = np.array([[getattr(one, name) for name in names] for _, one in runs])
    spread = values.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(len(names))
    mean, std = (Grouping(*row.tolist()) for row in (values.mean(axis=0), spread))
    return Measured(way, tuple(setting for setting, _ in runs), mean, std)


def _distances(vectors: Embeddings) -> NDArray[np.float64]:
    return np.clip(1 - vectors.astype(np.float64) @ vectors.T, 0, 2)  # round-off


def _alone(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """The labels, with one of its own for each face that has none."""
    none = labels < 0
    return np.where(none, labels.max() + np.cumsum(none), labels)


_COLUMNS = {
    "WAY": "{way}",
    "F": "{mean.f:.3f} ± {std.f:.3f}",
    "PRECISION": "{mean.precision:.3f}",
    "RECALL": "{mean.recall:.3f}",
    "PURITY": "{mean.purity:.3f} ± {std.purity:.3f}",
    "GROUPED": "{mean.grouped:.1%}",
}


def main(
    folder: Folder,
    *,
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many random draws of whom to group.")
    ] = 5,
    model: ModelName = DEFAULT_MODEL,
    detector: DetectorName = DEFAULT_DETECTOR,
) -> Answer:
    """Measure ways to group faces: pairwise F and purity.

    Half of the people are grouped, with the setting that is best on the others.
    """
    network = load(model, detector=detector)
    faces = embed(network, folder, console.progress)
    found = compare(faces, default_threshold(network.policy()), seeds=seeds)
    return Answer(
        about(network, faces, seeds) | {"ways": found},
        [Table(_COLUMNS, found)],
        [f"{len(faces.vectors)} photos of {faces.people} people, {seeds} draws"],
        faces.skipped,
    )
