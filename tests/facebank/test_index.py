"""Every index against a slow loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.facebank.index import exact, int8, matmul
from mien.facebank.index.exact import ExactIndex
from mien.facebank.index.int8 import Int8Index
from mien.types import Embeddings, Index

MakeIndex = Callable[[Embeddings], Index]


def unit_vectors(rng: np.random.Generator, count: int, dim: int) -> Embeddings:
    vectors = rng.normal(size=(count, dim))
    unit: Embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")
    return unit


def slow_scores(rows: Embeddings, query: Embeddings) -> NDArray[np.float64]:
    """The cosine of each row, best first."""
    return np.array(sorted((float(np.dot(row, query)) for row in rows), reverse=True))


@pytest.mark.parametrize("make", [ExactIndex, Int8Index])
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 40),
    queries=st.integers(0, 5),
    dim=st.integers(1, 12),
    k=st.integers(1, 50),
)
@settings(deadline=None)
def test_finds_what_a_loop_finds(
    make: MakeIndex, seed: int, rows: int, queries: int, dim: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix, asked = unit_vectors(rng, rows, dim), unit_vectors(rng, queries, dim)
    index = make(matrix)
    scores, found = index.search(asked, k)

    assert len(index) == rows
    assert scores.shape == found.shape == (queries, min(k, rows))
    for query, score, number in zip(asked, scores, found, strict=True):
        assert len(set(number.tolist())) == len(number)
        np.testing.assert_allclose(score, matrix[number] @ query, atol=1e-5)
        np.testing.assert_allclose(score, slow_scores(matrix, query)[:k], atol=1e-5)
        assert (np.diff(score) <= 0).all()


@pytest.mark.parametrize("make", [ExactIndex, Int8Index])
def test_a_row_finds_itself(make: MakeIndex) -> None:
    rows = unit_vectors(np.random.default_rng(0), 500, 128)
    scores, found = make(rows).search(rows, 1)
    assert found[:, 0].tolist() == list(range(500))
    np.testing.assert_allclose(scores, 1, atol=1e-5)


@pytest.mark.parametrize(
    ("queries", "k"),
    [
        (np.zeros((1, 7), np.float32), 1),
        (np.zeros(8, np.float32), 1),
        (np.zeros((1, 8), np.float32), 0),
        (np.zeros((1, 8), np.float32), -1),
    ],
)
def test_refuses_what_makes_no_sense(queries: Embeddings, k: int) -> None:
    with pytest.raises(ValueError, match="must"):
        ExactIndex(np.zeros((3, 8), np.float32)).search(queries, k)


def test_refuses_rows_that_are_no_matrix() -> None:
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        ExactIndex(np.zeros(8, np.float32))


@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0, 1e-4, 1e-3, 0.3]))
@settings(max_examples=30, deadline=None)
def test_int8_finds_the_same_rows_where_they_hardly_differ(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    rows = unit_vectors(rng, 1, 16) + spread * unit_vectors(rng, 300, 16)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f4")
    queries = unit_vectors(rng, 3, 16)
    for k in (1, 7):
        scores = Int8Index(rows).search(queries, k)[0]
        np.testing.assert_allclose(scores, ExactIndex(rows).search(queries, k)[0], atol=1e-6)


def test_blocks_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "BLOCK", 64)
    monkeypatch.setattr(exact, "BLOCK", 640)
    rng = np.random.default_rng(0)
    rows, queries = unit_vectors(rng, 1000, 32), unit_vectors(rng, 70, 32)
    for k, count in ((1, 70), (3, 70), (100, 70), (1, 1), (100, 1)):
        expected = np.sort(-(queries[:count] @ rows.T), axis=1)[:, :k]
        for index in (Int8Index(rows), ExactIndex(rows)):
            scores, found = index.search(queries[:count], k)
            np.testing.assert_allclose(-scores, expected, atol=1e-6)
            assert all(len(set(row)) == k for row in found.tolist())


@pytest.mark.parametrize("flags", ["flags : avx2", "flags : avx2 amx_int8", "flags :"])
def test_the_largest_sums_are_added_without_error(
    flags: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul, "CPUINFO", tmp_path / "cpuinfo")
    matmul.CPUINFO.write_text(flags)
    blocks = np.full((2, 512, 3), 64, np.int8)
    blocks[:, :, 1] = -64
    blocks[1, ::2] = 0
    rows = np.array([[255] * 512, [0] * 512, [1, 255] * 256], np.uint8)
    expected = (rows.astype(int) - 128) @ blocks.astype(int)
    multiply = matmul.multiplier(blocks, 128)
    np.testing.assert_array_equal(multiply(rows), expected)
    for row, sums in zip(rows, expected.swapaxes(0, 1), strict=True):
        np.testing.assert_array_equal(np.hstack(multiply(row[None])), sums.reshape(1, -1))


def test_a_single_row_needs_no_copy_of_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags : avx2")
    monkeypatch.setattr(matmul, "CPUINFO", tmp_path / "cpuinfo")
    made = Mock(wraps=matmul._session)
    monkeypatch.setattr(matmul, "_session", made)
    np.ones((2, 4, 6), np.int8).tofile(tmp_path / "blocks")
    blocks = np.memmap(tmp_path / "blocks", np.int8, mode="r", shape=(2, 4, 6))
    multiply = matmul.multiplier(blocks, 128)
    for count, sessions in ((1, 1), (1, 1), (2, 2), (3, 2)):
        assert (np.array(multiply(np.full((count, 4), 129, np.uint8))) == 4).all()
        assert made.call_count == sessions


def test_most_rows_are_ruled_out_before_their_float_numbers_are_read() -> None:
    rows = unit_vectors(np.random.default_rng(0), 20_000, 128)
    read = []

    class Watched(np.ndarray[tuple[int, ...], np.dtype[np.float32]]):
        def __getitem__(self, key: Any) -> Any:
            read.append(np.size(key))
            return super().__getitem__(key)

    index = Int8Index(rows.view(Watched), int8.encode(rows))
    assert index.search(rows[:10], 1)[1][:, 0].tolist() == list(range(10))
    assert 0 < sum(read) < 100
