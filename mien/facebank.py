"""The people that are known: a vector for each of their photos, and whom a face looks like.

One SQLite file, described to the byte in docs/facebank.md.  What stands for a person is the mean
of their vectors, computed when the file is read and never stored, so it cannot go stale.  The
journal is SQLite's oldest, not its write-ahead log: the facebank stays one file, can be read in a
read-only folder, and keeps no copy of what was deleted.
"""

from __future__ import annotations

import os
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np

from mien.errors import BadFacebank, BadInput, CannotWrite, FacebankMismatch, UnknownPerson
from mien.index import cache
from mien.index.exact import ExactIndex
from mien.index.int8 import Codes, Int8Index, encode
from mien.types import Embeddings, Index, Match

APPLICATION_ID = int.from_bytes(b"mien")  # in the file's header: this database is a facebank
MEMORY = ":memory:"  # the path of a facebank that is never stored
LARGE = 50_000  # templates from which they are cached beside the file, and searched as int8
BUSY_S = 10.0  # how long to wait for another process that is writing

# A file's format is how many of these have run on it (PRAGMA user_version).  What has shipped
# never changes: a new format appends.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE facebank (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            model_id TEXT NOT NULL,
            dim INTEGER NOT NULL
        ) STRICT""",
        """CREATE TABLE photo (
            id INTEGER PRIMARY KEY,
            person TEXT NOT NULL,
            sha256 TEXT NOT NULL UNIQUE,
            folder TEXT NOT NULL,
            file TEXT NOT NULL,
            confidence REAL NOT NULL,
            size REAL NOT NULL,
            added TEXT NOT NULL,
            vector BLOB NOT NULL
        ) STRICT""",
        "CREATE INDEX photo_person ON photo (person)",
    ),
)

_SETTINGS = (
    "secure_delete = ON",
    "synchronous = EXTRA",  # on the disk when a method returns, even if the power fails then
    "trusted_schema = OFF",  # the file may come from a stranger
    "cell_size_check = ON",
)
_PHOTO = "person, sha256, folder, file, confidence, size, added"  # as in the class
_INSERT = (
    f"INSERT INTO photo ({_PHOTO}, vector) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (sha256) DO NOTHING"
)
_ADVICE = {  # by SQLite's error, where the file itself is well
    sqlite3.SQLITE_BUSY: "wait for the other process that uses it",
    sqlite3.SQLITE_LOCKED: "wait for the other process that uses it",
    sqlite3.SQLITE_CANTOPEN: "make it and its folder writable",  # its journal
    sqlite3.SQLITE_READONLY: "make it and its folder writable",
    sqlite3.SQLITE_FULL: "free some space",
    sqlite3.SQLITE_IOERR: "free some space, or check the disk",
}
_NOT_IN_NAMES = ("Cc", "Cs", "Zl", "Zp")  # control, not UTF-8, line and paragraph separators
_ROUND_OFF = 1e-3  # how far from 1 the length of a unit vector may be


@dataclass(frozen=True, slots=True)
class Person:
    """Someone in the facebank."""

    name: str
    photos: int  # how many


@dataclass(frozen=True, slots=True)
class Photo:
    """An enrolled photo: whose it is, where it was, how its face was found; never its pixels."""

    person: str
    sha256: str  # of the file, in hex; no photo is in a facebank twice
    folder: str  # absolute, the one that was enrolled
    file: str  # relative to it, with /
    confidence: float  # the detector's, in [0, 1]
    size: float  # the longer side of the face, in pixels
    added: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")

    @property
    def path(self) -> Path:
        """Where the photo was."""
        return Path(self.folder, self.file)


class Facebank:
    """People and their photos in one file, made by `open` or `create`; a context manager.

    Any method raises BadFacebank where the file is damaged, and FacebankMismatch where another
    process has rebuilt it with another model.  Each change is one transaction that is on the disk
    when its method returns.  Where it cannot be, because the disk is full or read-only or another
    process writes for longer than `BUSY_S`, CannotWrite is raised and the facebank is as before.
    """

    def __init__(self, path: str | Path, model_id: str | None, dim: int | None) -> None:
        self.path = str(path)
        self._loaded: tuple[tuple[int, int], list[str], Index] | None = None
        uri = self.path if self.path == MEMORY else Path(path).absolute().as_uri() + "?mode=rw"
        with ExitStack() as undo, _in_words(self.path):
            self._db = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
            undo.callback(self._db.close)
            for setting in _SETTINGS:
                self._db.execute(f"PRAGMA {setting}")
            if dim is not None and self._pragma("page_count") == 0:
                with self._transaction() as db:
                    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    _upgrade(db)
                    db.execute("INSERT OR IGNORE INTO facebank VALUES (1, ?, ?)", (model_id, dim))
            self._check_format()
            self.model_id, self.dim = self._made_for()
            if model_id is not None:
                self.require(model_id)
            undo.pop_all()

    @classmethod
    def open(cls, path: str | Path, *, model_id: str | None = None) -> Self:
        """The facebank in a file that exists.

        Args:
            path: the file.
            model_id: the model whose vectors will be added or searched for, if any will be.

        Raises:
            BadFacebank: there is none, it is something else, damaged, or of a newer format.
            FacebankMismatch: its vectors were made by another model.
        """
        if not (os.access(path, os.R_OK) and Path(path).is_file()):
            raise BadFacebank(f"no readable facebank at {path}: make one with mien enroll FOLDER")
        return cls(path, model_id, None)

    @classmethod
    def create(cls, path: str | Path, *, model_id: str, dim: int) -> Self:
        """The facebank in a file, made if there is none, for its owner alone to read.

        Args:
            path: the file, whose folders are made too; or ":memory:", which is never stored.
            model_id: the model that makes its vectors.
            dim: numbers in a vector.

        Raises:
            BadFacebank, FacebankMismatch: as `open`, if the file exists.
            CannotWrite: the disk is full or read-only, or writing there is forbidden.
        """
        if str(path) != MEMORY:
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    Path(path).touch(0o600, exist_ok=False)
            except OSError as error:
                raise CannotWrite(
                    f"{path} cannot be made ({error.strerror}): choose another place"
                ) from error
        return cls(path, model_id, dim)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def require(self, model_id: str) -> None:
        """Raise FacebankMismatch unless the vectors were made by this model."""
        made_by, _ = self._made_for()
        if made_by != model_id:
            raise FacebankMismatch(
                f"{self.path} was made with the model {made_by}, whose vectors do not compare with"
                f" those of {model_id}: use that model, or run mien enroll FOLDER --rebuild"
            )

    def people(self) -> list[Person]:
        """Everyone, by name."""
        rows = self._read("SELECT person, count(*) FROM photo GROUP BY person ORDER BY person")
        return [Person(*row) for row in rows]

    def photos(self, person: str | None = None) -> list[Photo]:
        """The photos of a person, or of everyone, in the order in which they were added.

        Raises:
            UnknownPerson: nobody has that name.
        """
        rows = self._read(
            f"SELECT {_PHOTO} FROM photo WHERE ?1 IS NULL OR person = ?1 ORDER BY id",
            person if person is None else person_name(person),
        )
        if person is not None and not rows:
            raise UnknownPerson(f"nobody in {self.path} is called {person}: see mien people")
        return [Photo(*row) for row in rows]

    def batches(self) -> Iterator[tuple[list[Photo], Embeddings]]:
        """Photos and their vectors, (N, D), in the order in which they were added."""
        last = 0
        while rows := self._read(
            f"SELECT id, vector, {_PHOTO} FROM photo WHERE id > ? ORDER BY id LIMIT 1000", last
        ):
            last = rows[-1][0]
            data = b"".join(row[1] for row in rows)
            if len(data) != len(rows) * self.dim * 4:
                raise _bad(self.path, "a vector has a wrong length")
            yield (
                [Photo(*row[2:]) for row in rows],
                np.frombuffer(data, "<f4").reshape(-1, self.dim),
            )

    def templates(self) -> tuple[list[str], Embeddings]:
        """Everyone's name, and the mean of their vectors brought back to unit length, (P, D)."""
        rows = self._read("SELECT person, CAST(ifnull(vector, '') AS BLOB) FROM photo ORDER BY id")
        data = b"".join(vector for _, vector in rows)
        if len(data) != len(rows) * self.dim * 4:
            raise _bad(self.path, "a vector has a wrong length")
        vectors = np.frombuffer(data, "<f4").reshape(-1, self.dim)
        if not _are_unit(vectors):
            raise _bad(self.path, "a vector is not of unit length")
        names = sorted({name for name, _ in rows})
        number = {name: i for i, name in enumerate(names)}
        owners = np.array([number[name] for name, _ in rows], np.intp)
        order = np.argsort(owners, kind="stable")
        first = np.searchsorted(owners[order], np.arange(len(names)))
        sums = np.add.reduceat(vectors[order], first, axis=0)  # (P, D)
        sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        return names, sums

    def search(self, vectors: Embeddings, threshold: float) -> list[Match]:
        """Whom each face looks like most.

        Args:
            vectors: (M, D) of unit length, made by the facebank's model.
            threshold: the lowest cosine that earns a name.

        Returns:
            M matches; while the facebank is empty, each with nobody at a score of -1.
        """
        names, index = self._index()
        if not names:
            return [Match(None, -1.0)] * len(vectors)
        scores, rows = index.search(vectors, 1)
        best = zip(scores[:, 0].clip(-1, 1).tolist(), rows[:, 0], strict=True)  # clip round-off
        return [Match(names[row] if score >= threshold else None, score) for score, row in best]

    def add(self, photos: Sequence[Photo], vectors: Embeddings) -> int:
        """Add photos; one that is there already stays as it is, whoever has it.

        Args:
            photos: N of them.
            vectors: (N, D) of unit length, made by the facebank's model.

        Returns:
            How many were not there yet.

        Raises:
            BadInput: a name cannot be one; see `person_name`.
        """
        rows = _rows(photos, vectors, self.dim)
        with self._writing() as db:
            return db.executemany(_INSERT, rows).rowcount

    def replace(self, photos: Sequence[Photo], vectors: Embeddings, *, model_id: str) -> None:
        """Put photos with another model's vectors in the place of all that there is; see `add`."""
        dim = vectors.shape[1]
        rows = _rows(photos, vectors, dim)
        with self._writing() as db:
            db.execute("DELETE FROM photo")
            db.execute("UPDATE facebank SET model_id = ?, dim = ?", (model_id, dim))
            db.executemany(_INSERT, rows)
        self.model_id, self.dim = model_id, dim
        self._erase()

    def move(self, photos: Sequence[Photo]) -> None:
        """Give photos that are there the person, folder and file that these say."""
        rows = [(person_name(new.person), new.folder, new.file, new.sha256) for new in photos]
        with self._writing() as db:
            db.executemany(
                "UPDATE photo SET person = ?, folder = ?, file = ? WHERE sha256 = ?", rows
            )

    def rename(self, old: str, new: str, *, merge: bool = False) -> None:
        """Give a person another name.

        Args:
            old: what they are called.
            new: what they will be called.
            merge: whether to make one person of both if somebody is called that.

        Raises:
            UnknownPerson: nobody has the old name.
            BadInput: the new name is somebody else's, or cannot be one; see `person_name`.
        """
        old, new = person_name(old), person_name(new)
        with self._writing() as db:
            self.photos(old)
            if not merge and old != new and new in [person.name for person in self.people()]:
                raise BadInput(f"{new} is in the facebank already: choose another name, or --merge")
            db.execute("UPDATE photo SET person = ? WHERE person = ?", (new, old))

    def delete_person(self, name: str) -> int:
        """Remove a person, leaving no trace in the file; how many photos they had.

        Raises:
            UnknownPerson: nobody has that name.
        """
        return self.delete_photos(photo.sha256 for photo in self.photos(name))

    def delete_photos(self, sha256s: Iterable[str]) -> int:
        """Remove photos, leaving no trace in the file; how many were there.

        Who has none left is nobody that the facebank knows.
        """
        with self._writing() as db:
            rows = [(sha256,) for sha256 in sha256s]
            deleted = db.executemany("DELETE FROM photo WHERE sha256 = ?", rows).rowcount
        if deleted:
            self._erase()
        return deleted

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with _in_words(self.path):
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _in_words(self.path), self._db:  # commits, or rolls back on an exception
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._transaction() as db:
            self.require(self.model_id)
            self._forget()  # before the commit: no kill leaves a cache of what is gone
            yield db

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Nobody changes the file meanwhile."""
        with _in_words(self.path):
            self._db.execute("BEGIN")
            try:
                self._made_for()  # only reading takes the lock
                yield
            finally:
                self._db.execute("ROLLBACK")

    def _erase(self) -> None:
        # secure_delete clears what is deleted, but not the copies that splitting a page leaves in
        # the unused part of the old one.
        failed = "has lost the photos, but traces of them stay in it until the next deletion"
        self._forget()  # another process may have cached what was there before the commit
        with _in_words(self.path, failed):
            self._db.execute("VACUUM")

    def _index(self) -> tuple[list[str], Index]:
        """Everyone's name and template, read again only when the file has changed."""
        version = self._pragma("data_version"), self._db.total_changes  # by others, by us
        if self._loaded is None or self._loaded[0] != version:
            self.require(self.model_id)
            self._loaded = version, *self._load()
        return self._loaded[1:]

    def _load(self) -> tuple[list[str], Index]:
        with self._reading():
            stamp = self._stamp()
            kept = cache.load(self.path, stamp) if stamp else None
            if kept is not None:
                names = kept["names"].tobytes().decode().split("\n")
                return names, Int8Index(kept["rows"], Codes(kept["values"], kept["bounds"]))
            names, templates = self.templates()
        if len(names) < LARGE:
            return names, ExactIndex(templates)
        codes = encode(templates)
        lines = "\n".join(names).encode()
        if stamp and os.access(self.path, os.W_OK) and lines.count(b"\n") < len(names):
            arrays: cache.Arrays = {
                "names": np.frombuffer(lines, np.uint8),
                "rows": templates,
                "values": codes.values,
                "bounds": codes.bounds,
            }
            cache.save(self.path, stamp, arrays, still=lambda: self._stamp() == stamp)
        return names, Int8Index(templates, codes)

    def _stamp(self) -> dict[str, Any]:
        """What tells this content of the file from any other; empty where it is not in one."""
        try:
            found = Path(self.path).stat()
        except OSError:  # it is in memory, or has been removed
            return {}
        times = found.st_mtime_ns, found.st_ctime_ns
        return {"file": [found.st_ino, found.st_size, *times], "model_id": self.model_id}

    def _forget(self) -> None:
        """Remove the cache, which holds what is about to be deleted or is deleted now."""
        if self.path != MEMORY:
            try:
                cache.forget(self.path)
            except OSError as error:
                raise CannotWrite(
                    f"the cache beside {self.path} cannot be removed ({error.strerror}): make its"
                    " folder writable"
                ) from error

    def _made_for(self) -> tuple[str, int]:
        rows = self._read("SELECT model_id, dim FROM facebank WHERE dim BETWEEN 1 AND 65536")
        if not rows:
            raise _bad(self.path, "it does not say which model it is for")
        return rows[0][0], rows[0][1]

    def _check_format(self) -> None:
        if self._pragma("application_id") != APPLICATION_ID:
            raise _bad(self.path, "its header does not say that it is one")
        if self.path != MEMORY and Path(self.path).stat().st_size % self._pragma("page_size"):
            raise _bad(self.path, "its end is missing")
        version = self._pragma("user_version")
        if version > len(MIGRATIONS):
            raise BadFacebank(
                f"{self.path} has format {version}, and this mien reads up to {len(MIGRATIONS)}:"
                " upgrade mien"
            )
        if version < len(MIGRATIONS):
            with self._transaction() as db:
                _upgrade(db)

    def _pragma(self, name: str) -> int:
        return int(self._read(f"PRAGMA {name}")[0][0])


def person_name(text: str) -> str:
    """A text as a name: composed Unicode (NFC), no space around it.

    A name can always be a folder's, and is never taken for the answer that a face is nobody's.

    Raises:
        BadInput: it is empty, "unknown", "." or "..", or holds a slash, a backslash, a control
            character, a line break or bytes that are not UTF-8.
    """
    name = unicodedata.normalize("NFC", text).strip()
    strange = any(c in "/\\" or unicodedata.category(c) in _NOT_IN_NAMES for c in name)
    if strange or name.casefold() in ("", ".", "..", "unknown"):
        raise BadInput(f"{text!r} cannot be a person's name: choose another, without / and \\")
    return name


def _upgrade(db: sqlite3.Connection) -> None:
    """Bring a facebank to the newest format, within the caller's transaction."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for statement in chain.from_iterable(MIGRATIONS[version:]):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _rows(photos: Sequence[Photo], vectors: Embeddings, dim: int) -> list[tuple[object, ...]]:
    """What `_INSERT` takes."""
    if vectors.shape != (len(photos), dim) or not _are_unit(vectors):
        wanted = f"({len(photos)}, {dim})"
        raise ValueError(f"vectors must be {wanted} of unit length, not {vectors.shape}")
    return [
        (person_name(photo.person), *astuple(photo)[1:], vector.tobytes())
        for photo, vector in zip(photos, vectors.astype("<f4"), strict=True)
    ]


def _are_unit(vectors: Embeddings) -> bool:
    with np.errstate(all="ignore"):  # on damaged numbers
        return bool((abs(np.linalg.norm(vectors, axis=1) - 1) < _ROUND_OFF).all())  # NaN is not


def _bad(path: str, why: str) -> BadFacebank:
    return BadFacebank(
        f"{path} is not a facebank or is damaged ({why}): restore a copy, or move it away and run"
        " mien enroll FOLDER"
    )


@contextmanager
def _in_words(path: str, failed: str = "cannot be used now") -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.ProgrammingError:  # the caller's mistake, such as use after `close`
        raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter on damaged text
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _ADVICE:
            raise CannotWrite(f"{path} {failed} ({error}): {_ADVICE[code]}") from error
        raise _bad(path, str(error).partition("\n")[0]) from error
