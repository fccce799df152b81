"""Files and folders: which of them are photos, whose they are, and how data gets onto a disk."""

from __future__ import annotations

import glob
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mien.errors import BadInput, cannot_write
from mien.types import Skipped

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
_FOUND = "lost+found"  # in every mount point of ext4, and so in an empty one
_NAMED = (*EXTENSIONS, ".heic", ".heif")  # by `walk`: of what phones write, nothing is passed over


def several(paths: str | Path | Iterable[str | Path]) -> Iterable[str | Path]:
    """The paths, one of which may come alone: a text would else be taken letter by letter."""
    return [paths] if isinstance(paths, str | Path) else paths


def walk(
    paths: str | Path | Iterable[str | Path], *, also: Sequence[str] = (), required: bool = True
) -> list[Path]:
    """The photos in files, folders and patterns, each once, in a stable order.

    The order is that of `paths`; within a folder or a pattern, that of the names.  A file that is
    named explicitly is taken whatever its extension.  Folders are searched recursively, through
    links too, for names that end in `EXTENSIONS`, .heic, .heif, or in what `also` names, and do not
    start with a dot; patterns are those of `glob`, with ** for any depth.  `read` refuses HEIC in a
    sentence.

    Raises:
        BadInput: nothing of that name, a folder without photos if they are required, or one that
            cannot be listed.
    """
    found: dict[str, Path] = {}  # by real path
    try:
        for path in several(paths):
            for photo in _photos(Path(path), (*_NAMED, *also), required):
                found.setdefault(os.path.realpath(photo), photo)
    except OSError as error:
        raise BadInput(
            f"{error.filename} cannot be listed ({error.strerror}): check who may read it"
        ) from error
    return list(found.values())


def _photos(path: Path, endings: tuple[str, ...], required: bool) -> list[Path]:
    if path.is_dir():
        matches = [path]
    elif path.exists() or path.is_symlink():
        return [path]
    else:  # Path.glob takes no absolute pattern
        matches = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
    if not matches:
        raise BadInput(f"{path} does not exist: check the path")
    photos = [photo for match in matches for photo in _photos_below(match, endings)]
    if required and not photos:
        raise BadInput(f"{path} holds no photos ({' '.join(EXTENSIONS)}): name a picture or folder")
    return photos


def _photos_below(path: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    if not path.is_dir():
        yield from [path] if _is_photo(path.name, endings) else []
        return
    seen = set()  # real folders: a link may lead back up
    for folder, folders, files in os.walk(path, onerror=_raise, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if _is_photo(name, endings))


def _is_photo(name: str, endings: tuple[str, ...]) -> bool:
    return name.lower().endswith(endings) and not name.startswith(".")


def _raise(error: OSError) -> None:
    raise error


def photos_of_people(folder: str | Path) -> tuple[dict[Path, str], list[Skipped]]:
    """Whose each photo is, and why others are nobody's.

    Raises:
        BadInput: it is no folder; otherwise as `walk`.
    """
    if not Path(folder).is_dir():
        raise BadInput(f"{folder} is not a folder: name one that holds a folder for each person")
    person_of, skipped = {}, []
    for path in walk([folder]):
        person, *rest = path.relative_to(folder).parts
        if rest:
            person_of[path] = person
        else:
            skipped.append(Skipped(path, f"{path} lies in no person's folder"))
    return person_of, skipped


def away(folder: Path, device: int | None) -> tuple[Path, str] | None:
    """Why photos that are not in a folder may only be away, and where; None: they are deleted.

    They are deleted if the folder holds other things, or was on the disk of the one above and is
    gone.  They may be away if a folder above them is empty, as a mount point is, cannot be listed,
    is a link to nothing, or was on another disk.

    Args:
        folder: need not be there.
        device: the disk that the photos were on, as `os.stat` has it; None: not known.
    """
    below = folder
    for place in (folder, *folder.parents):
        try:
            status = place.stat()
            names = {one.name for one in place.iterdir() if not one.name.startswith(".")}
        except (FileNotFoundError, NotADirectoryError):
            if os.path.islink(place):  # noqa: PTH114 - which raises up to Python 3.13
                return place, "is a link to what is not there"
            below = place
        except OSError as error:
            return place, f"cannot be listed ({error.strerror})"
        else:
            if not names - {_FOUND}:
                return place, "is empty"
            return None if place == folder or status.st_dev == device else (below, "is not there")
    return None


def write_atomically(path: str | Path, data: bytes, *, private: bool = False) -> None:
    """Leave data in a file, whole or not at all, replacing what was there.

    Missing folders are made.  A reader sees the old file or the new one and never a part, whatever
    stops the writer: the bytes go to a hidden file beside it, to the disk, then take its name.  An
    old file's owner and mode are kept, and a link stays: its target is written.  Into what is no
    file, as a pipe or a device, the bytes are simply written.

    Args:
        path: the file.
        data: all of it.
        private: whether a new file, and the folders made for it, are for their owner alone.

    Raises:
        CannotWrite: the disk is full or read-only, or writing there is forbidden.
    """
    try:
        old = _status(path)
        if old and not stat.S_ISREG(old.st_mode):
            Path(path).write_bytes(data)
        else:
            _replace(Path(os.path.realpath(path)), data, old, 0o600 if private else 0o666)
    except OSError as error:
        raise cannot_write(path, error) from error


def make_folder(path: Path, *, private: bool = False) -> None:
    """Make a folder and all above it that are missing.

    Raises:
        CannotWrite: as `write_atomically`.
    """
    try:
        _make_folder(path, 0o700 if private else 0o777)
    except OSError as error:
        raise cannot_write(path, error) from error


def _make_folder(path: Path, mode: int) -> None:
    if not path.is_dir():
        _make_folder(path.parent, mode)
        path.mkdir(mode, exist_ok=True)


def _status(path: str | Path) -> os.stat_result | None:
    """Of what is there, at the end of all links."""
    try:
        return os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return None


def _replace(path: Path, data: bytes, old: os.stat_result | None, mode: int) -> None:
    partial = path.parent / f".{secrets.token_hex(8)}.part"
    _make_folder(path.parent, 0o700 if mode == 0o600 else 0o777)
    try:
        new = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if old else mode)
        with os.fdopen(new, "wb") as file:
            if old:
                _take_over(partial, old)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink()


def _take_over(path: Path, old: os.stat_result) -> None:
    """Give a file another's owner, as far as this user may, and mode."""
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(path, old.st_uid, old.st_gid)
    path.chmod(stat.S_IMODE(old.st_mode))
