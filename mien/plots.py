"""Pictures of measurements.  Needs the extra `evaluate`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from mien.errors import BadInput, MissingExtra
from mien.images import write_atomically
from mien.metrics import Roc

_FORMATS = (".png", ".svg")
_INK, _GREY, _BLUE = "#222222", "#8a8a8a", "#1f5fa8"


def draw_roc(curve: Roc, path: str | Path, *, title: str) -> None:
    """Leave a ROC in a file, PNG or SVG by its name: true matches against false ones, log scale.

    Raises:
        BadInput: another ending.
        MissingExtra: matplotlib is not installed.
        CannotWrite: see `mien.images.write_atomically`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise BadInput(f"{path} must end in {' or '.join(_FORMATS)} to be drawn: rename it")
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import NullFormatter
    except ImportError as error:
        raise MissingExtra("Drawing a ROC", "evaluate") from error

    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    left = curve.fmr[curve.fmr > 0].min()  # one false match: nothing is known to its left
    bottom = min(np.floor(10 * curve.tmr[curve.fmr <= left].max()) / 10, 0.9)
    axes.step(curve.fmr, curve.tmr, where="post", color=_BLUE, linewidth=1.8)
    axes.set_xscale("log")
    axes.set_xlim(min(left, 0.1), 1)
    axes.set_ylim(bottom, 1 + (1 - bottom) / 50)  # the line at 1 is seen whole
    axes.xaxis.set_major_formatter(_percent)
    axes.yaxis.set_major_formatter(_percent)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("false-match rate: two people taken for one", color=_INK)
    axes.set_ylabel("true-match rate: one person recognised", color=_INK)
    axes.set_title(title, color=_INK, loc="left", fontsize=11)
    axes.grid(True, which="major", color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(which="both", color=_GREY, labelcolor=_INK)

    picture = io.BytesIO()
    figure.savefig(picture, format=suffix[1:], dpi=160)
    write_atomically(path, picture.getvalue())


def _percent(fraction: float, _: float) -> str:
    return f"{100 * fraction:g} %"
