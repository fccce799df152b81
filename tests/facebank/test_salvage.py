"""A damaged facebank: nothing wrong is told, what is damaged is named, the rest is kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from faults import DIM, MODEL, photo, vectors

from mien.errors import BadFacebank, BadInput, CannotWrite
from mien.facebank.facebank import Facebank
from mien.facebank.salvage import check, repair

NUMBERS = list(range(40))
PHOTOS = [photo(f"P{n % 7}", n) for n in NUMBERS]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "f"
    with Facebank.create(path, model_id=MODEL, dim=DIM) as bank:
        bank.keep_log(100)
        bank.add(PHOTOS, vectors(NUMBERS))
    return path


def test_a_facebank_that_is_well_stays_as_it_is(path: Path) -> None:
    before = path.read_bytes()
    assert check(path).damage == repair(path).damage == ()
    assert path.read_bytes() == before


def test_a_flipped_bit_never_gives_a_wrong_name_or_vector(path: Path) -> None:
    whole, right = path.read_bytes(), vectors(NUMBERS)
    rng = np.random.default_rng(0)
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))
    noticed = kept = 0
    for offset in rng.choice(used, 150, replace=False):
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            with Facebank.open(path, key="") as bank:
                found, rows = bank.contents()
                assert found == PHOTOS
                assert np.array_equal(rows, right)
                continue
        except (BadFacebank, CannotWrite):
            noticed += 1
        try:
            remains = repair(path, key="", model_id=MODEL)
        except (BadFacebank, BadInput, CannotWrite):
            continue
        assert remains.damage
        numbers = [int(one.path.stem) for one in remains.photos]
        assert remains.photos == [PHOTOS[n] for n in numbers]
        assert np.array_equal(remains.vectors, right[numbers])
        with Facebank.open(path, key="") as bank:
            assert bank.photos() == remains.photos
            kept += len(numbers)
    assert noticed > 75
    assert kept / len(NUMBERS) > 0.7 * noticed


@pytest.mark.parametrize("column", ["person", "vector", "confidence", "folder"])
def test_a_damaged_photo_is_named_and_the_others_are_kept(path: Path, column: str) -> None:
    with sqlite3.connect(path) as db:
        new = {"person": "'Eve'", "vector": "zeroblob(32)", "confidence": "0.5"}
        db.execute(f"UPDATE photo SET {column} = {new.get(column, repr('/x'))} WHERE id = 4")
    db.close()
    (damage,) = (d for d in check(path).damage if d.sha256)
    assert damage.sha256 == PHOTOS[3].sha256
    assert PHOTOS[3].sha256[:12] in damage.what
    repair(path)
    with Facebank.open(path) as bank:
        assert bank.photos() == PHOTOS[:3] + PHOTOS[4:]
        assert len(bank.log()) == 7
        assert path.with_name("f.damaged").exists()
        bank.delete_person("P0")
    assert list(path.parent.iterdir()) == [path]


def test_what_is_left_of_a_truncated_file_is_kept(path: Path) -> None:
    whole = path.read_bytes()
    kept = 0
    for size in range(4096, len(whole), 2048):
        path.write_bytes(whole[:size])
        with pytest.raises(BadFacebank):
            Facebank.open(path)
        try:
            remains = repair(path, model_id=MODEL)
        except (BadFacebank, BadInput):
            continue
        assert remains.damage
        assert all(one in PHOTOS for one in remains.photos)
        kept += len(remains.photos)
    assert kept > len(NUMBERS) // 2


def test_a_lost_model_is_asked_for(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE facebank SET model_id = 'tiny-0000'")
    db.close()
    with pytest.raises(BadInput, match="--model-id"):
        repair(path)
    repair(path, model_id=MODEL)
    with Facebank.open(path, model_id=MODEL) as bank:
        assert bank.photos() == PHOTOS


def test_what_is_no_facebank_is_not_checked(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("Ann and Ben " * 100)
    for look in (check, repair):
        with pytest.raises(BadFacebank):
            look(tmp_path / "f")
        with pytest.raises(BadFacebank):
            look(tmp_path / "nowhere")
