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
from mien.recognition.model import Looked, Model
from mien.recognition.policy import Policy
from mien.types import Image, NamedFace, Picture, Skipped


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A photo that was looked at, and the faces in it, those that are surest to be faces first."""

    picture: Picture
    faces: tuple[NamedFace, ...]


def identify(
    paths: str | Path | Iterable[str | Path],
    model: Model,
    facebank: Store,
    *,
    policy: Policy | None = None,
    mirror: bool = False,
    limit: int | None = None,
    min_face: float = 0,
    at_once: int = 1,
) -> Iterator[Seen | Skipped]:
    """Yield who is in each photo, in the order of the photos.

    Args:
        paths: one file or several, a photo each; `mien.files.walk` makes them of folders and
            patterns.
        model: made the facebank's vectors.
        facebank: who is known.
        policy: from which score on a face gets a name; by default the model's own.
        mirror, limit, min_face: see `Model.look`.
        at_once: photos that are looked at at a time, in threads.

    Raises:
        FacebankMismatch: the facebank's vectors are another model's.
        BadFacebank: see `Facebank`.
    """
    facebank.require(model.model_id)
    policy = policy or model.policy()
    threshold = policy.threshold_among(person.photos for person in facebank.people())

    def look(path: Path) -> tuple[Image, Looked]:
        image = images.read(path)
        return image, model.look(image, limit=limit, min_face=min_face, mirror=mirror)

    for path, looking in ahead(look, map(Path, files.several(paths)), at_once):
        try:
            image, looked = looking()
        except BadInput as error:
            yield Skipped(path, str(error))
            continue
        matches = facebank.search(looked.vectors, threshold)
        named = (NamedFace(path, *pair) for pair in zip(looked.faces, matches, strict=True))
        yield Seen(Picture(path, image), tuple(named))
