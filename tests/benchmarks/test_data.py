"""The benchmark of data: it reads all that it times, and runs in new processes."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow", reason="prepared data need the extra data")

from benchmarks import data


def test_readings() -> None:
    (reading,) = data.readings(records=4, workers=(2,), turns=1)
    assert reading.workers == 2
    assert reading.records_per_second > 0
    assert reading.ratio > 0


def test_memory() -> None:
    (taken,) = data.memory((300,))
    assert taken.records == 300
    assert 1 < taken.reading < 1000
    assert 1 < taken.making < 1000
