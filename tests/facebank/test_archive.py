"""Export and import: all of it comes back, and nothing that is damaged does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from faults import DIM, MODEL, photo, vectors

from mien.errors import BadInput, CannotWrite, FacebankMismatch
from mien.facebank.archive import bring, parse, read, save
from mien.facebank.facebank import Facebank

PHOTOS = [photo("Zoë", 1), photo("Ann", 2), photo("Ann", 3)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "people.jsonl"
    with Facebank.create(":memory:", model_id=MODEL, dim=DIM) as bank:
        bank.add(PHOTOS, vectors([1, 2, 3]))
        assert save(bank, file) == 3
        with pytest.raises(CannotWrite, match="choose another"):
            save(bank, file)
    return file


def test_what_is_exported_is_imported_elsewhere(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    with Facebank.create(":memory:", model_id=MODEL, dim=DIM) as bank:
        bank.add([photo("Me", 3)], vectors([3]))
        done = bring(read(file), bank)
        assert (done.added, done.duplicates) == (2, (PHOTOS[2],))
        photos, rows = bank.contents()
        assert photos[1:] == PHOTOS[:2]
        assert np.array_equal(rows, vectors([3, 1, 2]))


def test_another_models_vectors_are_refused(file: Path) -> None:
    with (
        Facebank.create(":memory:", model_id="other-9", dim=DIM) as bank,
        pytest.raises(FacebankMismatch),
    ):
        bring(read(file), bank)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no such device here")
def test_a_device_that_never_ends_is_refused() -> None:
    with pytest.raises(BadInput, match="/dev/zero cannot be read"):
        read("/dev/zero")


def test_a_changed_or_short_file_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for at in range(0, len(whole) - 1, 7):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            with pytest.raises(BadInput):
                parse(damaged, "f")


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (1, {"person": ".."}),
        (1, {"person": 5}),
        (1, {"sha256": "xyz"}),
        (1, {"vector": "AAAA"}),
        (1, {"vector": None}),
        (1, {"confidence": float("nan")}),
        (1, {"folder": "\0"}),
        (1, {"file": "\ud800"}),
        (0, {"mien": 2}),
        (0, {"dim": 0}),
        (0, {"dim": 9}),
        (0, {"model_id": None}),
    ],
)
def test_what_cannot_be_is_refused(file: Path, line: int, change: dict[str, object]) -> None:
    lines = [json.loads(text) for text in file.read_text().splitlines()[:-1]]
    lines[line] |= change
    data = "".join(json.dumps(one) + "\n" for one in lines).encode()
    data += json.dumps({"sha256": hashlib.sha256(data).hexdigest()}).encode() + b"\n"
    with pytest.raises(BadInput) as caught:
        parse(data, "f")
    assert "\n" not in str(caught.value)
