"""Reports: evaluations as one self-contained HTML file, or Markdown.

Owns the text and the choice of plots.  A report loads nothing from the network.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mien import __version__
from mien.errors import BadInput, MissingExtra
from mien.evaluation import metrics, plots
from mien.evaluation.protocol import FARS, FPIRS, RANKS, Evaluation
from mien.files import write_atomically
from mien.recognition.thresholds import most_allowed

UNKNOWN = "too few to tell"
FIGURES = {
    "accuracy": "share of pairs judged rightly, each fold with the threshold that is best on the "
    "others; mean and standard deviation over the folds",
    "TAR at FAR": "share of pairs of one person that are accepted where at most so many pairs of "
    "two people are; “(3 false)” says that it rests on so few false matches that it is rough",
    "equal error rate": "where both kinds of error are equally frequent",
    "own threshold": "the one stored with the model, and what it does here",
    "rank": "share of photos whose person is among so many best answers, one photo of each person "
    "being enrolled",
    "TPIR at FPIR": "share of photos of enrolled people that are given the right name where at "
    "most so many photos of strangers are given any",
}
_ENDINGS = (".html", ".md")


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot of one set's figures."""

    name: str  # such as lfw-roc.png
    alt: str  # what it shows, in words
    png: bytes

    @property
    def url(self) -> str:
        """The plot as a data: URL."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def write(path: str | Path, evaluations: Sequence[Evaluation]) -> list[Picture]:
    """Write a report, HTML or Markdown by its suffix; returns its plots.

    The pictures are inside an HTML page, and in the folder NAME-pictures beside a Markdown page.

    Raises:
        BadInput: another ending.
        MissingExtra: matplotlib or jinja2 is not installed.
        CannotWrite: see `mien.files.write_atomically`.
    """
    path = Path(path)
    require(path)
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters["cell"] = _cell
    sets = [(name, some, pictures(some)) for name, some in by_set(evaluations).items()]
    folder = path.with_name(path.stem + "-pictures")
    everything = [picture for _, _, drawn in sets for picture in drawn]
    if path.suffix == ".md":
        for picture in everything:
            write_atomically(folder / picture.name, picture.png)
    tables = [table(some) for _, some, _ in sets]
    shown = [row[0] for rows in tables for row in rows]
    page = pages.get_template("page" + path.suffix).render(
        sets=[
            (name, _words(some[0]), rows, drawn)
            for (name, some, drawn), rows in zip(sets, tables, strict=True)
        ],
        summary=summary(evaluations),
        figures={
            figure: meaning
            for figure, meaning in FIGURES.items()
            if any(name.startswith(figure) for name in shown)
        },
        folder=folder.name,
        version=__version__,
    )
    write_atomically(path, page.encode())
    return everything


def require(path: Path | None) -> None:
    """Raise early what `write` would raise after the evaluation.

    Args:
        path: of the page; None where only pictures are wanted.
    """
    if path and path.suffix not in _ENDINGS:
        raise BadInput(f"{path} must end in {' or '.join(_ENDINGS)} to be a report: rename it")
    if not all(map(find_spec, ("jinja2", "matplotlib"))):
        raise MissingExtra("a report", "evaluate")


def by_set(evaluations: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    """The evaluations on each set."""
    found: dict[str, list[Evaluation]] = {}
    for one in evaluations:
        found.setdefault(one.set, []).append(one)
    return found


def label(evaluation: Evaluation) -> str:
    """The label of a line or row."""
    return evaluation.model_id + (" + mirror" if evaluation.mirror else "")


def table(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    """The figures of one set: a heading, then a row for each figure and a column for each model."""
    rows = [["", *map(label, evaluations)]]
    columns = [_figures(one) for one in evaluations]
    rows += [[name, *(column[name] for column in columns)] for name in columns[0]]
    return rows


def summary(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    """The main figure of each model on each set: a row for each model; empty for one set."""
    sets = by_set(evaluations)
    if len(sets) < 2:
        return []
    named = [{label(one): _main_figure(one) for one in some} for some in sets.values()]
    return [["", *sets], *([model, *(one[model] for one in named)] for model in named[0])]


def _words(one: Evaluation) -> str:
    """What was compared, in sentences."""
    same, who = one.verification.same, one.identification
    words = (
        f"{same.sum():,} pairs of one person and {(~same).sum():,} of two; {one.photos:,} photos"
    )
    if one.missed:
        words += f", {len(one.missed)} of them without a detected face, which count all the same"
    if one.skipped:
        words += f"; {len(one.skipped)} more were skipped"
    if who:
        words += (
            f". Identification: {who.searches:,} photos are looked up among {who.people} people; "
            f"in the open set {who.enrolled} people are enrolled, and {who.enrolled_searches:,} "
            f"photos of them and {who.stranger_searches:,} of strangers are looked up "
            f"(seed {who.seed})"
        )
    return words + "."


def _main_figure(one: Evaluation) -> str:
    folds = one.verification.by_fold
    return percent(folds.mean) if folds else f"{percent(one.verification.eer)} EER"


def _figures(one: Evaluation) -> dict[str, str]:
    told, folds, who = one.verification, one.verification.by_fold, one.identification
    impostors = int((~told.same).sum())
    found = {}
    if folds:
        dealt = ", dealt in turn" if told.dealt else ""
        found["accuracy"] = f"{percent(folds.mean)} ± {100 * folds.std:.2f}"
        found["folds"] = f"{len(folds.accuracy)}{dealt}"
        found["best threshold"] = f"{folds.threshold:.3f}"
    for far in FARS:
        found[f"TAR at FAR {far:g}"] = percent(told.tar[far], most_allowed(impostors, far))
    found["equal error rate"] = percent(told.eer)
    own = one.own
    found["own threshold"] = f"{own.threshold:.3f}" if own else "none"
    found["false matches there"] = f"{100 * own.fmr:.3f} %" if own else ""
    found["false non-matches there"] = percent(own.fnmr) if own else ""
    if who:
        found |= {f"rank {rank}": percent(who.rank[rank]) for rank in RANKS}
        for fpir in FPIRS:
            allowed = most_allowed(who.stranger_searches, fpir)
            found[f"TPIR at FPIR {fpir:g}"] = percent(who.tpir[fpir], allowed)
    return found


def percent(rate: float | None, allowed: int | None = None) -> str:
    """A rate as text; with the number of false matches it rests on, if few."""
    if rate is None:
        return UNKNOWN
    few = allowed is not None and allowed < metrics.ERRORS_TO_TRUST
    return f"{100 * rate:.2f} %" + (f" ({allowed} false)" if few else "")


def draw(evaluations: Sequence[Evaluation]) -> list[Picture]:
    """The drawings of all sets."""
    return [picture for some in by_set(evaluations).values() for picture in pictures(some)]


def pictures(evaluations: Sequence[Evaluation]) -> list[Picture]:
    """The drawings of one set: ROC, DET and, of people, CMC; and each model's scores."""
    name = evaluations[0].set
    title = f"{name}: {len(evaluations[0].verification.scores):,} pairs"
    curves = {
        label(one): metrics.roc(one.verification.scores, one.verification.same)
        for one in evaluations
    }
    drawn = [
        Picture(f"{name}-roc.png", f"ROC on {name}", plots.roc(curves, f"ROC, {title}")),
        Picture(f"{name}-det.png", f"DET on {name}", plots.det(curves, f"DET, {title}")),
    ]
    ranked = {label(one): one.identification.cmc for one in evaluations if one.identification}
    if ranked:
        png = plots.cmc(ranked, f"CMC, {name}: one photo of each person enrolled")
        drawn.append(Picture(f"{name}-cmc.png", f"CMC on {name}", png))
    for number, one in enumerate(evaluations, 1):
        told = one.verification
        png = plots.scores(
            told.scores, told.same, one.own.threshold if one.own else None, f"{name}, {label(one)}"
        )
        words = f"Scores of {label(one)} on {name}"
        drawn.append(Picture(f"{name}-scores-{number}.png", words, png))
    return drawn


def _cell(text: str) -> str:
    """Text escaped for a cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
