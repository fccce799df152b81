"""The people who are known: a vector for each of their photos, and search among them.

One SQLite file, described to the byte in docs/facebank.md.  What stands for a person is the mean
of their vectors, computed when the file is read and never stored, so it cannot go stale.  The
journal is SQLite's oldest, not its write-ahead log: the facebank stays one file, can be read in a
read-only folder, and keeps no copy of what was deleted.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count, islice
from pathlib import Path
from typing import Any, Self

import numpy as np

from mien.errors import BadFacebank, BadInput, CannotWrite, UnknownPerson
from mien.facebank import tables
from mien.facebank.audit import COMMAND, FORGOTTEN, LogEntry
from mien.facebank.index import cache
from mien.facebank.index.exact import ExactIndex
from mien.facebank.index.int8 import Codes, Int8Index, encode
from mien.facebank.rows import (
    COLUMNS,
    LOG_COLUMNS,
    MAX_DIM,
    Person,
    Photo,
    are_unit,
    best_of,
    is_right,
    is_sound,
    new_rows,
    now,
    person_name,
    photo_checksum,
    require_model,
    row_checksum,
    spelled,
)
from mien.facebank.sqlite import BESIDE, MEMORY, bad, convert, in_words, unlock
from mien.files import make_folder
from mien.types import Embeddings, Index, Match

LARGE = 50_000  # number of templates from which they are cached on disk and searched as int8
BATCH = 1000  # photos that `Facebank.batches` gives at a time
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


class Facebank:
    """People and their photos in one file, made by `open` or `create`; a context manager.

    Any method raises BadFacebank where the file is damaged, and FacebankMismatch where another
    process has rebuilt it with another model.  Each change is one transaction that is on the disk
    when its method returns.  Where it cannot be, because the disk is full or read-only or another
    process writes for longer than `database.BUSY_S`, CannotWrite is raised and the facebank is as
    before.
    """

    def __init__(
        self, path: str | Path, model_id: str | None, dim: int | None, key: str | None = None
    ) -> None:
        self.path = str(path)
        self._loaded: tuple[tuple[int, ...], list[str], list[int], Index] | None = None
        with ExitStack() as undo, in_words(self.path):
            self._db, self.key = unlock(self.path, key)
            undo.callback(lambda: self._db.close())
            if dim is not None and self._pragma("page_count") == 0:
                with self._transaction() as db:
                    db.execute(f"PRAGMA application_id = {tables.APPLICATION_ID}")
                    tables.upgrade(db, self.path)
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
            key: what it is encrypted with, "" where it is not; by default what
                `mien.facebank.encryption_key` finds.

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
        """The facebank in a file, created if missing, readable by its owner only.

        Args:
            path: the file, whose folders are made too; or ":memory:", which is never stored.
            model_id: the model that makes its vectors.
            dim: dimensions of a vector.
            key: what it is or will be encrypted with; see `open`.

        Raises:
            BadFacebank, FacebankMismatch, MissingExtra: as `open`, if the file exists.
            CannotWrite: the disk is full or read-only, or writing there is forbidden.
        """
        if str(path) != MEMORY:
            make_folder(Path(path).parent, private=True)
            try:
                with suppress(FileExistsError):
                    Path(path).touch(0o600, exist_ok=False)
            except OSError as error:
                raise CannotWrite(
                    f"{path} cannot be created ({error.strerror}): choose another place"
                ) from error
        return cls(path, model_id, dim, key)

    def __repr__(self) -> str:
        return f"Facebank({self.path!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def encrypted(self) -> bool:
        """Whether nobody can read the file without its key; copies beside it must not tell more."""
        return bool(self.key)

    def encrypt(self, key: str) -> None:
        """Encrypt the file, or change its key; see `mien.facebank.sqlite.convert`."""
        self._convert(key)

    def decrypt(self) -> None:
        """Remove the encryption; see `mien.facebank.sqlite.convert`."""
        self._convert("")

    def _convert(self, key: str) -> None:
        self._db.close()
        try:
            with in_words(self.path):
                self._remove_beside(cache.SUFFIXES)  # no kill leaves it beside an encrypted file
            convert(self.path, self.key or None, key or None)
            self.key = key
        finally:
            with in_words(self.path):
                self._db, _ = unlock(self.path, self.key)
        self._remove_beside()

    def require(self, model_id: str) -> None:
        """Raise FacebankMismatch unless the vectors were made by this model."""
        made_by, _, _ = self._settings()
        require_model(self.path, made_by, model_id)

    def version(self) -> tuple[int, ...]:
        """Three numbers that differ after any change of the photos, by whatever process."""
        rows = self._read("SELECT changes, photos, photos_checksum FROM facebank")
        return tuple(rows[0]) if rows else ()

    def people(self) -> list[Person]:
        """Everyone, by name."""
        names, photos, _ = self._index()
        return [Person(*one) for one in zip(names, photos, strict=True)]

    def photos(self, person: str | None = None) -> list[Photo]:
        """The photos of a person, or of everyone, in the order in which they were added.

        Raises:
            UnknownPerson: nobody has that name.
        """
        if person is None:
            return [Photo(*row[1:-1]) for row in self._rows()]
        return [Photo(*row[1:-1]) for row in self._rows_of(person)]

    def photo(self, sha256: str) -> Photo | None:
        """The photo with this hash, or None."""
        return next((Photo(*row[1:-1]) for row in self._rows_with("sha256", sha256)), None)

    def contents(self, person: str | None = None) -> tuple[list[Photo], Embeddings]:
        """What `photos` returns, and the vector of each, (N, D).

        Raises:
            UnknownPerson: nobody has that name.
        """
        rows = list(self._rows()) if person is None else self._rows_of(person)
        return [Photo(*row[1:-1]) for row in rows], self._as_vectors([row[-1] for row in rows])

    def batches(self) -> Iterator[tuple[list[Photo], Embeddings]]:
        """What `contents` returns, in batches; nobody can change the facebank until the end."""
        rows = self._rows()
        while batch := list(islice(rows, BATCH)):
            yield [Photo(*row[1:-1]) for row in batch], self._as_vectors([row[-1] for row in batch])

    def templates(self) -> tuple[list[str], Embeddings]:
        """Everyone's name, and the mean of their vectors scaled back to unit length, (P, D)."""
        names, _, means = self._means()
        return names, means

    def search(self, vectors: Embeddings, threshold: float, k: int = 1) -> list[Match]:
        """The nearest person to each face; searches are logged if a log is kept.

        Args:
            vectors: (M, D) of unit length, made by the facebank's model.
            threshold: the lowest cosine that earns a name.
            k: how many people each match has as its `nearest`, with a name or without.

        Returns:
            M matches; while the facebank is empty, each with nobody at a score of -1.
        """
        matches = [best_of(nearest, threshold) for nearest in self.nearest(vectors, k)]
        self.note("searched", Counter(match.person for match in matches))
        return matches

    def nearest(self, vectors: Embeddings, count: int) -> list[list[Match]]:
        """The people nearest to each face, best first, whatever their score.

        Args:
            vectors: (M, D) of unit length, made by the facebank's model.
            count: of people for each face; fewer where there are not as many.
        """
        names, _, index = self._index()
        if not names:
            return [[] for _ in vectors]
        scores, rows = index.search(vectors, count)
        found = zip(scores.clip(-1, 1).tolist(), rows.tolist(), strict=True)  # round-off
        return [
            [Match(names[row], score) for score, row in zip(*one, strict=True)] for one in found
        ]

    def add(self, photos: Sequence[Photo], vectors: Embeddings) -> int:
        """Add photos; a photo that is there already stays as it is, whosever it is.

        Args:
            photos: N of them.
            vectors: (N, D) of unit length, made by the facebank's model.

        Returns:
            How many were not there yet.

        Raises:
            BadInput: a name is not allowed; see `person_name`.
        """
        rows = new_rows(photos, vectors, self.dim)
        with self._writing() as db:
            return self._insert(db, rows)

    def restore(
        self,
        photos: Sequence[Photo],
        vectors: Embeddings,
        log_rows: int,
        log: Iterable[tuple[Any, ...]],
    ) -> None:
        """Fill a new facebank with what is left of another, including its log."""
        with self._writing() as db:
            self._insert(db, new_rows(photos, vectors, self.dim))
            db.executemany(_LOG, [(*row, row_checksum(*row)) for row in log])
            db.execute(_KEEP, (log_rows,))
            db.execute("UPDATE facebank SET unerased = 0")

    def replace(self, photos: Sequence[Photo], vectors: Embeddings, *, model_id: str) -> None:
        """Replace everything by photos with another model's vectors; see `add`."""
        dim = vectors.shape[1]
        rows = new_rows(photos, vectors, dim)
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
        """Move photos that are there to the person, folder and file given here."""
        rows = [(person_name(new.person), new.folder, new.file, new.sha256) for new in photos]
        with self._writing() as db:
            for new in photos:
                self.photo(new.sha256)  # a new checksum must not make damage look well
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
            BadInput: the new name is somebody else's, or not allowed; see `person_name`.
        """
        old, new = spelled(old), person_name(new)
        with self._writing() as db:
            self.photos(old)  # there may be nobody
            everyone = self.photos()  # the index may be damaged
            photos = [photo for photo in everyone if photo.person == old]
            if not merge and old != new and new in {photo.person for photo in everyone}:
                raise BadInput(f"{new} is in the facebank already: choose another name, or --merge")
            db.executemany(_MOVE, [(new, one.folder, one.file, one.sha256) for one in photos])
            db.execute(
                "UPDATE log SET person = ?1,"
                " checksum = row_checksum(id, at, command, action, ?1, count) WHERE person = ?2",
                (new, old),
            )
            self._log(db, "renamed", {new: len(photos)})

    def delete_person(self, name: str) -> int:
        """Delete a person without a trace in the file; returns how many photos they had.

        Raises:
            UnknownPerson: nobody has that name.
        """
        return self.delete_photos(photo.sha256 for photo in self.photos(name))

    def delete_photos(self, sha256s: Iterable[str]) -> int:
        """Delete photos without a trace in the file or next to it; returns how many were there.

        A person who has none left is unknown to the facebank, and has no name in the log.
        """
        with self._writing() as db:
            doomed = set(sha256s)
            everyone = self.photos()
            people = Counter(photo.person for photo in everyone if photo.sha256 in doomed)
            deleted = people.total()
            photos = Counter(photo.person for photo in everyone)
            if any(photos[name] != len(self.photos(name)) for name in people):
                raise bad(self.path, "its index has lost photos of whom you want to delete")
            db.executemany("DELETE FROM photo WHERE sha256 = ?", [(one,) for one in doomed])
            if deleted:
                db.execute("UPDATE facebank SET unerased = 1")
                self._log(db, "deleted", people)
                self._forget_names(db)
        if deleted:
            self._erase()
        return deleted

    def keep_log(self, rows: int) -> None:
        """Keep a log of this many of the newest entries from now on; 0 ends and erases it."""
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

    def log(self) -> list[LogEntry]:
        """The log's entries, oldest first."""
        rows = self._read(f"SELECT {LOG_COLUMNS}, checksum FROM log NOT INDEXED ORDER BY id")
        for row in rows:
            if not is_right(row):
                raise bad(self.path, f"entry {row[0]} of its log is damaged")
        return [LogEntry(*row[1:-1]) for row in rows]

    def note(self, action: str, people: Mapping[Any, int]) -> None:
        """Log what was done with how many photos of whom, if a log is kept."""
        if people and self.log_rows:
            with self._transaction() as db:
                self.require(self.model_id)
                self._log(db, action, people)

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with in_words(self.path):
            return self._db.execute(query, values).fetchall()

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """The `COLUMNS` of every photo by id, each verified, and that none is missing.

        No index is used: a damaged one would hide photos.
        """
        number = total = 0
        with in_words(self.path), self._snapshot() as db:
            query = f"SELECT {COLUMNS}, checksum FROM photo NOT INDEXED ORDER BY id"
            for row in db.execute(query):
                self._check(row)
                number += 1
                total += row[-1]
                yield row[:-1]
            written = db.execute("SELECT photos, photos_checksum FROM facebank").fetchone()
        if written != (number, total):
            raise bad(self.path, f"{number} photos are not the {(written or [0])[0]} that it had")

    def _rows_of(self, person: str) -> list[tuple[Any, ...]]:
        rows = self._rows_with("person", spelled(person))
        if not rows:
            raise UnknownPerson(f"nobody in {self.path} is called {person}: see mien people")
        return rows

    def _rows_with(self, column: str, value: str) -> list[tuple[Any, ...]]:
        """`COLUMNS` of the rows with a value in one that has an index; only these are checked."""
        query = f"SELECT {COLUMNS}, checksum FROM photo WHERE {column} = ? ORDER BY id"
        rows = self._read(query, value)
        for row in rows:
            self._check(row)
        return [row[:-1] for row in rows]

    def _check(self, row: tuple[Any, ...]) -> None:
        if not is_sound(row):
            raise bad(self.path, f"photo {row[0]} is damaged")  # whose, a log need not tell

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """A snapshot of the file for several reads."""
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
        at, command = now(), COMMAND.get()
        for number, (person, many) in zip(count(last + 1), people.items(), strict=False):
            values = (number, at, command, action, person, many)
            db.execute(_LOG, (*values, row_checksum(*values)))
        db.execute("DELETE FROM log WHERE id <= (SELECT max(id) FROM log) - ?", (limit,))

    def _forget_names(self, db: sqlite3.Connection) -> None:
        """Remove from the log the names that nobody has any longer."""
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

    def _index(self) -> tuple[list[str], list[int], Index]:
        """Everyone's name, photos and template, read again only when the photos have changed."""
        version = self.version()
        if self._loaded is None or self._loaded[0] != version:
            self.require(self.model_id)
            self._loaded = version, *self._load()
        return self._loaded[1:]

    def _load(self) -> tuple[list[str], list[int], Index]:
        with in_words(self.path), self._snapshot():
            stamp = self._stamp()
            kept = cache.load(self.path, stamp) if stamp else None
            if kept is not None:
                names = kept["names"].tobytes().decode().split("\n")
                index = Int8Index(kept["rows"], Codes(kept["values"], kept["bounds"]))
                return names, kept["photos"].tolist(), index
            names, photos, templates = self._means()
        if len(names) < LARGE:
            return names, photos, ExactIndex(templates)
        codes = encode(templates)
        lines = "\n".join(names).encode()
        if stamp and os.access(self.path, os.W_OK) and lines.count(b"\n") < len(names):
            arrays: cache.Arrays = {
                "names": np.frombuffer(lines, np.uint8),
                "photos": np.array(photos, "<i4"),
                "rows": templates,
                "values": codes.values,
                "bounds": codes.bounds,
            }
            cache.save(self.path, stamp, arrays, still=lambda: self._stamp() == stamp)
        return names, photos, Int8Index(templates, codes)

    def _means(self) -> tuple[list[str], list[int], Embeddings]:
        """Everyone's name, how many photos they have, and their template, (P, D)."""
        rows = sorted(((row[1], row[-1]) for row in self._rows()), key=lambda row: row[0])
        vectors = self._as_vectors([vector for _, vector in rows])
        first = [i for i, (name, _) in enumerate(rows) if i == 0 or rows[i - 1][0] != name]
        sums = np.add.reduceat(vectors, first, axis=0)  # (P, D)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        photos = np.diff([*first, len(rows)]).tolist()
        return [rows[i][0] for i in first], photos, sums / np.maximum(lengths, 1e-12)

    def _stamp(self) -> dict[str, Any]:
        """Identifies this content of the file; empty if no copy may be kept.

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
        """The model, dimensions of a vector, entries in the log."""
        rows = self._read("SELECT model_id, dim, log_rows, checksum FROM facebank")
        if len(rows) != 1 or not is_right(rows[0]):
            raise bad(self.path, "it does not say which model it is for")
        model_id, dim, log_rows, _ = rows[0]
        if not 1 <= dim <= MAX_DIM:
            raise bad(self.path, f"a vector of {dim} numbers")
        return model_id, dim, log_rows

    def _check_format(self) -> None:
        if self._pragma("application_id") != tables.APPLICATION_ID:
            raise bad(self.path, "its header does not say that it is one")
        if self.path != MEMORY and Path(self.path).stat().st_size % self._pragma("page_size"):
            raise bad(self.path, "its end is missing")
        version = self._pragma("user_version")
        if version > len(tables.MIGRATIONS):
            raise BadFacebank(
                f"{self.path} has format {version}, and this version of mien reads up to"
                f" {len(tables.MIGRATIONS)}: upgrade mien"
            )
        if version < len(tables.MIGRATIONS):
            with self._transaction() as db:
                tables.upgrade(db, self.path)
        if tables.tables(self._db) != tables.newest():
            raise bad(self.path, f"its tables are not those of format {len(tables.MIGRATIONS)}")

    def _pragma(self, name: str) -> int:
        return int(self._read(f"PRAGMA {name}")[0][0])
