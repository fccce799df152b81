"""Thresholds for any rate: on Gaussian scores, whose truth is known, and on cards of any age."""

from __future__ import annotations

import json
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import BadInput
from mien.recognition.embedder import OnnxEmbedder
from mien.recognition.model import load, model_file, shipped
from mien.recognition.thresholds import GAINS, Impostors, measurable_rates, threshold_at_fmr

NORMAL = NormalDist(0.02, 0.1)
OLD = {
    "chosen": {"fmr": 0.001, "threshold": 0.33, "tmr": 0.9},
    "table": [
        {"fmr": 0.01, "threshold": 0.25, "tmr": 0.95},
        {"fmr": 0.001, "threshold": 0.33, "tmr": 0.9},
    ],
}


@pytest.fixture(scope="module")
def gaussian() -> Impostors:
    scores = np.random.default_rng(0).normal(NORMAL.mean, NORMAL.stdev, 300_000)
    rates = measurable_rates(len(scores), 30)
    thresholds = [threshold_at_fmr(scores.astype(np.float32), rate) for rate in rates]
    return Impostors(tuple(rates), tuple(thresholds), {1: 1.0, 4: 1.1})


@pytest.mark.parametrize("fmr", [0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
def test_thresholds_within_and_beyond_what_was_seen(gaussian: Impostors, fmr: float) -> None:
    threshold = gaussian.threshold(fmr)
    assert threshold == pytest.approx(-NORMAL.inv_cdf(fmr) + 2 * NORMAL.mean, abs=0.01)
    assert gaussian.fmr(threshold) == pytest.approx(fmr, rel=1e-6)


def test_points_go_no_further_than_there_are_scores_for(gaussian: Impostors) -> None:
    assert gaussian.rates[0] > 0.5
    assert gaussian.rates[-1] == pytest.approx(1e-4)  # on which 30 of 300,000 rest
    assert all(a < b for a, b in zip(gaussian.scores, gaussian.scores[1:], strict=False))


def test_a_stranger_among_many(gaussian: Impostors) -> None:
    rate = gaussian.fmr(0.35)
    assert gaussian.fpir([1] * 50, 0.35) == pytest.approx(1 - (1 - rate) ** 50)
    mixed = 1 - (1 - rate) ** 20 * (1 - gaussian.fmr(0.35 / 1.1)) ** 30
    assert gaussian.fpir([1] * 20 + [4] * 30, 0.35) == pytest.approx(mixed)
    assert gaussian.fpir([], 0.35) == 0


@given(
    photos=st.lists(st.integers(1, 100), min_size=1, max_size=30),
    fpir=st.floats(1e-6, 0.5),
)
def test_the_threshold_among_many_gives_the_rate(photos: list[int], fpir: float) -> None:
    known = Impostors((1e-1, 1e-2, 1e-3), (0.1, 0.2, 0.28), {1: 1.0, 16: 1.2})
    threshold = known.threshold_among(photos, fpir)
    assert known.fpir(photos, threshold) == pytest.approx(fpir, rel=1e-3)
    more = known.threshold_among([*photos, 1], fpir)
    assert more >= threshold


def test_factors_lie_on_a_line_in_doublings(gaussian: Impostors) -> None:
    assert [gaussian.gain(photos) for photos in (1, 2, 4, 99)] == pytest.approx([1, 1.05, 1.1, 1.1])


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_rates_that_make_no_sense(gaussian: Impostors, rate: float) -> None:
    for ask in (gaussian.threshold, lambda fpir: gaussian.threshold_among([1], fpir)):
        with pytest.raises(BadInput, match="must lie between 0 and 1"):
            ask(rate)


def test_cards_of_any_age(gaussian: Impostors) -> None:
    again = json.loads(json.dumps({"impostors": gaussian.to_json()}))
    assert Impostors.from_calibration(again) == gaussian
    old = Impostors.from_calibration(OLD)
    assert old is not None
    assert (old.threshold(0.01), old.threshold(0.001)) == pytest.approx((0.25, 0.33))
    assert old.threshold(1e-4) > 0.38
    assert old.gains == GAINS
    same = {"table": [{"fmr": 0.1, "threshold": 0.4}, {"fmr": 0.01, "threshold": 0.4}]}
    assert Impostors.from_calibration(same) is None
    assert Impostors.from_calibration({}) is None
    assert Impostors.from_calibration({"chosen": OLD["chosen"]}) is None


@pytest.mark.parametrize(
    "damaged",
    [
        {"impostors": {"rates": [0.1, 0.01], "scores": [0.3, 0.2], "gains": {}}},
        {"impostors": {"rates": [0.1], "scores": [0.3, 0.4], "gains": {}}},
        {"impostors": {"rates": [2, 0.01], "scores": [0.3, 0.4], "gains": {"1": 1.0}}},
        {"impostors": {"rates": [0.1, 0.01], "scores": [0.3, 0.4], "gains": {"1": -1.0}}},
        {"impostors": {"rates": [0.1, 0.01], "scores": [0.3, 0.4], "gains": {}}},
        {"impostors": []},
        {"table": [{"fmr": "many"}]},
    ],
)
def test_a_damaged_card_is_found(damaged: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        Impostors.from_calibration(damaged)


@pytest.mark.skipif(not shipped(), reason="no model ships with this tree")
def test_the_shipped_models_threshold_rises_with_the_facebank() -> None:
    model = load()
    card = OnnxEmbedder(model_file("mien-small")).card
    own = model.policy()
    assert own.threshold == card.threshold
    few, many = own.threshold_among([1, 1]), own.threshold_among([1] * 1000)
    assert few == own.threshold < many
    assert model.policy(threshold=0.4).threshold_among([1] * 1000) == 0.4
    asked = model.policy(fmr=1e-3)
    assert asked.threshold == pytest.approx(card.calibration["chosen"]["threshold"])
    assert asked.threshold_among([1] * 1000) > many
    with pytest.raises(BadInput, match="give one of them"):
        model.policy(threshold=0.4, fmr=1e-3)


def test_a_model_without_calibration_says_so(model_file: object) -> None:
    with pytest.raises(BadInput, match="does not say how alike strangers are"):
        load(str(model_file)).policy(fmr=1e-3)
