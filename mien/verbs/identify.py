"""Pictures to names: the faces in each photo, and who in the facebank they are.

Photos go through a few at a time and are let go of, so a million take the memory of these.  Each
face is answered for itself: two faces of a picture can get one name, as in a mirror or a collage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mien.collection.corrections import Names, said
from mien.collection.fill import look
from mien.collection.photo_index import PhotoIndex
from mien.facebank.stores import Store
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.types import NamedFace, Skipped


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A photo and the faces in it, highest confidence first."""

    path: Path
    width: int  # in pixels, upright
    height: int
    faces: tuple[NamedFace, ...]


def identify(
    paths: str | Path | Iterable[str | Path],
    model: Model,
    facebank: Store,
    *,
    index: PhotoIndex | None = None,
    policy: Policy | None = None,
    mirror: bool = False,
    limit: int | None = None,
    min_face: float = 0,
    top: int = 1,
    at_once: int = 1,
) -> Iterator[Seen | Skipped]:
    """Yield who is in each photo, in order.

    Args:
        paths: one photo file or several; `mien.files.walk` finds them in folders and by pattern.
        model: the one that made the facebank's vectors.
        facebank: the people to look for.
        index: has faces that were found before, and keeps those that are found now.
        policy: the score a face needs to get a name; the model's own by default.
        mirror, limit, min_face: see `Model.look`.
        top: how many people each match has as its `nearest`.
        at_once: how many photos to process at a time, in threads.

    Raises:
        FacebankMismatch: the facebank's vectors are another model's.
        BadFacebank: see `Facebank`.
    """
    facebank.require(model.model_id)
    policy = policy or model.policy()
    threshold = policy.threshold_among(person.photos for person in facebank.people())
    names = Names(facebank, threshold, said(index) if index else None)
    for seen in look(paths, model, index, mirror=mirror, at_once=at_once):
        if isinstance(seen, Skipped):
            yield seen
            continue
        photo = seen.largest(limit, min_face)
        matches = names.match([one.key for one in photo.faces], photo.vectors, top)
        named = (
            NamedFace(photo.path, one.face, match)
            for one, match in zip(photo.faces, matches, strict=True)
        )
        yield Seen(photo.path, photo.width, photo.height, tuple(named))
