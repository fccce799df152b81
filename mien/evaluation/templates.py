"""IJB-B's and IJB-C's protocol: templates of several photos and videos of a person, compared.

Whitelam et al. 2017, "IARPA Janus Benchmark-B Face Dataset"; Maze et al. 2018, "IARPA Janus
Benchmark - C".  A folder holds `meta/` and the photos in `loose_crop/`, as InsightFace's does:

    meta/NAME_face_tid_mid.txt           a line for each photo: FILE TEMPLATE MEDIA
    meta/NAME_template_pair_label.txt    1:1, a line for each pair: TEMPLATE TEMPLATE SAME
    meta/NAME_1N_gallery_G1.csv, ...     1:N, those enrolled: TEMPLATE_ID,SUBJECT_ID,...
    meta/NAME_1N_probe_mixed.csv         and those who are looked up
    meta/NAME_name_5pts_score.txt        FILE and x y of its five points; else faces are detected
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadInput
from mien.evaluation import metrics
from mien.evaluation.protocol import FPIRS, RANKS, Identification
from mien.types import Embeddings

Ids = NDArray[np.int64]
_PHOTOS, _PAIRS = "_face_tid_mid.txt", "_template_pair_label.txt"


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """What the files of a folder say."""

    name: str  # such as ijbc
    photos: list[Path]  # N
    points: NDArray[np.float32] | None  # (N, 5, 2) in each photo; None: not told
    template: Ids  # (N,) of which each photo is
    media: Ids  # (N,) the photo or video that it comes from
    pairs: Ids  # (P, 2) templates
    same: NDArray[np.bool_]  # (P,) whether both show one person
    galleries: list[Ids]  # (G, 2) template and subject of those enrolled, of each gallery
    probes: Ids  # (Q, 2) of those who are looked up; none where there is no gallery


def is_protocol(folder: Path) -> bool:
    """Whether a folder holds such files."""
    return any((folder / "meta").glob(f"*{_PHOTOS}"))


def read(folder: Path) -> Templates:
    """The protocol of a folder.

    Raises:
        BadInput: a file is missing, cannot be read, or names a template without photos.
    """
    (listed, *others) = sorted((folder / "meta").glob(f"*{_PHOTOS}"))
    if others:
        raise BadInput(f"{folder} holds several protocols ({listed.name}, ...): part them")
    name = listed.name.removesuffix(_PHOTOS)
    rows = _rows(listed, 3)
    files = [row[0] for row in rows]
    template, media = _ids(listed, [row[1:] for row in rows]).T
    pairs = listed.with_name(name + _PAIRS)
    compared = _ids(pairs, _rows(pairs, 3))
    points = listed.with_name(f"{name}_name_5pts_score.txt")
    galleries = [_csv(path) for path in sorted(listed.parent.glob(f"{name}_1N_gallery_*.csv"))]
    probe = listed.with_name(f"{name}_1N_probe_mixed.csv")
    probes = _csv(probe) if galleries else np.empty((0, 2), np.int64)
    named = np.concatenate([compared[:, :2].ravel(), *(one[:, 0] for one in (*galleries, probes))])
    if strange := set(named.tolist()) - set(template.tolist()):
        raise BadInput(f"template {min(strange)} has no photo in {listed}: fetch the files again")
    return Templates(
        name,
        [folder / "loose_crop" / file for file in files],
        _points(points, files) if points.is_file() else None,
        template,
        media,
        compared[:, :2],
        compared[:, 2] == 1,
        galleries,
        probes,
    )


def _rows(path: Path, least: int) -> list[list[str]]:
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({error}): fetch it again") from error
    for number, row in enumerate(rows, 1):
        if len(row) < least:
            raise BadInput(f"line {number} of {path} has {len(row)} words, not {least}")
    return rows


def _ids(path: Path, rows: Sequence[Sequence[str]]) -> Ids:
    try:
        return np.array([[int(word) for word in row] for row in rows], np.int64)
    except ValueError as error:
        raise BadInput(f"{path} holds what is no number ({error}): fetch it again") from error


def _csv(path: Path) -> Ids:
    """(N, 2) the distinct templates of a file, with their subjects."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            found = {(row["TEMPLATE_ID"], row["SUBJECT_ID"]) for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise BadInput(f"{path} has no TEMPLATE_ID and SUBJECT_ID ({error})") from error
    return np.unique(_ids(path, sorted(found)), axis=0)


def _points(path: Path, files: Sequence[str]) -> NDArray[np.float32]:
    told = {row[0]: row[1:11] for row in _rows(path, 11)}
    try:
        return np.array([told[file] for file in files], np.float32).reshape(-1, 5, 2)
    except (KeyError, ValueError) as error:
        raise BadInput(f"{path} lacks five points of a photo ({error})") from error


def pooled(vectors: Embeddings, template: Ids, media: Ids) -> tuple[Ids, Embeddings]:
    """(T,) the templates, and (T, D) their unit vectors.

    The frames of a video are averaged first, so that a long one counts no more than a photo.

    Args:
        vectors: (N, D) of unit length, of the photos.
        template, media: (N,) of each.
    """
    each, item = np.unique(np.stack([template, media], 1), axis=0, return_inverse=True)
    means = np.zeros((len(each), vectors.shape[1]), np.float32)
    np.add.at(means, item.ravel(), vectors)
    means /= np.bincount(item.ravel())[:, None]
    names, place = np.unique(each[:, 0], return_inverse=True)
    sums = np.zeros((len(names), vectors.shape[1]), np.float32)
    np.add.at(sums, place, means)
    return names, sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def identification(names: Ids, vectors: Embeddings, listed: Templates) -> Identification:
    """The figures of looking the probes up: ranks among all who are enrolled, and, gallery by
    gallery, whether those enrolled are found and the others are not; the mean over galleries.

    Args:
        names, vectors: see `pooled`.
        listed: has a gallery.
    """

    def of(rows: Ids) -> Embeddings:
        found: Embeddings = vectors[np.searchsorted(names, rows[:, 0])]
        return found

    probes, probed = of(listed.probes), listed.probes[:, 1]
    everyone = np.concatenate(listed.galleries)
    people, first = np.unique(everyone[:, 1], return_index=True)
    known = np.isin(probed, people)
    own = first[np.searchsorted(people, probed[known])]
    places = metrics.ranks(probes[known] @ of(everyone).T, own)
    cmc = np.cumsum(np.bincount(places, minlength=len(everyone) + 1)[1:]) / max(1, known.sum())
    rates: dict[float, list[float | None]] = {fpir: [] for fpir in FPIRS}
    inside = outside = 0
    for gallery in listed.galleries:
        scores, mine = probes @ of(gallery).T, np.isin(probed, gallery[:, 1])
        right = gallery[scores.argmax(1), 1] == probed
        best = scores.max(1)
        inside, outside = inside + int(mine.sum()), outside + int((~mine).sum())
        for fpir, found in rates.items():
            found.append(metrics.tpir_at_fpir(best[mine], right[mine], best[~mine], fpir))
    return Identification(
        seed=0,
        people=len(people),
        searches=int(known.sum()),
        cmc=cmc,
        rank={k: float(cmc[k - 1]) if k < len(everyone) else None for k in RANKS},
        enrolled=len(everyone),
        enrolled_searches=inside,
        stranger_searches=outside,
        tpir={fpir: _mean(found) for fpir, found in rates.items()},
    )


def _mean(rates: list[float | None]) -> float | None:
    told = [rate for rate in rates if rate is not None]
    return float(np.mean(told)) if len(told) == len(rates) else None
