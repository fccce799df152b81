"""The cache of an index: it gives back what was saved, or nothing."""

from __future__ import annotations

import fcntl
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.facebank.index import cache

STAMP = {"file": [1, 2, 3], "model_id": "tiny"}
ARRAYS = {
    "names": np.frombuffer(b"Ann\nBen", np.uint8),
    "rows": np.arange(12, dtype="<f4").reshape(3, 4),
    "values": np.arange(-6, 6, dtype=np.int8),
}


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Of a file that has a cache."""
    path = str(tmp_path / "f")
    cache.save(path, STAMP, ARRAYS, still=lambda: True)
    return path


def test_gives_back_what_was_saved(path: str) -> None:
    found = cache.load(path, STAMP)
    assert found is not None
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert Path(path + ".cache").stat().st_mode & 0o777 == 0o600
    assert not Path(path + ".cache-new").exists()


def test_is_nothing_where_there_is_none_or_for_another_stamp(path: str, tmp_path: Path) -> None:
    assert cache.load(path, STAMP | {"file": [1, 2, 4]}) is None
    assert cache.load(str(tmp_path / "g"), STAMP) is None


@given(where=st.integers(0, 4 * cache.PAGE - 1), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_flipped_bit_changes_no_array(path: str, where: int, bit: int) -> None:
    file = Path(path + ".cache")
    whole = file.read_bytes()
    broken = bytearray(whole)
    broken[where] ^= 1 << bit
    file.write_bytes(broken)
    found = cache.load(path, STAMP)
    file.write_bytes(whole)
    assert found is None or all((found[name] == ARRAYS[name]).all() for name in found)


@pytest.mark.parametrize("size", [0, 1, 100, cache.PAGE, 2 * cache.PAGE, 3 * cache.PAGE + 1])
def test_one_that_was_cut_short_is_none(path: str, size: int) -> None:
    file = Path(path + ".cache")
    file.write_bytes(file.read_bytes()[:size])
    assert cache.load(path, STAMP) is None


def test_one_of_a_file_that_has_changed_meanwhile_goes(path: str) -> None:
    cache.save(path, STAMP, ARRAYS, still=lambda: False)
    assert cache.load(path, STAMP) is None
    assert not list(Path(path).parent.iterdir())


def test_nothing_is_written_while_another_process_writes(tmp_path: Path) -> None:
    path = str(tmp_path / "f")
    with Path(path + ".cache-new").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        cache.save(path, STAMP, ARRAYS, still=lambda: True)
    assert cache.load(path, STAMP) is None
    cache.save(path, STAMP, ARRAYS, still=lambda: True)  # what it left is no hindrance
    assert cache.load(path, STAMP) is not None


def test_a_folder_that_cannot_be_written_to_has_none(tmp_path: Path) -> None:
    cache.save(str(tmp_path / "none" / "f"), STAMP, ARRAYS, still=lambda: True)
    assert not (tmp_path / "none").exists()


def test_there_is_none_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "fcntl", None)
    cache.save(str(tmp_path / "f"), STAMP, ARRAYS, still=lambda: True)
    assert not list(tmp_path.iterdir())
