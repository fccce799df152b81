"""Pictures are drawn, differ by what they show, and need matplotlib only when they are drawn."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

from mien import images
from mien.errors import MissingExtra
from mien.evaluation import metrics, plots

pytest.importorskip("matplotlib")
SAME = np.arange(400) % 2 == 0
SCORES = np.random.default_rng(1).normal(np.where(SAME, 0.6, 0.0), 0.15).astype(np.float32)
CURVE = metrics.roc(SCORES, SAME)
APART = metrics.roc(np.where(SAME, 0.9, 0.1), SAME)


def pixels(png: bytes) -> np.ndarray:
    picture = images.decode(png)
    assert 900 <= picture.shape[1] <= 1000  # 6 inches
    assert picture[0, 0].tolist() == [255, 255, 255]
    return picture


@pytest.mark.parametrize("draw", [plots.roc, plots.det])
@pytest.mark.parametrize("curve", [CURVE, APART], ids=["some errors", "no errors"])
def test_curves(draw, curve: metrics.Roc) -> None:  # type: ignore[no-untyped-def]
    one = pixels(draw({"a": curve}, "a set"))
    two = pixels(draw({"a": curve, "b": CURVE}, "a set"))
    assert one.std() > 10
    assert (one != two).any()


def test_more_curves_than_colours() -> None:
    names = [f"model {number}" for number in range(40)]
    with warnings.catch_warnings(action="error"):  # of a legend that leaves no room
        pixels(plots.roc(dict.fromkeys(names, CURVE), "a set"))


def test_scores_and_cmc() -> None:
    assert pixels(plots.scores(SCORES, SAME, 0.3, "a set")).std() > 10
    equal = np.ones(4, np.float32)
    pixels(plots.scores(equal, np.array([True, True, False, False]), 0.3, "all alike"))
    assert pixels(plots.cmc({"a": np.array([0.5, 0.8, 1])}, "a set")).std() > 10
    pixels(plots.cmc({"a": np.array([1.0])}, "one person"))


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match="'matplotlib>="):
        plots.roc({"a": CURVE}, "a set")
