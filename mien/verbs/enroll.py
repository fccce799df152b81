"""Photos to people: a folder `FOLDER/NAME/photo.jpg` into a facebank, again and again.

A photo is known by the hash of its bytes: only what is new is looked at, wherever it lay before.
Each new photo is on the disk as soon as those before it are, and what is gone leaves last.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from mien import files, images
from mien.boxes import overlap
from mien.errors import BadInput
from mien.facebank.rows import NOWHERE, Photo, person_name
from mien.facebank.stores import Store
from mien.parallel import map_in_order
from mien.recognition import align, quality
from mien.recognition.consistency import parts, unlike
from mien.recognition.model import Model
from mien.types import Embeddings, Face, Image, Progress, Skipped, require_picture, silent

_NUMBER = re.compile(r"[ _-]*\(?\d+\)?$")  # behind the name of a file
_SAME = 0.25  # IoU from which a box given by hand is that of a face found


class Odd(NamedTuple):
    """A person whose photos are not all alike."""

    person: str
    photos: int  # all that the facebank has
    people: int  # whom they seem to show, by parts that are unlike each other
    unlike: int  # photos that look like none of these


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What happened to the photos in a folder: each was added, kept or skipped."""

    added: int  # new in the facebank
    kept: int  # already there
    removed: int  # gone from the folder, and so from the facebank
    skipped: tuple[Skipped, ...] = field(repr=False)  # could not be used, and why
    people: int  # in the facebank now, wherever they came from
    others: int = 0  # added by their main face, where smaller ones are in the photo too
    odd: tuple[Odd, ...] = ()  # of those to whom photos were added


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """What a photo's file holds: a face with its vector, or why there is none to be used."""

    path: Path
    person: str  # as the folder is called
    folder: str
    file: str
    sha256: str
    face: Face | None = None  # None as well where the facebank has the photo
    others: int = 0  # faces beside it
    vector: Embeddings | None = None  # (1, D)
    reason: str = ""


def enroll(
    folder: str | Path,
    facebank: Store | Callable[[], Store],
    model: Model,
    *,
    choice: files.Choice = files.EVERYTHING,
    file_names: bool = False,
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
        file_names: photos that lie in the folder itself are called after whom they show, and may
            have a number behind the name: Ann.jpg, "Ann 2.jpg".
        largest: use the largest of several faces; otherwise a photo is skipped unless one face is
            larger by far.
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
    root, paths = _list(folder, choice, file_names)
    held = {photo.sha256: photo for photo in known}
    hashes: dict[Path, str] = {}
    skipped = {one.path: one.reason for one in paths.skipped}
    again: list[tuple[_File, str]] = []  # that the facebank has, and whose they are
    counts: Counter[str] = Counter()  # of photos added, by person
    others = 0

    def look(path: Path) -> _File:
        return _look(_read(root, path, file_names), model, largest, held)

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
            counts[name] += facebank.add([photo], vector)
            others += file.others > 0
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
    added = counts.total()
    if callable(facebank) or not added + kept:
        raise BadInput(_nothing(f"in {folder}", paths, skipped))
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
    odd = _odd(facebank, model, counts)
    people = len(facebank.people())
    return Enrolment(added, kept, removed, _listed(paths, skipped), people, others, odd)


def enroll_person(
    name: str,
    photos: str | Path | Image | Iterable[str | Path | Image],
    facebank: Store | Callable[[], Store],
    model: Model,
    *,
    box: Sequence[float] | None = None,
    choice: files.Choice = files.EVERYTHING,
    largest: bool = False,
    at_once: int = 1,
    progress: Progress = silent,
) -> Enrolment:
    """Add photos of one person, wherever they are; nothing is removed.

    Args:
        name: whose they are.
        photos: files, folders of files, or pictures (H, W, 3) RGB; one or several.
        facebank: as for `enroll`.
        model: as for `enroll`.
        box: x1, y1, x2, y2 of the face in pixels of the upright photo, of which there is one.  The
            face that is found there is taken; where none is found, what is in the box counts as a
            face that looks ahead, and the facebank has it with a confidence of 0.
        choice: which of a folder's photos to look at.
        largest: as for `enroll`.
        at_once: how many photos to process at a time, in threads.
        progress: is given the photos.

    Raises:
        BadInput: no photo that can be used, or the name or the box cannot be one.
        FacebankMismatch: the facebank's vectors are another model's.
        BadFacebank, CannotWrite: see `Facebank`; photos that were added until then stay.
        TypeError, ValueError: a picture is no (H, W, 3) array of uint8.
    """
    name = person_name(name)
    held: dict[str, Photo] = {}
    if not callable(facebank):
        facebank.require(model.model_id)
        held = {photo.sha256: photo for photo in facebank.photos()}
    given = [photos] if isinstance(photos, str | Path | np.ndarray) else list(photos)
    paths = [one for one in given if not isinstance(one, np.ndarray)]
    found = files.walk(paths, choice=choice, cut_outs=True) if paths else files.Found([], [])
    pictures = [one for one in given if isinstance(one, np.ndarray)]
    of = {Path(f"picture {number}"): one for number, one in enumerate(pictures, 1)}
    todo = [*found, *of]
    if box is not None and len(todo) != 1:
        raise BadInput(f"a box is of one photo, and there are {len(todo)}: name one")
    skipped = {one.path: one.reason for one in found.skipped}
    added = kept = others = 0

    def look(path: Path) -> _File:
        return _look(_given(path, of.get(path), name), model, largest, held, box)

    for file in _reading(map_in_order(look, progress(todo, "enrolling"), at_once), skipped):
        if (old := held.get(file.sha256)) and old.person != name:
            skipped[file.path] = _taken(old)
        elif old:
            kept += 1
        elif file.reason:
            skipped[file.path] = file.reason
        else:
            if callable(facebank):
                facebank = facebank()
            photo, vector = _photo(file, name)
            added += facebank.add([photo], vector)
            others += file.others > 0
            held[photo.sha256] = photo
    if callable(facebank) or not added + kept:
        raise BadInput(_nothing(f"of {name}", todo, skipped))
    odd = _odd(facebank, model, {name: added})
    people = len(facebank.people())
    return Enrolment(added, kept, 0, _listed(todo, skipped), people, others, odd)


def _given(path: Path, picture: Image | None, name: str) -> tuple[_File, bytes | Image]:
    """A photo that is not in a folder of people, and what it holds."""
    if picture is None:
        real = Path(os.path.realpath(path))
        file = _File(path, name, _text(real.parent), _text(Path(real.name)), "")
        return file, images.read_bytes(path)
    require_picture(picture)
    digest = hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()
    return _File(path, name, NOWHERE, f"{digest}.png", digest), picture


def _odd(facebank: Store, model: Model, added: Mapping[str, int]) -> tuple[Odd, ...]:
    """Whose photos are not all alike, of those to whom some were added."""
    impostors = model.own.impostors if model.own else None
    found = []
    for person in (name for name, count in added.items() if count and impostors):
        assert impostors is not None
        _, vectors = facebank.contents(person)
        shown = parts(vectors, impostors)
        unlikes = sum(len(unlike(vectors[part], impostors)) for part in shown)
        if len(shown) > 1 or unlikes:
            found.append(Odd(person, len(vectors), len(shown), unlikes))
    return tuple(found)


def rebuild(
    folder: str | Path,
    facebank: Store,
    model: Model,
    *,
    choice: files.Choice = files.EVERYTHING,
    file_names: bool = False,
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
    root, paths = _list(folder, choice, file_names)
    skipped = {one.path: one.reason for one in paths.skipped}
    for photo in known:
        if photo.folder == str(root) and (lost := _around(photo.path, skipped)):
            raise BadInput(skipped[lost])

    def look(path: Path) -> _File:
        return _look(_read(root, path, file_names), model, largest)

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
        raise BadInput(_nothing(f"in {folder}", everything, skipped))
    photos, vectors = zip(*fresh.values(), strict=True)
    facebank.replace(photos, np.concatenate(vectors), model_id=model.model_id)
    removed = len({photo.sha256 for photo in known} - fresh.keys())
    listed, people = _listed(everything, skipped), facebank.people()
    crowded = sum(file.others > 0 for file in found)
    odd = _odd(facebank, model, {person.name: person.photos for person in people})
    return Enrolment(len(fresh), 0, removed, listed, len(people), crowded, odd)


def _reading(
    coming: Iterable[tuple[Path, Callable[[], _File]]], skipped: dict[Path, str]
) -> Iterator[_File]:
    """The files that can be read; why others cannot goes to `skipped`."""
    for path, read in coming:
        try:
            yield read()
        except BadInput as error:
            skipped[path] = str(error)


def _read(root: Path, path: Path, file_names: bool = False) -> tuple[_File, bytes]:
    """A file of a folder of people, and its bytes."""
    file = path.relative_to(root)
    name = file.parts[0]
    if path.parent == root:
        if not file_names:
            raise BadInput("it is not in a person's folder: move it into one")
        name = _NUMBER.sub("", path.stem) or path.stem
    return _File(path, person_name(name), _text(root), _text(file), ""), images.read_bytes(path)


def _look(
    read: tuple[_File, bytes | Image],
    model: Model,
    largest: bool,
    held: Container[str] = (),
    box: Sequence[float] | None = None,
) -> _File:
    """The file with its hash and, unless that is held already, its face."""
    file, data = read
    if isinstance(data, bytes):
        file = replace(file, sha256=hashlib.sha256(data).hexdigest())
    if file.sha256 in held:
        return file
    try:
        image = images.decode(data) if isinstance(data, bytes) else data
        faces = model.detect(image)
        if box is not None:
            face: Face | None = _boxed(faces, box, image)
        elif not faces:
            reason = "no face was found in it: use a photo that shows the face from the front"
            return replace(file, reason=f"{reason}, or give its box")
        else:
            face = quality.largest(faces)[0] if largest else quality.main_face(faces)
    except BadInput as error:
        return replace(file, reason=str(error))
    if face is None:
        reason = f"{len(faces)} faces were found in it: crop it to one, or use --largest"
        return replace(file, reason=reason)
    others = 0 if largest or box is not None else len(faces) - 1
    return replace(file, face=face, vector=model.embed(image, [face]), others=others)


def _boxed(faces: Sequence[Face], box: Sequence[float], image: Image) -> Face:
    """The face in a box, or what is in it as a face that looks ahead."""
    height, width = image.shape[:2]
    edges = np.array(box, np.float32)
    if edges.shape != (4,) or not (
        0 <= edges[0] < edges[2] <= width and 0 <= edges[1] < edges[3] <= height
    ):
        raise BadInput(
            f"the box {list(box)} is not x1, y1, x2, y2 in a photo of {width} x {height} pixels"
        )
    if faces:
        iou = overlap(edges[None], np.stack([face.box for face in faces]))[0]
        if iou.max() >= _SAME:
            return faces[int(iou.argmax())]
    return Face(edges, align.points_in(edges), confidence=0)


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


def _list(folder: str | Path, choice: files.Choice, file_names: bool) -> tuple[Path, files.Found]:
    """The folder's real path, and the photos in it."""
    root = Path(os.path.realpath(folder))
    if not (os.access(root, os.R_OK) and root.is_dir()):
        raise BadInput(
            f"{folder} is not a readable folder: name one that holds a folder for each person"
        )
    paths = files.walk([root], choice=choice, required=False, cut_outs=True)
    if not (file_names and paths) and all(path.parent == root for path in paths):
        other = ", or say --as NAME if all show one person" if paths else ""
        raise BadInput(
            f"{folder} has no people: put photos into a folder for each, {folder}/NAME/{other}"
        )
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


def _nothing(which: str, paths: Iterable[Path], skipped: dict[Path, str]) -> str:
    path, reason = _listed(paths, skipped)[0]
    return f"none of {len(skipped)} photos {which} can be used; the first, {path}: {reason}"
