"""Where a facebank is kept: in a file of its own, or in a database that others run.

An address is a path, or begins with one of these:

    milvus+file:FILE            Milvus Lite, without a server
    milvus://HOST:PORT          a Milvus server or cluster
    postgresql://HOST/DATABASE  PostgreSQL with the extension pgvector

All engines do the same; tests/test_engines.py holds them to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Protocol, Self

from mien.errors import BadFacebank, BadInput, without_password
from mien.facebank.facebank import Facebank
from mien.facebank.rows import Person, Photo
from mien.types import Embeddings, Match


class Store(Protocol):
    """What every engine does, as `mien.facebank.facebank.Facebank` describes it."""

    path: str

    @property
    def model_id(self) -> str: ...
    @property
    def dim(self) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def close(self) -> None: ...
    def require(self, model_id: str) -> None: ...
    def people(self) -> list[Person]: ...
    def photos(self, person: str | None = None) -> list[Photo]: ...
    def photo(self, sha256: str) -> Photo | None: ...
    def contents(self, person: str | None = None) -> tuple[list[Photo], Embeddings]: ...
    def batches(self) -> Iterator[tuple[list[Photo], Embeddings]]: ...
    def templates(self) -> tuple[list[str], Embeddings]: ...
    def search(self, vectors: Embeddings, threshold: float, k: int = 1) -> list[Match]: ...
    def nearest(self, vectors: Embeddings, count: int) -> list[list[Match]]: ...
    def add(self, photos: Sequence[Photo], vectors: Embeddings) -> int: ...
    def replace(self, photos: Sequence[Photo], vectors: Embeddings, *, model_id: str) -> None: ...
    def move(self, photos: Sequence[Photo]) -> None: ...
    def rename(self, old: str, new: str, *, merge: bool = False) -> None: ...
    def delete_person(self, name: str) -> int: ...
    def delete_photos(self, sha256s: Iterable[str]) -> int: ...


@dataclass(frozen=True, slots=True)
class Copied:
    """A facebank that is in two places now."""

    people: int
    photos: int
    sha256: str  # of all rows, in hex; the same in both


def open_store(address: str | Path, *, model_id: str | None = None) -> Store:
    """The facebank at an address where there is one; see `Facebank.open`.

    Raises:
        MissingExtra: the engine's client is not installed.
        BadFacebank: there is none, or its engine cannot be reached.
    """
    if engine := _engine(str(address)):
        return engine(str(address), model_id, None)
    return Facebank.open(address, model_id=model_id)


def create_store(address: str | Path, *, model_id: str, dim: int) -> Store:
    """The facebank at an address, made if there is none; see `Facebank.create`."""
    if engine := _engine(str(address)):
        return engine(str(address), model_id, dim)
    return Facebank.create(address, model_id=model_id, dim=dim)


def exists(address: str | Path) -> bool:
    """Whether a facebank is at an address."""
    if not _engine(str(address)):
        return Path(address).exists()
    try:
        open_store(address).close()
    except BadFacebank:
        return False
    return True


def own_file(address: str | Path) -> Path:
    """The file that an address names.

    Raises:
        BadInput: it names another engine, which has no such file.
    """
    if _engine(str(address)):
        raise BadInput(
            f"{without_password(str(address))} is a database, and this works on files only: use the"
            " database's own tools, or copy it into a file with mien people move"
        )
    return Path(address)


def copy(source: Store, create: Callable[[str, int], Store]) -> Copied:
    """Copy a facebank to another database, and verify the copy.

    Args:
        source: stays as it is.
        create: makes the other one for a model and a number of dimensions.

    Raises:
        BadInput: somebody is in the other one already.
        BadFacebank: the copy differs.
    """
    with create(source.model_id, source.dim) as target:
        if target.people():
            raise BadInput(f"{target.path} has people already: give an address where nobody is")
        for photos, vectors in source.batches():
            target.add(photos, vectors)
        sent, arrived = digest(source), digest(target)
        if sent != arrived:
            raise BadFacebank(
                f"{target.path} has {arrived[0]} of {sent[0]} photos or has changed them: delete"
                " it, and move again while nobody enrols"
            )
        return Copied(len(target.people()), *arrived)


def digest(store: Store) -> tuple[int, str]:
    """How many photos there are, and a SHA-256 of all that is known of them, in any order."""
    rows = sorted(
        hashlib.sha256(repr(astuple(photo)).encode() + vector.astype("<f4").tobytes()).digest()
        for photos, vectors in store.batches()
        for photo, vector in zip(photos, vectors, strict=True)
    )
    return len(rows), hashlib.sha256(b"".join(rows)).hexdigest()


def _engine(address: str) -> Callable[[str, str | None, int | None], Store] | None:
    """What opens a facebank at such an address; None where that is a file of ours.

    It takes the address, the model, and the dimensions of a vector where one may be made.
    """
    if address.startswith(("milvus:", "milvus+file:")):
        from mien.facebank.stores.milvus import MilvusStore

        return MilvusStore
    if address.startswith(("postgresql:", "postgres:")):
        from mien.facebank.stores.postgres import PostgresStore

        return PostgresStore
    return None
