"""Several things at a time: in order, each with its own fault, and never too many of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeModel, save_photo

from mien import parallel
from mien.collection.album import album
from mien.collection.fill import update
from mien.collection.photo_index import PhotoIndex
from mien.errors import BadInput
from mien.facebank.facebank import Facebank
from mien.parallel import Team, map_in_order
from mien.verbs.enroll import enroll, rebuild
from mien.verbs.identify import Seen, identify

MODEL = FakeModel()


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({}, 64),
    ],
)
def test_a_containers_quota_counts(
    files: dict[str, str], processors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(parallel, "CGROUPS", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    parallel._quota.cache_clear()
    assert parallel.processors() == processors
    parallel._quota.cache_clear()


@pytest.mark.parametrize(
    ("files", "photos"),
    [
        ({}, 8),
        ({"memory.max": "max\n"}, 8),
        ({"memory.max": f"{2 << 30}\n"}, 4),
        ({"memory.max": f"{300 << 20}\n"}, 1),
        ({"memory/memory.limit_in_bytes": f"{1 << 30}\n"}, 2),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8),
    ],
)
def test_a_containers_memory_counts(
    files: dict[str, str], photos: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(parallel, "CGROUPS", tmp_path)
    monkeypatch.setattr(parallel, "processors", lambda: 64)
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, 1 << 23))
    parallel.memory.cache_clear()
    assert parallel.at_once() == photos
    parallel.memory.cache_clear()


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_what_was_made_comes_in_order(at_once: int) -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.002 * (5 - number % 5))
        return number**2

    found = [(number, made()) for number, made in map_in_order(slow_first, range(20), at_once)]
    assert found == [(number, number**2) for number in range(20)]


def test_so_many_are_worked_on_at_a_time() -> None:
    everyone = threading.Barrier(3)  # nobody passes alone
    assert [made() >= 0 for _, made in map_in_order(lambda _: everyone.wait(20), range(6), 3)] == [
        True
    ] * 6


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_fault_is_its_own_things(at_once: int) -> None:
    def odd(number: int) -> int:
        if number % 2 == 0:
            raise BadInput(f"{number} is even")
        return number

    found: list[int | str] = []
    for number, made in map_in_order(odd, range(6), at_once):
        try:
            found.append(made())
        except BadInput as error:
            found.append(str(error))
            assert str(error) == f"{number} is even"
    assert found == ["0 is even", 1, "2 is even", 3, "4 is even", 5]


@pytest.mark.parametrize("at_once", [1, 4])
def test_only_a_few_wait(at_once: int) -> None:
    taken: list[int] = []

    def things() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    for number, made in map_in_order(lambda number: number, things(), at_once):
        made()
        assert len(taken) <= number + 1 + 2 * at_once


def test_who_stops_does_not_wait_for_the_rest() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        gate.wait(20)

    coming = map_in_order(work, range(100), 2)
    threading.Timer(0.2, gate.set).start()
    next(coming)
    coming.close()
    assert len(begun) < 5


def people(folder: Path) -> Path:
    """Ten people, one of them twice with the same photo, and what is no photo."""
    for seed in range(10):
        save_photo(folder / f"Person {seed}" / "a.png", seed)
        save_photo(folder / f"Person {seed}" / "b.png", seed, shade=9)
    (folder / "Person 3" / "c.png").write_bytes((folder / "Person 3" / "b.png").read_bytes())
    (folder / "Person 4" / "c.png").write_bytes(b"no photo")
    save_photo(folder / "Person 5" / "c.png", 5, faces=0)
    return folder


def test_several_at_a_time_make_the_same_facebank(tmp_path: Path) -> None:
    folder = people(tmp_path / "people")
    made = []
    for many in (1, 3):
        path = tmp_path / f"{many}.db"
        with Facebank.create(path, model_id=MODEL.model_id, dim=MODEL.dim) as bank:
            steps = [do(folder, bank, MODEL, at_once=many) for do in (enroll, enroll, rebuild)]
            photos = [(photo.person, photo.file, photo.sha256) for photo in bank.photos()]
            seen = [
                [(one.match.person, round(one.match.score, 5)) for one in look.faces]
                if isinstance(look, Seen)
                else look.reason
                for look in identify(sorted(folder.rglob("*.png")), MODEL, bank, at_once=many)
            ]
        made.append((steps, photos, seen))
    assert made[0] == made[1]
    steps, photos, seen = made[1]
    assert [(step.added, step.kept, len(step.skipped)) for step in steps] == [
        (20, 1, 2),
        (0, 21, 2),
        (20, 0, 2),
    ]
    assert len(photos) == 20
    assert len(seen) == 23


def test_several_at_a_time_make_the_same_album(tmp_path: Path) -> None:
    folder = people(tmp_path / "people")
    made = []
    for many in (1, 3):
        with PhotoIndex(tmp_path / f"{many}.db") as index:
            done = update(folder, MODEL, index, at_once=many)
            made.append((done, album(folder, MODEL, index, None)))
    assert made[0] == made[1]
    assert (made[1][0].added, len(made[1][0].skipped)) == (23, 1)


def test_a_team_keeps_the_order() -> None:
    assert Team(2).map(lambda part: 2 * part, range(100)) == list(range(0, 200, 2))
    assert Team(2).map(str, []) == []


def test_what_fails_in_a_helper_is_raised() -> None:
    main = threading.get_ident()

    def fail(_: int) -> None:
        if threading.get_ident() == main:
            time.sleep(0.05)  # so that the helper comes to it
            return
        raise IndexError("out of memory")

    with pytest.raises(IndexError, match="out of memory"):
        Team(2).map(fail, range(3))
