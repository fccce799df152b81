"""The facebank: what it finds and refuses, that nothing is lost and nothing left of the deleted."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import children
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import BadFacebank, BadInput, CannotWrite, FacebankMismatch, UnknownPerson
from mien.facebank.facebank import Facebank
from mien.facebank.rows import Person, Photo, person_name
from mien.facebank.sqlite import BESIDE
from mien.facebank.tables import MIGRATIONS
from mien.types import Embeddings, Match, Near

MODEL = "tiny-1a2b3c"
DIM = 8
DOCS = Path(__file__).parents[2] / "docs" / "facebank.md"


def unit_vectors(count: int, *, seed: int = 0, dim: int = DIM) -> Embeddings:
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    unit: Embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")
    return unit


def photo(person: str, number: int) -> Photo:
    return Photo(person, f"{number:064x}", "/photos", f"{person}/{number}.jpg", 0.99, 80.0)


def make(path: Path | str, people: int = 3, photos: int = 2) -> Facebank:
    """A facebank of A, B, C and so on."""
    facebank = Facebank.create(path, model_id=MODEL, dim=DIM)
    names = [chr(ord("A") + i // photos) for i in range(people * photos)]
    rows = [photo(name, number) for number, name in enumerate(names)]
    facebank.add(rows, unit_vectors(people * photos))
    return facebank


@pytest.fixture
def facebank() -> Iterator[Facebank]:
    with make(":memory:") as made:
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a facebank in a file that nobody has open."""
    made = tmp_path / "people.facebank"
    make(made).close()
    return made


def contents(path: Path) -> tuple[list[Photo], Embeddings]:
    with Facebank.open(path, model_id=MODEL) as facebank:
        return facebank.photos(), facebank.templates()[1]


def alter(path: Path, *statements: str) -> None:
    """Change a database behind mien's back."""
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


def same(one: tuple[list[Photo], Embeddings], other: tuple[list[Photo], Embeddings]) -> bool:
    return one[0] == other[0] and np.array_equal(one[1], other[1])


def is_one_sentence(error: BaseException) -> bool:
    return "\n" not in str(error) and ". " not in str(error) and not str(error).endswith(".")


def test_what_is_added_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    rows = [photo("Ann", 1), photo("Zoë", 2), photo("Ann", 3)]
    path = tmp_path / "new folder, 50 % é?#" / "f"
    with Facebank.create(path, model_id=MODEL, dim=DIM) as facebank:
        assert facebank.add(rows, unit_vectors(3)) == 3
    with Facebank.open(path, model_id=MODEL) as facebank:
        assert (facebank.model_id, facebank.dim) == (MODEL, DIM)
        assert facebank.people() == [Person("Ann", 2), Person("Zoë", 1)]
        assert facebank.photos() == rows
        assert facebank.photos("Ann") == [rows[0], rows[2]]
        assert facebank.search(unit_vectors(3)[1:2], 0.9)[0].person == "Zoë"


def test_a_photo_says_when_it_was_added_and_where_it_was() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", photo("Ann", 1).added)
    assert photo("Ann", 1).path == Path("/photos/Ann/1.jpg")


def test_only_the_owner_can_read_a_new_facebank(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_same_photo_is_added_once_and_stays_as_it_was(facebank: Facebank) -> None:
    before = facebank.photos()
    again = [photo("Somebody else", 0), photo("New", 100)]
    assert facebank.add(again, unit_vectors(2, seed=1)) == 1
    assert facebank.photos() == [*before, again[1]]


def test_a_template_is_the_mean_of_the_vectors_at_unit_length(facebank: Facebank) -> None:
    names, templates = facebank.templates()
    vectors = unit_vectors(6).astype(float)
    assert names == ["A", "B", "C"]
    for number, template in enumerate(templates):
        mean = vectors[2 * number : 2 * number + 2].mean(axis=0)
        np.testing.assert_allclose(template, mean / np.linalg.norm(mean), atol=1e-6)


def test_opposite_vectors_make_a_template_that_is_like_nobody() -> None:
    one = unit_vectors(1)
    with Facebank.create(":memory:", model_id=MODEL, dim=DIM) as facebank:
        facebank.add([photo("Ann", 1), photo("Ann", 2)], np.concatenate([one, -one]))
        assert facebank.search(one, 0.1) == [Match(None, 0.0)]


@pytest.mark.parametrize(
    "vectors",
    [
        unit_vectors(2),
        unit_vectors(1, dim=DIM + 1),
        unit_vectors(1) * 1.01,
        unit_vectors(1) * np.nan,
        unit_vectors(1)[0],
    ],
)
def test_vectors_that_the_model_cannot_have_made_are_a_mistake(
    facebank: Facebank, vectors: Embeddings
) -> None:
    with pytest.raises(ValueError, match="unit length"):
        facebank.add([photo("Ann", 100)], vectors)


@given(seed=st.integers(0, 2**32 - 1), people=st.integers(1, 10), photos=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_search_finds_what_a_loop_finds(seed: int, people: int, photos: int) -> None:
    vectors = unit_vectors(people * photos, seed=seed)
    with Facebank.create(":memory:", model_id=MODEL, dim=DIM) as facebank:
        rows = [photo(f"P{number % people}", number) for number in range(len(vectors))]
        facebank.add(rows, vectors)
        queries = unit_vectors(5, seed=seed + 1)
        for query, match in zip(queries, facebank.search(queries, -1), strict=True):
            scores = {}
            for person in range(people):
                mean = vectors[person::people].astype(float).mean(axis=0)
                scores[f"P{person}"] = float(mean @ query / np.linalg.norm(mean))
            assert match.person is not None
            assert match.score == pytest.approx(max(scores.values()), abs=1e-5)
            assert scores[match.person] == pytest.approx(match.score, abs=1e-5)


def test_a_score_at_the_threshold_earns_the_name(facebank: Facebank) -> None:
    query = unit_vectors(1, seed=5)
    (match,) = facebank.search(query, -1)
    assert facebank.search(query, match.score) == [match]
    assert facebank.search(query, np.nextafter(match.score, 2)) == [Match(None, match.score)]


def test_a_score_never_leaves_its_range_by_round_off() -> None:
    vectors = unit_vectors(500)
    assert (np.sum(vectors * vectors, axis=1) > 1).any()
    with Facebank.create(":memory:", model_id=MODEL, dim=DIM) as facebank:
        facebank.add([photo(f"P{i}", i) for i in range(500)], vectors)
        assert max(match.score for match in facebank.search(vectors, 0.5)) == 1
        assert [match.person for match in facebank.search(vectors, 0.5)] == [
            f"P{i}" for i in range(500)
        ]


def test_an_empty_facebank_knows_nobody_and_no_faces_have_no_matches(facebank: Facebank) -> None:
    with Facebank.create(":memory:", model_id=MODEL, dim=DIM) as empty:
        assert empty.people() == []
        assert empty.photos() == []
        assert empty.search(unit_vectors(2), -1) == [Match(None, -1.0)] * 2
    assert facebank.search(unit_vectors(0), 0.5) == []


def test_search_sees_every_change_at_once(path: Path) -> None:
    query = unit_vectors(1, seed=9)
    with Facebank.open(path) as mine, Facebank.open(path) as others:

        def found() -> list[str | None]:
            return [bank.search(query, 0.99)[0].person for bank in (mine, others)]

        assert found() == [None, None]
        mine.add([photo("New", 100)], query)
        assert found() == ["New", "New"]
        others.rename("New", "Newer")
        assert found() == ["Newer", "Newer"]
        mine.delete_person("Newer")
        assert found() == [None, None]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ann", "Ann"),
        (" Ann  Lee ", "Ann  Lee"),
        ("J. R. R. Tolkien", "J. R. R. Tolkien"),
        ("...", "..."),
        ("Zoe\u0308", "Zoë"),
        ("李小龙", "李小龙"),
        ("ক্ষ\u200dণিকা", "ক্ষ\u200dণিকা"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("گل\u200cپری", "گل\u200cپری"),
        ("日" * 85, "日" * 85),
        ("O'Neil; DROP TABLE photo; --", "O'Neil; DROP TABLE photo; --"),
        ("Unknown Soldier", "Unknown Soldier"),
    ],
)
def test_names_of_any_script(facebank: Facebank, text: str, name: str) -> None:
    assert person_name(text) == name
    facebank.rename("A", text)
    assert [person.name for person in facebank.people() if person.name not in "BC"] == [name]
    assert facebank.delete_person(text) == 2


@pytest.mark.parametrize(
    "text",
    ["", "  ", ".", "..", "a/b", "a\\b", "a\0", "a\nb", "\x1b[31mred", "a\u2028b", "\udcff",
     "unknown", "Unknown", "\uff55nknown", "\u200b", "unknown\u200b", "unk\u200dnown", "Ann\u200c",
     "\u202eevil", "A\u2066nn", "A\u00adnn", "A\ufeff", "\u3164", "Ann\ufe0f", "\u2800",
     "日" * 86],
)  # fmt: skip
def test_what_cannot_be_a_name(facebank: Facebank, text: str) -> None:
    before = facebank.photos()
    for change in (
        lambda: facebank.rename("A", text),
        lambda: facebank.add([photo(text, 100)], unit_vectors(1)),
        lambda: facebank.move([photo(text, 1)]),
    ):
        with pytest.raises(BadInput, match="cannot be a person's name") as caught:
            change()
        assert is_one_sentence(caught.value)
    assert facebank.photos() == before


def test_who_has_a_name_of_before_can_be_renamed_and_deleted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Facebank.open(path) as facebank:
        with monkeypatch.context() as before:
            before.setattr("mien.facebank.rows.person_name", str)
            facebank.add([photo("a\u200b", 10), photo("b/", 11)], unit_vectors(2))
        facebank.rename("a\u200b", "D")
        assert facebank.delete_person("b/") == 1
        assert [person.name for person in facebank.people()] == ["A", "B", "C", "D"]


def test_a_person_can_be_renamed(facebank: Facebank) -> None:
    facebank.rename("B", "Ben")
    assert facebank.people() == [Person("A", 2), Person("Ben", 2), Person("C", 2)]
    facebank.rename("Ben", "Ben")
    assert len(facebank.photos("Ben")) == 2


def test_two_people_become_one_only_on_request(facebank: Facebank) -> None:
    with pytest.raises(BadInput, match="C is in the facebank already"):
        facebank.rename("A", "C")
    assert facebank.people() == [Person("A", 2), Person("B", 2), Person("C", 2)]
    facebank.rename("A", "C", merge=True)
    assert facebank.people() == [Person("B", 2), Person("C", 4)]


def test_photos_can_be_moved(facebank: Facebank) -> None:
    new = Photo("New", f"{1:064x}", "/elsewhere", "New/x.jpg", 0.99, 80.0)
    facebank.move([new])
    (moved,) = facebank.photos("New")
    assert (moved.folder, moved.file, moved.sha256) == ("/elsewhere", "New/x.jpg", new.sha256)
    assert facebank.people()[0] == Person("A", 1)


def test_nobody_of_that_name(facebank: Facebank) -> None:
    for change in (
        lambda: facebank.rename("Nobody", "A", merge=True),
        lambda: facebank.delete_person("Nobody"),
        lambda: facebank.photos("Nobody"),
    ):
        with pytest.raises(UnknownPerson, match="Nobody") as caught:
            change()
        assert is_one_sentence(caught.value)
    assert len(facebank.photos()) == 6


def test_deleting_photos_and_people(facebank: Facebank) -> None:
    assert facebank.delete_photos([photo("A", 0).sha256, "not there"]) == 1
    assert facebank.people()[0] == Person("A", 1)
    np.testing.assert_allclose(facebank.templates()[1][0], unit_vectors(6)[1], atol=1e-6)
    assert facebank.delete_photos([photo("A", 1).sha256]) == 1
    assert facebank.delete_person("B") == 2
    assert facebank.people() == [Person("C", 2)]
    assert facebank.delete_photos([]) == 0


@pytest.fixture
def cached(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a facebank with a cache beside it."""
    monkeypatch.setattr("mien.facebank.facebank.LARGE", 1)
    found = Facebank.open(path).search(unit_vectors(3, seed=1), -1)
    assert path.with_name(path.name + ".cache").is_file()
    monkeypatch.setattr(Facebank, "templates", None)  # it is not read again
    assert Facebank.open(path).search(unit_vectors(3, seed=1), -1) == found
    monkeypatch.undo()
    monkeypatch.setattr("mien.facebank.facebank.LARGE", 1)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda bank: bank.rename("A", "New"),
        lambda bank: bank.move([Photo("New", f"{1:064x}", "/", "x.jpg", 0.99, 80.0)]),
        lambda bank: bank.add([photo("New", 100)], unit_vectors(1, seed=9)),
        lambda bank: bank.delete_person("A"),
        lambda bank: bank.replace([photo("New", 1)], unit_vectors(1), model_id=MODEL),
    ],
)
def test_a_cache_goes_before_the_facebank_changes(
    cached: Path, change: Callable[[Facebank], object]
) -> None:
    with Facebank.open(cached) as bank:
        change(bank)
        assert not list(cached.parent.glob("*.cache*"))
        (match,) = bank.search(unit_vectors(1, seed=9), -1)
    again = Facebank.open(cached)
    assert again.search(unit_vectors(1, seed=9), -1) == [match]
    assert match.person in [person.name for person in again.people()]


def test_a_cache_of_an_older_state_is_not_used(cached: Path) -> None:
    kept = cached.with_name(cached.name + ".cache")
    old = kept.read_bytes()
    with Facebank.open(cached) as bank:
        bank.rename("A", "New")
        kept.write_bytes(old)
        names = {match.person for match in bank.search(unit_vectors(6), -1)}
    assert names == {"New", "B", "C"}


def test_a_facebank_that_may_only_be_read_gets_no_cache(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.facebank.facebank.LARGE", 1)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may do all
    assert Facebank.open(path).search(unit_vectors(1), -1)[0].person in ("A", "B", "C")
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_search_by_the_cache_is_in_the_log_and_keeps_the_cache(cached: Path) -> None:
    with Facebank.open(cached) as bank:
        bank.keep_log(9)
        face = bank.templates()[1][:1]
        bank.search(face, -1)
        kept = cached.with_name(cached.name + ".cache").read_bytes()
    with Facebank.open(cached) as bank:
        bank.search(face, -1)
        assert [(entry.action, entry.person) for entry in bank.log()] == [("searched", "A")] * 2
    assert cached.with_name(cached.name + ".cache").read_bytes() == kept


def test_the_cache_of_a_file_that_another_has_taken_the_place_of_is_not_used(cached: Path) -> None:
    kept = cached.with_name(cached.name + ".cache").read_bytes()
    other = cached.with_name("other")
    with Facebank.create(other, model_id=MODEL, dim=DIM) as bank:
        bank.add([photo("New", number) for number in range(6)], unit_vectors(6, seed=5))
    cached.write_bytes(other.read_bytes())  # the inode stays
    with Facebank.open(cached) as bank:
        assert bank.search(unit_vectors(1), -1)[0].person == "New"
    cached.with_name(cached.name + ".cache").write_bytes(kept)
    other.replace(cached)
    with Facebank.open(cached) as bank:
        assert bank.search(unit_vectors(1), -1)[0].person == "New"


@pytest.mark.parametrize("key", ["", "secret"])
def test_what_must_not_lie_on_the_disk_has_no_cache(
    path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.facebank.facebank.LARGE", 1)
    monkeypatch.chdir(path.parent)
    if key:
        pytest.importorskip("sqlcipher3", reason="needs mien[encryption]")
        Facebank.open(path).search(unit_vectors(1), -1)
        with Facebank.open(path) as bank:
            bank.encrypt(key)
            assert bank.search(bank.templates()[1], -1)[0].person == "A"
    else:
        bank = Facebank.create(":memory:", model_id=MODEL, dim=DIM)
        bank.add([photo("A", 1)], unit_vectors(1))
        assert bank.search(unit_vectors(1), -1)[0].person == "A"
    assert list(path.parent.iterdir()) == [path]


def test_batches_are_the_contents_and_notice_damage(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.facebank.facebank.BATCH", 4)
    with Facebank.open(path) as bank:
        photos, vectors = zip(*bank.batches(), strict=True)
        assert [len(some) for some in photos] == [4, 2]
        assert [one for some in photos for one in some] == bank.contents()[0]
        np.testing.assert_array_equal(np.concatenate(vectors), bank.contents()[1])
    alter(path, "UPDATE photo SET size = 81 WHERE person = 'C'")
    with Facebank.open(path) as bank, pytest.raises(BadFacebank, match="photo 5 is damaged"):
        list(bank.batches())


def test_a_persons_photos_are_read_and_checked_without_the_others(path: Path) -> None:
    alter(path, "UPDATE photo SET size = 81 WHERE person = 'C'")
    with Facebank.open(path) as bank:
        assert [one.file for one in bank.photos("A")] == ["A/0.jpg", "A/1.jpg"]
        assert bank.photo(photo("A", 1).sha256) == bank.photos("A")[1]
        assert bank.photo("none") is None
        for read in (bank.photos, bank.people, lambda: bank.photos("C")):
            with pytest.raises(BadFacebank, match="photo 5 is damaged"):
                read()


def test_who_is_to_be_deleted_is_not_hidden_by_a_damaged_index(path: Path) -> None:
    index = "CREATE INDEX photo_person ON photo (person)"
    with sqlite3.connect(path) as db:
        db.execute("DROP INDEX photo_person")
        db.execute(f"{index} WHERE file <> 'A/1.jpg'")
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'photo_person'", (index,))
    db.close()
    before = path.read_bytes()
    with Facebank.open(path) as bank:
        assert len(bank.photos("A")) == 1
        for change in (partial(bank.delete_person, "A"), partial(bank.rename, "A", "Ann")):
            with pytest.raises(BadFacebank, match=r"index has lost|malformed"):
                change()
            assert path.read_bytes() == before


@pytest.mark.parametrize("large", [1, 50_000])
def test_deleting_leaves_no_trace_in_any_file(
    tmp_path: Path, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.facebank.facebank.LARGE", large)
    rng = np.random.default_rng(0)  # finds traces where the file is not rewritten
    there: list[tuple[bytes, ...]] = []
    gone: list[tuple[bytes, ...]] = []

    def traces() -> list[bytes]:
        files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        return [trace for photo in gone for trace in photo if trace in files]

    with Facebank.create(tmp_path / "f", model_id=MODEL, dim=DIM) as facebank:
        for start in range(0, 600, 20):
            names = [f"{rng.integers(1 << 60):015x}" + "n" * rng.integers(200) for _ in range(20)]
            hashes = [f"{rng.integers(1 << 62):064x}" for _ in range(20)]
            vectors = unit_vectors(20, seed=start // 20)
            rows = [
                Photo(name, sha256, "/photos", f"{name}/1.jpg", 0.9, 5.0)
                for name, sha256 in zip(names, hashes, strict=True)
            ]
            facebank.add(rows, vectors)
            for row, vector in zip(rows, vectors, strict=True):
                there.append((row.person.encode(), row.sha256.encode(), vector.tobytes()))
            rng.shuffle(there)
            gone += there[:10]
            facebank.search(vectors, -1)  # leaves a cache where the facebank is large
            assert len(traces()) >= 30
            facebank.delete_photos(sha256.decode() for _, sha256, _ in there[:10])
            del there[:10]
            assert traces() == []
            facebank.search(vectors, -1)
            assert traces() == []


@pytest.mark.parametrize("mode", ["person", "photo"])
def test_a_deleted_name_is_gone_from_every_file_while_others_have_it_open(
    path: Path, mode: str
) -> None:
    with Facebank.open(path) as facebank, Facebank.open(path) as reader:
        facebank.rename("B", "Bartholomew")
        reader.search(unit_vectors(1), 0.5)
        if mode == "person":
            facebank.delete_person("Bartholomew")
        else:
            facebank.delete_photos(photo.sha256 for photo in reader.photos("Bartholomew"))
        left = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert b"Bartholomew" not in left
        assert unit_vectors(6)[2].tobytes() not in left
        assert unit_vectors(6)[0].tobytes() in left


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(BadFacebank, match="make one with mien enroll FOLDER"):
        Facebank.open(tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def other_database(path: Path) -> None:
    alter(path, "CREATE TABLE photo (id, person, vector)")


def altered(statement: str) -> Callable[[Path], None]:
    """Makes a facebank and alters it."""

    def spoil(path: Path) -> None:
        make(path).close()
        alter(path, statement)

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("people: Ann, Ben\n" * 100),
        lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(5000)),
        lambda path: path.write_bytes(os.urandom(20000)),
        Path.mkdir,
        other_database,
        altered("DROP TABLE facebank"),
        altered(f"UPDATE photo SET vector = zeroblob({4 * DIM}) WHERE id = 2"),
        altered("UPDATE photo SET vector = x'00' WHERE id = 2"),
    ],
)
def test_what_is_no_facebank_is_refused_and_left_alone(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "f"
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(BadFacebank) as caught:
        contents(path)
    assert is_one_sentence(caught.value)
    assert str(path) in str(caught.value)
    assert before == (path.read_bytes() if path.is_file() else None)
    assert list(tmp_path.iterdir()) == [path]


def test_a_foreign_file_is_not_made_into_a_facebank(tmp_path: Path) -> None:
    other_database(tmp_path / "f")
    before = (tmp_path / "f").read_bytes()
    with pytest.raises(BadFacebank):
        Facebank.create(tmp_path / "f", model_id=MODEL, dim=DIM)
    assert (tmp_path / "f").read_bytes() == before


@pytest.mark.parametrize("size", [1, 15, 16, 99, 100, 511, 512, 4095, 4096, 8192, 20479])
def test_a_truncated_file_is_refused(path: Path, size: int) -> None:
    whole = path.read_bytes()
    assert len(whole) > size
    path.write_bytes(whole[:size])
    with pytest.raises(BadFacebank) as caught:
        contents(path)
    assert is_one_sentence(caught.value)


def test_a_flipped_byte_in_the_header_changes_nothing_or_is_noticed(path: Path) -> None:
    whole, right = path.read_bytes(), contents(path)
    noticed = 0
    for offset in range(100):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[offset] ^= flip
            path.write_bytes(damaged)
            try:
                assert same(contents(path), right)
            except BadFacebank as error:
                noticed += 1
                assert is_one_sentence(error)
    assert noticed > 60


def test_damage_anywhere_raises_nothing_but_our_errors(path: Path) -> None:
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    noticed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        damaged = whole.copy()
        places = rng.choice(np.flatnonzero(whole), rng.integers(1, 5))  # where it is not empty
        damaged[places] = rng.integers(0, 256, len(places))
        path.write_bytes(damaged.tobytes())
        try:
            with Facebank.open(path) as facebank:
                facebank.people()
                facebank.photos()
                facebank.templates()
                if facebank.dim == DIM:
                    facebank.search(unit_vectors(1), 0.5)
                    facebank.add([photo("New", 100)], unit_vectors(1))
                facebank.delete_photos([photo("A", 0).sha256])
        except (BadFacebank, CannotWrite) as error:
            noticed += 1
            assert is_one_sentence(error)
    assert noticed > 30


def test_another_model_is_refused_with_the_command_that_helps(path: Path) -> None:
    before = path.read_bytes()
    for opening in (
        partial(Facebank.open, path, model_id="other-9"),
        partial(Facebank.create, path, model_id="other-9", dim=DIM),
    ):
        with pytest.raises(FacebankMismatch) as caught:
            opening()
        assert is_one_sentence(caught.value)
        for part in (MODEL, "other-9", "mien enroll FOLDER --rebuild"):
            assert part in str(caught.value)
    assert path.read_bytes() == before


def test_replacing_everything_brings_another_model(path: Path) -> None:
    with Facebank.open(path) as mine, Facebank.open(path) as others:
        others.search(unit_vectors(1), 0.5)
        mine.replace([photo("New", 1)], unit_vectors(1, dim=4), model_id="other-9")
        assert mine.people() == [Person("New", 1)]
        assert mine.search(unit_vectors(1, dim=4), 0.5)[0].person == "New"
        with pytest.raises(FacebankMismatch):
            others.search(unit_vectors(1), 0.5)
        with pytest.raises(FacebankMismatch):
            others.add([photo("Late", 2)], unit_vectors(1))
    with Facebank.open(path, model_id="other-9") as facebank:
        assert (facebank.dim, len(facebank.photos())) == (4, 1)


def test_a_failed_replacement_changes_nothing(path: Path) -> None:
    before = contents(path)
    with Facebank.open(path) as facebank:
        with pytest.raises(BadInput):
            facebank.replace([photo("", 1)], unit_vectors(1, dim=4), model_id="other-9")
        assert (facebank.model_id, facebank.dim) == (MODEL, DIM)
    assert same(contents(path), before)


FORMAT_2, FORMAT_1 = re.findall(r"```sql\n(.*?)```", DOCS.read_text(), re.DOTALL)


def write_format_1(path: Path) -> None:
    """What the first mien wrote, by the words of the documentation."""
    with sqlite3.connect(path) as db:
        db.executescript(FORMAT_1)
        db.execute("PRAGMA application_id = 0x6d69656e")
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO facebank VALUES (1, ?, ?)", (MODEL, DIM))
        db.execute(
            "INSERT INTO photo VALUES (7, 'Ann', ?, '/photos', 'Ann/1.jpg', 0.9, 80.0, ?, ?)",
            (f"{1:064x}", "2026-01-31T18:30:00Z", unit_vectors(1).astype("<f4").tobytes()),
        )
    db.close()


def test_format_1_is_read_for_ever(tmp_path: Path) -> None:
    write_format_1(tmp_path / "f")
    photos, templates = contents(tmp_path / "f")
    assert photos == [
        Photo(
            "Ann", f"{1:064x}", "/photos", "Ann/1.jpg", 0.9, 80.0, "2026-01-31T18:30:00Z"
        )
    ]  # fmt: skip
    np.testing.assert_allclose(templates, unit_vectors(1), atol=1e-6)


def test_the_documentation_has_the_schema_that_is_made(tmp_path: Path, path: Path) -> None:
    with sqlite3.connect(tmp_path / "f") as db:
        db.executescript(FORMAT_2)
    db.close()

    def schema(file: Path) -> list[str]:
        db = sqlite3.connect(file)
        try:
            rows = db.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name")
            return [" ".join(sql.split()) for (sql,) in rows]
        finally:
            db.close()

    assert schema(tmp_path / "f") == schema(path)
    header = path.read_bytes()[:100]
    assert (header[60:64], header[68:72]) == (bytes([0, 0, 0, 2]), b"mien")


def test_the_documented_reader_reads(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snippet = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert snippet is not None
    path.rename(path.with_name("facebank.db"))
    monkeypatch.chdir(path.parent)
    names: dict[str, object] = {}
    exec(snippet[1], names)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[0] == f"A A/0.jpg {DIM} dimensions, length 1.0"
    assert np.array_equal(np.asarray(names["vector"]), unit_vectors(6)[5])


def test_a_newer_format_is_left_alone(path: Path) -> None:
    alter(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(BadFacebank, match="upgrade mien") as caught:
        Facebank.open(path)
    assert is_one_sentence(caught.value)
    assert path.read_bytes() == before


def test_an_older_format_is_brought_up_to_date_or_left_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(path)
    later = ("ALTER TABLE photo ADD COLUMN note TEXT NOT NULL DEFAULT ''",)
    broken = ("CREATE TABLE extra (id INTEGER)", "INSERT INTO nowhere VALUES (1)")
    monkeypatch.setattr("mien.facebank.tables.MIGRATIONS", (*MIGRATIONS, later, broken))
    with pytest.raises(BadFacebank):
        Facebank.open(path)
    monkeypatch.setattr("mien.facebank.tables.MIGRATIONS", MIGRATIONS)
    assert same(contents(path), before)
    monkeypatch.setattr("mien.facebank.tables.MIGRATIONS", (*MIGRATIONS, later))
    assert same(contents(path), before)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    assert db.execute("SELECT DISTINCT note FROM photo").fetchall() == [("",)]
    db.close()


ROWS = [photo("New", 1000 + i) for i in range(1000)]
CHANGES: dict[str, Callable[[Facebank], object]] = {
    "add": lambda facebank: facebank.add(ROWS, unit_vectors(1000)),
    "rename": lambda facebank: facebank.rename("A", "long name " * 25),
    "move": lambda facebank: facebank.move([photo("long name " * 25, 1)]),
    "delete": lambda facebank: facebank.delete_person("A"),
    "replace": lambda facebank: facebank.replace(
        ROWS, unit_vectors(1000, dim=16), model_id="other-9"
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("room", [0, 512, 2048])
def test_a_full_disk_changes_nothing(
    path: Path, change: Callable[[Facebank], object], room: int
) -> None:
    before = contents(path)

    def write() -> None:
        children.limit_files(room)
        with Facebank.open(path) as facebank:
            change(facebank)

    error = children.error_of(write)
    assert isinstance(error, CannotWrite)
    assert is_one_sentence(error)
    assert str(path) in str(error)
    assert same(contents(path), before)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_disk_that_fills_up_keeps_what_was_written_before(path: Path) -> None:
    before, _ = contents(path)
    vectors = unit_vectors(1000)

    def write() -> None:
        children.limit_files(path.stat().st_size + 20_000)
        with Facebank.open(path) as facebank:
            for start in range(0, 1000, 10):
                facebank.add(ROWS[start : start + 10], vectors[start : start + 10])

    assert isinstance(children.error_of(write), CannotWrite)
    after, _ = contents(path)
    assert after[: len(before)] == before
    assert 10 <= len(after) - len(before) < 1000
    assert after[len(before) :] == ROWS[: len(after) - len(before)]
    with Facebank.open(path) as facebank:
        facebank.add(ROWS, vectors)
        assert len(facebank.photos()) == len(before) + 1000


def test_a_deletion_that_cannot_erase_the_traces_says_so(tmp_path: Path) -> None:
    with make(tmp_path / "f") as facebank:
        facebank.add(ROWS, unit_vectors(1000))
    size = (tmp_path / "f").stat().st_size

    def delete() -> None:
        children.limit_files(size * 3 // 4)  # room for three rows' pages, not for all
        with Facebank.open(tmp_path / "f") as facebank:
            facebank.delete_person("A")

    error = children.error_of(delete)
    assert isinstance(error, CannotWrite)
    assert "has lost the photos, but traces of them stay" in str(error)
    assert is_one_sentence(error)
    with Facebank.open(tmp_path / "f") as facebank:
        assert [person.name for person in facebank.people()] == ["B", "C", "New"]


@pytest.fixture
def readable() -> Iterator[Path]:
    """Of a facebank in a folder that everybody may read and nobody but root may write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "f")
        make(path).close()
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        yield path
        Path(folder).chmod(0o755)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("mode", [0o444, 0o666], ids=["file", "folder"])
def test_what_is_read_only_can_be_read_and_not_changed(
    readable: Path, change: Callable[[Facebank], object], mode: int
) -> None:
    before = contents(readable)
    readable.chmod(mode)

    def read() -> None:
        children.drop_rights()
        assert same(contents(readable), before)

    def write() -> None:
        children.drop_rights()
        with Facebank.open(readable) as facebank:
            change(facebank)

    assert children.error_of(read) is None
    error = children.error_of(write)
    assert isinstance(error, CannotWrite)
    assert is_one_sentence(error)
    assert same(contents(readable), before)


def test_a_facebank_that_may_not_be_read_or_made(readable: Path) -> None:
    readable.chmod(0o000)

    def read() -> None:
        children.drop_rights()
        Facebank.open(readable)

    def create(path: Path) -> None:
        children.drop_rights()
        Facebank.create(path, model_id=MODEL, dim=DIM)

    assert isinstance(children.error_of(read), BadFacebank)
    for path in (readable.with_name("new"), readable.with_name("new folder") / "new"):
        error = children.error_of(partial(create, path))
        assert isinstance(error, CannotWrite)
        assert is_one_sentence(error)
    assert list(readable.parent.iterdir()) == [readable]


def test_a_writer_waits_for_another_and_gives_up_in_words(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.facebank.sqlite.BUSY_S", 0.1)
    before = contents(path)
    other = sqlite3.connect(path, isolation_level=None)
    with Facebank.open(path) as facebank:
        other.execute("BEGIN EXCLUSIVE")
        for use in (lambda: facebank.delete_person("A"), facebank.people):
            with pytest.raises(CannotWrite, match=r"database is locked.*wait") as caught:
                use()
            assert is_one_sentence(caught.value)
        other.execute("ROLLBACK")
        assert facebank.delete_person("A") == 2
    other.close()
    assert len(contents(path)[0]) == len(before[0]) - 2


def test_two_processes_read_and_two_write(path: Path) -> None:
    each = 60

    def write(first: int) -> None:
        with Facebank.open(path, model_id=MODEL) as facebank:
            for i in range(first, first + each):
                facebank.add([photo(f"W{first}", i)], unit_vectors(1, seed=i))

    def read() -> None:
        with Facebank.open(path, model_id=MODEL) as facebank:
            seen, deadline = 0, time.monotonic() + 50
            while seen < 6 + 2 * each:
                assert time.monotonic() < deadline
                assert facebank.search(unit_vectors(6), 0.5)[0].person is not None
                now = len(facebank.photos())
                assert now >= seen
                seen = now

    for process in children.start(read, read, partial(write, 1000), partial(write, 2000)):
        process.join(60)
        assert process.exitcode == 0
    assert len(contents(path)[0]) == 6 + 2 * each


def test_two_processes_can_make_the_same_facebank_at_once(tmp_path: Path) -> None:
    def create(number: int) -> None:
        with Facebank.create(tmp_path / "f", model_id=MODEL, dim=DIM) as facebank:
            facebank.add([photo(f"P{number}", number)], unit_vectors(1))

    for process in children.start(*(partial(create, number) for number in range(4))):
        process.join(60)
        assert process.exitcode == 0
    assert [person.name for person in Facebank.open(tmp_path / "f").people()] == [
        "P0", "P1", "P2", "P3"
    ]  # fmt: skip


def test_a_kill_in_the_middle_of_a_change_undoes_it(path: Path) -> None:
    """Pages that have reached the file before the end of a transaction are taken back."""
    before = contents(path)

    def change_and_die() -> None:
        with Facebank.open(path) as facebank:
            db = facebank._db
            db.execute("PRAGMA cache_size = 1")  # pages go to the file at once
            db.execute("BEGIN IMMEDIATE")
            db.execute("UPDATE photo SET person = person || hex(randomblob(3000))")
            os.kill(os.getpid(), signal.SIGKILL)

    (process,) = children.start(change_and_die)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert path.with_name(path.name + "-journal").stat().st_size > 0
    assert same(contents(path), before)
    assert list(path.parent.iterdir()) == [path]


def test_rows_stay_in_the_order_of_writing_when_the_clock_goes_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Facebank.open(path) as facebank:
        facebank.keep_log(10)
        for number, now in enumerate(["2030-01-01T00:00:00Z", "1999-01-01T00:00:00Z"]):
            for place in ("rows", "facebank"):
                monkeypatch.setattr(f"mien.facebank.{place}.now", partial(str, now))
            facebank.add([photo("New", 100 + number)], unit_vectors(1))
        assert [one.added[:4] for one in facebank.photos("New")] == ["2030", "1999"]
        assert [entry.at[:4] for entry in facebank.log()] == ["2030", "1999"]


def test_what_lies_beside_a_facebank_goes_with_the_deleted(path: Path) -> None:
    for suffix in BESIDE:
        path.with_name(path.name + suffix).write_bytes(unit_vectors(6)[0].tobytes())
    other = path.with_name("other.cache")
    other.touch()
    with Facebank.open(path) as facebank:
        facebank.delete_person("A")
    assert sorted(path.parent.iterdir()) == [other, path]


def test_who_opens_it_next_ends_what_a_kill_left_of_a_deletion(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.with_name(path.name + ".damaged").touch()
    monkeypatch.setattr(Facebank, "_erase", lambda facebank: None)
    with Facebank.open(path) as facebank:
        facebank.delete_person("A")
    assert len(list(path.parent.iterdir())) == 2
    monkeypatch.undo()
    Facebank.open(path).close()
    assert list(path.parent.iterdir()) == [path]


def test_the_log_says_who_was_what_and_knows_no_deleted_name(path: Path) -> None:
    with Facebank.open(path) as facebank:
        assert facebank.log() == []
        facebank.keep_log(100)
        facebank.add([photo("Anna", 100), photo("Anna", 101), photo("A", 0)], unit_vectors(3))
        faces = np.concatenate([facebank.templates()[1][:1], unit_vectors(1, seed=9)])
        facebank.search(faces, 0.99)
        facebank.rename("Anna", "Ann")
        facebank.rename("B", "Ben")
        facebank.delete_person("Ann")

        def entries() -> list[tuple[str, str | None, int]]:
            return [(entry.action, entry.person, entry.count) for entry in facebank.log()]

        assert entries() == [
            ("enrolled", "", 2),
            ("searched", "A", 1),
            ("searched", None, 1),
            ("renamed", "", 2),
            ("renamed", "Ben", 2),
            ("deleted", "", 2),
        ]
        assert {entry.command for entry in facebank.log()} == {"python"}
        facebank.keep_log(2)
        assert entries() == [("renamed", "Ben", 2), ("deleted", "", 2)]
        facebank.rename("C", "Cid")
        assert [person for _, person, _ in entries()] == ["", "Cid"]
        facebank.keep_log(0)
        assert facebank.log() == []
        facebank.rename("Cid", "C")
        assert facebank.log() == []
    left = path.read_bytes()
    assert b"Ann" not in left
    assert b"Cid" not in left


def test_a_search_that_cannot_be_logged_is_refused(readable: Path) -> None:
    readable.parent.chmod(0o755)
    readable.chmod(0o644)
    with Facebank.open(readable) as facebank:
        facebank.keep_log(10)
    readable.chmod(0o444)
    readable.parent.chmod(0o555)

    def search() -> None:
        children.drop_rights()
        with Facebank.open(readable) as facebank:
            facebank.search(unit_vectors(1), 0.5)

    assert isinstance(children.error_of(search), CannotWrite)


@pytest.fixture
def encrypted(path: Path) -> Path:
    pytest.importorskip("sqlcipher3", reason="needs mien[encryption]")
    with Facebank.open(path) as facebank:
        facebank.encrypt("it's secret")
    return path


def test_without_its_key_an_encrypted_facebank_tells_nothing(
    encrypted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encrypted.read_bytes()
    for trace in (b"SQLite", b"CREATE", MODEL.encode(), photo("A", 0).sha256.encode()):
        assert trace not in data
    assert not [vector for vector in unit_vectors(6) if vector.tobytes() in data]
    for key in ("", "another", "it"):
        with pytest.raises(BadFacebank, match="key") as caught:
            Facebank.open(encrypted, key=key)
        assert is_one_sentence(caught.value)
    monkeypatch.setenv("MIEN_KEY", "another")
    with pytest.raises(BadFacebank, match="key"):
        Facebank.open(encrypted)
    assert encrypted.read_bytes() == data
    assert encrypted.stat().st_mode & 0o777 == 0o600
    assert list(encrypted.parent.iterdir()) == [encrypted]


def test_an_encrypted_facebank_does_what_a_plain_one_does(
    encrypted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (encrypted.parent / "key").write_text("it's secret\n")
    monkeypatch.setenv("MIEN_KEY_FILE", str(encrypted.parent / "key"))
    with Facebank.open(encrypted, model_id=MODEL) as facebank:
        assert facebank.encrypted
        assert facebank.search(facebank.templates()[1][:1], 0.9)[0].person == "A"
        facebank.add([photo("New", 100)], unit_vectors(1, seed=9))
        facebank.rename("B", "Ben")
        assert facebank.delete_person("C") == 2
        before = facebank.photos()
        facebank.encrypt("another")
        assert facebank.photos() == before
    with Facebank.open(encrypted, key="another") as facebank:
        facebank.decrypt()
        assert not facebank.encrypted
        assert facebank.photos() == before
    with pytest.raises(BadFacebank, match="is not encrypted, but a key is set"):
        Facebank.open(encrypted)
    with Facebank.create(encrypted.with_name("new"), model_id=MODEL, dim=DIM) as facebank:
        assert facebank.encrypted


def test_a_full_disk_leaves_the_plain_facebank(path: Path) -> None:
    pytest.importorskip("sqlcipher3", reason="needs mien[encryption]")
    before = contents(path)

    def encrypt() -> None:
        children.limit_files(8192)
        with Facebank.open(path) as facebank:
            facebank.encrypt("secret")

    assert isinstance(children.error_of(encrypt), CannotWrite)
    assert same(contents(path), before)
    assert list(path.parent.iterdir()) == [path]


def test_the_nearest_people_of_a_face(facebank: Facebank) -> None:
    (match,) = facebank.search(unit_vectors(1), 0.999, k=2)
    first, second = match.nearest
    assert match.score == first.score > second.score
    assert [[one] for one in match.nearest] == [
        [Near(one.person or "", one.score)] for one in facebank.nearest(unit_vectors(1), 2)[0]
    ]
    assert facebank.search(unit_vectors(1), 0.999)[0].nearest == (first,)
    assert facebank.search(unit_vectors(1), 0.999, k=99)[0].nearest[2:]  # as many as there are


def test_another_thread_is_told_in_a_sentence(facebank: Facebank) -> None:
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(facebank.people)
        with pytest.raises(ValueError, match="was opened in another thread: open it again"):
            reading.result()
    facebank.close()
    with pytest.raises(ValueError, match="is closed: open it again"):
        facebank.people()
