"""Makes the pictures of docs/: `make picture`.

The photograph in them is NASA's of Eileen Collins, which is in the public domain.  All curves and
numbers are computed from the model that ships.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image as Pillow

import mien
from mien import defaults
from mien.evaluation.plots import calm
from mien.recognition.align import TEMPLATE, crop, similarity
from mien.recognition.embedder import OnnxEmbedder
from mien.recognition.model import model_file
from mien.recognition.thresholds import Impostors
from mien.types import Image

ROOT = Path(__file__).parents[1]
PHOTOS, PICTURES = ROOT / "demo" / "photos", ROOT / "docs" / "pictures"
TEAL, AMBER, RED, GREY = "#0e6b61", "#e0a021", "#a3341f", "#8a8a8a"


def main() -> None:
    """Make all of them."""
    model = mien.load()
    policy = model.policy()
    assert policy.impostors is not None
    card = OnnxEmbedder(model_file(defaults.MODEL)).card
    save(alignment(model), "alignment.jpg")
    save(angles(model), "angles.png")
    save(rates(policy.impostors, card.calibration["table"], policy.threshold), "rates.png")
    save(crowd(policy.impostors, policy.threshold), "crowd.png")


def save(figure: Figure, name: str) -> None:
    """Leave a picture beside the pages, in few bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    picture = Pillow.open(drawn).convert("RGB")
    if name.endswith(".png"):
        picture = picture.quantize(64)
    picture.save(PICTURES / name, quality=82, optimize=True)


def alignment(model: mien.Model) -> Figure:
    """A photograph with the five points that were found, and the face on the template."""
    tilted = tilt(mien.read(PHOTOS / "astronaut.png"), 24)
    (found,) = model.look(tilted, limit=1).faces
    figure, (left, right) = canvas(2, width=7.5, height=3.7)
    left.imshow(tilted)
    x1, y1, x2, y2 = found.box
    left.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=AMBER, linewidth=1.5)
    left.scatter(*found.points.T, color=TEAL, edgecolor="white", s=28, zorder=3)
    left.set_title("found: a box and five points", loc="left", fontsize=10)
    right.imshow(crop(tilted, found.points), extent=(0, 112, 112, 0))
    right.scatter(*TEMPLATE.T, marker="+", color="white", s=90, linewidth=1.8)
    moved = np.c_[found.points, np.ones(5)] @ similarity(found.points).T
    right.scatter(*moved.T, color=TEAL, edgecolor="white", s=28)
    right.set_title("aligned: 112 x 112; + is the template", loc="left", fontsize=10)
    for axes in (left, right):
        axes.axis("off")
    return figure


def tilt(image: Image, degrees: float) -> Image:
    """The part of the photograph around the face, turned."""
    matrix = cv2.getRotationMatrix2D((224, 130), degrees, 1.0)
    matrix[:, 2] += (-74, 20)
    return np.asarray(cv2.warpAffine(image, matrix, (300, 300), borderMode=cv2.BORDER_REPLICATE))


def angles(model: mien.Model) -> Figure:
    """Vectors of length 1 as arrows, by their angle to that of one photo."""
    first = mien.read(PHOTOS / "obama.jpg")
    others = {"another photo of him": "obama2.jpg", "a stranger": "astronaut.png"}
    scores = {
        what: mien.compare(first, mien.read(PHOTOS / name), model).score
        for what, name in others.items()
    }
    figure, (axes,) = canvas(1, width=6.5, height=3.9)
    circle = np.linspace(-0.12, np.pi / 2 + 0.12, 100)
    axes.plot(np.cos(circle), np.sin(circle), color=GREY, linewidth=0.8)
    threshold = model.policy().threshold
    limit = math.acos(threshold)
    inside = np.linspace(0, limit, 50)
    axes.fill(np.r_[0, np.cos(inside)], np.r_[0, np.sin(inside)], color=TEAL, alpha=0.12)
    arrow(axes, 1.0, TEAL, "one photo of a person")
    arrow(axes, scores["another photo of him"], TEAL, "another photo of him")
    arrow(axes, scores["a stranger"], RED, "a stranger")
    axes.plot([0, threshold], [0, math.sin(limit)], color="#222222", ls="--", lw=1)
    say(axes, limit, f"threshold {threshold:.2f}: {math.degrees(limit):.0f}°", "#222222")
    axes.set(xlim=(-0.15, 2.05), ylim=(-0.12, 1.15), aspect="equal")
    axes.axis("off")
    return figure


def arrow(axes: Any, score: float, colour: str, what: str) -> None:
    """A vector at the angle of a score."""
    angle = math.acos(score)
    tip = (math.cos(angle), math.sin(angle))
    style = {"arrowstyle": "-|>", "color": colour, "lw": 2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", tip, (0, 0), arrowprops=style)
    say(axes, angle, f"{what}: {score:.2f}, {math.degrees(angle):.0f}°", colour)


def say(axes: Any, angle: float, text: str, colour: str) -> None:
    """Words at the end of a vector."""
    place = (1.04 * math.cos(angle), 1.04 * math.sin(angle))
    axes.text(*place, text, color=colour, fontsize=10, va="center")


def rates(impostors: Impostors, table: list[dict[str, Any]], threshold: float) -> Figure:
    """How many pairs reach a score: of two people, and of one."""
    figure, (axes,) = canvas(1, width=6.5, height=3.9)
    scores = np.linspace(0.1, 0.65, 200)
    shares = np.array([impostors.fpir([1], float(score)) for score in scores])
    seen = shares >= impostors.rates[-1]
    axes.semilogy(scores[seen], shares[seen], color=RED, lw=2, label="pairs of two people")
    axes.semilogy(scores[~seen], shares[~seen], color=RED, lw=2, ls=":", label="extrapolated")
    points = [(point["threshold"], point["tmr"]) for point in table]
    axes.semilogy(*zip(*points, strict=True), "o-", color=TEAL, lw=2, label="pairs of one person")
    axes.axvline(threshold, color="#222222", lw=1, ls="--", label=f"threshold {threshold:.3f}")
    axes.set(
        xlabel="score", ylabel="share of pairs that reach it", xlim=(0.1, 0.65), ylim=(1e-7, 2)
    )
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    calm(axes)
    return figure


def crowd(impostors: Impostors, threshold: float) -> Figure:
    """What the number of people does to a threshold that stays, and to one that follows."""
    people = np.unique(np.geomspace(1, 10_000, 60).astype(int))
    figure, (left, right) = canvas(2, width=7.5, height=3.4)
    named = [impostors.fpir([1] * int(count), threshold) for count in people]
    left.semilogx(people, named, color=RED, lw=2, label=f"threshold stays at {threshold:.3f}")
    left.axhline(0.01, color=TEAL, lw=2, label="threshold follows: 1 in 100")
    left.set(xlabel="people in the facebank", ylabel="strangers who get a name", ylim=(-0.03, 1.03))
    for rate, style in ((0.01, "-"), (0.001, "--")):
        needed = [impostors.threshold_among([1] * int(count), rate) for count in people]
        right.semilogx(
            people, needed, color=TEAL, ls=style, lw=2, label=f"1 stranger in {1 / rate:,.0f}"
        )
    right.set(xlabel="people in the facebank", ylabel="threshold")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=9, loc="upper left")
        calm(axes)
    return figure


def canvas(columns: int, *, width: float, height: float) -> tuple[Figure, list[Any]]:
    """White paper, in inches, and axes side by side."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


if __name__ == "__main__":
    main()
