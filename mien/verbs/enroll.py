"""Photos to people: a folder `FOLDER/NAME/photo.jpg` into a facebank, again and again.

A photo is known by the hash of its bytes: only what is new is looked at, wherever it lay before.
Each new photo is on the disk as soon as those before it are, and what is gone leaves last.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from mien import files, images
from mien.errors import BadInput, NoFace
from mien.facebank.rows import Photo, person_name
from mien.facebank.stores import Store
from mien.parallel import ahead
from mien.recognition import quality
from mien.recognition.model import Model
from mien.types import Embeddings, Face, Progress, Skipped, silent


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What became of the photos in a folder: each was added, kept or skipped."""

    added: int  # new in the facebank
    kept: int  # there already
    removed: int  # gone from the folder, and so from the facebank
    skipped: tuple[Skipped, ...]  # not to be used, and why
    people: int  # in the facebank now, wherever they came from


@dataclass(frozen=True, slots=True)
class _Picture:
    """A file that may become a `Photo`; the fields are the same."""

    person: str
    sha256: str
    folder: str
    file: str

    @property
    def path(self) -> Path:
        return Path(self.folder, self.file)


def require_usable(folder: str | Path, model: Model, *, largest: bool = False) -> None:
    """Raise what `enroll` would of a new facebank before it is made: look until a photo is good.

    Args:
        folder, model, largest: as `enroll`.

    Raises:
        BadInput: no such folder, nobody in it, or no photo that can be used.
    """
    root, paths = _list(folder)
    skipped: dict[Path, str] = {}
    for path in paths:
        try:
            _look(_picture(root, path), model, largest)
            return
        except BadInput as error:
            skipped[path] = str(error)
    raise BadInput(_nothing(folder, skipped))


def enroll(
    folder: str | Path,
    facebank: Store,
    model: Model,
    *,
    largest: bool = False,
    at_once: int = 1,
    progress: Progress = silent,
) -> Enrolment:
    """Make a facebank know the people in a folder, and forget what is gone from it.

    Whoever was renamed in the facebank keeps that name.  Where a photo has changed and cannot be
    used any more, what the facebank had of it stays.  What came from other folders is left alone.

    Args:
        folder: holds a folder for each person, called by their name, with photos at any depth.
        facebank: is changed.
        model: made the facebank's vectors.
        largest: of several faces in a photo take the largest; else such a photo is skipped.
        at_once: photos that are looked at at a time, in threads.
        progress: is given the photos to read, then those to enrol.

    Raises:
        BadInput: no such folder, nobody in it, or no photo that can be used; nothing has changed.
        FacebankMismatch: the facebank's vectors are another model's; see `rebuild`.
        BadFacebank, CannotWrite: see `Facebank`; photos that were added until then stay.
    """
    facebank.require(model.model_id)
    known = facebank.photos()
    root, pictures, skipped = _survey(folder, known, progress)
    hashes = {picture.path: picture.sha256 for picture in pictures}

    def in_place(photo: Photo) -> bool:
        if photo.folder == root:
            return hashes.get(photo.path) == photo.sha256
        return os.access(photo.path, os.F_OK)

    held = {photo.sha256: photo for photo in known}
    added, kept, moved = 0, 0, []

    def look(picture: _Picture) -> tuple[Photo, Embeddings] | None:
        return None if picture.sha256 in held else _look(picture, model, largest)

    for picture, looked in ahead(look, progress(pictures, "enrolling"), at_once):
        old = held.get(picture.sha256)
        try:
            if old is None:
                new = looked()
                assert new  # what is not held now was not held then
                photo, vector = new
                added += facebank.add([photo], vector)
                held[photo.sha256] = photo
                continue
            if not in_place(old):
                held[old.sha256] = replace(
                    old, person=picture.person, folder=root, file=picture.file
                )
                moved.append(held[old.sha256])
            elif old.person != picture.person:
                raise BadInput(_taken(old))
            kept += 1
        except BadInput as error:
            skipped[picture.path] = str(error)
    if not added + kept:
        raise BadInput(_nothing(folder, skipped))
    facebank.move(moved)
    present = set(hashes.values())
    removed = facebank.delete_photos(
        photo.sha256
        for photo in known
        if photo.folder == root and photo.sha256 not in present and photo.path not in skipped
    )
    return Enrolment(added, kept, removed, _listed(skipped), len(facebank.people()))


def rebuild(
    folder: str | Path,
    facebank: Store,
    model: Model,
    *,
    largest: bool = False,
    at_once: int = 1,
    progress: Progress = silent,
) -> Enrolment:
    """Fill a facebank anew with the vectors of a model, whichever model made it before.

    Its photos from other folders are looked at again too, and names that were given in it stay.
    It changes in one step at the end; a photo that is skipped is no longer in it then.  Arguments
    are those of `enroll`.

    Raises:
        BadInput: as `enroll`; or another folder, where photos came from, is not there.
        BadFacebank, CannotWrite: see `Facebank`; nothing has changed.
    """
    known = facebank.photos()
    root, pictures, skipped = _survey(folder, known, progress)
    here = {picture.sha256 for picture in pictures}
    for photo in known:
        if photo.folder != root and photo.sha256 not in here:
            if not os.access(photo.folder, os.R_OK):  # such as a disk that is not plugged in
                raise BadInput(
                    f"{photo.folder} is not there, and {photo.person} came from it: bring it back,"
                    " or enroll into another facebank"
                )
            pictures.append(_Picture(photo.person, photo.sha256, photo.folder, photo.file))
    fresh: dict[str, tuple[Photo, Embeddings]] = {}
    look = partial(_look, model=model, largest=largest)
    for picture, looked in ahead(look, progress(pictures, "enrolling"), at_once):
        try:
            photo, vector = looked()
            first, _ = fresh.setdefault(photo.sha256, (photo, vector))
            if first.person != photo.person:
                raise BadInput(_taken(first))
        except BadInput as error:
            skipped[picture.path] = str(error)
    if not fresh:
        raise BadInput(_nothing(folder, skipped))
    photos, vectors = zip(*fresh.values(), strict=True)
    facebank.replace(photos, np.concatenate(vectors), model_id=model.model_id)
    removed = len({photo.sha256 for photo in known} - fresh.keys())
    return Enrolment(len(fresh), 0, removed, _listed(skipped), len(facebank.people()))


def _only(faces: list[Face], largest: bool) -> Face:
    if not faces:
        raise NoFace("no face was found in it: use a photo that shows the face from the front")
    if len(faces) > 1 and not largest:
        raise NoFace(f"{len(faces)} faces were found in it: crop it to one, or use --largest")
    return quality.largest(faces)[0]


def _survey(
    folder: str | Path, known: Sequence[Photo], progress: Progress
) -> tuple[str, list[_Picture], dict[Path, str]]:
    """The folder's real path, its photos and whose they are, and why others cannot be used."""
    root, paths = _list(folder)
    pictures, skipped = [], {}
    for path in progress(paths, "reading"):
        try:
            pictures.append(_picture(root, path))
        except BadInput as error:
            skipped[path] = str(error)
    return str(root), _as_renamed(pictures, known), skipped


def _list(folder: str | Path) -> tuple[Path, list[Path]]:
    """The folder's real path, and the photos in it."""
    root = Path(os.path.realpath(folder))
    if not (os.access(root, os.R_OK) and root.is_dir()):
        raise BadInput(f"{folder} is no readable folder: name one that holds a folder a person")
    paths = files.walk([root], required=False)
    if all(path.parent == root for path in paths):
        raise BadInput(f"{folder} has no people: put photos into a folder for each, {folder}/NAME/")
    return root, paths


def _picture(root: Path, path: Path) -> _Picture:
    if path.parent == root:
        raise BadInput("it is not in a person's folder: move it into one")
    file = path.relative_to(root)
    person = person_name(file.parts[0])
    sha256 = hashlib.sha256(images.read_bytes(path)).hexdigest()
    return _Picture(person, sha256, _text(root), _text(file))


def _as_renamed(pictures: Sequence[_Picture], known: Sequence[Photo]) -> list[_Picture]:
    """The pictures, each with the name that the facebank now has for whoever its sub-folder is.

    Photos tell who that is if they came from there, or are there now and came from a sub-folder
    of that name elsewhere: then the whole folder has moved.
    """
    there = {(picture.folder, _sub_folder(picture)) for picture in pictures}
    contents = {(picture.sha256, _sub_folder(picture)) for picture in pictures}
    moved = [photo for photo in known if (photo.sha256, _sub_folder(photo)) in contents]
    stayed = [photo for photo in known if (photo.folder, _sub_folder(photo)) in there]
    names = {_sub_folder(photo): photo.person for photo in moved + stayed}  # who stayed decides
    return [
        replace(picture, person=names.get(_sub_folder(picture), picture.person))
        for picture in pictures
    ]


def _sub_folder(photo: Photo | _Picture) -> str:
    return photo.file.partition("/")[0]


def _look(picture: _Picture, model: Model, largest: bool) -> tuple[Photo, Embeddings]:
    """The photo and its vector, (1, D), from the bytes that are there now."""
    data = images.read_bytes(picture.path)
    image = images.decode(data)
    face = _only(model.detect(image), largest)
    photo = Photo(
        picture.person,
        hashlib.sha256(data).hexdigest(),
        picture.folder,
        picture.file,
        face.confidence,
        face.size,
    )
    return photo, model.embed(image, [face])


def _text(path: Path) -> str:
    """A path as the facebank writes it down."""
    try:
        return path.as_posix().encode().decode()
    except UnicodeEncodeError as error:
        raise BadInput("its name is not UTF-8: rename it") from error


def _listed(skipped: dict[Path, str]) -> tuple[Skipped, ...]:
    return tuple(map(Skipped, skipped, skipped.values()))


def _taken(photo: Photo) -> str:
    return f"the same photo is {photo.person}'s, {photo.path}: remove it from one of the two"


def _nothing(folder: str | Path, skipped: dict[Path, str]) -> str:
    path, reason = next(iter(skipped.items()))
    return f"none of {len(skipped)} photos in {folder} can be used; the first, {path}: {reason}"
