"""Who is in which photo, as a table, a page, and sidecars."""

from __future__ import annotations

import csv
import html
import io
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from mien import files, images, sidecar
from mien.collection.album import AlbumFace, AlbumPhoto
from mien.errors import BadInput, CannotWrite
from mien.types import Skipped
from mien.web_page import web_page


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
