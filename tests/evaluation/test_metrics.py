"""Every measure against scikit-learn or a slow loop that follows the definition word by word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_curve

from mien.evaluation import metrics
from mien.recognition.thresholds import threshold_at_fmr

# Few distinct values make ties; any float32 makes neighbours with no number between them.
coarse = st.integers(-5, 5).map(lambda n: n / 5)
fine = st.floats(-1, 1, width=32)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def scored_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    kinds = st.lists(st.booleans(), max_size=18).map(lambda kinds: [*kinds, True, False])
    same = np.array(draw(kinds.flatmap(st.permutations)))
    elements = draw(st.sampled_from([coarse, fine]))
    return draw(arrays(np.float32, len(same), elements=elements)), same


def normal_scores(size: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    same = random.random(size) < 0.4
    return random.normal(np.where(same, 0.6, 0.1), 0.15).round(2), same  # rounding makes ties


def every_threshold(scores: np.ndarray) -> list[float]:
    """One on each score and one above all: no other parts the scores differently."""
    return [*np.unique(scores).tolist(), float(np.nextafter(scores.max(), np.inf))]


def share_right(scores: np.ndarray, same: np.ndarray, threshold: float) -> float:
    pairs = zip(scores.tolist(), same.tolist(), strict=True)
    return float(np.mean([(score >= threshold) == truth for score, truth in pairs]))


def test_roc_is_scikit_learns() -> None:
    scores, same = normal_scores()
    curve = metrics.roc(scores, same)
    fmr, tmr, thresholds = roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fmr, fmr)
    np.testing.assert_allclose(curve.tmr, tmr)
    np.testing.assert_array_equal(curve.thresholds, thresholds)


@unhurried
@given(scored_pairs())
def test_roc_counts_what_reaches_each_threshold(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    scores, same = pairs
    curve = metrics.roc(scores, same)
    assert len(curve.thresholds) == len(set(scores.tolist())) + 1
    for threshold, fmr, tmr in zip(curve.thresholds, curve.fmr, curve.tmr, strict=True):
        assert fmr == np.mean([score >= threshold for score in scores[~same]])
        assert tmr == np.mean([score >= threshold for score in scores[same]])


@unhurried
@given(scored_pairs())
def test_no_threshold_is_better_than_the_best(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    scores, same = pairs
    best = metrics.best_threshold(scores, same)
    most = max(share_right(scores, same, threshold) for threshold in every_threshold(scores))
    assert share_right(scores, same, best) == most


@pytest.mark.parametrize(
    ("scores", "same", "expected"),
    [
        pytest.param([0.8, 0.2], [True, False], 0.5, id="midpoint of the gap"),
        pytest.param([0.9, 0.5, 0.1], [True, False, True], 0.7, id="the highest of equals"),
        pytest.param([0.5, 0.5, 0.5], [True, True, False], 0.5, id="accept everyone"),
        pytest.param([0.5, 0.4, 0.3], [False, False, True], np.nextafter(0.5, 1), id="nobody"),
    ],
)
def test_best_threshold(scores: list[float], same: list[bool], expected: float) -> None:
    assert metrics.best_threshold(scores, same) == pytest.approx(expected, abs=1e-15)


def test_best_threshold_between_neighbouring_floats() -> None:
    low = 0.5
    high = np.nextafter(low, 1)
    assert metrics.best_threshold([low, high], [False, True]) == high


@unhurried
@given(scored_pairs())
def test_rates_by_hand(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    scores, same = pairs
    found = metrics.rates(scores, same, 0.2)
    assert found.threshold == 0.2
    assert found.accuracy == pytest.approx(share_right(scores, same, 0.2))
    assert found.fmr == np.mean([float(score) >= 0.2 for score in scores[~same]])
    assert found.fnmr == pytest.approx(np.mean([float(score) < 0.2 for score in scores[same]]))


def test_a_fold_is_judged_by_the_others() -> None:
    scores = [0.9, 0.1, 0.8, 0.2, 0.3, 0.25]
    same = [True, False] * 3
    found = metrics.accuracy_by_folds(scores, same, [0, 0, 1, 1, 7, 7])
    # Fold 7 lies low: the others' thresholds are midpoints of 0.3 and 0.25 or of 0.8 and 0.2.
    np.testing.assert_allclose(found.thresholds, [0.275, 0.275, 0.5])
    np.testing.assert_allclose(found.accuracy, [1, 1, 0.5])
    assert found.mean == pytest.approx(5 / 6)
    assert found.std == pytest.approx(np.sqrt(((1 - 5 / 6) ** 2 * 2 + (0.5 - 5 / 6) ** 2) / 2))
    assert found.threshold == pytest.approx((0.275 * 2 + 0.5) / 3)


def test_accuracy_by_folds_by_slow_loop() -> None:
    scores, same = normal_scores()
    folds = np.arange(len(scores)) % 10
    expected = []
    for fold in range(10):
        others = folds != fold
        kept, truth = scores[others], same[others]
        falling = sorted(every_threshold(kept), reverse=True)
        best = max(falling, key=lambda threshold: share_right(kept, truth, threshold))
        lower = max((s for s in kept if s < best), default=best)
        expected.append(share_right(scores[~others], same[~others], (best + lower) / 2))
    np.testing.assert_allclose(metrics.accuracy_by_folds(scores, same, folds).accuracy, expected)


def test_pairs_of_each_kind_are_dealt_evenly() -> None:
    same = np.array([True] * 500 + [False] * 300)
    folds = metrics.deal_folds(same, 10)
    for fold in range(10):
        assert (same[folds == fold]).sum() == 50
        assert (~same[folds == fold]).sum() == 30


@unhurried
@given(st.data(), st.sampled_from([np.float32, np.float64]))
def test_threshold_at_fmr_is_the_smallest(data: st.DataObject, dtype: type) -> None:
    elements = st.sampled_from([coarse, fine])
    scores = data.draw(arrays(dtype, st.integers(1, 40), elements=data.draw(elements)))
    fmr = data.draw(st.sampled_from([0, 0.01, 0.1, 0.25, 0.29, 0.5, 0.99]) | st.floats(0, 0.999))
    threshold = threshold_at_fmr(scores, fmr)
    assert np.mean(scores >= threshold) <= fmr
    assert np.mean(scores >= np.nextafter(dtype(threshold), dtype(-2))) > fmr
    assert dtype(threshold) == threshold


def test_threshold_at_fmr_counts_exactly() -> None:
    scores = np.arange(100, dtype=np.float32)  # 0.29 x 100 is 28.999999999999996 in floats
    assert (scores >= threshold_at_fmr(scores, 0.29)).sum() == 29


def test_threshold_at_fmr_of_millions() -> None:
    scores = np.random.default_rng(2).random(10**7, dtype=np.float32)
    assert (scores >= threshold_at_fmr(scores, 1e-5)).sum() == 100


def test_tar_at_far_by_hand() -> None:
    impostors = np.arange(1000) / 1000
    scores = np.concatenate([impostors, [0.9985, 0.9995, 0.5, 0.999]])
    same = np.arange(len(scores)) >= 1000
    # One false match in 1,000 leaves the threshold just above 0.998, none in fewer is not known.
    assert metrics.tar_at_far(scores, same, 1e-3) == 0.75
    assert metrics.tar_at_far(scores, same, 9.9e-4) is None
    assert metrics.tar_at_far(scores, same, 0.6) == 1


@unhurried
@given(scored_pairs(), st.sampled_from([0.05, 0.1, 0.25, 0.5]))
def test_tar_at_far_is_the_highest(pairs: tuple[np.ndarray, np.ndarray], far: float) -> None:
    scores, same = pairs
    allowed = [
        np.mean(scores[same] >= threshold)
        for threshold in every_threshold(scores)
        if np.mean(scores[~same] >= threshold) <= far
    ]
    known = sum(~same) >= 1 / far
    assert metrics.tar_at_far(scores, same, far) == (max(allowed) if known else None)


@pytest.mark.parametrize(
    ("scores", "same", "expected"),
    [
        pytest.param([0.9, 0.8, 0.2, 0.1], [True, True, False, False], 0, id="apart"),
        pytest.param([0.9, 0.8, 0.2, 0.1], [False, False, True, True], 1, id="upside down"),
        pytest.param([0.5, 0.5], [True, False], 0.5, id="all equal"),
        pytest.param([0.9, 0.8, 0.7, 0.6], [True, False, True, False], 0.5, id="alternating"),
    ],
)
def test_eer(scores: list[float], same: list[bool], expected: float) -> None:
    assert metrics.eer(scores, same) == pytest.approx(expected)


def test_eer_lies_on_scikit_learns_curve() -> None:
    scores, same = normal_scores()
    found = metrics.eer(scores, same)
    fmr, tmr, _ = roc_curve(same, scores)
    assert 0.02 < found < 0.2
    assert np.interp(found, fmr, tmr) == pytest.approx(1 - found)


def test_tpir_that_cannot_be_told() -> None:
    assert metrics.tpir_at_fpir([], [], [0.1] * 10, 0.1) is None
    assert metrics.tpir_at_fpir([0.5], [True], [0.1] * 9, 0.1) is None
    assert metrics.tpir_at_fpir([0.5], [True], [], 0.1) is None


MEASURES = [
    metrics.roc,
    metrics.eer,
    metrics.best_threshold,
    lambda scores, same: metrics.rates(scores, same, 0.5),
    lambda scores, same: metrics.tar_at_far(scores, same, 0.1),
    lambda scores, same: metrics.accuracy_by_folds(scores, same, np.arange(np.size(scores))),
]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("scores", "same", "message"),
    [
        pytest.param([], np.empty(0, bool), "both kinds", id="empty"),
        pytest.param([0.1, 0.2], [True, True], "both kinds", id="one person only"),
        pytest.param([0.1, 0.2], [False, False], "both kinds", id="two people only"),
        pytest.param([0.1, np.nan], [True, False], "finite", id="not a number"),
        pytest.param([0.1, 0.2, 0.3], [True, False], "one length", id="lengths differ"),
        pytest.param([0.1, 0.2], [1, 0], "booleans", id="not booleans"),
        pytest.param([[0.1], [0.2]], [[True], [False]], "two rows", id="a matrix"),
    ],
)
def test_what_cannot_be_measured(measure, scores, same, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        measure(scores, same)


def test_folds_that_cannot_be_used() -> None:
    with pytest.raises(ValueError, match="two or more"):
        metrics.accuracy_by_folds([0.1, 0.2], [True, False], [3, 3])
    with pytest.raises(ValueError, match="shape"):
        metrics.accuracy_by_folds([0.1, 0.2], [True, False], [0])
    with pytest.raises(ValueError, match="both kinds"):  # what is left has one kind
        metrics.accuracy_by_folds([0.1, 0.2], [True, False], [0, 1])


@pytest.mark.parametrize("scores", [[], [np.nan], [[0.1]]])
def test_impostor_scores_that_cannot_be_used(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        threshold_at_fmr(scores, 0.1)


@pytest.mark.parametrize("fmr", [-0.1, 1, np.nan])
def test_rates_that_cannot_be_asked_for(fmr: float) -> None:
    with pytest.raises(ValueError, match="fmr"):
        threshold_at_fmr([0.1], fmr)
