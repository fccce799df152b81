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
from mien.parallel import map_in_order
from mien.recognition.model import Looked, Model
from mien.recognition.policy import Policy
from mien.types import Image, NamedFace, Picture, Skipped


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A photo and the faces in it, highest confidence first."""

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
    """Yield who is in each photo, in order.

    Args:
        paths: one photo file or several; `mien.files.walk` finds them in folders and by pattern.
        model: the one that made the facebank's vectors.
        facebank: the people to look for.
        policy: the score a face needs to get a name; the model's own by default.
        mirror, limit, min_face: see `Model.look`.
        at_once: how many photos to process at a time, in threads.

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

    for path, looking in map_in_order(look, map(Path, files.several(paths)), at_once):
        try:
            image, looked = looking()
        except BadInput as error:
            yield Skipped(path, str(error))
            continue
        matches = facebank.search(looked.vectors, threshold)
        named = (NamedFace(path, *pair) for pair in zip(looked.faces, matches, strict=True))
        yield Seen(Picture(path, image), tuple(named))
