"""Scores of pairs against the whole matrix, and thresholds that are counted against sorted ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mien.evaluation.scores import (
    genuine_scores,
    impostor_scores,
    shares_at,
    template_gains,
    thresholds_at_fmrs,
)
from mien.recognition.thresholds import threshold_at_fmr


@settings(deadline=None, max_examples=50)
@given(
    arrays.arrays(
        np.float32,
        st.integers(1, 300),
        elements=st.floats(-1, 1, width=32) | st.sampled_from([0.0, -0.0, 0.25, 1.0, -1.0]),
    ),
    st.lists(st.sampled_from([0, 1e-3, 0.01, 0.1, 0.25, 0.5, 0.9, 0.999]), min_size=1),
    st.integers(20, 100),
)
def test_thresholds_are_exact_without_keeping_a_score(
    scores: np.ndarray, fmrs: list[float], size: int
) -> None:
    def blocks() -> list[np.ndarray]:
        return [scores[start : start + size] for start in range(0, len(scores), size)]

    found = thresholds_at_fmrs(blocks, fmrs)
    assert found == {fmr: threshold_at_fmr(scores, fmr) for fmr in fmrs}
    total, shares = shares_at(blocks(), list(found.values()))
    assert total == len(scores)
    assert all(share <= fmr for fmr, share in zip(found, shares, strict=True))


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        thresholds_at_fmrs(lambda: [np.array([0.1, np.nan], np.float32)], [0.1])


def test_every_pair_once_over_several_blocks() -> None:
    random = np.random.default_rng(5)
    vectors = random.normal(size=(2100, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    people = random.integers(0, 300, 2100)
    scores = vectors @ vectors.T
    above = np.triu(np.ones_like(scores, bool), k=1)
    same = people[:, None] == people[None]
    for found, wanted in (
        (impostor_scores(vectors, people), scores[above & ~same]),
        (genuine_scores(vectors, people), scores[above & same]),
    ):
        np.testing.assert_allclose(np.sort(found), np.sort(wanted), atol=1e-6)


def test_people_may_be_names() -> None:
    vectors = np.eye(3, dtype=np.float32)
    assert len(impostor_scores(vectors, ["Ann", "Bob", "Ann"])) == 2
    assert len(genuine_scores(vectors, ["Ann", "Bob", "Ann"])) == 1


def test_means_of_several_photos_are_nearer_to_strangers() -> None:
    random = np.random.default_rng(1)
    people = np.repeat(np.arange(60), 8)
    identity = np.zeros((60, 16))
    identity[:, :4] = 2 * random.normal(size=(60, 4))  # people differ in few ways, photos in all
    vectors = identity[people] + random.normal(size=(480, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    gains = template_gains(vectors, people, 30)
    assert list(gains) == [1, 2, 4, 8]
    assert 1 == gains[1] < gains[2] < gains[4] < gains[8] < 1.5
