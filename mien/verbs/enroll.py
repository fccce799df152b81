"""Photos to people: a folder `FOLDER/NAME/photo.jpg` into a facebank, again and again.

A photo is known by the hash of its bytes: only what is new is looked at, wherever it lay before.
Each new photo is on the disk as soon as those before it are, and what is gone leaves last.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path, PurePath

import numpy as np

from mien import files, images
from mien.errors import BadInput
from mien.facebank.rows import Photo, person_name
from mien.facebank.stores import Store
from mien.parallel import map_in_order
from mien.recognition.model import Model
from mien.types import Embeddings, Face, Progress, Skipped, silent


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What happened to the photos in a folder: each was added, kept or skipped."""

    added: int  # new in the facebank
    kept: int  # already there
    removed: int  # gone from the folder, and so from the facebank
    skipped: tuple[Skipped, ...]  # could not be used, and why
    people: int  # in the facebank now, wherever they came from


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """What a photo's file holds: a face with its vector, or why there is none to be used."""

    path: Path
    person: str  # as the folder is called
    folder: str
    file: str
    sha256: str
    face: Face | None = None  # None as well where the facebank has the photo
    vector: Embeddings | None = None  # (1, D)
    reason: str = ""


def enroll(
    folder: str | Path,
    facebank: Store | Callable[[], Store],
    model: Model,
    *,
    choice: files.Choice = files.EVERYTHING,
    largest: bool = False,
    at_once: int = 1,
    progress: Progress = silent,
) -> Enrolment:
    """Add the people in a folder to a facebank, and remove what is gone from the folder.

    What may only be away is kept, as where a folder is empty, cannot be listed, or is a link to
    nothing.  People renamed in the facebank keep their new names.  If a photo has changed and can
    no longer be used, its earlier vector stays.  Photos from other folders are left alone.

    Args:
        folder: has a folder for each person, with their name, and photos at any depth.
        facebank: the one to change; or a function that makes one, called for the first photo.
        model: the one that made the facebank's vectors.
        choice: which of the folder's photos to look at; of the others, what is known stays.
        largest: use the largest of several faces; otherwise such a photo is skipped.
        at_once: how many photos to process at a time, in threads.
        progress: is given the photos.

    Raises:
        BadInput: no such folder, nobody in it, or no photo that can be used; nothing has changed.
        FacebankMismatch: the facebank's vectors are another model's; see `rebuild`.
        BadFacebank, CannotWrite: see `Facebank`; photos that were added until then stay.
    """
    known: list[Photo] = []
    if not callable(facebank):
        facebank.require(model.model_id)
        known = facebank.photos()
    root, paths = _list(folder, choice)
    held = {photo.sha256: photo for photo in known}
    hashes: dict[Path, str] = {}
    skipped = {one.path: one.reason for one in paths.skipped}
    again: list[tuple[_File, str]] = []  # that the facebank has, and whose they are
    added = 0

    def look(path: Path) -> _File:
        return _look(_read(root, path), model, largest, held)

    read = _reading(map_in_order(look, progress(paths, "enrolling"), at_once), skipped)
    for file, name in _named(read, known, str(root)):
        hashes[file.path] = file.sha256
        if file.sha256 in held:
            again.append((file, name))
        elif file.reason:
            skipped[file.path] = file.reason
        else:
            if callable(facebank):
                facebank = facebank()
            photo, vector = _photo(file, name)
            added += facebank.add([photo], vector)
            held[photo.sha256] = photo

    moved, kept = [], 0
    for file, name in again:
        old = held[file.sha256]
        there = hashes.get(old.path) == old.sha256 if old.folder == str(root) else _is_there(old)
        if not there:
            held[old.sha256] = replace(old, person=name, folder=file.folder, file=file.file)
            moved.append(held[old.sha256])
        elif old.person != name:
            skipped[file.path] = _taken(old)
            continue
        kept += 1
    if callable(facebank) or not added + kept:
        raise BadInput(_nothing(folder, paths, skipped))
    facebank.move(moved)
    present = set(hashes.values())
    gone = [
        photo
        for photo in known
        if photo.folder == str(root)
        and photo.sha256 not in present
        and choice.takes(PurePath(photo.file))
        and not _around(photo.path, skipped)
    ]
    away = _away(gone)
    for place, (why, photo) in away.items():
        skipped[place] = (
            f"{place} {why}: what {photo.person} has from it is kept until mien people delete"
        )
    removed = facebank.delete_photos(
        photo.sha256 for photo in gone if not _around(photo.path, away)
    )
    return Enrolment(added, kept, removed, _listed(paths, skipped), len(facebank.people()))


def rebuild(
    folder: str | Path,
    facebank: Store,
    model: Model,
    *,
    choice: files.Choice = files.EVERYTHING,
    largest: bool = False,
    at_once: int = 1,
    progress: Progress = silent,
) -> Enrolment:
    """Refill a facebank with the vectors of a model, whichever model made the old ones.

    Photos from other folders are processed again too, and names given in the facebank stay.  It
    changes in one step at the end, and then no longer has the photos that were skipped or not
    chosen.  The arguments are those of `enroll`.

    Raises:
        BadInput: as `enroll`; or a folder that photos came from cannot be looked into.
        BadFacebank, CannotWrite: see `Facebank`; nothing has changed.
    """
    known = facebank.photos()
    root, paths = _list(folder, choice)
    skipped = {one.path: one.reason for one in paths.skipped}
    for photo in known:
        if photo.folder == str(root) and (lost := _around(photo.path, skipped)):
            raise BadInput(skipped[lost])

    def look(path: Path) -> _File:
        return _look(_read(root, path), model, largest)

    read = _reading(map_in_order(look, progress(paths, "enrolling"), at_once), skipped)
    found = [replace(file, person=name) for file, name in _named(read, known, str(root))]
    here = {file.sha256 for file in found}
    others = {p.path: p for p in known if p.folder != str(root) and p.sha256 not in here}
    for place, (why, photo) in _away(one for one in known if one.sha256 not in here).items():
        raise BadInput(
            f"{place} {why}, and {photo.person} came from it: restore it, or enrol into another"
            " facebank"
        )
    for photo in others.values():
        if not os.access(photo.folder, os.R_OK):  # such as a disk that is not plugged in
            raise BadInput(
                f"{photo.folder} is missing, and {photo.person} came from it: restore it,"
                " or enrol into another facebank"
            )

    def look_again(path: Path) -> _File:
        old = others[path]
        file = _File(path, old.person, old.folder, old.file, "")
        return _look((file, images.read_bytes(path)), model, largest)

    todo = progress(list(others), "enrolling")
    found += _reading(map_in_order(look_again, todo, at_once), skipped)
    fresh: dict[str, tuple[Photo, Embeddings]] = {}
    for file in found:
        if file.reason:
            skipped[file.path] = file.reason
            continue
        first, _ = fresh.setdefault(file.sha256, _photo(file, file.person))
        if first.person != file.person:
            skipped[file.path] = _taken(first)
    everything = [*paths, *others]
    if not fresh:
        raise BadInput(_nothing(folder, everything, skipped))
    photos, vectors = zip(*fresh.values(), strict=True)
    facebank.replace(photos, np.concatenate(vectors), model_id=model.model_id)
    removed = len({photo.sha256 for photo in known} - fresh.keys())
    listed = _listed(everything, skipped)
    return Enrolment(len(fresh), 0, removed, listed, len(facebank.people()))


def _reading(
    coming: Iterable[tuple[Path, Callable[[], _File]]], skipped: dict[Path, str]
) -> Iterator[_File]:
    """The files that can be read; why others cannot goes to `skipped`."""
    for path, read in coming:
        try:
            yield read()
        except BadInput as error:
            skipped[path] = str(error)


def _read(root: Path, path: Path) -> tuple[_File, bytes]:
    """A file of a folder of people, and its bytes."""
    if path.parent == root:
        raise BadInput("it is not in a person's folder: move it into one")
    file = path.relative_to(root)
    person = person_name(file.parts[0])
    return _File(path, person, _text(root), _text(file), ""), images.read_bytes(path)


def _look(
    read: tuple[_File, bytes], model: Model, largest: bool, held: Container[str] = ()
) -> _File:
    """The file with its hash and, unless that is held already, its face."""
    file, data = read
    file = replace(file, sha256=hashlib.sha256(data).hexdigest())
    if file.sha256 in held:
        return file
    try:
        looked = model.look(images.decode(data), limit=1)
    except BadInput as error:
        return replace(file, reason=str(error))
    if not looked.found:
        reason = "no face was found in it: use a photo that shows the face from the front"
    elif looked.found > 1 and not largest:
        reason = f"{looked.found} faces were found in it: crop it to one, or use --largest"
    else:
        return replace(file, face=looked.faces[0], vector=looked.vectors)
    return replace(file, reason=reason)


def _photo(file: _File, person: str) -> tuple[Photo, Embeddings]:
    """What the facebank is given of a file with a face."""
    assert file.face is not None
    assert file.vector is not None
    size, sure = file.face.size, file.face.confidence
    return Photo(person, file.sha256, file.folder, file.file, sure, size), file.vector


def _named(read: Iterable[_File], known: Iterable[Photo], root: str) -> Iterator[tuple[_File, str]]:
    """The files, each with the name that the facebank now has for whoever its sub-folder is.

    Photos tell who that is if they came from there, or are there now and came from a sub-folder of
    that name elsewhere: then the whole folder has moved, which shows when all of it is read.
    """
    before: dict[str, list[Photo]] = {}
    for photo in known:
        before.setdefault(_sub_folder(photo.file), []).append(photo)
    for sub_folder, some in groupby(read, lambda file: _sub_folder(file.file)):
        photos = before.get(sub_folder, [])
        name = _last([photo for photo in photos if photo.folder == root])
        if photos and name is None:
            content = list(some)
            here = {file.sha256 for file in content}
            name = _last([photo for photo in photos if photo.sha256 in here])
            yield from ((file, name or file.person) for file in content)
        else:
            yield from ((file, name or file.person) for file in some)


def _last(photos: Sequence[Photo]) -> str | None:
    return photos[-1].person if photos else None


def _sub_folder(file: str) -> str:
    return file.partition("/")[0]


def _is_there(photo: Photo) -> bool:
    return os.access(photo.path, os.F_OK)


def _list(folder: str | Path, choice: files.Choice) -> tuple[Path, files.Found]:
    """The folder's real path, and the photos in it."""
    root = Path(os.path.realpath(folder))
    if not (os.access(root, os.R_OK) and root.is_dir()):
        raise BadInput(
            f"{folder} is not a readable folder: name one that holds a folder for each person"
        )
    paths = files.walk([root], choice=choice, required=False)
    if all(path.parent == root for path in paths):
        raise BadInput(f"{folder} has no people: put photos into a folder for each, {folder}/NAME/")
    return root, paths


def _around(path: Path, skipped: Container[Path]) -> Path | None:
    """What was skipped of a photo's path: the photo, or a folder above it."""
    return next((one for one in (path, *path.parents) if one in skipped), None)


def _away(photos: Iterable[Photo]) -> dict[Path, tuple[str, Photo]]:
    """The places that some of the photos may only be away from, why, and the first of each."""
    found: dict[Path, tuple[str, Photo]] = {}
    why = cache(partial(files.away, device=None))
    for photo in photos:
        if not os.path.lexists(photo.path) and (cause := why(photo.path.parent)):
            place, reason = cause
            found.setdefault(place, (reason, photo))
    return found


def _text(path: Path) -> str:
    """A path as the facebank writes it down."""
    try:
        return path.as_posix().encode().decode()
    except UnicodeEncodeError as error:
        raise BadInput("its name is not UTF-8: rename it") from error


def _listed(paths: Iterable[Path], skipped: dict[Path, str]) -> tuple[Skipped, ...]:
    """Why some of the files were skipped, in the files' order; before them what was not listed."""
    order = {path: place for place, path in enumerate(paths)}
    return tuple(
        Skipped(path, skipped[path]) for path in sorted(skipped, key=lambda one: order.get(one, -1))
    )


def _taken(photo: Photo) -> str:
    return f"the same photo is {photo.person}'s, {photo.path}: remove it from one of the two"


def _nothing(folder: str | Path, paths: Iterable[Path], skipped: dict[Path, str]) -> str:
    path, reason = _listed(paths, skipped)[0]
    return f"none of {len(skipped)} photos in {folder} can be used; the first, {path}: {reason}"
