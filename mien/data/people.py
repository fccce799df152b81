"""Folders of people: `NAME/photo.jpg`, the photos of one person in a folder of their own."""

from __future__ import annotations

from pathlib import Path

from mien.errors import BadInput
from mien.images import walk


def photos(folder: str | Path) -> tuple[dict[Path, str], dict[Path, str]]:
    """Whose each photo is, and why others are nobody's.

    Raises:
        BadInput: it is no folder; otherwise as `mien.images.walk`.
    """
    if not Path(folder).is_dir():
        raise BadInput(f"{folder} is no folder: name one that holds a folder for each person")
    person_of, skipped = {}, {}
    for path in walk([folder]):
        person, *rest = path.relative_to(folder).parts
        if rest:
            person_of[path] = person
        else:
            skipped[path] = f"{path} lies in no person's folder"
    return person_of, skipped
