"""Files and folders: which of them are photos, whose they are, and how data gets onto a disk."""

from __future__ import annotations

import errno
import fnmatch
import glob
import itertools
import mimetypes
import os
import re
import secrets
import stat
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from mien import formats
from mien.errors import BadInput, cannot_write
from mien.types import Skipped

_FOUND = "lost+found"  # in every mount point of ext4, and so in an empty one
# Folders of file servers, systems and archives, in lower case: copies of photos, and deleted ones.
_LEFT_OUT = (
    *("@eadir", "@__thumb", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),
    *("$recycle.bin", "recycler", "system volume information", "__macosx"),
)
NO_MEDIA = ".nomedia"  # a file by which a folder says that its pictures are nobody's photos
# Copies that programs leave beside photos, and what is not yet whole.
_COPIES = (".bak", ".orig", "_original", "~", ".tmp", ".part", ".crdownload", ".download", ".thm")
_OWN = re.compile(r"\.mien\.\w+$")  # what a copy with names drawn in is called
_OTHERS = frozenset(mimetypes.MimeTypes().types_map[True]) | {".gz", ".bz2", ".xz", ".xmp"}


def several(paths: str | Path | Iterable[str | Path]) -> Iterable[str | Path]:
    """The paths, one of which may come alone: a text would else be taken letter by letter."""
    return [paths] if isinstance(paths, str | Path) else paths


@dataclass(frozen=True, slots=True)
class Choice:
    """Which photos of folders to take, by their paths below the folder that was given.

    A pattern of a shell (`*`, `?`, `[a-z]`; large letters and small are one) is compared with the
    end of a path: `*.png`, `2019`, `trips/raw`; after a leading / with the whole path.  Whatever
    lies in a folder that matches goes with it.

    Args:
        include: only what matches one of these; everything by default.
        exclude: nothing that matches one of these.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def __post_init__(self) -> None:
        for pattern in (*self.include, *self.exclude):
            if not pattern.strip("/."):
                raise BadInput(f"{pattern!r} is no pattern of photos: give one such as '*.png'")

    def takes(self, path: PurePath) -> bool:
        """Whether to take a photo or video, by its path below the folder."""
        return not self.leaves(path) and (not self.include or _match(path, self.include))

    def leaves(self, path: PurePath) -> bool:
        """Whether to leave a file, or a folder and all in it."""
        return bool(self.exclude) and _match(path, self.exclude)


EVERYTHING = Choice()


def _match(path: PurePath, patterns: Sequence[str]) -> bool:
    whole = PurePosixPath("/", path.as_posix().lower())
    above = [one for one in (whole, *whole.parents) if one.name]
    return any(one.match(pattern.lower()) for one in above for pattern in patterns)


class Found(list[Path]):
    """Photos, each once; and what could not be looked for photos, and why."""

    def __init__(self, photos: Iterable[Path], skipped: Iterable[Skipped] = ()) -> None:
        super().__init__(photos)
        self.skipped = tuple(skipped)


def walk(
    paths: str | Path | Iterable[str | Path],
    *,
    also: Sequence[str] = (),
    choice: Choice = EVERYTHING,
    required: bool = True,
    cut_outs: bool = False,
    known: Container[Path] = (),
) -> Found:
    """The photos in files, folders and patterns, each once, in a stable order.

    The order is that of `paths`; within a folder or a pattern, that of the names.  A file that is
    named outright is taken, whatever it is called.  Folders are searched to the bottom, through
    links too.  There, a file is a photo by its name, see `mien.formats`, or, where that tells
    nothing, by its first bytes.  A raw file beside a picture of its name is the same photo.

    Left out are what is hidden, what file servers and systems keep (@eaDir, #recycle, $RECYCLE.BIN
    and the like), folders that hold a file .nomedia, and what mien itself has made; unless it is
    named outright.

    Args:
        paths: patterns are those of a shell, with ** for any depth.
        also: endings of names that are taken beside photos, in lower case.
        choice: which of them to take.
        required: whether there have to be any.
        cut_outs: whether to take faces that mien cut out of photos, as people may be enrolled by.
        known: photos that need not be opened to see whether mien has made them.

    Raises:
        BadInput: there are no photos, if they are required or could not be looked for.
    """
    found: dict[str, Path] = {}  # by real path
    skipped: dict[str, Skipped] = {}
    for path in map(Path, several(paths)):
        some = _photos(path, _Wanted(tuple(also), choice, cut_outs, known))
        if required:
            why = f"{path} holds no photos: name a picture, or a folder of some"
            some = itertools.chain([next(some, Skipped(path, why))], some)
        for one in some:
            if isinstance(one, Skipped):
                skipped.setdefault(os.path.realpath(one.path), one)
            else:
                found.setdefault(os.path.realpath(one), one)
    if not found and skipped:
        raise BadInput(next(iter(skipped.values())).reason)
    return Found(found.values(), skipped.values())


class _Wanted(NamedTuple):
    """What `walk` is asked for."""

    also: tuple[str, ...]
    choice: Choice
    cut_outs: bool
    known: Container[Path]


def _photos(path: Path, wanted: _Wanted) -> Iterator[Path | Skipped]:
    """What is to be said of one of the paths that `walk` is given."""
    if os.path.isdir(path):  # noqa: PTH112 - pathlib's may fail
        yield from _below(path, wanted)
    elif os.path.lexists(path):
        yield from [path] if wanted.choice.takes(PurePath(path.name)) else []
    elif glob.has_magic(str(path)):
        yield from _by_pattern(path, wanted)
    else:
        yield _absent(path)


def _absent(path: Path) -> Skipped:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return Skipped(path, f"{path} cannot be looked at ({why}): check the path")
    return Skipped(path, f"{path} does not exist: check the path")


def _by_pattern(path: Path, wanted: _Wanted) -> Iterator[Path | Skipped]:
    plain = list(itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
    root, pattern = Path(*plain), path.parts[len(plain) :]
    if not os.path.isdir(root):  # noqa: PTH112
        yield _absent(root)
        return
    yield from _below(root, wanted, pattern)


def _fits(parts: Sequence[str], pattern: Sequence[str], *, so_far: bool = False) -> bool:
    """Whether a path, or a folder above it, fits a pattern; or may yet, where it goes on."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return so_far or any(_fits(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    if not parts:
        return so_far
    first = fnmatch.fnmatchcase(parts[0], pattern[0])
    return first and _fits(parts[1:], pattern[1:], so_far=so_far)


def _below(root: Path, wanted: _Wanted, pattern: Sequence[str] = ()) -> Iterator[Path | Skipped]:
    """The photos in a folder, and what in it cannot be looked at."""
    seen = set()  # real folders: a link may lead back up
    folders = [root]
    while folders:
        folder = folders.pop()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(folder) as inside:
                entries = sorted(inside, key=lambda entry: entry.name)
        except OSError as error:
            why = f"{folder} cannot be listed ({error.strerror}): check who may read it"
            yield Skipped(folder, why)
            continue
        names = {entry.name for entry in entries}
        if NO_MEDIA in names and folder != root:
            continue
        deeper = []
        for entry in entries:
            path = folder / entry.name
            below = path.relative_to(root)
            if is_left_out(entry.name) or wanted.choice.leaves(below):
                continue
            if _is_folder(entry):
                if _fits(below.parts, pattern, so_far=True):
                    deeper.append(path)
            elif (
                _fits(below.parts, pattern)
                and wanted.choice.takes(below)
                and (one := _file(entry, path, wanted, names))
            ):
                yield one
        folders += reversed(deeper)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # as a link to itself
        return False


def _file(
    entry: os.DirEntry[str], path: Path, wanted: _Wanted, beside: Container[str]
) -> Path | Skipped | None:
    """A photo, one that cannot be looked at, or nothing of the kind."""
    name = entry.name.lower()
    if name.endswith(wanted.also):
        return path
    if format := formats.named(name):
        twin = format.name == "raw" and _has_picture(path, beside)
        return None if twin or _is_own(entry, path, wanted) else path
    if name.endswith(_COPIES) or path.suffix.lower() in _OTHERS:
        return None
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
    except OSError as error:
        if not entry.is_symlink():
            return None
        why = f"{path} leads nowhere ({error.strerror}): plug in its disk, or remove the link"
        return Skipped(path, why)
    with suppress(OSError), path.open("rb") as file:
        taken = formats.begun(file.read(formats.HEAD)) and not _is_own(entry, path, wanted)
        return path if taken else None
    return None


def _is_own(entry: os.DirEntry[str], path: Path, wanted: _Wanted) -> bool:
    """Whether mien itself has made a picture, as its first bytes say, and it is not wanted."""
    if path in wanted.known:
        return False
    with suppress(OSError):
        if entry.is_file():  # a pipe would have to be waited for
            with path.open("rb") as file:
                made = formats.made(file.read(formats.HEAD))
            return bool(made) and not (wanted.cut_outs and made == "cut-out")
    return False


def _has_picture(raw: Path, beside: Container[str]) -> bool:
    """Whether a raw file's photo is there as a picture too, as cameras leave them."""
    endings = (".jpg", ".JPG", ".jpeg", ".JPEG", ".heic", ".HEIC", ".hif", ".HIF")
    return any(raw.stem + ending in beside for ending in endings)


def is_left_out(name: str) -> bool:
    """Whether a file or folder is left out where a folder is searched, by its name: see `walk`."""
    return name.startswith(".") or name.lower() in _LEFT_OUT or bool(_OWN.search(name))


def photos_of_people(
    folder: str | Path, choice: Choice = EVERYTHING
) -> tuple[dict[Path, str], list[Skipped]]:
    """Whose each photo is, and why others are nobody's.

    Raises:
        BadInput: it is no folder; otherwise as `walk`.
    """
    if not os.path.isdir(folder):  # noqa: PTH112
        raise BadInput(f"{folder} is not a folder: name one that holds a folder for each person")
    found = walk([folder], choice=choice, cut_outs=True)
    person_of, skipped = {}, list(found.skipped)
    for path in found:
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
            same = place == folder or device in (None, status.st_dev)
            return None if same else (below, "is not there")
    return None


def is_text(path: str | Path) -> bool:
    """Whether a path can be kept as text: on Linux, names are bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def open_at_once(path: str, flags: int) -> int:
    """Open a file, but do not wait for whoever might write into a pipe; an `opener` for `open`."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def contents(path: str | Path) -> bytes:
    """The bytes of a file, or of a pipe that somebody writes into.

    Raises:
        OSError: it cannot be read, or is a device, which may never end.
    """
    with open(path, "rb", opener=open_at_once) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        if stat.S_ISFIFO(mode):
            os.set_blocking(file.fileno(), True)
        return file.read()


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
