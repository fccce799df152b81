"""All photos of somebody: chosen from what the index knows, copied or linked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from mien import files, images
from mien.collection.album import AlbumPhoto
from mien.errors import BadInput, cannot_write
from mien.types import Skipped


def choose(
    entries: Sequence[AlbumPhoto],
    *,
    only: bool = False,
    people: Sequence[str] = (),
    since: date | None = None,
    until: date | None = None,
) -> list[AlbumPhoto]:
    """Some of the photos in which people are.

    Args:
        entries: what `mien.album` has found for them.
        only: leave out photos that show any other face.
        people: by name, for `only`.
        since: the first day on which a photo may have been taken.
        until: the last one.
    """
    found = []
    for entry in entries:
        if only and (len(entry.faces) > len(people) or set(entry.people) != set(people)):
            continue
        if since or until:
            day = images.taken(entry.path)
            if day is None or day < (since or day) or day > (until or day):
                continue
        found.append(entry)
    return found


def day(text: str, *, last: bool = False) -> date:
    """The first or last day of a text such as 2019, 2019-07 or 2019-07-14.

    Raises:
        BadInput: it is none.
    """
    parts = text.split("-")
    try:
        year, month, in_month = (*map(int, parts), *[0] * (3 - len(parts)))
        if not last:
            return date(year, month or 1, in_month or 1)
        if in_month:
            return date(year, month, in_month)
        after = date(year + (month in (0, 12)), month % 12 + 1 if month else 1, 1)
        return date.fromordinal(after.toordinal() - 1)
    except ValueError as error:
        raise BadInput(f"{text!r} is no day: give it as 2019, 2019-07 or 2019-07-14") from error


def gather(
    entries: Sequence[AlbumPhoto], folder: str | Path, *, link: bool = False
) -> tuple[int, tuple[Skipped, ...]]:
    """Copy photos into a folder, or link to them; how many, and what could not be and why.

    A photo whose name is taken there gets a number; one that is there already is left.

    Args:
        entries: the photos.
        folder: is made, for its owner alone.
        link: whether to make links instead of copies.

    Raises:
        CannotWrite: the folder cannot be made.
    """
    folder = Path(folder)
    files.make_folder(folder, private=True)
    done, skipped = 0, []
    for entry in entries:
        try:
            target = _free(folder, entry.path)
            if target is None:
                continue
            if link:
                target.symlink_to(os.path.realpath(entry.path))
            else:
                shutil.copy2(entry.path, target)
            done += 1
        except OSError as error:
            skipped.append(Skipped(entry.path, str(cannot_write(folder, error))))
    return done, tuple(skipped)


def _free(folder: Path, photo: Path) -> Path | None:
    """Where a photo goes in a folder; None where it is there."""
    for number in range(1, 10_000):
        name = photo.name if number == 1 else f"{photo.stem} {number}{photo.suffix}"
        target = folder / name
        if not os.path.lexists(target):
            return target
        if os.path.exists(target) and _same(photo, target):  # noqa: PTH110
            return None
    raise BadInput(f"{folder} has too many photos called {photo.name}: empty it")


def _same(one: Path, other: Path) -> bool:
    if os.path.samefile(one, other):  # noqa: PTH121
        return True
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()
