"""The commands that measure: evaluate and calibrate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import console
from mien.cli.options import DEFAULT_DETECTOR, DetectorName, Fmr, Json, ModelArgument, Threshold

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
            help="Measured on: a list of pairs, as LFW's pairs.txt; a .bin of InsightFace's, or a "
            "folder of them; or a folder that holds a folder of photos for each person.",
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
            help="Average with the mirrored face: a little more accurate, twice the time."
        ),
    ] = Mirror.off,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page with pictures there: .html or .md."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw ROC, DET, scores and CMC there, as PNG."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Draws who of the people are enrolled.")
    ] = 0,
    threshold: Threshold = None,
    fmr: Fmr = None,
    detector: DetectorName = DEFAULT_DETECTOR,
    as_json: Json = False,
) -> None:
    """Measure how well models tell people apart: accuracy, error rates, identification.

    docs/evaluate.md says what each figure is.
    """
    from dataclasses import replace

    from mien.evaluation import report as page
    from mien.evaluation.evaluate import evaluate as measure
    from mien.files import write_atomically
    from mien.recognition.model import load

    if report or pictures:
        page.require(report)
    first = load(models[0], detector=detector)
    networks = [first, *(load(name, detector=first.detector) for name in models[1:])]
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
        progress=console.progress,
    )
    drawn = page.write(report, found) if report else []
    if pictures:
        for picture in drawn or page.draw(found):
            write_atomically(pictures / picture.name, picture.png)
    skipped = console.note_skipped(found[0].skipped)
    if as_json:
        written = {"report": report, "pictures": pictures}
        paths = {name: str(path) for name, path in written.items() if path}
        console.document({"evaluations": [one.to_json() for one in found]} | paths)
    elif len(found) == 1:
        _say_one(found[0])
    else:
        _say_side_by_side(found)
    console.leave(skipped)


def _say_one(one: Evaluation) -> None:
    told, folds, own, who = one.verification, one.verification.by_fold, one.own, one.identification
    rows = [("MODEL", one.model_id + (" + mirror" if one.mirror else ""))]
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
    console.table(rows)


def _say_side_by_side(found: list[Evaluation]) -> None:
    fars = (1e-2, 1e-3, 1e-4)
    rows: list[tuple[str, ...]] = [
        (
            *("SET", "MODEL", "MIRROR", "ACCURACY"),
            *(f"TAR@{far:g}" for far in fars),
            *("EER", "RANK 1"),
        )
    ]
    for one in found:
        told, folds, who = one.verification, one.verification.by_fold, one.identification
        rates = [*(told.tar[far] for far in fars), told.eer, who.rank[1] if who else None]
        rows.append(
            (
                one.set,
                one.model_id,
                "on" if one.mirror else "off",
                f"{folds.mean:.2%} ± {100 * folds.std:.2f}" if folds else "-",
                *("-" if rate is None else f"{rate:.2%}" for rate in rates),
            )
        )
    console.table(rows)
    console.note("TAR@: true-accept rate at this false-accept rate; -: not measured, or too few")


def calibrate(
    model: ModelArgument,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Holds a folder of photos for each person.")
    ],
    *,
    fmr: Annotated[
        float, typer.Option(metavar="RATE", help="Pairs of strangers to take for one person.")
    ] = 1e-4,
    detector: DetectorName = DEFAULT_DETECTOR,
    as_json: Json = False,
) -> None:
    """Find the threshold at which so few strangers are taken for one person."""
    from mien.evaluation.calibrate import calibrate as find
    from mien.recognition.model import load

    network = load(model, detector=detector)
    found = find(network, folder, fmr=fmr, progress=console.progress)
    skipped = console.note_skipped(found.skipped)
    if as_json:
        console.document(found.to_json())
    else:
        rows = [
            (f"{point.fmr:g}", f"{point.threshold:.4f}", _percent(point.tmr))
            for point in dict.fromkeys((found.chosen, *found.table))
        ]
        console.table([("FALSE MATCHES", "THRESHOLD", "TRUE MATCHES"), *rows])
        console.note(
            f"{found.photos} photos of {found.people} people: "
            f"{found.impostor_pairs} pairs of strangers, {found.genuine_pairs} of one person"
        )
    console.leave(skipped)


def _percent(rate: float | None) -> str:
    return "too few pairs to tell" if rate is None else f"{rate:.2%}"
