"""A facebank in PostgreSQL with pgvector, for those who run one.

Each change and the templates that it concerns are one transaction.  Search reads every template:
there is no index that could miss one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, replace
from typing import Any, Self

import numpy as np

from mien.errors import (
    BadFacebank,
    BadInput,
    CannotWrite,
    UnknownPerson,
    needs_extra,
    without_password,
)
from mien.facebank.rows import (
    Person,
    Photo,
    best_of,
    named,
    person_name,
    require_model,
    spelled,
)
from mien.facebank.stores import common
from mien.types import Embeddings, Match

_TABLES = """
    CREATE EXTENSION IF NOT EXISTS vector;
    CREATE TABLE IF NOT EXISTS mien_facebank (
        id integer PRIMARY KEY CHECK (id = 1), model_id text NOT NULL, dim integer NOT NULL);
    CREATE TABLE IF NOT EXISTS mien_photo (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person text NOT NULL,
        sha256 text NOT NULL UNIQUE, folder text NOT NULL, file text NOT NULL,
        confidence float8 NOT NULL, size float8 NOT NULL, added text NOT NULL,
        vector vector NOT NULL);
    CREATE INDEX IF NOT EXISTS mien_photo_person ON mien_photo (person);
    CREATE TABLE IF NOT EXISTS mien_person (person text PRIMARY KEY, vector vector NOT NULL);
"""
_PHOTO = "person, sha256, folder, file, confidence, size, added"  # as in the class


class PostgresStore:
    """People and their photos in PostgreSQL; see `mien.facebank.stores.Store`."""

    def __init__(self, address: str, model_id: str | None, dim: int | None) -> None:
        self.path = without_password(address)
        self._address = address
        with ExitStack() as undo, self._in_words():
            if dim is not None:
                _make(address, model_id, dim)
            self._db = _connect(address)
            undo.callback(self.close)
            self.model_id, self.dim = self._made_for()
            if model_id is not None:
                self.require(model_id)
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def require(self, model_id: str) -> None:
        """Raise FacebankMismatch unless the vectors were made by this model."""
        require_model(self.path, self._made_for()[0], model_id)

    def people(self) -> list[Person]:
        """Everyone, by name."""
        rows = self._read("SELECT person, count(*) FROM mien_photo GROUP BY person")
        return [Person(*row) for row in sorted(rows)]

    def photos(self, person: str | None = None) -> list[Photo]:
        """The photos of a person, or of everyone, in the order in which they were added."""
        name = None if person is None else spelled(person)
        rows = self._read(
            f"SELECT {_PHOTO} FROM mien_photo WHERE %s::text IS NULL OR person = %s ORDER BY id",
            (name, name),
        )
        if person is not None and not rows:
            raise UnknownPerson(f"nobody in {self.path} is called {person}: see mien people")
        return [Photo(*row) for row in rows]

    def photo(self, sha256: str) -> Photo | None:
        """The photo with this hash, or None."""
        rows = self._read(f"SELECT {_PHOTO} FROM mien_photo WHERE sha256 = %s", (sha256,))
        return Photo(*rows[0]) if rows else None

    def contents(self, person: str | None = None) -> tuple[list[Photo], Embeddings]:
        """What `photos` returns, and the vector of each, (N, D)."""
        if person is None:
            return common.contents(self.batches(), self.dim)
        photos = self.photos(person)
        rows = self._read(
            "SELECT sha256, vector FROM mien_photo WHERE person = %s", (photos[0].person,)
        )
        vectors = dict(rows)
        return photos, _matrix([vectors[photo.sha256] for photo in photos])

    def batches(self) -> Iterator[tuple[list[Photo], Embeddings]]:
        """Photos and their vectors, in the order in which they were added."""
        last = 0
        while rows := self._read(
            f"SELECT id, vector, {_PHOTO} FROM mien_photo WHERE id > %s ORDER BY id LIMIT 1000",
            (last,),
        ):
            last = rows[-1][0]
            yield [Photo(*row[2:]) for row in rows], _matrix([row[1] for row in rows])

    def templates(self) -> tuple[list[str], Embeddings]:
        """Everyone's name, and the mean of their vectors scaled back to unit length, (P, D)."""
        rows = sorted(
            self._read("SELECT person, vector FROM mien_person"), key=lambda row: str(row[0])
        )
        return [row[0] for row in rows], _matrix([row[1] for row in rows]).reshape(-1, self.dim)

    def search(self, vectors: Embeddings, threshold: float, k: int = 1) -> list[Match]:
        """The nearest person to each face, and the k nearest."""
        return [best_of(nearest, threshold) for nearest in self.nearest(vectors, k)]

    def nearest(self, vectors: Embeddings, count: int) -> list[list[Match]]:
        """The people nearest to each face, best first."""
        self.require(self.model_id)
        matches = []
        for query in vectors.astype("<f4"):
            rows = self._read(
                "SELECT person, vector FROM mien_person ORDER BY vector <#> %s LIMIT %s",
                (query, max(count, common.CANDIDATES)),
            )
            names, templates = [row[0] for row in rows], _matrix([row[1] for row in rows])
            matches.append(common.nearest(query, names, templates, count))
        return matches

    def add(self, photos: Sequence[Photo], vectors: Embeddings) -> int:
        """Add photos; a photo that is there already stays as it is, whosever it is."""
        rows = _rows(photos, vectors, self.dim)
        with self._writing():
            added = self._insert(rows)
            self._refresh({row[0] for row in rows})
        return added

    def replace(self, photos: Sequence[Photo], vectors: Embeddings, *, model_id: str) -> None:
        """Replace everything with photos and another model's vectors."""
        dim = vectors.shape[1]
        rows = _rows(photos, vectors, dim)
        with self._writing():
            self._db.execute("DELETE FROM mien_photo")
            self._db.execute("DELETE FROM mien_person")
            self._db.execute("UPDATE mien_facebank SET model_id = %s, dim = %s", (model_id, dim))
            self._insert(rows)
            self._refresh({row[0] for row in rows})
        self.model_id, self.dim = model_id, dim

    def move(self, photos: Sequence[Photo]) -> None:
        """Move photos that are there to the person, folder and file given here."""
        new = [(person_name(photo.person), photo) for photo in photos]
        with self._writing():
            people = set()
            for name, photo in new:
                people |= {name, *self._whose([photo.sha256])}
                self._db.execute(
                    "UPDATE mien_photo SET person = %s, folder = %s, file = %s WHERE sha256 = %s",
                    (name, photo.folder, photo.file, photo.sha256),
                )
            self._refresh(people)

    def rename(self, old: str, new: str, *, merge: bool = False) -> None:
        """Give a person another name."""
        old, new = spelled(old), person_name(new)
        with self._writing():
            photos = self.photos(old)
            if not merge and old != new and new in [person.name for person in self.people()]:
                raise BadInput(f"{new} is in the facebank already: choose another name, or --merge")
            self.move([replace(photo, person=new) for photo in photos])

    def delete_person(self, name: str) -> int:
        """Delete a person; returns how many photos they had."""
        return self.delete_photos(photo.sha256 for photo in self.photos(name))

    def delete_photos(self, sha256s: Iterable[str]) -> int:
        """Delete photos; returns how many were there."""
        ids = list(sha256s)
        with self._writing():
            people = self._whose(ids)
            gone = self._db.execute("DELETE FROM mien_photo WHERE sha256 = ANY(%s)", (ids,))
            self._refresh(people)
        return int(gone.rowcount)

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> int:
        with self._db.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO mien_photo ({_PHOTO}, vector)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (sha256) DO NOTHING",
                rows,
            )
            return int(cursor.rowcount)

    def _refresh(self, people: Iterable[str]) -> None:
        """Recompute the templates of some people."""
        names = list(people)
        self._db.execute("DELETE FROM mien_person WHERE person = ANY(%s)", (names,))
        self._db.execute(
            "INSERT INTO mien_person SELECT person, l2_normalize(avg(vector)) FROM mien_photo"
            " WHERE person = ANY(%s) GROUP BY person",
            (names,),
        )

    def _whose(self, ids: list[str]) -> set[str]:
        rows = self._read("SELECT DISTINCT person FROM mien_photo WHERE sha256 = ANY(%s)", (ids,))
        return {row[0] for row in rows}

    def _made_for(self) -> tuple[str, int]:
        rows = self._read("SELECT model_id, dim FROM mien_facebank")
        if not rows:
            raise BadFacebank(f"{self.path} does not say which model it belongs to: give another")
        return rows[0][0], rows[0][1]

    def _read(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._in_words():
            rows: list[tuple[Any, ...]] = self._live().execute(query, values).fetchall()
        return rows

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._in_words(), self._live().transaction():
            self._db.execute("LOCK TABLE mien_facebank IN EXCLUSIVE MODE")  # one writes at a time
            self.require(self.model_id)
            yield

    def _live(self) -> Any:
        """The connection; a new one if the server has restarted."""
        if self._db.closed:
            self._db = _connect(self._address)
        return self._db

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """PostgreSQL's errors as ours."""
        with needs_extra(self.path, "postgres"):
            import pgvector.psycopg  # noqa: F401
            import psycopg
        try:
            yield
        except psycopg.errors.UndefinedTable as error:
            raise BadFacebank(
                f"no facebank at {self.path}: make one with mien enroll FOLDER"
            ) from error
        except (psycopg.errors.DiskFull, psycopg.errors.ReadOnlySqlTransaction) as error:
            raise CannotWrite(f"{self.path} cannot be written to ({_line(error)})") from error
        except psycopg.Error as error:
            raise BadFacebank(
                f"{self.path} cannot be used now ({_line(error)}): check that PostgreSQL with"
                " pgvector runs there"
            ) from error


def _make(address: str, model_id: str | None, dim: int) -> None:
    """Create the facebank's tables if they are missing."""
    import psycopg

    with psycopg.connect(address) as db:  # one transaction
        db.execute("SELECT pg_advisory_xact_lock(1835623790)")
        db.execute(_TABLES)
        db.execute(
            "INSERT INTO mien_facebank VALUES (1, %s, %s) ON CONFLICT DO NOTHING", (model_id, dim)
        )


def _connect(address: str) -> Any:
    """A connection to a facebank that is there, which takes and gives vectors."""
    import psycopg
    from pgvector.psycopg import register_vector

    with ExitStack() as undo:
        db = psycopg.connect(address, autocommit=True)
        undo.callback(db.close)
        db.execute("SELECT FROM mien_facebank")  # where it lacks, the extension may lack as well
        register_vector(db)
        undo.pop_all()
    return db


def _rows(photos: Sequence[Photo], vectors: Embeddings, dim: int) -> list[tuple[Any, ...]]:
    pairs = zip(named(photos, vectors, dim), vectors.astype("<f4"), strict=True)
    return [(*astuple(photo), vector) for photo, vector in pairs]


def _matrix(vectors: Sequence[Any]) -> Embeddings:
    rows = [vector.to_numpy() if hasattr(vector, "to_numpy") else vector for vector in vectors]
    return np.array(rows, "<f4")


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
