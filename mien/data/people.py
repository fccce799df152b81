"""Folders of people: `NAME/photo.jpg`, the photos of one person in a folder of their own."""

from __future__ import annotations

from pathlib import Path

from mien.images import walk


def photos(folder: str | Path) -> tuple[dict[Path, str], dict[Path, str]]:
    """Whose each photo is, and why others are nobody's; errors as `mien.images.walk`."""
    person_of, skipped = {}, {}
    for path in walk([folder]):
        person, *rest = path.relative_to(folder).parts or ("",)
        if rest:
            person_of[path] = person
        else:
            skipped[path] = f"{path} lies in no person's folder"
    return person_of, skipped
