"""SQLite as the facebank uses it: plain or encrypted, defensive, with errors as MienErrors.

Encryption is SQLCipher's, page by page below SQLite: every page, also of the journal, is encrypted
and authenticated, and transactions work as ever.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

from mien.errors import BadFacebank, CannotWrite, needs_extra
from mien.facebank import encryption_key as keys
from mien.facebank.index import cache
from mien.facebank.rows import photo_checksum, row_checksum

BUSY_S = 10.0  # how long to wait for another process that is writing
MEMORY = ":memory:"  # the path of a facebank that is never stored

# What may lie beside a facebank and hold copies of what is in it: another file's name is the
# facebank's and one of these.  Deleting from a facebank deletes them.
BESIDE = (*cache.SUFFIXES, ".new", ".damaged")

_SETTINGS = (
    "secure_delete = ON",
    "synchronous = EXTRA",  # on the disk when a method returns, even if the power fails then
    "trusted_schema = OFF",  # the file may come from a stranger
    "cell_size_check = ON",
)
_ADVICE = {  # by SQLite's error, where the file itself is well
    sqlite3.SQLITE_BUSY: "wait for the other process that uses it",
    sqlite3.SQLITE_LOCKED: "wait for the other process that uses it",
    sqlite3.SQLITE_CANTOPEN: "make it and its folder writable",  # its journal
    sqlite3.SQLITE_READONLY: "make it and its folder writable",
    sqlite3.SQLITE_FULL: "free some space",
    sqlite3.SQLITE_IOERR: "free some space, or check the disk",
}


def connect(path: str, key: str | None, *, library: ModuleType = sqlite3) -> sqlite3.Connection:
    """A connection to a file that exists, each of whose statements is a transaction by itself.

    Args:
        path: the file, or `MEMORY`.
        key: what it is encrypted with, None where it is not.
        library: which SQLite; `cipher()` where there is a key.

    Raises:
        MissingExtra: there is a key and no SQLCipher.
    """
    uri = path if path == MEMORY else Path(path).absolute().as_uri() + "?mode=rw"
    library = cipher() if key else library
    with ExitStack() as undo:
        db: sqlite3.Connection = library.connect(
            uri, uri=True, timeout=BUSY_S, isolation_level=None
        )
        undo.callback(db.close)
        if key:
            db.execute("PRAGMA cipher_log_level = NONE")  # it would go to stderr
            db.execute(f"PRAGMA key = {quoted(key)}")
        for setting in _SETTINGS:
            db.execute(f"PRAGMA {setting}")
        undo.pop_all()
    return db


def unlock(path: str, key: str | None) -> tuple[sqlite3.Connection, str]:
    """A connection that can read a file, and the key that it took, "" for none.

    Args:
        path: the file; what it holds need not be a facebank.
        key: as of `Facebank.open`.

    Raises:
        BadFacebank: it takes another key, or is no database.
    """
    if key is None:
        key = "" if path == MEMORY else keys.given() or ""
        seek = not key
    else:
        seek = False
    try:
        with ExitStack() as undo:
            db = connect(path, key or None)
            undo.callback(db.close)
            db.execute("PRAGMA application_id")  # which reads the file
            undo.pop_all()
    except errors("DatabaseError") as error:
        if error_code(error) != sqlite3.SQLITE_NOTADB:
            raise
        if seek and (found := keys.from_keyring(path)):
            return unlock(path, found)
        raise _locked(path, key) from error
    db.create_function("photo_checksum", 9, photo_checksum, deterministic=True)
    db.create_function("row_checksum", -1, row_checksum, deterministic=True)
    return db, key


def is_plain(path: str | Path) -> bool:
    """Whether a file that is there begins as a database does that is not encrypted."""
    with Path(path).open("rb") as file:
        return file.read(16) in (b"SQLite format 3\0", b"")


def _locked(path: str, key: str) -> BadFacebank:
    if not key:
        return bad(
            path, f"file is not a database; or it is encrypted and needs its key in {keys.VARIABLE}"
        )
    if is_plain(path):
        return BadFacebank(
            f"{path} is not encrypted, but a key is set: run mien people encrypt, or unset"
            f" {keys.VARIABLE} and {keys.FILE_VARIABLE}"
        )
    return BadFacebank(
        f"{path} cannot be read with this key: give the one that it was encrypted with"
    )


def cipher() -> ModuleType:
    """SQLCipher as a module like sqlite3.

    Raises:
        MissingExtra: it is not installed.
    """
    with needs_extra("encryption", "encryption"):
        from sqlcipher3 import dbapi2
    module: ModuleType = dbapi2
    return module


def quoted(text: str) -> str:
    """A text as SQL writes it, for the places where it takes no parameter."""
    return "'" + text.replace("'", "''") + "'"


def convert(path: str, key: str | None, new_key: str | None) -> None:
    """Encrypt a file, decrypt it, or change its key; on failure nothing changes.

    The new file is made beside the old one and takes its place when it is on the disk, so a kill
    leaves either.  Nobody can write meanwhile; who has the old one open has to open it again.

    Raises:
        CannotWrite: there is no room, or another process is using the file.
        MissingExtra: there is no SQLCipher.
    """
    new = Path(path + ".new")
    with ExitStack() as finally_, in_words(path):
        new.unlink(missing_ok=True)
        new.touch(0o600)
        finally_.callback(new.unlink, missing_ok=True)
        db = connect(path, key, library=cipher())
        finally_.callback(db.close)
        db.execute("ATTACH ? AS new KEY ?", (str(new), new_key or ""))
        db.execute("PRAGMA new.journal_mode = OFF")
        db.execute("PRAGMA main.locking_mode = EXCLUSIVE")  # until it is closed
        db.execute("BEGIN EXCLUSIVE")
        db.execute("SELECT sqlcipher_export('new')").fetchall()
        for number in ("application_id", "user_version"):  # which are not exported
            (value,) = db.execute(f"PRAGMA main.{number}").fetchone()
            db.execute(f"PRAGMA new.{number} = {value}")
        db.execute("COMMIT")
        db.execute("DETACH new")
        put_in_place(new, Path(path))


def put_in_place(new: Path, path: Path) -> None:
    """Replace one file by another, durably when this returns."""
    with new.open("r+b") as file:  # Windows syncs only what may be written
        os.fsync(file.fileno())
    new.chmod(path.stat().st_mode & 0o777)
    new.replace(path)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def bad(path: str, why: str) -> BadFacebank:
    """The error that says why a file is not a facebank."""
    return BadFacebank(
        f"{path} is not a facebank or is damaged ({why}): see mien people check, restore a copy,"
        " or move it away and run mien enroll FOLDER"
    )


@contextmanager
def in_words(path: str, failed: str = "cannot be used now") -> Iterator[None]:
    """SQLite's errors, and the system's, as ours."""
    try:
        yield
    except errors("ProgrammingError") as error:  # the caller's mistake
        if "thread" in str(error):
            raise ValueError(
                f"{path} was opened in another thread: open it again in each that uses it"
            ) from error
        if "closed" in str(error):
            raise ValueError(f"{path} is closed: open it again") from error
        raise
    except errors("DatabaseError", UnicodeDecodeError) as error:  # the latter on damaged text
        code = error_code(error)
        if code in _ADVICE:
            raise CannotWrite(f"{path} {failed} ({error}): {_ADVICE[code]}") from error
        raise bad(path, str(error).partition("\n")[0]) from error
    except OSError as error:
        raise CannotWrite(
            f"{path} {failed} ({error.strerror}): free some space, or make its folder writable"
        ) from error


def errors(name: str, *more: type[Exception]) -> tuple[type[Exception], ...]:
    """An error's class of each SQLite that is loaded, and more classes."""
    libraries = (sqlite3, sys.modules.get("sqlcipher3.dbapi2"))
    return (*(getattr(library, name) for library in libraries if library), *more)


def error_code(error: BaseException) -> int:
    """SQLite's number for what went wrong, without the details."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
