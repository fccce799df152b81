"""The command `evaluate`: how well do models tell people apart?"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import console
from mien.cli.options import DEFAULT_DETECTOR, DetectorName, Exclude, Fmr, Include, Threshold
from mien.cli.render import Answer, Column, Table
from mien.errors import CannotWrite

if TYPE_CHECKING:
    from mien.evaluation.protocol import Evaluation


class Mirror(StrEnum):
    """Which views of a face are embedded."""

    off = "off"
    on = "on"
    both = "both"


_MIRRORS = {Mirror.off: (False,), Mirror.on: (True,), Mirror.both: (False, True)}


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Models that ship with mien, or files."),
    ],
    on: Annotated[
        Path,
        typer.Argument(
            metavar="ON",
            help="What to measure on: a list of pairs such as LFW's pairs.txt; an InsightFace .bin "
            "file, or a folder of them; a folder of IJB-B or IJB-C; or a folder that holds a "
            "folder of photos for each person.",
        ),
    ],
    *,
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default="images beside the list",
            help="Folder of the photos on a list of pairs: DIR/NAME/NAME_0001.jpg.",
        ),
    ] = None,
    mirror: Annotated[
        Mirror,
        typer.Option(
            help="Average with the mirrored face: slightly more accurate, twice the time."
        ),
    ] = Mirror.off,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a report there, with plots: .html or .md."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Plot ROC, DET, scores and CMC there, as PNG."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Seed of the draw of who is enrolled.")
    ] = 0,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="ON holds photos of strangers: report false matches by the labels that this CSV "
            "file has for them (file, age, sex, ...).",
        ),
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="With --labels: true matches of these people at the same rates."
        ),
    ] = None,
    include: Include = None,
    exclude: Exclude = None,
    threshold: Threshold = None,
    fmr: Fmr = None,
    detector: DetectorName = DEFAULT_DETECTOR,
) -> Answer:
    """Measure how well models tell people apart: accuracy, error rates, identification.

    docs/evaluate.md says what each figure is.
    """
    from dataclasses import replace

    from mien.cli import demographics
    from mien.evaluation import report as page
    from mien.evaluation.demographics import differentials
    from mien.evaluation.evaluate import evaluate as measure
    from mien.files import Choice, write_atomically
    from mien.recognition.model import load

    if report or pictures:
        page.require(report)
    choice = Choice(include or (), exclude or ())
    first = load(models[0], detector=detector)
    networks = [first, *(load(name, detector=first.detector) for name in models[1:])]
    if labels:
        by_group = differentials(
            networks, on, labels, people=people, choice=choice, progress=console.progress
        )
        return demographics.answer(by_group)
    if threshold is not None or fmr is not None:
        networks = [
            replace(network, own=network.policy(threshold=threshold, fmr=fmr))
            for network in networks
        ]
    found = measure(
        networks,
        on,
        photos=photos,
        mirrors=_MIRRORS[mirror],
        seed=seed,
        choice=choice,
        progress=console.progress,
    )
    drawn: list[page.Picture] = []
    written: dict[str, Path] = {}
    failed: list[str] = []
    try:
        if report:
            drawn, written["report"] = page.write(report, found), report
    except CannotWrite as error:  # what was measured is told all the same
        failed.append(str(error))
    try:
        if pictures:
            for picture in drawn or page.draw(found):
                write_atomically(pictures / picture.name, picture.png)
            written["pictures"] = pictures
    except CannotWrite as error:
        failed.append(str(error))
    content = {"evaluations": [one.to_json() for one in found]}
    return Answer(
        content | written,
        [_alone(found[0]) if len(found) == 1 else Table(_SIDE_BY_SIDE, found)],
        [*failed, *([] if len(found) == 1 else [_LEGEND])],
        found[0].skipped,
        code=console.SKIPPED if failed else 0,
    )


def _alone(one: Evaluation) -> Table:
    told, folds, own, who = one.verification, one.verification.by_fold, one.own, one.identification
    rows = []
    if folds:
        count = f"{len(folds.accuracy)} folds{', dealt in turn' if told.dealt else ''}"
        rows.append(("accuracy", f"{folds.mean:.2%} ± {folds.std:.2%} ({count})"))
        rows.append(("best threshold", f"{folds.threshold:.3f}"))
    rows += [(f"TAR at FAR {far:g}", _percent(tar)) for far, tar in told.tar.items()]
    rows.append(("equal error rate", _percent(told.eer)))
    if own:
        rates = f"false matches {own.fmr:.3%}, false non-matches {own.fnmr:.2%}"
        rows.append((f"at {own.threshold:.3f}", f"accuracy {own.accuracy:.2%}, {rates}"))
    if who:
        rows += [
            (f"rank {rank}", "too few people to tell" if share is None else f"{share:.2%}")
            for rank, share in who.rank.items()
        ]
        rows += [
            (f"TPIR at FPIR {fpir:g}", "too few photos to tell" if tpir is None else f"{tpir:.2%}")
            for fpir, tpir in who.tpir.items()
        ]
    missed = f", of them {len(one.missed)} without a detected face" if not who else ""
    rows.append(("photos", f"{one.photos}{missed}"))
    return Table({"MODEL": "{0}", one.model_id + (" + mirror" if one.mirror else ""): "{1}"}, rows)


def _percent(rate: float | None) -> str:
    return "too few pairs to tell" if rate is None else f"{rate:.2%}"


def _accuracy(one: Evaluation) -> str:
    folds = one.verification.by_fold
    return f"{folds.mean:.2%} ± {100 * folds.std:.2f}" if folds else "-"


def _rate(of: Callable[[Evaluation], float | None]) -> Column:
    return lambda one: "-" if of(one) is None else f"{of(one):.2%}"


_SIDE_BY_SIDE: dict[str, Column] = {
    "SET": "{set}",
    "MODEL": "{model_id}",
    "MIRROR": lambda one: "on" if one.mirror else "off",
    "ACCURACY": _accuracy,
    "TAR@0.01": _rate(lambda one: one.verification.tar[1e-2]),
    "TAR@0.001": _rate(lambda one: one.verification.tar[1e-3]),
    "TAR@0.0001": _rate(lambda one: one.verification.tar[1e-4]),
    "EER": "{verification.eer:.2%}",
    "RANK 1": _rate(lambda one: one.identification.rank[1] if one.identification else None),
}
_LEGEND = "TAR@: true-accept rate at this false-accept rate; -: not measured, or too few"
