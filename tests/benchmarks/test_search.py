"""The benchmark of search: made-up people are as alike as it says, all engines answer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from benchmarks import search
from mien.errors import BadInput


@pytest.mark.parametrize("dim", [128, 512])
def test_made_up_people_are_as_alike_as_it_says(dim: int) -> None:
    rows = search.people(2000, dim)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    cosines = (rows @ rows.T).reshape(200, search.PHOTOS, 200, search.PHOTOS)
    own = np.array([cosines[i, :, i] for i in range(200)])
    off = ~np.eye(search.PHOTOS, dtype=bool)
    assert own[:, off].mean() == pytest.approx(search.LIKENESS, abs=0.01)
    assert cosines[0, :, 1:].mean() == pytest.approx(0, abs=0.02)


def test_every_installed_engine_is_measured_and_exact_ones_find_the_same() -> None:
    found = {one.engine: one for one in search.measure(500, 32, turns=2)}
    assert {"mien float32", "mien int8"} <= set(found)
    assert ("faiss flat" in found) == (importlib.util.find_spec("faiss") is not None)
    assert all(one.recall == 1 for one in found.values() if "graph" not in one.engine)
    assert all(one.query > 0 and one.read > 0 and one.disk > 0 for one in found.values())


def test_alone_leaves_other_libraries_out() -> None:
    found = search.measure(200, 8, turns=1, alone=True)
    assert [one.engine for one in found] == ["mien float32", "mien int8"]


def test_graphs_beyond_their_size_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    flat, graph = (
        search._Engine(name, Mock(), Mock(), size) for name, size in (("f", 4), ("g", 0))
    )
    monkeypatch.setattr(search, "_engines", lambda: [flat, graph])
    assert search.left_out(search.GRAPHS) == []
    assert search.left_out(search.GRAPHS + 1) == ["g"]


def test_a_facebank_is_filled_and_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.facebank.facebank.LARGE", 100)
    grown = search.grow(200, 16)
    assert grown.cache > 0
    assert min(grown.first, grown.again, grown.add) > 0


def test_the_recall_of_an_engine_is_checked(tmp_path: Path) -> None:
    found = search.recall(str(tmp_path / "f"), 300, 16, queries=20)
    assert (found.recall, found.templates) == (1.0, 300)
    with pytest.raises(BadInput, match="has people already"):
        search.recall(str(tmp_path / "f"), 300, 16)
