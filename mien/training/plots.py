"""Pictures of a run, and of what was tried before it.  Needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import needs_extra
from mien.evaluation.plots import calm
from mien.files import write_atomically

if TYPE_CHECKING:
    from mien.training.lr_finder import LrSweep

_INK, _GREY, _BLUE = "#222222", "#8a8a8a", "#1f5fa8"


def draw_training(entries: Sequence[dict[str, Any]], path: Path) -> None:
    """Leaves the loss and the learning rate of a run in a PNG.

    Args:
        entries: lines of its log, each with epoch, loss and lr.
        path: of the picture.

    Raises:
        MissingExtra: matplotlib is not installed.
        CannotWrite: see `mien.files.write_atomically`.
    """
    figure = _figure(height=4.8)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    epochs = [entry["epoch"] for entry in entries]
    above.plot(epochs, [entry["loss"] for entry in entries], color=_BLUE, linewidth=1.4)
    above.set_ylabel("loss")
    below.plot(epochs, [entry["lr"] for entry in entries], color=_GREY, linewidth=1.4)
    below.set_ylabel("learning rate")
    below.set_xlabel("epoch")
    _leave(figure, (above, below), path)


def draw_lrs(sweep: LrSweep, path: Path) -> None:
    """Leaves the loss over rising learning rates in a PNG; raises what `draw_training` does."""
    figure = _figure(height=4.2)
    axes = figure.subplots()
    axes.plot(sweep.lrs, sweep.losses, color=_BLUE, linewidth=1.8)
    axes.axvline(sweep.suggested, color=_GREY, linewidth=1.2, linestyle="--")
    axes.annotate(
        f"{sweep.suggested:.2g}",
        (sweep.suggested, max(sweep.losses)),
        xytext=(6, -4),
        textcoords="offset points",
        color=_INK,
    )
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss, smoothed")
    _leave(figure, (axes,), path)


def _figure(height: float) -> Any:
    with needs_extra("drawing a run", "train"):
        from matplotlib.figure import Figure
    return Figure(figsize=(6, height), layout="constrained")


def _leave(figure: Any, all_axes: Sequence[Any], path: Path) -> None:
    for axes in all_axes:
        calm(axes)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=160)
    write_atomically(path, picture.getvalue())
