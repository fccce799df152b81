"""Who is in which photo of the index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mien import files
from mien.collection.corrections import Names, said
from mien.collection.fill import as_given, real_folder
from mien.collection.photo_index import PhotoIndex
from mien.collection.rows import Way
from mien.errors import UnknownPerson
from mien.facebank.rows import spelled
from mien.facebank.stores import Store
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.types import Match

_AT_ONCE = 1000  # photos whose faces are named together


@dataclass(frozen=True, slots=True)
class AlbumFace:
    """A face in the album, and who it is."""

    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the upright photo
    confidence: float
    match: Match


@dataclass(frozen=True, slots=True)
class AlbumPhoto:
    """A photo in the album."""

    path: Path
    width: int  # in pixels, upright
    height: int
    orientation: int  # how the file is stored; see `mien.images.orientation`
    faces: tuple[AlbumFace, ...]

    @property
    def people(self) -> list[str]:
        """Who is in it, by name."""
        return sorted({face.match.person for face in self.faces if face.match.person})


def album(
    folder: str | Path | None,
    model: Model,
    index: PhotoIndex,
    facebank: Store | None,
    people: Sequence[str] = (),
    *,
    choice: files.Choice = files.EVERYTHING,
    policy: Policy | None = None,
) -> list[AlbumPhoto]:
    """The photos in which all of these people are, by path.

    Args:
        folder: whose photos, as `mien.update` was given it; None: all that the index has.
        model: found the faces.
        index: has them.
        facebank: who has a name; None: nobody.
        people: by name; nobody asks for every photo.
        choice: which of the folder's photos to tell of.
        policy: the score a face needs to get a name; the model's own by default.

    Raises:
        UnknownPerson: somebody is not in the facebank.
        FacebankMismatch: its vectors are another model's.
    """
    known = facebank.people() if facebank else []
    asked = {spelled(name) for name in people}
    if strangers := asked - {person.name for person in known}:
        raise UnknownPerson(f"nobody is called {min(strangers)}: see mien people")
    if facebank:
        facebank.require(model.model_id)
    policy = policy or model.policy()
    threshold = policy.threshold_among(person.photos for person in known)
    names = Names(facebank, threshold, said(index)) if facebank else None
    root = real_folder(folder) if folder else None
    entries: list[AlbumPhoto] = []
    taken = (
        photo
        for photo in index.photos(Way.of(model), root)
        if root is None or choice.takes(photo.path.relative_to(root))
    )
    while some := list(islice(taken, _AT_ONCE)):
        keys = [one.key for photo in some for one in photo.faces]
        matches = iter([Match(None, -1.0)] * len(keys))
        if names:
            matches = iter(names.match(keys, np.concatenate([photo.vectors for photo in some])))
        for photo in some:
            named = tuple(
                AlbumFace(tuple(one.face.box.tolist()), one.face.confidence, next(matches))
                for one in photo.faces
            )
            path = as_given(photo.path, root, folder) if root and folder else photo.path
            entry = AlbumPhoto(path, photo.width, photo.height, photo.orientation, named)
            if asked <= set(entry.people):
                entries.append(entry)
    return sorted(entries, key=lambda one: one.path)
