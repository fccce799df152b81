"""The largest face of each of many photos, as vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from mien import files
from mien.errors import BadInput
from mien.evaluation import protocol
from mien.recognition.align import read_face
from mien.recognition.model import Model
from mien.types import Crops, Embeddings, Image, Progress, Skipped


@dataclass(frozen=True, slots=True, eq=False)
class LargestFaces:
    """The largest face of each photo that shows one."""

    vectors: list[Embeddings]  # (N, D), of each model, and of each with every way to mirror
    photos: list[Path]  # N
    skipped: list[Skipped]  # the other photos, and why


def embed_largest(
    models: Sequence[Model],
    paths: Sequence[Path],
    progress: Progress,
    doing: str,
    mirrors: Sequence[bool] = (False,),
) -> LargestFaces:
    """The largest face of each photo; the first model finds them, and each embeds them.

    Args:
        models: at least one.
        paths: files, one photo each.
        progress: is given the photos, and `doing`.
        doing: the label of the progress bar.
        mirrors: average each embedding with that of the mirrored crop, or not, or both in turn.
    """
    photos: list[Path] = []
    skipped: list[Skipped] = []

    def aligned() -> Iterator[Image]:
        for path in progress(paths, doing):
            try:
                face = read_face(path, models[0].detector)
            except BadInput as error:
                skipped.append(Skipped(path, str(error)))
            else:
                photos.append(path)
                yield face

    embeds = [model.embedder for model in models]
    vectors = protocol.embed_all(embeds, batches(aligned()), mirrors)
    return LargestFaces(vectors, photos, skipped)


def embed_people(
    models: Sequence[Model],
    folder: str | Path,
    choice: files.Choice,
    progress: Progress,
    doing: str,
) -> tuple[LargestFaces, list[str]]:
    """The largest face of each photo in folders of people, and its person.

    Args:
        models, progress, doing: see `embed_largest`.
        folder: `<name>/*.jpg`; what lies beside those folders is among the skipped.
        choice: which of the photos to use.

    Raises:
        BadInput: no folder of people.
    """
    person_of, loose = files.photos_of_people(folder, choice)
    faces = embed_largest(models, list(person_of), progress, doing)
    whose = [person_of[path] for path in faces.photos]
    return replace(faces, skipped=[*loose, *faces.skipped]), whose


def batches(aligned: Iterator[Image]) -> Iterator[Crops]:
    """Batches of aligned faces."""
    while some := list(islice(aligned, protocol.BATCH)):
        yield np.stack(some)
