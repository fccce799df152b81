"""Groups of vectors whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cluster import judge
from mien.errors import BadInput
from mien.recognition import grouping
from mien.recognition.grouping import group

pytest.importorskip("scipy", reason="grouping needs the extra cluster")


def test_people_far_apart_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "_BLOCK", 7)
    random = np.random.default_rng(2)
    person = np.repeat([0, 1, 2, 3], [5, 9, 1, 7])
    vectors = np.eye(16)[person] + 0.1 * random.normal(size=(22, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = random.permutation(22)
    found = group(vectors[order].astype(np.float32), 0.5)
    truth = np.array([2, 0, 3, 1])[person[order]]  # by size
    assert found.tolist() == truth.tolist()


def test_none_and_one() -> None:
    assert group(np.zeros((0, 4), np.float32), 0.5).shape == (0,)
    assert group(np.eye(4, dtype=np.float32)[:1], 0.5).tolist() == [0]


def test_more_than_fit_the_memory() -> None:
    with pytest.raises(BadInput, match="are too many"):
        group(np.broadcast_to(np.float32(1), (grouping.MOST + 1, 1)), 0.5)


def test_figures_of_groups() -> None:
    found = judge(np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 1]))
    assert found.precision == pytest.approx(1 / 3)
    assert found.recall == pytest.approx(1 / 4)
    assert found.f == pytest.approx(2 / 7)
    assert found.purity == pytest.approx(2 / 3)
    assert found.grouped == pytest.approx(3 / 5)
