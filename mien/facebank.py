"""The people that are known: a vector for each of their photos, and whom a face looks like.

One SQLite file, described to the byte in docs/facebank.md.  What stands for a person is the mean
of their vectors, computed when the file is read and never stored, so it cannot go stale.  The
journal is SQLite's oldest, not its write-ahead log: the facebank stays one file, can be read in a
read-only folder, and keeps no copy of what was deleted.
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, Self

import numpy as np

from mien import key as keys
from mien.database import (
    BESIDE,
    MEMORY,
    bad,
    connect,
    convert,
    error_code,
    errors,
    in_words,
)
from mien.errors import BadFacebank, BadInput, CannotWrite, FacebankMismatch, UnknownPerson
from mien.index import cache
from mien.index.exact import ExactIndex
from mien.index.int8 import Codes, Int8Index, encode
from mien.log import COMMAND, FORGOTTEN, Entry
from mien.types import Embeddings, Index, Match

APPLICATION_ID = int.from_bytes(b"mien")  # in the file's header: this database is a facebank
LARGE = 50_000  # templates from which they are cached beside the file, and searched as int8
BATCH = 1000  # photos that `Facebank.batches` gives at a time
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
    (
        "DROP INDEX photo_person",
        "ALTER TABLE facebank RENAME TO facebank_1",
        "ALTER TABLE photo RENAME TO photo_1",
        """CREATE TABLE facebank (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            model_id TEXT NOT NULL,
            dim INTEGER NOT NULL,
            log_rows INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            photos INTEGER NOT NULL,
            photos_checksum INTEGER NOT NULL,
            changes INTEGER NOT NULL,
            unerased INTEGER NOT NULL
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
            vector BLOB NOT NULL,
            checksum INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX photo_person ON photo (person)",
        """CREATE TABLE log (
            id INTEGER PRIMARY KEY,
            at TEXT NOT NULL,
            command TEXT NOT NULL,
            action TEXT NOT NULL,
            person TEXT,
            count INTEGER NOT NULL,
            checksum INTEGER NOT NULL
        ) STRICT""",
        """CREATE TRIGGER photo_added AFTER INSERT ON photo BEGIN
            UPDATE facebank SET changes = changes + 1, photos = photos + 1,
                photos_checksum = photos_checksum + new.checksum;
        END""",
        """CREATE TRIGGER photo_changed AFTER UPDATE ON photo BEGIN
            UPDATE facebank SET changes = changes + 1,
                photos_checksum = photos_checksum - old.checksum + new.checksum;
        END""",
        """CREATE TRIGGER photo_removed AFTER DELETE ON photo BEGIN
            UPDATE facebank SET changes = changes + 1, photos = photos - 1,
                photos_checksum = photos_checksum - old.checksum;
        END""",
        """INSERT INTO facebank
            SELECT id, model_id, dim, 0, row_checksum(model_id, dim, 0), 0, 0, 0, 1
            FROM facebank_1""",
        """INSERT INTO photo
            SELECT *, photo_checksum(
                id, person, sha256, folder, file, confidence, size, added, vector
            ) FROM photo_1""",
        "DROP TABLE facebank_1",
        "DROP TABLE photo_1",
    ),
)

COLUMNS = "id, person, sha256, folder, file, confidence, size, added, vector"  # of a photo
_INSERT = (
    f"INSERT INTO photo ({COLUMNS}, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (sha256) DO NOTHING"
)
_MOVE = (
    "UPDATE photo SET person = ?1, folder = ?2, file = ?3, checksum ="
    " photo_checksum(id, ?1, sha256, ?2, ?3, confidence, size, added, vector) WHERE sha256 = ?4"
)
_KEEP = (
    "UPDATE facebank SET log_rows = ?1, unerased = 1, checksum = row_checksum(model_id, dim, ?1)"
)
_LOG = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)"
LOG_COLUMNS = "id, at, command, action, person, count"
MAX_DIM = 65536  # numbers in a vector
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
    added: str = field(default_factory=lambda: _now())

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

    def __init__(
        self, path: str | Path, model_id: str | None, dim: int | None, key: str | None = None
    ) -> None:
        self.path = str(path)
        self._loaded: tuple[tuple[int, ...], list[str], Index] | None = None
        with ExitStack() as undo, in_words(self.path):
            self._db, self._key = unlock(self.path, key)
            undo.callback(lambda: self._db.close())
            if dim is not None and self._pragma("page_count") == 0:
                with self._transaction() as db:
                    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    _upgrade(db, self.path)
                    db.execute(
                        "INSERT OR IGNORE INTO facebank"
                        " VALUES (1, ?1, ?2, 0, row_checksum(?1, ?2, 0), 0, 0, 0, 0)",
                        (model_id, dim),
                    )
            self._check_format()
            self.model_id, self.dim, _ = self._settings()
            if model_id is not None:
                self.require(model_id)
            if self._read("SELECT unerased FROM facebank") != [(0,)]:  # a kill came between
                with suppress(CannotWrite):
                    self._erase()
            undo.pop_all()

    @classmethod
    def open(cls, path: str | Path, *, model_id: str | None = None, key: str | None = None) -> Self:
        """The facebank in a file that exists.

        Args:
            path: the file.
            model_id: the model whose vectors will be added or searched for, if any will be.
            key: what it is encrypted with, "" where it is not; by default what `mien.key` finds.

        Raises:
            BadFacebank: there is none, it is something else, damaged, of a newer format, or
                encrypted with another key or none.
            FacebankMismatch: its vectors were made by another model.
            MissingExtra: there is a key and no SQLCipher.
        """
        if not (os.access(path, os.R_OK) and Path(path).is_file()):
            raise BadFacebank(f"no readable facebank at {path}: make one with mien enroll FOLDER")
        return cls(path, model_id, None, key)

    @classmethod
    def create(cls, path: str | Path, *, model_id: str, dim: int, key: str | None = None) -> Self:
        """The facebank in a file, made if there is none, for its owner alone to read.

        Args:
            path: the file, whose folders are made too; or ":memory:", which is never stored.
            model_id: the model that makes its vectors.
            dim: numbers in a vector.
            key: what it is or will be encrypted with; see `open`.

        Raises:
            BadFacebank, FacebankMismatch, MissingExtra: as `open`, if the file exists.
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
        return cls(path, model_id, dim, key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @property
    def encrypted(self) -> bool:
        """Whether nobody can read the file without its key; copies beside it must not tell more."""
        return bool(self._key)

    def encrypt(self, key: str) -> None:
        """Encrypt the file, or give it another key; see `mien.database.convert`."""
        self._convert(key)

    def decrypt(self) -> None:
        """Let anybody who has the file read it; see `mien.database.convert`."""
        self._convert("")

    def _convert(self, key: str) -> None:
        self._db.close()
        try:
            with in_words(self.path):
                self._remove_beside(cache.SUFFIXES)  # no kill leaves it beside an encrypted file
            convert(self.path, self._key or None, key or None, BUSY_S)
            self._key = key
        finally:
            with in_words(self.path):
                self._db, _ = unlock(self.path, self._key)
        self._remove_beside()

    def require(self, model_id: str) -> None:
        """Raise FacebankMismatch unless the vectors were made by this model."""
        made_by, _, _ = self._settings()
        if made_by != model_id:
            raise FacebankMismatch(
                f"{self.path} was made with the model {made_by}, whose vectors do not compare with"
                f" those of {model_id}: use that model, or run mien enroll FOLDER --rebuild"
            )

    def version(self) -> tuple[int, ...]:
        """What differs after any change of the photos, by whatever process: three numbers."""
        rows = self._read("SELECT changes, photos, photos_checksum FROM facebank")
        return tuple(rows[0]) if rows else ()

    def people(self) -> list[Person]:
        """Everyone, by name."""
        photos = Counter(row[1] for row in self._rows())
        return [Person(name, photos[name]) for name in sorted(photos)]

    def photos(self, person: str | None = None) -> list[Photo]:
        """The photos of a person, or of everyone, in the order in which they were added.

        Raises:
            UnknownPerson: nobody has that name.
        """
        name = person if person is None else person_name(person)
        photos = [Photo(*row[1:-1]) for row in self._rows() if name in (None, row[1])]
        if person is not None and not photos:
            raise UnknownPerson(f"nobody in {self.path} is called {person}: see mien people")
        return photos

    def contents(self) -> tuple[list[Photo], Embeddings]:
        """All photos in the order in which they were added, and the vector of each, (N, D)."""
        rows = list(self._rows())
        return [Photo(*row[1:-1]) for row in rows], self._as_vectors([row[-1] for row in rows])

    def batches(self) -> Iterator[tuple[list[Photo], Embeddings]]:
        """What `contents` gives, some at a time; nobody can change the facebank until the end."""
        rows = self._rows()
        while batch := list(islice(rows, BATCH)):
            yield [Photo(*row[1:-1]) for row in batch], self._as_vectors([row[-1] for row in batch])

    def templates(self) -> tuple[list[str], Embeddings]:
        """Everyone's name, and the mean of their vectors brought back to unit length, (P, D)."""
        rows = sorted(((row[1], row[-1]) for row in self._rows()), key=lambda row: row[0])
        vectors = self._as_vectors([vector for _, vector in rows])
        first = [i for i, (name, _) in enumerate(rows) if i == 0 or rows[i - 1][0] != name]
        sums = np.add.reduceat(vectors, first, axis=0)  # (P, D)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return [rows[i][0] for i in first], sums / np.maximum(lengths, 1e-12)

    def search(self, vectors: Embeddings, threshold: float) -> list[Match]:
        """Whom each face looks like most; what is found is in the log if one is kept.

        Args:
            vectors: (M, D) of unit length, made by the facebank's model.
            threshold: the lowest cosine that earns a name.

        Returns:
            M matches; while the facebank is empty, each with nobody at a score of -1.
        """
        names, index = self._index()
        matches = [Match(None, -1.0)] * len(vectors)
        if names:
            scores, rows = index.search(vectors, 1)
            best = zip(scores[:, 0].clip(-1, 1).tolist(), rows[:, 0], strict=True)  # round-off
            matches = [
                Match(names[row] if score >= threshold else None, score) for score, row in best
            ]
        self.note("searched", Counter(match.person for match in matches))
        return matches

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
        rows = _new_rows(photos, vectors, self.dim)
        with self._writing() as db:
            return self._insert(db, rows)

    def restore(
        self,
        photos: Sequence[Photo],
        vectors: Embeddings,
        log_rows: int,
        log: Iterable[tuple[Any, ...]],
    ) -> None:
        """Fill a new facebank with what is left of another, its log included."""
        with self._writing() as db:
            self._insert(db, _new_rows(photos, vectors, self.dim))
            db.executemany(_LOG, [(*row, row_checksum(*row)) for row in log])
            db.execute(_KEEP, (log_rows,))
            db.execute("UPDATE facebank SET unerased = 0")

    def replace(self, photos: Sequence[Photo], vectors: Embeddings, *, model_id: str) -> None:
        """Put photos with another model's vectors in the place of all that there is; see `add`."""
        dim = vectors.shape[1]
        rows = _new_rows(photos, vectors, dim)
        with self._writing() as db:
            db.execute("DELETE FROM photo")
            db.execute(
                "UPDATE facebank SET model_id = ?1, dim = ?2, unerased = 1,"
                " checksum = row_checksum(?1, ?2, log_rows)",
                (model_id, dim),
            )
            self._insert(db, rows)
            self._forget_names(db)
        self.model_id, self.dim = model_id, dim
        self._erase()

    def move(self, photos: Sequence[Photo]) -> None:
        """Give photos that are there the person, folder and file that these say."""
        rows = [(person_name(new.person), new.folder, new.file, new.sha256) for new in photos]
        with self._writing() as db:
            if rows:
                self.photos()  # a new checksum must not make damage look well
            db.executemany(_MOVE, rows)
            self._forget_names(db)

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
            photos = self.photos(old)
            if not merge and old != new and new in [person.name for person in self.people()]:
                raise BadInput(f"{new} is in the facebank already: choose another name, or --merge")
            db.executemany(_MOVE, [(new, one.folder, one.file, one.sha256) for one in photos])
            db.execute(
                "UPDATE log SET person = ?1,"
                " checksum = row_checksum(id, at, command, action, ?1, count) WHERE person = ?2",
                (new, old),
            )
            self._log(db, "renamed", {new: len(photos)})

    def delete_person(self, name: str) -> int:
        """Remove a person, leaving no trace in the file; how many photos they had.

        Raises:
            UnknownPerson: nobody has that name.
        """
        return self.delete_photos(photo.sha256 for photo in self.photos(name))

    def delete_photos(self, sha256s: Iterable[str]) -> int:
        """Remove photos, leaving no trace in the file or beside it; how many were there.

        Who has none left is nobody that the facebank knows, and has no name in the log.
        """
        with self._writing() as db:
            doomed = set(sha256s)
            people = Counter(photo.person for photo in self.photos() if photo.sha256 in doomed)
            deleted = sum(people.values())
            db.executemany("DELETE FROM photo WHERE sha256 = ?", [(one,) for one in doomed])
            if deleted:
                db.execute("UPDATE facebank SET unerased = 1")
                self._log(db, "deleted", people)
                self._forget_names(db)
        if deleted:
            self._erase()
        return deleted

    def keep_log(self, rows: int) -> None:
        """Keep a log of the newest so many entries from now on, or none and forget what it had."""
        if rows < 0:
            raise ValueError(f"rows must be at least 0, not {rows}")
        with self._writing() as db:
            db.execute(_KEEP, (rows,))
            db.execute("DELETE FROM log WHERE id <= (SELECT max(id) FROM log) - ?", (rows,))
        self._erase()

    @property
    def log_rows(self) -> int:
        """How many entries the log keeps; 0 where none is kept."""
        return self._settings()[2]

    def log(self) -> list[Entry]:
        """What was done, the oldest first."""
        rows = self._read(f"SELECT {LOG_COLUMNS}, checksum FROM log NOT INDEXED ORDER BY id")
        for row in rows:
            if not is_right(row):
                raise bad(self.path, f"entry {row[0]} of its log is damaged")
        return [Entry(*row[1:-1]) for row in rows]

    def note(self, action: str, people: Mapping[Any, int]) -> None:
        """Write in the log, if one is kept, what was done with how many photos of whom."""
        if people and self.log_rows:
            with self._transaction() as db:
                self.require(self.model_id)
                self._log(db, action, people)

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with in_words(self.path):
            return self._db.execute(query, values).fetchall()

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """The `COLUMNS` of every photo by id, each checked, and that none is missing.

        No index is believed: what is damaged in it would hide photos.
        """
        number = total = 0
        with in_words(self.path), self._snapshot() as db:
            query = f"SELECT {COLUMNS}, checksum FROM photo NOT INDEXED ORDER BY id"
            for row in db.execute(query):
                if not is_sound(row):
                    raise bad(self.path, f"photo {row[2]!r} of {row[1]!r}, {row[4]!r}, is damaged")
                number += 1
                total += row[-1]
                yield row[:-1]
            written = db.execute("SELECT photos, photos_checksum FROM facebank").fetchone()
        if written != (number, total):
            raise bad(self.path, f"{number} photos are not the {(written or [0])[0]} that it had")

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """One state of the file for several readings."""
        if self._db.in_transaction:
            yield self._db
            return
        self._db.execute("BEGIN")
        try:
            yield self._db
        finally:
            self._db.rollback()

    def _as_vectors(self, blobs: list[bytes]) -> Embeddings:
        data = b"".join(blobs)
        if len(data) != len(blobs) * self.dim * 4:
            raise bad(self.path, "a vector has a wrong length")
        vectors = np.frombuffer(data, "<f4").reshape(-1, self.dim)
        if not are_unit(vectors):
            raise bad(self.path, "a vector is not of unit length")
        return vectors

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with in_words(self.path), self._db:  # commits, or rolls back on an exception
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._transaction() as db:
            self.require(self.model_id)
            self._remove_beside(cache.SUFFIXES)  # before a kill can leave what is gone in it
            yield db

    def _insert(self, db: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> int:
        added: Counter[str] = Counter()
        (last,) = db.execute("SELECT ifnull(max(id), 0) FROM photo").fetchone()
        for row in rows:
            values = (last + 1, *row)
            if db.execute(_INSERT, (*values, photo_checksum(*values))).rowcount:
                last += 1
                added[row[0]] += 1
        self._log(db, "enrolled", added)
        return added.total()

    def _log(self, db: sqlite3.Connection, action: str, people: Mapping[Any, int]) -> None:
        if not (limit := self.log_rows):
            return
        (last,) = db.execute("SELECT ifnull(max(id), 0) FROM log").fetchone()
        at, command = _now(), COMMAND.get()
        for number, (person, many) in zip(count(last + 1), people.items(), strict=False):
            values = (number, at, command, action, person, many)
            db.execute(_LOG, (*values, row_checksum(*values)))
        db.execute("DELETE FROM log WHERE id <= (SELECT max(id) FROM log) - ?", (limit,))

    def _forget_names(self, db: sqlite3.Connection) -> None:
        """Take the names out of the log that nobody has any more."""
        db.execute(
            "UPDATE log SET person = ?1,"
            " checksum = row_checksum(id, at, command, action, ?1, count)"
            " WHERE person <> ?1 AND person NOT IN (SELECT person FROM photo)",
            (FORGOTTEN,),
        )

    def _erase(self) -> None:
        # secure_delete clears what is deleted, but not the copies that splitting a page leaves in
        # the unused part of the old one.  Whoever opens it next goes on where this was stopped.
        failed = "has lost the photos, but traces of them stay in it until it is opened again"
        with in_words(self.path, failed):
            self._db.execute("VACUUM")
            self._remove_beside()
            self._db.execute("UPDATE facebank SET unerased = 0")

    def _remove_beside(self, suffixes: Sequence[str] = BESIDE) -> None:
        if self.path != MEMORY:
            for suffix in suffixes:
                Path(self.path + suffix).unlink(missing_ok=True)

    def _index(self) -> tuple[list[str], Index]:
        """Everyone's name and template, read again only when the photos have changed."""
        version = self.version()
        if self._loaded is None or self._loaded[0] != version:
            self.require(self.model_id)
            self._loaded = version, *self._load()
        return self._loaded[1:]

    def _load(self) -> tuple[list[str], Index]:
        with in_words(self.path), self._snapshot():
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
        """What tells this content of the file from any other; empty where no copy may be kept.

        Another file in its place has another inode.  Its times would not do: the log is written
        while the photos stay.
        """
        if self.encrypted or self.path == MEMORY:
            return {}
        try:
            file = Path(self.path).stat().st_ino
        except FileNotFoundError:  # it has been removed
            return {}
        return {"file": file, "photos": list(self.version()), "model_id": self.model_id}

    def _settings(self) -> tuple[str, int, int]:
        """The model, numbers in a vector, entries in the log."""
        rows = self._read("SELECT model_id, dim, log_rows, checksum FROM facebank")
        if len(rows) != 1 or not is_right(rows[0]):
            raise bad(self.path, "it does not say which model it is for")
        model_id, dim, log_rows, _ = rows[0]
        if not 1 <= dim <= MAX_DIM:
            raise bad(self.path, f"a vector of {dim} numbers")
        return model_id, dim, log_rows

    def _check_format(self) -> None:
        if self._pragma("application_id") != APPLICATION_ID:
            raise bad(self.path, "its header does not say that it is one")
        if self.path != MEMORY and Path(self.path).stat().st_size % self._pragma("page_size"):
            raise bad(self.path, "its end is missing")
        version = self._pragma("user_version")
        if version > len(MIGRATIONS):
            raise BadFacebank(
                f"{self.path} has format {version}, and this mien reads up to {len(MIGRATIONS)}:"
                " upgrade mien"
            )
        if version < len(MIGRATIONS):
            with self._transaction() as db:
                _upgrade(db, self.path)
        if _schema(self._db) != _newest_schema():
            raise bad(self.path, f"its tables are not those of format {len(MIGRATIONS)}")

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
            db = connect(path, key or None, BUSY_S)
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
            f"{path} is not encrypted, and a key is given: run mien people encrypt, or unset"
            f" {keys.VARIABLE} and {keys.FILE_VARIABLE}"
        )
    return BadFacebank(
        f"{path} cannot be read with the key that is given: give the one that it was encrypted with"
    )


def photo_checksum(
    id: int,
    person: str,
    sha256: str,
    folder: str,
    file: str,
    confidence: float,
    size: float,
    added: str,
    vector: bytes,
) -> int:
    """The CRC-32 of a photo's row, as docs/facebank.md has it."""
    before = f"{id}\0{person}\0{sha256}\0{folder}\0{file}\0".encode()
    numbers = struct.pack("<dd", confidence, size)
    return zlib.crc32(b"".join((before, numbers, f"{added}\0".encode(), vector)))


def row_checksum(*values: str | int | None) -> int:
    """The CRC-32 of values as JSON, as docs/facebank.md has it."""
    return zlib.crc32(json.dumps(values, separators=(",", ":")).encode())


def is_sound(row: tuple[Any, ...]) -> bool:
    """Whether a photo's `COLUMNS` are those that its checksum, which follows them, was made of."""
    try:
        return bool(photo_checksum(*row[:-1]) == row[-1])
    except (TypeError, UnicodeEncodeError, struct.error):  # not even the types are right
        return False


def is_right(row: tuple[Any, ...]) -> bool:
    """Whether other values are those that the `row_checksum` after them was made of."""
    try:
        return bool(row_checksum(*row[:-1]) == row[-1])
    except TypeError:  # bytes, where there was text
        return False


def are_unit(vectors: Embeddings) -> bool:
    """Whether each row has a length of 1, but for round-off."""
    with np.errstate(all="ignore"):  # on damaged numbers
        return bool((abs(np.linalg.norm(vectors, axis=1) - 1) < _ROUND_OFF).all())  # NaN is not


def as_embeddings(rows: Sequence[Sequence[float]], dim: int) -> Embeddings:
    """Vectors that somebody else has made, (M, D).

    Raises:
        BadInput: one has not `dim` numbers, or not a length of 1.
    """
    if all(len(row) == dim for row in rows):
        with np.errstate(over="ignore"):  # what is too large is no unit vector
            vectors = np.array(rows, np.float32).reshape(-1, dim)
        if are_unit(vectors):
            return vectors
    raise BadInput(f"an embedding is {dim} numbers of length 1: send what the network returns")


def _upgrade(db: sqlite3.Connection, path: str) -> None:
    """Bring a facebank to the newest format, within the caller's transaction."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version and db.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        raise bad(path, f"it has format {version}, and its pages are damaged")
    for statement in chain.from_iterable(MIGRATIONS[version:]):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _schema(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """What a database holds, but for what SQLite adds by itself."""
    return db.execute(
        "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " ORDER BY name"
    ).fetchall()


def _newest_schema() -> list[tuple[str, str]]:
    db, _ = unlock(MEMORY, "")
    try:
        _upgrade(db, MEMORY)
        return _schema(db)
    finally:
        db.close()


def _new_rows(photos: Sequence[Photo], vectors: Embeddings, dim: int) -> list[tuple[Any, ...]]:
    """What follows the id in a row of `COLUMNS`."""
    if vectors.shape != (len(photos), dim) or not are_unit(vectors):
        wanted = f"({len(photos)}, {dim})"
        raise ValueError(f"vectors must be {wanted} of unit length, not {vectors.shape}")
    return [
        (person_name(photo.person), *astuple(photo)[1:], vector.tobytes())
        for photo, vector in zip(photos, vectors.astype("<f4"), strict=True)
    ]


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
