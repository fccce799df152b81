"""A damaged facebank: what in it is still right, whose photos are not, and a new one of the rest.

A photo is right where its checksum is, whatever became of the pages around it.  Pages are read
from both ends and then photo by photo as the indexes number them, so that a page that cannot be
read costs the photos that are in it and no others.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadFacebank, BadInput
from mien.facebank.facebank import Facebank
from mien.facebank.rows import COLUMNS, LOG_COLUMNS, MAX_DIM, Photo, are_unit, is_right, is_sound
from mien.facebank.sqlite import errors, in_words, put_in_place, unlock
from mien.types import Embeddings

_NAME_INDEX, _HASH_INDEX = "photo_person", "sqlite_autoindex_photo_1"


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it was written; of a photo, what is still known of it."""

    what: str
    person: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Remains:
    """What is still right in a facebank."""

    model_id: str | None  # None: it cannot be read
    photos: list[Photo]
    vectors: Embeddings  # (N, D)
    log_rows: int
    log: list[tuple[Any, ...]]
    damage: tuple[Damage, ...]


def check(path: str | Path, *, key: str | None = None) -> Remains:
    """What is intact and what is damaged in a facebank's file, which is left as it is.

    Args:
        path: the file.
        key: as of `Facebank.open`.

    Raises:
        BadFacebank: it is not one, or nothing at all can be read.
        CannotWrite: another process is using it.
    """
    trouble = _trouble(path, key)
    with in_words(str(path)), closing(unlock(str(path), key)[0]) as db:
        return _remains(db, trouble)


def repair(path: str | Path, *, key: str | None = None, model_id: str | None = None) -> Remains:
    """Put what is intact in a facebank into a new one in its place, in one step.

    The damaged file stays beside it, its name followed by .damaged, until something is deleted
    from the facebank.  Where nothing is damaged, nothing is done.

    Args:
        path: the file.
        key: as of `Facebank.open`.
        model_id: the model that made the vectors, where the file cannot tell.

    Raises:
        BadInput: the file cannot tell which model it was made with, and `model_id` does not.
        BadFacebank, CannotWrite: as `check`.
    """
    trouble = _trouble(path, key)
    path, new = Path(path), Path(f"{path}.new")
    with in_words(str(path)):
        db, used = unlock(str(path), key)
        with closing(db):
            with suppress(*errors("DatabaseError")):  # nobody writes meanwhile, if it goes so far
                db.execute("BEGIN EXCLUSIVE")
            remains = _remains(db, trouble)
            if not remains.damage:
                return remains
            made_by = remains.model_id or model_id
            if made_by is None or not remains.photos:
                raise BadInput(
                    f"{path} has lost the name of its model, or all photos: give --model-id (see"
                    " mien models), or restore a copy"
                )
            new.unlink(missing_ok=True)
            dim = remains.vectors.shape[1]
            with Facebank.create(new, model_id=made_by, dim=dim, key=used) as bank:
                bank.restore(remains.photos, remains.vectors, remains.log_rows, remains.log)
            kept = Path(f"{path}.damaged")
            kept.unlink(missing_ok=True)
            os.link(path, kept)
            put_in_place(new, path)
    return remains


def _trouble(path: str | Path, key: str | None) -> str:
    """Why a facebank cannot be used, "" if it can; an old format is brought up to date."""
    if not (os.access(path, os.R_OK) and Path(path).is_file()):
        raise BadFacebank(f"no readable facebank at {path}: make one with mien enroll FOLDER")
    try:
        with Facebank.open(path, key=key) as bank:
            bank.contents()
            bank.log()
    except BadFacebank as error:
        return str(error)
    return ""


def _remains(db: sqlite3.Connection, trouble: str) -> Remains:
    db.execute("PRAGMA writable_schema = ON")  # or a file that is too short cannot be read at all
    db.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    settings = next(_scan(db, "SELECT model_id, dim, log_rows, checksum FROM facebank"), None)
    if settings and not (is_right(settings) and 1 <= settings[1] <= MAX_DIM):
        settings = None
    found, names, hashes = _photos(db), _names(db), _hashes(db)
    sound = [row for _, row in sorted(found.items()) if is_sound(row)]
    dims = Counter(len(row[8]) // 4 for row in sound)
    dim = settings[1] if settings else max(1, dims.most_common(1)[0][0]) if dims else 1
    sound = [row for row in sound if len(row[8]) == 4 * dim and are_unit(_vector(row)[None])]
    damage = [] if settings else [Damage("which model the facebank is for")]
    totals = next(_scan(db, "SELECT photos, photos_checksum FROM facebank"), None)
    if totals != (len(sound), sum(row[-1] for row in sound)):
        well = {row[0] for row in sound}
        lost = sorted((found.keys() | names.keys() | hashes.keys()) - well)
        damage += [_of_photo(found.get(id), names.get(id), hashes.get(id)) for id in lost]
        written = totals[0] if totals and isinstance(totals[0], int) else 0
        if (unnamed := written - len(sound) - len(lost)) > 0:
            damage.append(Damage(f"{unnamed} photos of which nothing is left"))
        if not lost:
            damage.append(Damage("how many photos there are"))
    log = list(_scan(db, f"SELECT {LOG_COLUMNS}, checksum FROM log NOT INDEXED ORDER BY id"))
    entries = [row[:-1] for row in log if is_right(row)]
    if len(entries) < len(log):
        damage.append(Damage(f"{len(log) - len(entries)} entries of the log"))
    if not damage and (wrong := trouble or _structure(db)):
        damage.append(Damage(f"the file around the photos ({wrong})"))
    vectors = np.frombuffer(b"".join(row[8] for row in sound), "<f4").reshape(-1, dim)
    return Remains(
        settings[0] if settings else None,
        [Photo(*row[1:8]) for row in sound],
        vectors,
        settings[2] if settings else 0,
        entries,
        tuple(damage),
    )


def _photos(db: sqlite3.Connection) -> dict[int, tuple[Any, ...]]:
    """The row of every photo that can be read, right or not, by its id."""
    query = f"SELECT {COLUMNS}, checksum FROM photo NOT INDEXED"
    found: dict[int, tuple[Any, ...]] = {}
    for order in ("ASC", "DESC"):
        found |= {row[0]: row for row in _scan(db, f"{query} ORDER BY id {order}")}
    for id in (_names(db).keys() | _hashes(db).keys()) - found.keys():
        found |= {row[0]: row for row in _scan(db, f"{query} WHERE id = ?", id)}
    return found


def _names(db: sqlite3.Connection) -> dict[int, str]:
    return _indexed(db, "person", _NAME_INDEX)


def _hashes(db: sqlite3.Connection) -> dict[int, str]:
    return _indexed(db, "sha256", _HASH_INDEX)


def _indexed(db: sqlite3.Connection, column: str, index: str) -> dict[int, str]:
    """What an index, which is a copy of a column, has of each photo."""
    query = f"SELECT id, {column} FROM photo INDEXED BY {index} ORDER BY {column}"
    return {
        id: str(text) for order in ("ASC", "DESC") for id, text in _scan(db, f"{query} {order}")
    }


def _vector(row: tuple[Any, ...]) -> NDArray[np.float32]:
    return np.frombuffer(row[8], "<f4")


def _scan(db: sqlite3.Connection, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
    """The rows until one cannot be read."""
    busy = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    try:
        yield from db.execute(query, values)
    except errors("DatabaseError") as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in busy:
            raise


def _of_photo(row: tuple[Any, ...] | None, name: str | None, sha256: str | None) -> Damage:
    name = name or (str(row[1]) if row else None)
    sha256 = sha256 or (str(row[2]) if row else None)
    whose = f"of {name}" if name else "of somebody"
    where = f", {row[4]}" if row else ", of which only this is left"
    return Damage(f"photo {(sha256 or '')[:12]} {whose}{where}", name, sha256)


def _structure(db: sqlite3.Connection) -> str:
    """What SQLite finds wrong, its first line; "" for nothing."""
    (found,) = next(_scan(db, "PRAGMA integrity_check(1)"), ("it cannot be checked",))
    return "" if found == "ok" else " ".join(str(found).split())
