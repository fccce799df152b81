"""The commands that measure on people: benchmark openset, cluster and demographics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from mien.cli import console
from mien.cli.options import (
    DEFAULT_DETECTOR,
    DEFAULT_MODEL,
    DetectorName,
    Json,
    ModelName,
    Threshold,
)
from mien.errors import BadInput

Folder: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Holds a folder of photos for each person.")
]


def benchmark_openset(
    folder: Folder,
    *,
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, help="How often to draw who is enrolled.")
    ] = 10,
    photos: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, show_default="half", help="Photos to enrol of a person at most."
        ),
    ] = None,
    model: ModelName = DEFAULT_MODEL,
    detector: DetectorName = DEFAULT_DETECTOR,
    as_json: Json = False,
) -> None:
    """Measure how many people are named rightly while few strangers get a name.

    Half of the people are enrolled, the others are strangers.
    """
    from dataclasses import asdict

    from mien.benchmark.openset import combinations, strangers
    from mien.benchmark.people import embed
    from mien.recognition.model import load

    network = load(model, detector=detector)
    faces = embed(network, folder, console.progress)
    if not (faces.photos_each > 1).any():
        raise BadInput(f"{folder} has one photo of each person: add others to look up")
    found = combinations(faces, seeds=seeds, photos=photos)
    named = strangers(faces, network, seeds=seeds, photos=photos)
    skipped = console.note_skipped(faces.skipped)
    if as_json:
        console.document(
            {
                "model_id": network.model_id,
                "people": faces.people,
                "photos": len(faces.vectors),
                "seeds": seeds,
                "combinations": [asdict(one) for one in found],
                "strangers": [asdict(one) for one in named],
                "skipped": console.skips(faces.skipped),
            }
        )
    else:
        rows = [(one.combination, f"{one.fpir:g}", _percent(one.tpir, one.std)) for one in found]
        console.table([("COMBINATION", "FPIR", "TPIR"), *rows])
        rates = [
            (f"{one.fpir:g}", one.calibrated_on, f"{one.measured:.3%} ± {100 * one.std:.3f}")
            for one in named
        ]
        console.say("")
        console.table([("FPIR ASKED FOR", "CALIBRATED ON", "FPIR MEASURED"), *rates])
        console.note(f"{len(faces.vectors)} photos of {faces.people} people, {seeds} draws")
    console.leave(skipped)


def _percent(mean: float | None, std: float | None) -> str:
    if mean is None or std is None:
        return "too few strangers to tell"
    return f"{mean:.2%} ± {100 * std:.2f}"


def benchmark_cluster(
    folder: Folder,
    *,
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, help="How often to draw whom to group.")
    ] = 5,
    model: ModelName = DEFAULT_MODEL,
    detector: DetectorName = DEFAULT_DETECTOR,
    as_json: Json = False,
) -> None:
    """Measure ways to group faces: pairwise F and purity.

    Half of the people are grouped, with the setting that is best on the others.
    """
    from dataclasses import asdict

    from mien.benchmark.cluster import compare
    from mien.benchmark.people import embed
    from mien.recognition.model import load
    from mien.verbs.cluster import default_threshold

    network = load(model, detector=detector)
    faces = embed(network, folder, console.progress)
    found = compare(faces, default_threshold(network), seeds=seeds)
    skipped = console.note_skipped(faces.skipped)
    if as_json:
        console.document(
            {
                "model_id": network.model_id,
                "people": faces.people,
                "photos": len(faces.vectors),
                "seeds": seeds,
                "ways": [asdict(one) for one in found],
                "skipped": console.skips(faces.skipped),
            }
        )
    else:
        rows = [
            (
                one.way,
                f"{one.mean.f:.3f} ± {one.std.f:.3f}",
                f"{one.mean.precision:.3f}",
                f"{one.mean.recall:.3f}",
                f"{one.mean.purity:.3f} ± {one.std.purity:.3f}",
                f"{one.mean.grouped:.1%}",
                " ".join(f"{setting:g}" for setting in one.settings),
            )
            for one in found
        ]
        headings = ("WAY", "F", "PRECISION", "RECALL", "PURITY", "GROUPED", "SETTINGS")
        console.table([headings, *rows])
        console.note(f"{len(faces.vectors)} photos of {faces.people} people, {seeds} draws")
    console.leave(skipped)


def benchmark_demographics(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Photos that are named AGE_SEX_ORIGIN_..., as those of UTKFace."
        ),
    ],
    *,
    photos: Annotated[int, typer.Option(metavar="N", min=2, help="Drawn from the folder.")] = 4000,
    threshold: Threshold = None,
    model: ModelName = DEFAULT_MODEL,
    detector: DetectorName = DEFAULT_DETECTOR,
    as_json: Json = False,
) -> None:
    """Measure how often strangers of one age, sex or origin are taken for one person.

    Sexes and origins are those of adults.
    """
    from dataclasses import asdict

    from mien.benchmark.demographics import differentials, embed
    from mien.recognition.model import load

    network = load(model, detector=detector, threshold=threshold)
    faces = embed(network, folder, photos, progress=console.progress)
    found = differentials(faces, network.threshold)
    skipped = console.note_skipped(faces.skipped)
    if as_json:
        console.document(
            {
                "model_id": network.model_id,
                "threshold": network.threshold,
                "photos": len(faces.vectors),
                "groups": [asdict(one) for one in found],
                "skipped": console.skips(faces.skipped),
            }
        )
    else:
        rows = [
            (
                one.group,
                f"{one.photos:,}",
                f"{one.pairs:,}",
                "too few to tell" if one.fmr is None else f"{one.fmr:.3%}",
                "" if one.ratio is None else f"{one.ratio:.1f}",
            )
            for one in found
        ]
        console.table([("GROUP", "PHOTOS", "PAIRS", "FMR", "RATIO"), *rows])
        console.note(f"pairs of two photos of one group, at the threshold {network.threshold:.3f}")
    console.leave(skipped)
