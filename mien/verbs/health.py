"""The health of a facebank: how often it names strangers, and what makes it do so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mien.collection import fill
from mien.collection.photo_index import PhotoIndex
from mien.facebank.rows import Photo
from mien.facebank.stores import Store
from mien.recognition.consistency import likeness, parts, unlike
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.recognition.quality import BLURRED, SMALL
from mien.recognition.thresholds import Impostors
from mien.types import Embeddings, Progress, Skipped, silent

_BLOCK = 1024  # people whose scores with everyone are held at a time


@dataclass(frozen=True, slots=True)
class Lookalikes:
    """Two people who are taken for each other, or one who has two names."""

    person: str
    other: str
    score: float  # cosine of their templates


@dataclass(frozen=True, slots=True)
class Mixed:
    """A person whose photos seem to show several people."""

    person: str
    photos: tuple[Photo, ...]  # of one of them, but for those that there are most of
    score: float  # cosine of their mean and that of most


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A photo that does not look like the others of its person."""

    photo: Photo
    score: float  # cosine with the mean of the others


@dataclass(frozen=True, slots=True)
class Blurred:
    """A photo whose face is out of focus, or enlarged from few pixels."""

    photo: Photo
    sharpness: float  # see `mien.recognition.quality.sharpness`


@dataclass(frozen=True, slots=True)
class Health:
    """What `examine` found, the worst first."""

    people: int
    photos: int
    threshold: float  # from which a face gets a name
    fpir: float | None  # share of strangers who will get a name; None: the model does not say
    extrapolated: bool  # that rate rests on scores that no pair of strangers had
    mixed: tuple[Mixed, ...] = field(repr=False)
    alike: tuple[Lookalikes, ...] = field(repr=False)  # who reach the threshold
    doubtful: tuple[Doubtful, ...] = field(repr=False)
    small: tuple[Photo, ...] = field(repr=False)  # faces of fewer than `SMALL` pixels
    blurred: tuple[Blurred, ...] = field(repr=False)
    unseen: tuple[Photo, ...] = field(repr=False)  # gone, changed or unreadable
    single: tuple[str, ...] = field(repr=False)  # people with one photo


def examine(
    facebank: Store,
    model: Model,
    *,
    index: PhotoIndex | None = None,
    policy: Policy | None = None,
    look: bool = True,
    progress: Progress = silent,
) -> Health:
    """The health of a facebank.

    Args:
        facebank: is read only.
        model: made its vectors.
        index: has what was found in photos before, and keeps what is found now.
        policy: the score a face needs to get a name; the model's own by default.
        look: whether to look at the photos again, where they are still there, for blur.
        progress: is given the photos to look at.

    Raises:
        FacebankMismatch: the facebank's vectors are another model's.
        BadFacebank: see `Facebank`.
    """
    facebank.require(model.model_id)
    everyone, (photos, vectors) = facebank.people(), facebank.contents()
    counts = [person.photos for person in everyone]
    policy = policy or model.policy()
    threshold, known = policy.threshold_among(counts), policy.impostors
    names, templates = facebank.templates()
    mixed, doubtful = _unlike(photos, vectors, known)
    todo = progress(photos, "looking") if look else []
    sharp = {photo: _sharpness(photo, model, index) for photo in todo}
    found = [
        Blurred(photo, one) for photo, one in sharp.items() if one is not None and one < BLURRED
    ]
    return Health(
        people=len(everyone),
        photos=len(photos),
        threshold=threshold,
        fpir=known.fpir(counts, threshold) if known else None,
        extrapolated=known is not None and known.fmr(threshold) < known.rates[-1],
        mixed=tuple(sorted(mixed, key=lambda one: one.score)),
        alike=tuple(sorted(_alike(names, templates, threshold), key=lambda one: -one.score)),
        doubtful=tuple(sorted(doubtful, key=lambda one: one.score)),
        small=tuple(sorted((p for p in photos if p.size < SMALL), key=lambda photo: photo.size)),
        blurred=tuple(sorted(found, key=lambda one: one.sharpness)),
        unseen=tuple(photo for photo, one in sharp.items() if one is None),
        single=tuple(person.name for person in everyone if person.photos == 1),
    )


def _sharpness(photo: Photo, model: Model, index: PhotoIndex | None) -> float | None:
    """The sharpness of a photo's face; None where it cannot be looked at."""
    (seen,) = fill.look(photo.path, model, index)
    if isinstance(seen, Skipped) or seen.sha256 != photo.sha256:
        return None
    return next((one.sharpness for one in seen.largest(1).faces), None)


def _alike(names: list[str], templates: Embeddings, threshold: float) -> Iterator[Lookalikes]:
    for top in range(0, len(names), _BLOCK):
        scores = templates[top : top + _BLOCK] @ templates.T
        for row, column in np.argwhere(np.triu(scores >= threshold, k=top + 1)).tolist():
            yield Lookalikes(names[top + row], names[column], float(scores[row, column]))


def _unlike(
    photos: list[Photo], vectors: Embeddings, impostors: Impostors | None
) -> tuple[list[Mixed], list[Doubtful]]:
    """People who seem to be several, and photos unlike the others of whom they seem to show."""
    mixed: list[Mixed] = []
    doubtful: list[Doubtful] = []
    if impostors is None:
        return mixed, doubtful
    rows: dict[str, list[int]] = {}
    for row, photo in enumerate(photos):
        rows.setdefault(photo.person, []).append(row)
    for person, own in rows.items():
        most, *others = ([own[row] for row in part] for part in parts(vectors[own], impostors))
        for part in others:
            shown = tuple(photos[row] for row in part)
            mixed.append(Mixed(person, shown, likeness(vectors, most, part)))
        for part in (most, *others):
            strange = unlike(vectors[part], impostors)
            doubtful += [Doubtful(photos[part[row]], score) for row, score in strange]
    return mixed, doubtful
