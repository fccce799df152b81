"""The index's file: opened, plain or encrypted, with SQLite's errors in words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mien import files
from mien.collection import tables
from mien.errors import BadInput, CannotWrite
from mien.facebank.sqlite import MEMORY, connect, convert, errors, is_plain


def open_index(path: Path, key: str) -> sqlite3.Connection:
    """The database in a file, which is made if there is none, for its owner alone.

    One that is not encrypted is, once there is a key.

    Raises:
        BadInput: it is something else, of a newer format, or encrypted with another key.
        CannotWrite: it cannot be written.
    """
    try:
        if str(path) != MEMORY:
            files.make_folder(path.parent, private=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise CannotWrite(
            f"{path} cannot be created ({error.strerror}): choose another --index"
        ) from error
    with in_words(path):
        if key and str(path) != MEMORY and is_plain(path) and path.stat().st_size:
            rekey(path, "", key)
        db = connect(str(path), key or None)
        try:
            _prepare(db, path)
        except BaseException:
            db.close()
            raise
    return db


def rekey(path: Path, key: str, new_key: str) -> None:
    """Encrypt the index, decrypt it, or change its key; "" is none."""
    if key == new_key:
        return
    db = connect(str(path), key or None)
    db.execute("PRAGMA journal_mode = DELETE")  # no log of the old file is left beside the new one
    db.close()
    convert(str(path), key or None, new_key or None)


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except errors("OperationalError") as error:
        raise CannotWrite(
            f"{path} cannot be used ({error}): wait for the process that uses it, free some space,"
            " or choose another --index"
        ) from error
    except errors("DatabaseError") as error:
        raise BadInput(
            f"{path} is not an index, is damaged, or needs the facebank's key ({error}): choose"
            " another --index, or delete it"
        ) from error


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA foreign_keys = ON")
    ours = pragma(db, "application_id") == tables.APPLICATION_ID
    if ours or pragma(db, "page_count") == 0:
        version = pragma(db, "user_version")
        if version < tables.FORMAT and (script := tables.upgrade(version)):
            db.executescript(script)
    if (pragma(db, "application_id"), pragma(db, "user_version")) != (
        tables.APPLICATION_ID,
        tables.FORMAT,
    ):
        raise BadInput(f"{path} is not an index for this version of mien: choose another --index")
    with suppress(*errors("OperationalError")):  # not on every file server
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")


def pragma(db: sqlite3.Connection, name: str) -> int:
    """A number that SQLite keeps of a database."""
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
