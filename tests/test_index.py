"""Every index of the table against a slow loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.index import INDEXES
from mien.index.exact import ExactIndex
from mien.types import Embeddings


def unit_vectors(rng: np.random.Generator, count: int, dim: int) -> Embeddings:
    vectors = rng.normal(size=(count, dim))
    unit: Embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")
    return unit


def slow_scores(rows: Embeddings, query: Embeddings) -> NDArray[np.float64]:
    """The cosine of each row, best first."""
    return np.array(sorted((float(np.dot(row, query)) for row in rows), reverse=True))


@pytest.mark.parametrize("name", INDEXES)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 40),
    queries=st.integers(0, 5),
    dim=st.integers(1, 12),
    k=st.integers(1, 50),
)
def test_finds_what_a_loop_finds(
    name: str, seed: int, rows: int, queries: int, dim: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix, asked = unit_vectors(rng, rows, dim), unit_vectors(rng, queries, dim)
    index = INDEXES[name](matrix)
    scores, found = index.search(asked, k)

    assert len(index) == rows
    assert scores.shape == found.shape == (queries, min(k, rows))
    for query, score, number in zip(asked, scores, found, strict=True):
        assert len(set(number.tolist())) == len(number)
        np.testing.assert_allclose(score, matrix[number] @ query, atol=1e-5)
        np.testing.assert_allclose(score, slow_scores(matrix, query)[:k], atol=1e-5)
        assert (np.diff(score) <= 0).all()


@pytest.mark.parametrize("name", INDEXES)
def test_a_row_finds_itself(name: str) -> None:
    rows = unit_vectors(np.random.default_rng(0), 500, 128)
    scores, found = INDEXES[name](rows).search(rows, 1)
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
