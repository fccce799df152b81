"""Shards: rows come back as they were, from any process and place, and damage is found."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import resource
from collections.abc import Callable
from pathlib import Path

import children
import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="shards need the extra data")

from mien.errors import BadInput
from mien.training.data.shards import NO_LABEL, Record, Shards, finish, shard_name, write_shard

RECORDS = [
    Record(b"\xff\xd8" + bytes([k]) * (k % 7), k % 3 if k % 5 else NO_LABEL, f"{k}.jpg", 112)
    for k in range(25)
]
NAMES = ["Anna", "Bert", "Čilić 李"]


def make(folder: Path, sizes: tuple[int, ...] = (10, 0, 12, 3)) -> Shards:
    starts = np.cumsum([0, *sizes])
    for number, (start, size) in enumerate(zip(starts, sizes, strict=False)):
        write_shard(folder, number, RECORDS[start : start + size], [])
    return finish(folder, len(sizes), NAMES, lambda labels, skipped: {"sets": []})


def test_rows_come_back_in_the_order_asked(tmp_path: Path) -> None:
    shards = make(tmp_path)
    rows = np.random.default_rng(0).permutation(25)
    assert len(shards) == 25
    assert shards.images(rows) == [RECORDS[row].image for row in rows]
    assert shards.images([3, 3]) == [RECORDS[3].image] * 2
    assert shards.images([]) == []
    assert shards.labels.tolist() == [record.label for record in RECORDS]
    assert shards.labels.dtype == np.int64
    assert shards.sides.tolist() == [112] * 25
    assert shards.names == tuple(NAMES)
    for row in (-1, 25):
        with pytest.raises(IndexError):
            shards.images([0, row])


def test_the_hash_is_of_the_content_not_of_its_division(tmp_path: Path) -> None:
    whole = make(tmp_path / "a")
    assert make(tmp_path / "b", (25,)).digest == whole.digest
    assert make(tmp_path / "c", (24,)).digest != whole.digest


def test_a_url_reads_the_same(tmp_path: Path) -> None:
    shards, distant = make(tmp_path), Shards(tmp_path.as_uri())
    assert distant.digest == shards.digest
    assert distant.images(range(25)) == shards.images(range(25))
    distant.verify()


@pytest.mark.parametrize("place", [str, Path.as_uri])
def test_every_row_comes_once_an_epoch(tmp_path: Path, place: Callable[[Path], str]) -> None:
    make(tmp_path, (2,) * 12)
    shards = Shards(place(tmp_path))
    first = shards.order(0, 0)
    assert sorted(first) == list(range(24))
    np.testing.assert_array_equal(first, shards.order(0, 0))
    assert first.tolist() != shards.order(0, 1).tolist() != shards.order(1, 1).tolist()


def test_an_order_over_a_url_stays_among_few_shards(tmp_path: Path) -> None:
    make(tmp_path, (2,) * 12)
    order = Shards(tmp_path.as_uri()).order(0, 0)
    assert [len(set(part // 2)) for part in order.reshape(-1, 8)] == [4, 4, 4]


def _row_3(shards: Shards) -> bytes:
    return shards.images([3])[0]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("place", [str, Path.as_uri])
def test_other_processes_read_too(
    tmp_path: Path, method: str, place: Callable[[Path], str]
) -> None:
    make(tmp_path)
    shards = Shards(place(tmp_path))
    shards.images([0])  # is open here already
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(_row_3, (shards,)).get(60) == RECORDS[3].image


def test_a_copy_is_the_same(tmp_path: Path) -> None:
    shards = pickle.loads(pickle.dumps(make(tmp_path)))
    assert shards.images([7]) == [RECORDS[7].image]


def test_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, RECORDS[:1], [])
    for number in range(1, 700):
        (tmp_path / shard_name(number)).hardlink_to(tmp_path / shard_name(0))
    finish(tmp_path, 700, NAMES, lambda labels, skipped: {})

    def read() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (600, 600))
        assert Shards(tmp_path).images(range(700)) == [RECORDS[0].image] * 700

    assert children.error_of(read) is None


def test_what_is_not_finished_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, RECORDS, [])
    for folder in (tmp_path, tmp_path / "gone", tmp_path.as_uri()):
        with pytest.raises(BadInput, match=r"holds no finished data set|there is no folder"):
            Shards(folder)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    report = json.loads((tmp_path / "prepare.json").read_text())
    (tmp_path / "prepare.json").write_text(json.dumps(report | {"format": 99}))
    with pytest.raises(BadInput, match="format 99, and this version reads 1"):
        Shards(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 1}', "\0"])
def test_a_damaged_report(tmp_path: Path, content: str) -> None:
    make(tmp_path)
    (tmp_path / "prepare.json").write_text(content)
    with pytest.raises(BadInput, match="is damaged"):
        Shards(tmp_path)


FILES = ["shard-00000.arrow", "shard-00002.arrow", "index.arrow", "people.json"]


@pytest.mark.parametrize("file", FILES)
def test_a_missing_or_cut_file_is_damage(tmp_path: Path, file: str) -> None:
    make(tmp_path)
    path = tmp_path / file
    content = path.read_bytes()
    for left in (content[: len(content) // 2], b"", None):
        path.write_bytes(left) if left is not None else path.unlink()
        for place in (tmp_path, tmp_path.as_uri()):
            with pytest.raises(BadInput, match="is damaged"):
                Shards(place).verify()


@pytest.mark.parametrize("file", FILES)
def test_no_changed_byte_of_content_goes_unseen(tmp_path: Path, file: str) -> None:
    shards = make(tmp_path)
    images = shards.images(range(25))
    path = tmp_path / file
    content = path.read_bytes()
    for place in range(0, len(content), 1 + len(content) // 60):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:
            changed = Shards(tmp_path.as_uri())
            changed.verify()
        except BadInput:
            continue
        assert changed.images(range(25)) == images  # it was padding or a note
        assert changed.labels.tolist() == shards.labels.tolist()
        assert changed.sides.tolist() == shards.sides.tolist()
        assert changed.names == shards.names


def test_a_shard_of_another_length_is_damage(tmp_path: Path) -> None:
    shards = make(tmp_path)
    (tmp_path / "shard-00003.arrow").rename(tmp_path / "shard-00000.arrow")
    with pytest.raises(BadInput, match="it has 3 rows, not 10"):
        shards.images([5])
