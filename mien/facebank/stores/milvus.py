"""A facebank in Milvus: in a file without a server, on a server, or in a cluster, by one client.

Photos are one collection and templates another, which is searched.  Milvus has no transactions, so
people whose photos are about to change are recorded as pending until their templates have been
recomputed; after a crash, opening the facebank does that.  The index is exact: a graph with
unsuitable settings would lose people, and nobody would notice.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields, replace
from itertools import chain, groupby
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import numpy as np

from mien.errors import BadFacebank, BadInput, UnknownPerson, needs_extra, without_password
from mien.facebank.rows import (
    Person,
    Photo,
    best_of,
    named,
    person_name,
    require_model,
    spelled,
    template,
)
from mien.facebank.stores import common
from mien.types import Embeddings, Match

BATCH = 500  # rows in a message; Milvus searches for 16,384 at most
_TEXT = {"sha256": 64, "person": 1024, "folder": 16384, "file": 16384, "added": 32}  # bytes
_PHOTO = [field.name for field in fields(Photo)]
_ALL = [*_PHOTO, "number", "vector"]


class MilvusStore:
    """People and their photos in Milvus; see `mien.facebank.stores.Store`."""

    def __init__(self, address: str, model_id: str | None, dim: int | None) -> None:
        self.path = without_password(address)
        self._last = 0  # number of the photo that was added last
        with ExitStack() as undo, self._in_words():
            self._client, self._prefix = _connect(address)
            undo.callback(self.close)
            if not self._client.has_collection(self._prefix + "about"):
                if dim is None:
                    raise BadFacebank(f"no facebank at {self.path}: make one with mien enroll")
                self._make_about(model_id or "", dim)
            self._about = self._read_about()
            if model_id is not None:
                self.require(model_id)
            self._refresh(self._about["pending"])
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @property
    def model_id(self) -> str:
        """The model that made the vectors."""
        return str(self._about["model_id"])

    @property
    def dim(self) -> int:
        """The dimensions of a vector."""
        return int(self._about["dim"])

    def require(self, model_id: str) -> None:
        """Raise FacebankMismatch unless the vectors were made by this model."""
        self._about = self._read_about()
        require_model(self.path, self.model_id, model_id)

    def people(self) -> list[Person]:
        """Everyone, by name."""
        names = sorted(row["person"] for row in self._rows("photo", ["person"]))
        return [Person(name, len(list(group))) for name, group in groupby(names)]

    def photos(self, person: str | None = None) -> list[Photo]:
        """The photos of a person, or of everyone, in the order in which they were added."""
        if person is None:
            rows = self._rows("photo", [*_PHOTO, "number"])
        else:
            rows = self._of([spelled(person)], [*_PHOTO, "number"])
        found = [_photo(row) for row in sorted(rows, key=lambda row: row["number"])]
        if person is not None and not found:
            raise UnknownPerson(f"nobody in {self.path} is called {person}: see mien people")
        return found

    def photo(self, sha256: str) -> Photo | None:
        """The photo with this hash, or None."""
        return next(map(_photo, self._get([sha256], _PHOTO)), None)

    def contents(self, person: str | None = None) -> tuple[list[Photo], Embeddings]:
        """What `photos` returns, and the vector of each, (N, D)."""
        if person is None:
            return common.contents(self.batches(), self.dim)
        photos = self.photos(person)
        rows = {row["sha256"]: row for row in self._get([photo.sha256 for photo in photos])}
        vectors = [rows[photo.sha256]["vector"] for photo in photos]
        return photos, np.array(vectors, "<f4").reshape(-1, self.dim)

    def batches(self) -> Iterator[tuple[list[Photo], Embeddings]]:
        """Photos and their vectors, in the order in which they were added."""
        numbers = {row["sha256"]: row["number"] for row in self._rows("photo", ["number"])}
        for ids in _parts(sorted(numbers, key=numbers.__getitem__)):
            found = {row["sha256"]: row for row in self._get(ids)}
            rows = [found[sha256] for sha256 in ids if sha256 in found]
            yield [_photo(row) for row in rows], np.array([row["vector"] for row in rows], "<f4")

    def templates(self) -> tuple[list[str], Embeddings]:
        """Everyone's name, and the mean of their vectors scaled back to unit length, (P, D)."""
        rows = sorted(self._rows("person", ["person", "vector"]), key=lambda row: row["person"])
        vectors = np.array([row["vector"] for row in rows], "<f4").reshape(-1, self.dim)
        return [row["person"] for row in rows], vectors

    def search(self, vectors: Embeddings, threshold: float, k: int = 1) -> list[Match]:
        """The nearest person to each face, and the k nearest."""
        return [best_of(nearest, threshold) for nearest in self.nearest(vectors, k)]

    def nearest(self, vectors: Embeddings, count: int) -> list[list[Match]]:
        """The people nearest to each face, best first."""
        self.require(self.model_id)
        matches = []
        for queries in _parts(vectors):
            with self._in_words():
                answers = self._client.search(
                    self._name("person"),
                    data=queries.tolist(),
                    limit=max(count, common.CANDIDATES),
                    output_fields=["person", "vector"],
                    search_params={"metric_type": "IP"},
                    consistency_level="Strong",
                )
            for query, hits in zip(queries, answers, strict=True):
                found = [hit["entity"] for hit in hits]
                templates = np.array([row["vector"] for row in found], "<f4")
                names = [row["person"] for row in found]
                matches.append(common.nearest(query, names, templates, count))
        return matches

    def add(self, photos: Sequence[Photo], vectors: Embeddings) -> int:
        """Add photos; a photo that is there already stays as it is, whosever it is."""
        rows = self._numbered(named(photos, vectors, self.dim), vectors)
        with self._writing():
            there = {row["sha256"] for row in self._get(list(rows), ["sha256"])}
            new = [row for sha256, row in rows.items() if sha256 not in there]
            self._change({row["person"] for row in new}, put=new)
        return len(new)

    def replace(self, photos: Sequence[Photo], vectors: Embeddings, *, model_id: str) -> None:
        """Replace everything with photos and another model's vectors."""
        dim = vectors.shape[1]
        rows = self._numbered(named(photos, vectors, dim), vectors)
        with self._writing():
            old = self._about
            self._about = {
                **old,
                "model_id": model_id,
                "dim": dim,
                "generation": old["generation"] + 1,
            }
            self._make_collections()
            for part in _parts(list(rows.values())):
                self._client.insert(self._name("photo"), part)
            self._refresh({row["person"] for row in rows.values()})
            self._write_about(pending=[])  # from here on it is the new generation that counts
            for kind in ("photo", "person"):
                self._client.drop_collection(f"{self._prefix}{kind}_{old['generation']}")

    def move(self, photos: Sequence[Photo]) -> None:
        """Move photos that are there to the person, folder and file given here."""
        new = {photo.sha256: photo for photo in photos}
        names = {sha256: person_name(photo.person) for sha256, photo in new.items()}
        with self._writing():
            rows = self._get(list(new))
            people = {row["person"] for row in rows}
            for row in rows:
                photo = new[row["sha256"]]
                row |= {
                    "person": names[photo.sha256],
                    "folder": photo.folder,
                    "file": photo.file,
                }
            self._change(people | {row["person"] for row in rows}, put=rows)

    def rename(self, old: str, new: str, *, merge: bool = False) -> None:
        """Give a person another name."""
        old, new = spelled(old), person_name(new)
        with self._writing():
            photos = self.photos(old)
            if not merge and old != new and self._of([new], ["sha256"]):
                raise BadInput(f"{new} is in the facebank already: choose another name, or --merge")
            self.move([replace(photo, person=new) for photo in photos])

    def delete_person(self, name: str) -> int:
        """Delete a person; returns how many photos they had."""
        return self.delete_photos(photo.sha256 for photo in self.photos(name))

    def delete_photos(self, sha256s: Iterable[str]) -> int:
        """Delete photos; returns how many were there."""
        with self._writing():
            rows = self._get(list(sha256s), ["sha256", "person"])
            self._change({row["person"] for row in rows}, gone=[row["sha256"] for row in rows])
        return len(rows)

    def _change(
        self, people: set[str], *, put: Sequence[dict[str, Any]] = (), gone: Sequence[str] = ()
    ) -> None:
        """Write or delete photos, and recompute the templates of these people."""
        if not people:
            return
        self._write_about(pending=sorted(people))
        for part in _parts(put):
            self._client.upsert(self._name("photo"), part)
        for ids in _parts(gone):
            self._client.delete(self._name("photo"), filter=_among("sha256", ids))
        self._refresh(people)

    def _refresh(self, people: Iterable[str]) -> None:
        """Recompute templates, after which nothing is pending."""
        for names in _parts(sorted(people)):
            rows = sorted(self._of(names, ["person", "vector"]), key=lambda row: row["person"])
            templates = [
                {
                    "person": name,
                    "vector": template(np.array([row["vector"] for row in group], "<f4")),
                }
                for name, group in groupby(rows, key=lambda row: str(row["person"]))
            ]
            gone = sorted(set(names) - {row["person"] for row in rows})
            if templates:
                self._client.upsert(self._name("person"), templates)
            if gone:
                self._client.delete(self._name("person"), filter=_among("person", gone))
        if people:
            self._write_about(pending=[])

    def _numbered(self, photos: Sequence[Photo], vectors: Embeddings) -> dict[str, dict[str, Any]]:
        """Rows of the collection by their keys; of several with one key the first."""
        rows: dict[str, dict[str, Any]] = {}
        for photo, vector in zip(photos, vectors.astype("<f4"), strict=True):
            self._last = max(self._last + 1, time.time_ns())
            rows.setdefault(photo.sha256, {**asdict(photo), "number": self._last, "vector": vector})
        return rows

    def _rows(self, kind: str, columns: list[str], where: str = "") -> list[dict[str, Any]]:
        """The rows of a collection, all by default."""
        with self._in_words():
            pages = self._client.query_iterator(
                self._name(kind),
                batch_size=BATCH,
                filter=where,
                output_fields=columns,
                consistency_level="Strong",
            )
            found: list[dict[str, Any]] = []
            while page := pages.next():
                found += page
            pages.close()
        return found

    def _of(self, people: Sequence[str], columns: list[str]) -> list[dict[str, Any]]:
        """The photos' rows of some people."""
        return self._rows("photo", columns, _among("person", people))

    def _get(self, ids: Sequence[str], columns: list[str] = _ALL) -> list[dict[str, Any]]:
        """The photos' rows of some keys."""
        parts = [self._rows("photo", columns, _among("sha256", part)) for part in _parts(ids)]
        return list(chain.from_iterable(parts))

    def _name(self, kind: str) -> str:
        return f"{self._prefix}{kind}_{self._about['generation']}"

    def _make_about(self, model_id: str, dim: int) -> None:
        self._about = {"model_id": model_id, "dim": dim, "generation": 1, "pending": []}
        self._make_collections()
        schema = _schema({"id": 64, "about": 65535}, "id", 2)  # Milvus wants a vector in each
        self._create("about", schema)
        self._write_about()

    def _make_collections(self) -> None:
        photo = _schema(_TEXT, "sha256", self.dim, numbers=("confidence", "size"))
        for kind, schema in (
            ("photo", photo),
            ("person", _schema({"person": 1024}, "person", self.dim)),
        ):
            name = self._name(kind)
            if self._client.has_collection(name):  # left behind by a crash, before it was in use
                self._client.drop_collection(name)
            self._create(name.removeprefix(self._prefix), schema)

    def _create(self, kind: str, schema: Any) -> None:
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        self._client.create_collection(
            self._prefix + kind, schema=schema, index_params=index, consistency_level="Strong"
        )

    def _read_about(self) -> dict[str, Any]:
        with self._in_words():
            rows = self._client.get(
                self._prefix + "about",
                ids=["facebank"],
                output_fields=["about"],
                consistency_level="Strong",
            )
        try:
            about: dict[str, Any] = json.loads(rows[0]["about"])
            if about.keys() >= {"model_id", "dim", "generation", "pending"}:
                return about
        except (IndexError, KeyError, ValueError):
            pass
        raise BadFacebank(f"{self.path} is not a facebank or is damaged: give another address")

    def _write_about(self, **changes: Any) -> None:
        self._about |= changes
        row = {"id": "facebank", "about": json.dumps(self._about), "vector": [1.0, 0.0]}
        self._client.upsert(self._prefix + "about", [row])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._in_words():
            self.require(self.model_id)
            yield

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Milvus's errors as ours."""
        with needs_extra(self.path, "milvus"):
            from pymilvus.exceptions import MilvusException
        try:
            yield
        except MilvusException as error:
            raise BadFacebank(
                f"{self.path} cannot be used now ({error.message}): check that Milvus runs there"
            ) from error


def _connect(address: str) -> tuple[Any, str]:
    """A client, and what its collections' names begin with."""
    from pymilvus import MilvusClient

    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # what goes wrong is raised
    if address.startswith("milvus+file:"):
        return MilvusClient(address.removeprefix("milvus+file:")), "mien_"
    parts = urlsplit(address)
    client = MilvusClient(
        f"http://{parts.hostname}:{parts.port or 19530}",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )
    return client, f"{parts.path.strip('/') or 'mien'}_"


def _schema(texts: dict[str, int], key: str, dim: int, numbers: Sequence[str] = ()) -> Any:
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    for name, size in texts.items():
        schema.add_field(name, DataType.VARCHAR, max_length=size, is_primary=name == key)
    for name in numbers:
        schema.add_field(name, DataType.DOUBLE)
    if numbers:
        schema.add_field("number", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    return schema


def _photo(row: dict[str, Any]) -> Photo:
    return Photo(**{name: row[name] for name in _PHOTO})


def _among(column: str, values: Sequence[str]) -> str:
    """A filter; pymilvus itself puts keys into its filters without escaping their quotes."""
    return f"{column} in {json.dumps(list(values), ensure_ascii=False)}"


def _parts(things: Sequence[Any] | Embeddings) -> Iterator[Any]:
    for start in range(0, len(things), BATCH):
        yield things[start : start + BATCH]
