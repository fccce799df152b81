"""Who is in which photo of a collection: a list, a table, a page, and sidecars."""

from __future__ import annotations

import csv
import html
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import numpy as np

from mien import files, images, sidecar
from mien.collection.fill import as_given, real_folder
from mien.collection.photo_index import PhotoIndex
from mien.collection.rows import Way
from mien.errors import BadInput, CannotWrite, UnknownPerson
from mien.facebank.rows import spelled
from mien.facebank.stores import Store
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.types import Match, Skipped
from mien.web_page import web_page

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
    folder: str | Path,
    model: Model,
    index: PhotoIndex,
    facebank: Store | None,
    people: Sequence[str] = (),
    *,
    choice: files.Choice = files.EVERYTHING,
    policy: Policy | None = None,
) -> list[AlbumPhoto]:
    """The photos of a folder in which all of these people are, by path.

    Args:
        folder: what `mien.collection.fill.update` was given.
        model: found the faces.
        index: has them.
        facebank: who has a name; None: nobody.
        people: by name; nobody asks for every photo.
        choice: which of the photos to tell of.
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
    root = real_folder(folder)
    entries: list[AlbumPhoto] = []
    taken = (
        photo
        for photo in index.photos(Way.of(model), root)
        if choice.takes(photo.path.relative_to(root))
    )
    while some := list(islice(taken, _AT_ONCE)):
        faces = [one.face for photo in some for one in photo.faces]
        matches = iter([Match(None, -1.0)] * len(faces))
        if facebank and faces:
            vectors = np.concatenate([photo.vectors for photo in some if photo.faces])
            matches = iter(facebank.search(vectors, threshold))
        for photo in some:
            named = tuple(
                AlbumFace(tuple(one.face.box.tolist()), one.face.confidence, next(matches))
                for one in photo.faces
            )
            path = as_given(photo.path, root, folder)
            entry = AlbumPhoto(path, photo.width, photo.height, photo.orientation, named)
            if asked <= set(entry.people):
                entries.append(entry)
    return sorted(entries, key=lambda one: one.path)


def write_csv(path: str | Path, entries: Sequence[AlbumPhoto]) -> None:
    """Leave a table with a row for each face, and one for each photo without any."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "width", "height", "person", "score", "x1", "y1", "x2", "y2"])
    for entry in entries:
        photo = (entry.path, entry.width, entry.height)
        for face in entry.faces:
            score = f"{face.match.score:.6f}"
            rows.writerow([*photo, face.match.person or "", score, *(f"{v:.1f}" for v in face.box)])
        if not entry.faces:
            rows.writerow([*photo, *[""] * 6])
    files.write_atomically(path, text.getvalue().encode(), private=True)


def write_sidecars(
    entries: Sequence[AlbumPhoto],
    *,
    keywords: bool = False,
    parent: str = "",
    short: bool = False,
) -> tuple[int, tuple[Skipped, ...]]:
    """Leave the names in XMP sidecars; how many were changed, and which were left alone and why.

    A photo that is not there now gets none.

    Args:
        entries: of an album.
        keywords, parent, short: see `mien.sidecar.write`.
    """
    written, skipped = 0, []
    for entry in (one for one in entries if os.path.exists(one.path)):  # noqa: PTH110
        size = entry.width, entry.height
        if entry.orientation >= 5:  # the file has rows for columns
            size = size[::-1]
        regions = [
            sidecar.Region(face.match.person, _stored(entry, face))
            for face in entry.faces
            if face.match.person
        ]
        try:
            written += sidecar.write(
                entry.path, regions, size, keywords=keywords, parent=parent, short=short
            )
        except (BadInput, CannotWrite) as error:
            skipped.append(Skipped(entry.path, str(error)))
    return written, tuple(skipped)


def write_page(path: str | Path, entries: Sequence[AlbumPhoto]) -> None:
    """Leave a page that shows everyone's photos, which stay where they are and are linked to."""
    people = sorted({name for entry in entries for name in entry.people})
    groups = [(name, [entry for entry in entries if name in entry.people]) for name in people]
    groups.append(("Nobody with a name", [entry for entry in entries if not entry.people]))
    here = Path(os.path.realpath(Path(path).parent))
    links, sections = [], []
    for number, (name, photos) in enumerate(groups):
        if photos:
            title = html.escape(name)
            links.append(f'<a href="#p{number}">{title} <small>{len(photos)}</small></a>')
            shown = "".join(_figure(entry, here) for entry in photos)
            sections.append(f'<h2 id="p{number}">{title}</h2>\n<div class="photos">{shown}</div>')
    body = f"<nav>{''.join(links)}</nav>\n" + "\n".join(sections)
    files.write_atomically(path, web_page(f"{len(entries)} photos", body), private=True)


def _figure(entry: AlbumPhoto, here: Path) -> str:
    photo = Path(os.path.realpath(entry.path.parent), entry.path.name)
    target = quote(os.path.relpath(photo, here))
    names = html.escape(", ".join(entry.people))
    return (
        f'<figure><a href="{target}"><img src="{target}" alt="{names}" loading="lazy"></a>'
        f"<figcaption>{names} <small>{html.escape(entry.path.name)}</small></figcaption></figure>\n"
    )


def _stored(entry: AlbumPhoto, face: AlbumFace) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = face.box
    shares = (x1 / entry.width, y1 / entry.height, x2 / entry.width, y2 / entry.height)
    return images.as_stored(shares, entry.orientation)
