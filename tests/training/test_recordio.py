"""Records: what is written is read, and what is broken is named and costs nothing else."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rec import content, insightface, record, write

from mien.errors import BadInput
from mien.training.data import recordio
from mien.training.data.recordio import MAGIC, Damaged, Entry, Records, Span

unhurried = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def read_all_ways(rec: Path) -> list[list[Entry | Damaged]]:
    """By the index, by one that is rebuilt, and as a stream."""
    by_index = list(Records(rec))
    rec.with_suffix(".idx").unlink()
    return [by_index, list(Records(rec)), list(recordio.stream(rec))]


FIVE = [(0, b"a" * 5), (0, b"b" * 8), (1, b"c" * 3), (4, MAGIC * 2 + b"d"), (4, b"e" * 40)]
ENTRIES: list[Entry | Damaged] = [Entry(n, *photo) for n, photo in enumerate(FIVE, 1)]


def test_the_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    rec = tmp_path / "train.rec"
    header = "00000000 0000e040 0000000000000000 0000000000000000"
    # 28 bytes before a magic at 28, nothing between it and a magic at 32, 3 bytes after it
    rec.write_bytes(
        bytes.fromhex(f"0a23d7ce 1c000020 {header} ffd8ffe0 0a23d7ce 00000040")
        + bytes.fromhex("0a23d7ce 03000060 01020300")
        + bytes.fromhex(f"0a23d7ce 1a000000 {header} ffd80000")
    )
    image = bytes.fromhex("ffd8ffe0 0a23d7ce 0a23d7ce 010203")
    expected = [Entry(0, 7, image), Entry(1, 7, b"\xff\xd8")]
    assert list(recordio.stream(rec)) == list(Records(rec)) == expected


def test_what_mxnet_has_written() -> None:
    """Pictures of colours that mxnet 1.9.1 has packed and read again; two hold the magic."""
    folder = Path(__file__).parents[1] / "mxnet"
    theirs = {int(n): found for n, found in json.loads((folder / "read.json").read_text()).items()}
    records = Records(folder / "train.rec")
    assert records.images.tolist() == [1, 2, 3, 4, 5, 6]
    for number, (flag, label, sha256, size) in theirs.items():
        match records.read(number):
            case Entry(_, ours, image):
                assert ours == (label[0] if flag else label)
                assert (hashlib.sha256(image).hexdigest(), len(image)) == (sha256, size)
            case Span(_, start, end):
                assert (flag, label, size) == (2, [start, end], 0)
            case damaged:
                raise AssertionError(damaged)
    assert (folder / "train.rec").read_bytes().count(MAGIC) > len(theirs)
    assert list(recordio.stream(folder / "train.rec")) == list(records)


def test_insightface(tmp_path: Path) -> None:
    rec = write(tmp_path, insightface(FIVE))
    records = Records(rec)
    assert records.images.tolist() == [1, 2, 3, 4, 5]
    assert records.identities.tolist() == [6, 7, 8]
    assert [records.read(n) for n in (0, 8)] == [Span(0, 6, 9), Span(8, 4, 6)]
    assert records.read(3) == Entry(3, 1, b"ccc")
    assert len(records) == 5
    assert read_all_ways(rec) == [ENTRIES] * 3
    with pytest.raises(KeyError):
        records.read(9)


@pytest.mark.parametrize("labels", [[3], [3, 0.25], [3, 4, 5]])
def test_the_first_of_many_labels(tmp_path: Path, labels: list[float]) -> None:
    rec = write(tmp_path, [record(content(labels, b"photo"))])
    assert read_all_ways(rec) == [[Entry(0, 3, b"photo")]] * 3


def test_an_index_of_some_in_any_order(tmp_path: Path) -> None:
    rec = write(tmp_path, insightface(FIVE))
    lines = rec.with_suffix(".idx").read_text().splitlines()
    (tmp_path / "some.idx").write_text("\n".join([lines[5], lines[2], lines[4]]))
    assert list(Records(rec, tmp_path / "some.idx")) == [ENTRIES[n] for n in (1, 3, 4)]


def test_labels_that_float32_rounds(tmp_path: Path) -> None:
    """Photos end at an odd number above 2 ** 24, which record 0 cannot say."""
    first = (1 << 24) + 1
    for told in (first - 1, first + 1):
        parts = [record(content([told, told + 2])), *[record(content(0, b"x"))] * 3]
        parts += [record(content([1, 2]))] * 2
        rec = write(tmp_path, parts)
        starts = np.cumsum([0, *map(len, parts)])
        numbers = [0, *range(first - 3, first + 2)]
        idx = "".join(f"{n} {at}\n" for n, at in zip(numbers, starts[:-1], strict=True))
        rec.with_suffix(".idx").write_text(idx)
        records = Records(rec)
        assert records.images.tolist() == [first - 3, first - 2, first - 1]
        assert records.identities.tolist() == [first, first + 1]


payloads = st.lists(st.sampled_from([MAGIC, MAGIC[:2], b"\0", b"abcd"]), min_size=1).map(b"".join)
photos = st.lists(st.tuples(st.integers(0, 3), payloads | st.binary(min_size=1)), min_size=1)


@unhurried
@given(photos.map(sorted))
def test_what_is_written_is_read(tmp_path: Path, images: list[tuple[int, bytes]]) -> None:
    rec = write(tmp_path, insightface(images))
    assert read_all_ways(rec) == [[Entry(n, *i) for n, i in enumerate(images, 1)]] * 3


@unhurried
@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from([MAGIC, b"\0\0\0\0", b"\x20\0\0\0", b"\x08\0\0\x20"])).map(b"".join),
    st.binary(max_size=20) | st.text("0123456789 \t\n-.#e").map(str.encode),
)
def test_garbage_is_damaged_or_bad_input(tmp_path: Path, rec: bytes, idx: bytes) -> None:
    """Or, by chance, a record of what is no picture."""
    (tmp_path / "g.rec").write_bytes(rec)
    (tmp_path / "g.idx").write_bytes(idx)
    for read in (Records, recordio.stream):
        try:
            found = list(read(tmp_path / "g.rec"))
        except BadInput as error:
            assert str(tmp_path) in str(error)
        else:
            for one in found:
                assert one.image in rec if isinstance(one, Entry) else isinstance(one, Damaged)
                assert not isinstance(one, Damaged) or one.reason


@unhurried
@given(st.data())
def test_one_broken_place_breaks_no_far_record(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever happens inside one record, all but it and its neighbour are still read."""
    parts = insightface(FIVE)
    hurt = data.draw(st.integers(1, 5))
    at = data.draw(st.integers(0, len(parts[hurt]) - 1))
    broken = bytearray(parts[hurt])
    broken[at] ^= data.draw(st.integers(1, 255))
    rec = write(tmp_path, [*parts[:hurt], bytes(broken), *parts[hurt + 1 :]])
    by_index, rebuilt, streamed = read_all_ways(rec)
    assert [one for one in by_index if one.number != hurt] == [
        one for one in ENTRIES if one.number != hurt
    ]
    survivors = [one.image for one in streamed if isinstance(one, Entry)]
    assert [one.image for one in rebuilt if isinstance(one, Entry)] == survivors
    assert {photo for _, photo in FIVE} - set(survivors) <= {FIVE[hurt - 1][1], FIVE[hurt - 2][1]}


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        pytest.param(0, b"\0", "is not the magic", id="magic"),
        pytest.param(7, b"\x1f", "runs past its end", id="absurd length"),
        pytest.param(4, b"\xff", "runs past its end", id="length into the next"),
        pytest.param(4, b"\x19", "followed at byte .* not a record", id="length too short"),
        pytest.param(7, b"\xe0", "kind 7", id="unknown kind"),
        pytest.param(7, b"\x60", "kind 3", id="begins with its last part"),
        pytest.param(7, b"\x20", "the file is truncated", id="first part alone"),
        pytest.param(8, b"\xff\xff", "65535 labels", id="too many labels"),
        pytest.param(12, struct.pack("<f", 0.5), "label 0.5", id="half a label"),
        pytest.param(12, struct.pack("<f", -1), "label -1.0", id="negative"),
        pytest.param(12, struct.pack("<f", 1e30), "is not a whole number", id="absurd label"),
        pytest.param(12, struct.pack("<f", float("nan")), "label nan", id="no number"),
    ],
)
def test_damage_is_named(tmp_path: Path, place: int, value: bytes, reason: str) -> None:
    parts = insightface(FIVE)
    broken = bytearray(parts[2])
    broken[place : place + len(value)] = value
    rec = write(tmp_path, [*parts[:2], bytes(broken), *parts[3:]])
    for way in read_all_ways(rec):
        damaged = way[1]
        assert isinstance(damaged, Damaged) and damaged.number == 2
        assert re.search(reason, damaged.reason)
        assert way[:1] + way[2:] == ENTRIES[:1] + ENTRIES[2:]


def test_a_length_that_ends_with_the_next_record(tmp_path: Path) -> None:
    parts = insightface(FIVE)
    length = len(parts[2] + parts[3]) - 8
    longer = parts[2][:4] + struct.pack("<I", length) + parts[2][8:]
    for way in read_all_ways(write(tmp_path, [*parts[:2], longer, *parts[3:]])):
        assert isinstance(way[1], Damaged) and "runs past its end" in way[1].reason
        assert way[:1] + way[2:] == ENTRIES[:1] + ENTRIES[2:]


def test_small_contents(tmp_path: Path) -> None:
    rec = write(tmp_path, [record(b"short"), record(content(1)), record(content([5]))])
    reasons = [one.reason for one in Records(rec) if isinstance(one, Damaged)]
    assert ["5 bytes" in reasons[0], *map("it holds no picture".__eq__, reasons[1:])] == [True] * 3


@unhurried
@given(st.data())
def test_a_file_that_is_cut_off(tmp_path: Path, data: st.DataObject) -> None:
    whole = b"".join(parts := insightface(FIVE))
    kept = data.draw(st.integers(len(parts[0] + parts[1]), len(whole)))
    rec = write(tmp_path, parts)
    rec.write_bytes(whole[:kept])
    ends = np.cumsum([*map(len, parts)])
    by_index, rebuilt, streamed = read_all_ways(rec)
    photos = [one for one in ENTRIES if ends[one.number] <= kept]
    for way in (by_index, rebuilt, streamed):
        assert [one for one in way if isinstance(one, Entry)] == photos
    lost = [one.number for one in ENTRIES if ends[one.number] > kept]
    assert [one.number for one in by_index if isinstance(one, Damaged)] == lost


@pytest.mark.parametrize(
    ("idx", "message"),
    [
        ("", "is not an index"),
        ("0 0\n1 x", "is not an index"),
        ("0 0\n1", "is not an index"),
        ("0 0.5", "is not an index"),
        ("0 -4", "lines must be number and place"),
        ("0 0 0", "lines must be number and place"),
        ("0 0\n0 32", "record 0 twice"),
        ("0 99999999999999999999999", "is not an index"),
    ],
)
def test_bad_indexes(tmp_path: Path, idx: str, message: str) -> None:
    rec = write(tmp_path, insightface(FIVE))
    rec.with_suffix(".idx").write_text(idx)
    with pytest.raises(BadInput, match=message):
        Records(rec)


def test_an_index_past_the_end(tmp_path: Path) -> None:
    rec = write(tmp_path, insightface(FIVE))
    idx = rec.with_suffix(".idx")
    idx.write_text(idx.read_text() + "9 4000\n10 9000000000000000000\n")
    records = Records(rec)
    for number in (9, 10):
        found = records.read(number)
        assert isinstance(found, Damaged) and "past the end" in found.reason


def test_bad_files(tmp_path: Path) -> None:
    rec = tmp_path / "train.rec"
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        Records(rec)
    rec.touch()
    with pytest.raises(BadInput, match="is empty"):
        Records(rec)
    with pytest.raises(BadInput, match="is empty"):
        next(recordio.stream(rec))
    write(tmp_path, [record(content([1, 1]))])
    with pytest.raises(BadInput, match="holds no photo"):
        Records(rec)
    with pytest.raises(BadInput, match="cannot be read"):
        Records(rec, tmp_path / "other.idx")
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        Records(tmp_path)
