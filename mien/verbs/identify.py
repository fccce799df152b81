"""Pictures to names: the faces in each photo, and who in the facebank they are.

Photos go through a few at a time and are let go of, so a million take the memory of these.  Each
face is answered for itself: two faces of a picture can get one name, as in a mirror or a collage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mien import files, images
from mien.errors import BadInput
from mien.facebank.stores import Store
from mien.parallel import ahead
from mien.recognition.model import Model
from mien.recognition.quality import largest
from mien.types import Embeddings, Face, Image, NamedFace, Picture, Skipped


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A photo that was looked at, and the faces in it, those that are surest to be faces first."""

    frame: Picture
    sightings: tuple[NamedFace, ...]


def identify(
    paths: str | Path | Iterable[str | Path],
    model: Model,
    facebank: Store,
    *,
    mirror: bool = False,
    limit: int | None = None,
    min_face: float = 0,
) -> Iterator[Seen | Skipped]:
    """Yield who is in each photo, in the order of the photos.

    Args:
        paths: one file or several, a photo each; `mien.files.walk` makes them of folders and
            patterns.
        model: made the facebank's vectors; a face gets a name from `Model.threshold_among` on, and
            `Model.at_once` photos are looked at at a time.
        facebank: who is known.
        mirror: see `Model.embed`.
        limit: how many faces of a photo count, the largest; all by default.
        min_face: pixels that the longer side of a face must have.

    Raises:
        FacebankMismatch: the facebank's vectors are another model's.
        BadFacebank: see `Facebank`.
    """
    facebank.require(model.model_id)
    threshold = model.threshold_among(person.photos for person in facebank.people())

    def look(path: Path) -> tuple[Image, list[Face], Embeddings]:
        image = images.read(path)
        faces = largest(model.detect(image), limit, min_face)
        return image, faces, model.embed(image, faces, mirror=mirror)

    for path, looked in ahead(look, map(Path, files.several(paths)), model.at_once):
        try:
            image, faces, vectors = looked()
        except BadInput as error:
            yield Skipped(path, str(error))
            continue
        matches = facebank.search(vectors, threshold)
        sightings = (NamedFace(path, *pair) for pair in zip(faces, matches, strict=True))
        yield Seen(Picture(path, image), tuple(sightings))
