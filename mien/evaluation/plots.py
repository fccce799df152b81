"""Plots of evaluations, one line for each.  Needs matplotlib.

Every function draws one plot, 6 inches wide on white, and returns it as a PNG.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import needs_extra
from mien.evaluation.metrics import Roc

_INK, _GREY, _PALE = "#222222", "#8a8a8a", "#e4e4e4"
_COLOURS = ("#1f5fa8", "#c8641b", "#2f8a57", "#8a4f9e", "#b23a48", "#5b6770", "#a88a1f", "#2a9aa8")
_DASHES = ("-", "--", ":", "-.")  # after the last colour, the first again in another dash
_LINES_INSIDE = 6  # of a legend
_PIXELS = 2000  # more than a picture is wide
_BIN = 0.02  # of score, in a histogram


def roc(curves: Mapping[str, Roc], title: str) -> bytes:
    """The receiver operating characteristic: true matches against false ones, on a log scale."""
    figure, axes = _canvas(title)
    left = min(_one_false_match(curve) for curve in curves.values())
    lowest = min(curve.tmr[curve.fmr <= left].max() for curve in curves.values())
    bottom = min(np.floor(10 * lowest) / 10, 0.9)
    for style, (name, curve) in zip(_styles(), curves.items(), strict=False):
        axes.plot(*_seen(curve), label=name, **style)
    _rates(axes.xaxis, left=min(left, 0.1))
    axes.set_ylim(bottom, 1 + (1 - bottom) / 50)  # the line at 1 is seen whole
    axes.yaxis.set_major_formatter(_percent)
    axes.set_xlabel("false-match rate: two people taken for one")
    axes.set_ylabel("true-match rate: one person recognised")
    return _png(figure, axes, "lower right")


def det(curves: Mapping[str, Roc], title: str) -> bytes:
    """The detection error trade-off: missed matches against false ones, both on log scales."""
    figure, axes = _canvas(title)
    left = min(_one_false_match(curve) for curve in curves.values())
    missed = [1 - curve.tmr for curve in curves.values()]
    lowest = min(rates[rates > 1e-12].min(initial=1) for rates in missed)
    for style, (name, curve) in zip(_styles(), curves.items(), strict=False):
        rates, matched = _seen(curve)
        axes.plot(rates, np.maximum(1 - matched, lowest / 10), label=name, **style)
    axes.plot([1e-9, 1], [1e-9, 1], color=_GREY, linewidth=0.8, linestyle=":", label="both equal")
    _rates(axes.xaxis, left=min(left, 0.1))
    _rates(axes.yaxis, left=min(lowest, 0.1))
    axes.set_xlabel("false-match rate: two people taken for one")
    axes.set_ylabel("false non-match rate: one person missed")
    return _png(figure, axes, "lower left")


def scores(
    values: NDArray[Any], same: NDArray[np.bool_], threshold: float | None, title: str
) -> bytes:
    """Histograms of the scores of genuine and impostor pairs, and the threshold, if any."""
    figure, axes = _canvas(title)
    lowest, highest = np.floor(values.min() / _BIN), np.ceil(values.max() / _BIN)
    edges = np.arange(lowest, highest + 2) * _BIN
    most = 0.0
    for kind, colour, name in (
        (~same, _COLOURS[1], "two people"),
        (same, _COLOURS[0], "one person"),
    ):
        share = np.histogram(values[kind], edges)[0] / kind.sum()
        most = max(most, share.max())
        label = f"{name}: {kind.sum():,} pairs"
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.25)
        axes.stairs(share, edges, color=colour, linewidth=1.6, label=label)
    if threshold is not None:
        axes.axvline(
            threshold, color=_INK, linewidth=1, linestyle="--", label=f"threshold {threshold:.3f}"
        )
    axes.set_ylim(0, 1.35 * most)  # room for the legend
    axes.yaxis.set_major_formatter(_percent)
    axes.set_xlabel("score: cosine of the two embeddings")
    axes.set_ylabel(f"share of the pairs, by {_BIN:g} of score")
    return _png(figure, axes, "upper right")


def cmc(curves: Mapping[str, NDArray[np.float64]], title: str) -> bytes:
    """The cumulative match characteristic: the identification rate by rank."""
    figure, axes = _canvas(title)
    most = max(len(curve) for curve in curves.values())
    for style, (name, curve) in zip(_styles(), curves.items(), strict=False):
        axes.step(np.arange(1, len(curve) + 1), curve, where="post", label=name, **style)
    lowest = min(curve[0] for curve in curves.values())
    bottom = min(np.floor(10 * lowest) / 10, 0.9)
    axes.set_ylim(bottom, 1 + (1 - bottom) / 50)
    axes.set_xscale("log")
    axes.set_xlim(1, max(most, 2))
    axes.set_xticks(ticks := [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= most])
    axes.set_xticklabels(map(str, ticks))
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(_percent)
    axes.set_xlabel("rank: people in the answer, best first")
    axes.set_ylabel("searches whose person is among them")
    return _png(figure, axes, "lower right")


def _seen(curve: Roc) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true-match rates to draw: from one false match on, before which nothing is known.

    A curve of millions of steps has the same picture as one of as many as there are pixels.
    """
    rates = np.geomspace(_one_false_match(curve), 1, _PIXELS)
    return rates, curve.tmr[np.searchsorted(curve.fmr, rates, side="right") - 1]


def _one_false_match(curve: Roc) -> float:
    return float(curve.fmr[curve.fmr > 0].min())


def _styles() -> Iterator[dict[str, Any]]:
    for dash in _DASHES:
        for colour in _COLOURS:
            yield {"color": colour, "linestyle": dash, "linewidth": 1.6}
    yield from _styles()


def _canvas(title: str) -> tuple[Any, Any]:
    with needs_extra("drawing", "evaluate"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(6, 4.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.set_title(title, color=_INK, loc="left", fontsize=11)
    calm(axes)
    return figure, axes


def calm(axes: Any) -> None:
    """Style axes: a pale grid, grey lines, dark text."""
    axes.grid(True, which="major", color=_PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(which="both", color=_GREY, labelcolor=_INK, labelsize=9)
    axes.xaxis.label.set(color=_INK, size=10)
    axes.yaxis.label.set(color=_INK, size=10)


def _rates(axis: Any, *, left: float) -> None:
    """Give an axis a log scale of rates up to 1."""
    from matplotlib.ticker import NullFormatter

    vertical = axis.axis_name == "y"
    (axis.axes.set_yscale if vertical else axis.axes.set_xscale)("log")
    (axis.axes.set_ylim if vertical else axis.axes.set_xlim)(left, 1)
    axis.set_major_formatter(_percent)
    axis.set_minor_formatter(NullFormatter())


def _percent(fraction: float, _: float) -> str:
    return f"{100 * fraction:g} %"


def _png(figure: Any, axes: Any, legend: str) -> bytes:
    """The PNG; the legend is inside where curves seldom run, or below if it is long."""
    lines = len(axes.get_legend_handles_labels()[1])
    text = {"frameon": False, "fontsize": 9, "labelcolor": _INK}
    if lines <= _LINES_INSIDE:
        axes.legend(loc=legend, **text)
    else:
        figure.set_figheight(figure.get_figheight() + 0.1 * lines)
        figure.legend(loc="outside lower center", ncols=2, **text)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=160)
    return picture.getvalue()
