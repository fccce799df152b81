"""Groups of faces, measured on people who are known, beside how others group the same vectors.

A folder's name says whose the face nearest to the middle of each photo is.  The other faces are
somebody's in the background: nobody says whose, and often they are of somebody who is named in
another photo.  So what they do to groups is told as bounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.people import Folder
from mien import files, images
from mien.cli import console
from mien.cli.options import DEFAULT_DETECTOR, DEFAULT_MODEL, DetectorName, ModelName
from mien.cli.render import Answer, Table
from mien.errors import BadInput, needs_extra
from mien.parallel import at_once, map_in_order
from mien.recognition import align
from mien.recognition.clustering import POOR, group
from mien.recognition.model import Model, load
from mien.recognition.policy import Policy
from mien.recognition.quality import largest, sharpness, worth
from mien.types import Embeddings, Progress, Skipped

SMALLEST = 40  # pixels, as `mien cluster` has it
DENSE_HDBSCAN = 10_000  # faces whose distances fit the memory
_Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Faces to group."""

    vectors: Embeddings  # (N, D)
    person: _Rows  # (N,): whose; -1 where nobody says
    folder: _Rows  # (N,): the folder that the photo is in
    photo: _Rows  # (N,)
    poor: NDArray[np.bool_]  # (N,): see `mien.recognition.clustering.group`
    skipped: tuple[Skipped, ...] = ()

    def take(self, rows: _Rows | NDArray[np.bool_]) -> Faces:
        """Some of them."""
        return Faces(
            self.vectors[rows],
            self.person[rows],
            self.folder[rows],
            self.photo[rows],
            self.poor[rows],
        )


@dataclass(frozen=True, slots=True)
class Grouping:
    """How right groups are.  Shares in [0, 1]; a face in no group is a group of one."""

    f: float  # harmonic mean of the next two
    precision: float  # of pairs in one group, those of one person, where both are named
    recall: float  # of pairs of one person, those in one group
    purity: float  # of faces in groups of two and more, those of their group's main person
    wrong: float  # of these groups, those with two people, or none who is named
    least_purity: float  # if every face in the background is another person's
    most_wrong: float  # likewise
    groups: float  # of two and more
    grouped: float  # of all faces, those in groups of two and more
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A way to group so many faces; means over the draws."""

    faces: int
    way: str
    settings: tuple[float, ...]  # the best of each draw; empty where there is none to choose
    mean: Grouping
    std: Grouping  # sample standard deviations


def look(model: Model, folder: Path, *, last: int | None = None, progress: Progress) -> Faces:
    """The faces of `folder/NAME/photo.jpg`, of the last people by name or of all.

    Raises:
        BadInput: no photos there.
    """
    person_of, skipped = files.photos_of_people(folder)
    names = sorted(set(person_of.values()))[-last if last else 0 :]
    number_of = {name: number for number, name in enumerate(names)}
    paths = [path for path, name in person_of.items() if name in number_of]
    if not paths:
        raise BadInput(f"{folder} holds no photo that can be used")

    def read(path: Path) -> tuple[Embeddings, NDArray[np.bool_], int]:
        image = images.decode(images.read_bytes(path), str(path))
        faces = largest(model.detect(image), None, SMALLEST)
        crops = align.crops(image, faces)
        poor = [worth(*pair) < POOR for pair in zip(faces, sharpness(crops), strict=True)]
        middle = np.array([image.shape[1], image.shape[0]]) / 2
        away = [np.hypot(*((face.box[:2] + face.box[2:]) / 2 - middle)) for face in faces]
        return model.embed_crops(crops), np.array(poor, bool), int(np.argmin([*away, np.inf]))

    parts: list[tuple[Any, ...]] = []
    for photo, (path, reading) in enumerate(
        map_in_order(read, progress(paths, "looking"), at_once(len(paths)))
    ):
        try:
            vectors, poor, main = reading()
        except BadInput as error:
            skipped = [*skipped, Skipped(path, str(error))]
            continue
        folders = np.full(len(vectors), number_of[person_of[path]])
        named = np.where(np.arange(len(vectors)) == main, folders, -1)
        parts.append((vectors, named, folders, np.full(len(vectors), photo), poor))
    if not sum(len(part[0]) for part in parts):
        raise BadInput(f"no face was found in {folder}: name a folder of people's photos")
    vectors, person, folders, photos, poor = map(np.concatenate, zip(*parts, strict=True))
    return Faces(vectors, person, folders, photos, poor, tuple(skipped))


def draw(faces: Faces, count: int, seed: int) -> Faces:
    """People with all of their photos, at random, until there are so many faces."""
    random = np.random.default_rng(seed)
    order = random.permutation(faces.folder.max() + 1)
    sizes = np.bincount(faces.folder, minlength=len(order))[order]
    return faces.take(np.isin(faces.folder, order[: np.searchsorted(sizes.cumsum(), count) + 1]))


def make(faces: Faces, count: int, seed: int) -> Faces:
    """As many faces as asked for, of people who do not exist.

    Each has as many photos as some real person.  Their mean vector is a Gaussian's, with the
    covariance of real people's means, and each photo lies as far from it as some photo of a real
    person lies from that person's mean.
    """
    random = np.random.default_rng(seed)
    named = faces.person >= 0
    vectors, person = faces.vectors[named].astype(np.float64), faces.person[named]
    photos = np.bincount(person)
    means = np.zeros((len(photos), vectors.shape[1]))
    np.add.at(means, person, vectors)
    means /= np.maximum(photos, 1)[:, None]
    enough = photos[person] >= 4
    if not enough.any():
        raise BadInput(
            f"{count} faces are more than there are, and nobody has the four photos"
            " that others could be made from: ask for fewer"
        )
    scale = np.sqrt(photos[person] / np.maximum(photos[person] - 1, 1))[:, None]
    away = ((vectors - means[person]) * scale)[enough]
    spread = np.cov(vectors.T) - np.cov(away.T)
    values, axes = np.linalg.eigh(spread)
    drawn = random.choice(photos[photos > 0], count)
    drawn = drawn[: np.searchsorted(drawn.cumsum(), count) + 1]
    whose = np.repeat(np.arange(len(drawn)), drawn)[:count]
    centres = random.normal(size=(len(drawn), len(values))) * np.sqrt(np.maximum(values, 0))
    centres = centres @ axes.T + vectors.mean(axis=0)
    made = centres[whose] + away[random.integers(len(away), size=count)]
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    poor = random.choice(faces.poor[named], count)
    return Faces(made.astype(np.float32), whose, whose, np.arange(count), poor)


def judge(groups: _Rows, person: _Rows) -> Grouping:
    """How right groups are, given whose each face is, both (N,); -1 for who is not named."""
    groups = np.unique(groups, return_inverse=True)[1]
    named = person >= 0
    strict = np.where(named, person, person.max() + 1 + np.arange(len(person)))
    together, shared, own, main = _count(groups[named], person[named], groups.max() + 1)
    precision, recall = (part and together / part for part in (shared, own))
    if not shared:
        precision = 1.0
    if not own:
        recall = 1.0
    sizes = np.bincount(groups)
    known = np.bincount(groups[named], minlength=len(sizes))
    large = sizes > 1
    counted = np.where(known, known, sizes)[large].sum()
    main_of_all = _count(groups, strict, len(sizes))[3]
    return Grouping(
        f=2 * precision * recall / (precision + recall) if together else 0.0,
        precision=precision,
        recall=recall,
        purity=float(main[large].sum() / counted) if large.any() else 1.0,
        wrong=float(((main < known) | (known == 0))[large].mean()) if large.any() else 0.0,
        least_purity=float(main_of_all[large].sum() / sizes[large].sum()) if large.any() else 1.0,
        most_wrong=float((main_of_all < sizes)[large].mean()) if large.any() else 0.0,
        groups=float(large.sum()),
        grouped=float(sizes[large].sum() / len(groups)),
        seconds=0.0,
    )


def _count(groups: _Rows, person: _Rows, most: int) -> tuple[int, int, int, _Rows]:
    """Pairs that are right, of one group, of one person; and each group's main person's faces."""
    both, counts = np.unique(np.stack([groups, person]), axis=1, return_counts=True)
    main = np.zeros(most, np.intp)
    np.maximum.at(main, both[0], counts)
    people = np.unique(person, return_counts=True)[1]
    return _pairs(counts), _pairs(np.bincount(groups)), _pairs(people), main


def _pairs(counts: _Rows) -> int:
    return int((counts * (counts - 1) // 2).sum())


class _Near:
    """Pairs of faces from a cosine on, which several methods look at."""

    def __init__(self, vectors: Embeddings, least: float) -> None:
        parts = []
        for top in range(0, len(vectors), 1024):
            scores = vectors[top : top + 1024] @ vectors.T
            rows, columns = np.nonzero(scores >= least)
            parts.append((rows + top, columns, scores[rows, columns]))
        self.row, self.column, self.score = map(np.concatenate, zip(*parts, strict=True))
        self.count = len(vectors)

    def graph(self, least: float) -> Any:
        from scipy.sparse import csr_array

        kept = (self.score >= least) & (self.row != self.column)
        entries = (self.score[kept], (self.row[kept], self.column[kept]))
        return csr_array(entries, (self.count, self.count))


def dbscan(near: _Near, least: float) -> _Rows:
    """DBSCAN (Ester et al., 1996) with cores of three faces, as album programs use it."""
    from scipy.sparse.csgraph import connected_components

    graph = near.graph(least)
    core = np.diff(graph.indptr) >= 2  # itself is the third
    among = graph[core][:, core]
    labels = np.arange(near.count) + near.count
    labels[core] = connected_components(among, directed=False)[1]
    for row in np.flatnonzero(~core):
        around = range(graph.indptr[row], graph.indptr[row + 1])
        cores = [n for n in around if core[graph.indices[n]]]
        if cores:
            labels[row] = labels[graph.indices[max(cores, key=lambda n: graph.data[n])]]
    return labels


def chinese_whispers(near: _Near, least: float) -> _Rows:
    """Chinese whispers (Biemann, 2006): each face takes the label that is strongest around it."""
    graph, labels = near.graph(least), np.arange(near.count)
    random = np.random.default_rng(0)
    for _ in range(20):
        for row in random.permutation(near.count):
            part = slice(graph.indptr[row], graph.indptr[row + 1])
            if part.start < part.stop:
                around, place = np.unique(labels[graph.indices[part]], return_inverse=True)
                labels[row] = around[np.bincount(place, graph.data[part]).argmax()]
    return labels


def hdbscan(vectors: Embeddings, smallest: float) -> _Rows:
    """HDBSCAN (Campello et al., 2013)."""
    from sklearn.cluster import HDBSCAN

    distances = np.clip(1 - vectors.astype(np.float64) @ vectors.T, 0, 2)  # round-off
    finder = HDBSCAN(min_cluster_size=int(smallest), min_samples=2, metric="precomputed", copy=True)
    labels: _Rows = finder.fit_predict(distances)
    none = labels < 0
    return np.where(none, labels.max() + np.cumsum(none), labels)


_COSINES = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
_SIZES = (2, 3, 4, 5, 6, 8)


def compare(
    faces: Faces, policy: Policy, *, others: bool = True
) -> dict[str, tuple[float, Grouping]]:
    """Each way on the same faces; the others with the setting that is best on these very faces.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    found = {}

    def run(way: str, do: Callable[[float], _Rows], settings: tuple[float, ...]) -> None:
        timed = []
        for setting in settings:
            start = time.perf_counter()
            labels = do(setting)
            seconds = time.perf_counter() - start
            timed.append((setting, replace(judge(labels, faces.person), seconds=seconds)))
        found[way] = max(timed, key=lambda one: one[1].f)

    photos = faces.photo.tolist()
    run("mien", lambda _: group(faces.vectors, policy, photos=photos, poor=faces.poor), (np.nan,))
    if others:
        with needs_extra("other ways to group faces", "peers"):
            import sklearn.cluster  # noqa: F401
        near = _Near(faces.vectors, min(_COSINES))
        run("DBSCAN", lambda least: dbscan(near, least), _COSINES)
        run("Chinese whispers", lambda least: chinese_whispers(near, least), _COSINES)
        if len(faces.vectors) <= DENSE_HDBSCAN:
            run("HDBSCAN", lambda size: hdbscan(faces.vectors, size), _SIZES)
    return found


def measure(
    faces: Faces, policy: Policy, sizes: list[int], seeds: int, *, others: bool = True
) -> list[Measured]:
    """Each way on as many faces as asked for, drawn so often; more than there are, are made."""
    total, found = len(faces.vectors), []
    for size in sizes or [total]:
        runs = []
        for seed in range(1 if size == total else seeds):
            drawn = faces if size == total else (make if size > total else draw)(faces, size, seed)
            runs.append(compare(drawn, policy, others=others))
        found += [_mean(size, way, [run[way] for run in runs]) for way in runs[0]]
    return found


def _mean(faces: int, way: str, runs: list[tuple[float, Grouping]]) -> Measured:
    names = Grouping.__slots__
    values = np.array([[getattr(one, name) for name in names] for _, one in runs])
    spread = values.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(len(names))
    mean, std = (Grouping(*row.tolist()) for row in (values.mean(axis=0), spread))
    settings = tuple(setting for setting, _ in runs if not np.isnan(setting))
    return Measured(faces, way, settings, mean, std)


_COLUMNS = {
    "FACES": "{faces:,}",
    "WAY": "{way}",
    "F": "{mean.f:.3f}",
    "PURITY": "{mean.purity:.3f}",
    "AT LEAST": "{mean.least_purity:.3f}",
    "WRONG GROUPS": "{mean.wrong:.1%}",
    "AT MOST": "{mean.most_wrong:.1%}",
    "GROUPS": "{mean.groups:,.0f}",
    "SECONDS": "{mean.seconds:.1f}",
}


def main(
    folder: Folder,
    *,
    faces: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=10, help="Faces to group, all by default; may be repeated."),
    ] = None,
    last: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="Only the last N people, by name.")
    ] = None,
    others: Annotated[bool, typer.Option(help="Measure how others group faces too.")] = True,
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many random draws of whom to group.")
    ] = 5,
    model: ModelName = DEFAULT_MODEL,
    detector: DetectorName = DEFAULT_DETECTOR,
) -> Answer:
    """Measure groups of faces: pairwise F, purity, groups with somebody wrong.

    People are drawn with all of their photos. If more faces are asked for than there are, people
    are made up from the vectors of those. Others get the setting that is best on these very faces.
    """
    network = load(model, detector=detector)
    found = look(network, folder, last=last, progress=console.progress)
    measured = measure(found, network.policy(), faces or [], seeds, others=others)
    return Answer(
        {
            "model_id": network.model_id,
            "people": int(found.person.max() + 1),
            "faces": len(found.vectors),
            "background": int((found.person < 0).sum()),
            "seeds": seeds,
            "ways": measured,
            "skipped": found.skipped,
        },
        [Table(_COLUMNS, measured)],
        [f"{len(found.vectors)} faces, {(found.person < 0).sum()} in the background"],
        found.skipped,
    )
