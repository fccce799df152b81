"""Photos into the index: each is looked at once, wherever it lies later.

A photo is known by its path while its size and time stay, and else by the hash of its bytes.  What
is in the index lasts until a photo is known to be deleted.  What is only away, as on a disk that is
not plugged in, is kept, and so is what cannot be read at the moment; of a photo that was never read
nothing is kept, so the next run tries again.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2

from mien import files, images
from mien.collection.photo_index import Noted, PhotoIndex
from mien.collection.rows import (
    PATH,
    IndexedFace,
    IndexedPhoto,
    NoPhoto,
    State,
    Way,
    face_key,
)
from mien.errors import BadInput, CannotWrite
from mien.parallel import map_in_order
from mien.recognition import align
from mien.recognition.model import Model
from mien.recognition.quality import sharpness, worth
from mien.types import Crops, Face, Progress, Skipped, silent

_LOG = logging.getLogger(__name__)
THUMB = 96  # pixels of a thumb's side
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 80)


@dataclass(frozen=True, slots=True)
class Update:
    """What became of the photos of a folder."""

    added: int  # looked at: new, or changed since
    kept: int  # known already, wherever they were
    removed: int  # deleted
    skipped: tuple[Skipped, ...]  # photos that cannot be read and folders that are away, and why


class _File(NamedTuple):
    path: Path
    place: Path  # where the index has it
    status: os.stat_result | None = None
    state: State | None = None  # None as well where it has changed


class _Finding(NamedTuple):
    path: Path
    what: IndexedPhoto | NoPhoto | Skipped  # the last of what cannot be read now
    noted: Noted | None = None  # what the index lacks of it


def look(
    paths: str | Path | Iterable[str | Path],
    model: Model,
    index: PhotoIndex | None = None,
    *,
    mirror: bool = False,
    at_once: int = 1,
) -> Iterator[IndexedPhoto | Skipped]:
    """Yield the faces in each photo, in order; what the index knows is not looked at again.

    Args:
        paths: photo files, taken as they are asked for.
        model: finds and embeds the faces.
        index: what is found is kept there, where that can be written; None: it is not kept.
        mirror: see `Model.look`.
        at_once: how many photos to process at a time, in threads.
    """
    places = cache(lambda folder: Path(os.path.realpath(folder)))

    def files_of(way: Way) -> Iterator[_File]:
        for path in map(Path, files.several(paths)):
            if index is None or not files.is_text(path):
                yield _File(path, path)
                continue
            place, status = places(path.parent) / path.name, _status(path)
            state = index.state(path.absolute(), way) or index.state(place, way)
            yield _File(path, place, status, _unchanged(state, status))

    def noting(note: Callable[[], None]) -> None:
        nonlocal index
        try:
            note()
        except CannotWrite as error:
            _LOG.warning("what is found is not kept: %s", error)
            index = None

    noted = False
    for one in _findings(files_of, model, index, mirror, at_once):
        if index and one.noted and files.is_text(one.path):
            noting(partial(index.note, *one.noted))
            noted = True
        yield one.what.skipped if isinstance(one.what, NoPhoto) else one.what
    if index and noted:
        noting(index.commit)
        noting(partial(index.drop, ()))  # what changed photos have held before


def update(
    folder: str | Path,
    model: Model,
    index: PhotoIndex,
    *,
    choice: files.Choice = files.EVERYTHING,
    at_once: int = 1,
    progress: Progress = silent,
) -> Update:
    """Look at what is new or changed in a folder, and drop what was deleted from it.

    A photo has changed if its size or its time has.  It is deleted if it is gone from a folder that
    holds others, or with a folder that was on the disk of the one above.  The photos of a folder
    that is empty, cannot be listed, or is a link to nothing are kept until `PhotoIndex.forget`.
    Whatever ends this loses what was found in the last second.

    Args:
        folder: holds photos, at any depth.
        model: finds and embeds the faces.
        index: what is found is kept there.
        choice: which of them to look at; of the others, what is known stays.
        at_once: how many photos to process at a time, in threads.
        progress: is given the photos to look at.

    Raises:
        BadInput: no such folder, or no photo in it, as where a disk is not plugged in: nothing is
            forgotten then.
    """
    root = real_folder(folder)
    states = index.states(Way.of(model), root)
    walked = files.walk([root], choice=choice, known=states)
    found = {path: _status(path) for path in walked}
    files_ = [
        _File(path, path, status, _unchanged(states.get(path), status))
        for path, status in found.items()
    ]
    new = [one for one in files_ if not (one.state and one.state.usable)]
    skipped = [
        Skipped(one.path, "its name is not UTF-8: rename it")
        for one in new
        if not files.is_text(one.path)
    ]
    todo = progress([one for one in new if files.is_text(one.path)], "looking")
    added, same = 0, list[str]()  # hashes of what was known by them
    try:
        for one in _findings(lambda _: todo, model, index, False, at_once):
            if isinstance(one.what, Skipped):
                skipped.append(one.what)
                continue
            assert one.noted
            index.note(*one.noted)
            if isinstance(one.noted[2], str):
                same.append(one.what.sha256)
            else:
                added += 1
    finally:
        index.commit()
    missing = {
        path: state.device
        for path, state in states.items()
        if path not in found and choice.takes(path.relative_to(root))
    }
    gone, away = _gone_or_away(missing)
    unseen = {path for path, _ in walked.skipped}
    gone -= {path for path in gone if not unseen.isdisjoint(path.parents)}
    elsewhere = index.elsewhere(same, root)
    moved, _ = _gone_or_away({path: d for path, d in elsewhere.items() if not _status(path)})
    devices = {
        path: status.st_dev
        for path, status in found.items()
        if status and path in states and states[path].device != status.st_dev
    }
    index.drop(gone | moved, devices)
    unread = {path for path, _ in skipped}
    skipped += [one for one in index.bad(root) if one.path in found and one.path not in unread]
    places = {place for place, _ in away}
    skipped += [one for one in walked.skipped if one.path not in places]
    skipped += [
        Skipped(place, f"{place} {why}: {_kept(count)} until mien album --forget {place}")
        for (place, why), count in away.items()
    ]
    return Update(
        added,
        len(found) - len(new) + len(same),
        len([path for path in gone if states[path].sha256 not in same]),
        tuple(
            Skipped(given := as_given(path, root, folder), reason.replace(str(path), str(given)))
            for path, reason in skipped
        ),
    )


def real_folder(folder: str | Path) -> Path:
    """Where a folder is, as the index has it.

    Raises:
        BadInput: there is none.
    """
    if not Path(folder).is_dir():
        raise BadInput(f"{folder} is not a folder: name one that holds photos")
    return Path(os.path.realpath(folder))


def as_given(path: Path, root: Path, folder: str | Path) -> Path:
    """A photo's path as whoever asks about a folder would write it."""
    return Path(folder, path.relative_to(root))


def _findings(
    files_of: Callable[[Way], Iterable[_File]],
    model: Model,
    index: PhotoIndex | None,
    mirror: bool,
    at_once: int,
) -> Iterator[_Finding]:
    """What is in files; those that the index does not have are looked at."""
    way = Way.of(model, mirror=mirror)
    known = cache(lambda: index.known(way) if index else set[str]())

    def ready() -> Iterator[tuple[_File, list[Face] | None]]:
        """Files, and faces that are known and lack a vector of this model."""
        for file in files_of(way):
            faces = None
            if index and not (file.state and file.state.usable):
                known()  # in this thread
                faces = index.faces(file.state.sha256, way) if file.state else None
            yield file, faces

    def read(one: tuple[_File, list[Face] | None]) -> IndexedPhoto | NoPhoto | str:
        file, faces = one
        if file.state and file.state.usable:
            return file.state.sha256
        data = images.read_bytes(file.path)
        sha256 = hashlib.sha256(data).hexdigest()
        return sha256 if sha256 in known() else _look(file.path, data, sha256, model, mirror, faces)

    def in_index(file: _File, sha256: str) -> IndexedPhoto | NoPhoto:
        if index and (found := index.find(file.path, sha256, way)):
            return found
        data = images.read_bytes(file.path)  # another process has dropped it
        return _look(file.path, data, hashlib.sha256(data).hexdigest(), model, mirror, None)

    for (file, _), reading in map_in_order(read, ready(), at_once):
        try:
            found = reading()
            if index and isinstance(found, IndexedPhoto):
                found = index.as_corrected(found)
            what = in_index(file, found) if isinstance(found, str) else found
        except BadInput as error:  # may pass: nothing is noted
            yield _Finding(file.path, Skipped(file.path, str(error)))
            continue
        known_there = file.state is not None and file.state.usable
        noted = None if known_there else (file.place, file.status, found, way)
        yield _Finding(file.path, what, noted)


def _look(
    path: Path,
    data: bytes,
    sha256: str,
    model: Model,
    mirror: bool,
    faces: list[Face] | None,
) -> IndexedPhoto | NoPhoto:
    """What is in a photo; its faces may be known."""
    try:
        image = images.decode(data, PATH)
        turned = images.orientation(data)
        faces = model.detect(image) if faces is None else faces
    except BadInput as error:
        return NoPhoto(path, sha256, str(error))
    crops = align.crops(image, faces)
    found = tuple(
        IndexedFace(face_key(sha256, face.box), face, sharp, worth(face, sharp), thumb)
        for face, sharp, thumb in zip(faces, sharpness(crops).tolist(), _thumbs(crops), strict=True)
    )
    height, width, _ = image.shape
    vectors = model.embed_crops(crops, mirror=mirror)
    return IndexedPhoto(path, sha256, width, height, turned, found, vectors)


def _thumbs(crops: Crops) -> Iterator[bytes]:
    for crop in crops:
        small = cv2.resize(crop, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
        yield cv2.imencode(".jpg", small[:, :, ::-1], _QUALITY)[1].tobytes()


def _unchanged(state: State | None, status: os.stat_result | None) -> State | None:
    return state if state and state.is_of(status) else None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _kept(count: int) -> str:
    return (
        f"{count} photos that were there are kept"
        if count > 1
        else ("1 photo that was there is kept")
    )


def _gone_or_away(
    missing: Mapping[Path, int | None],
) -> tuple[set[Path], Counter[tuple[Path, str]]]:
    """Which photos that were not found are deleted, and how many each place keeps.

    Args:
        missing: the photos, each with the disk that it was on.
    """
    gone, away = set(), Counter[tuple[Path, str]]()
    why = cache(files.away)
    for path, device in missing.items():
        if place := why(path.parent, device):
            away[place] += 1
        else:
            gone.add(path)
    return gone, away
