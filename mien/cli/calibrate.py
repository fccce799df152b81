"""The command `calibrate`: which threshold keeps strangers apart?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console, options
from mien.cli.render import Answer, Table

COLUMNS = {
    "FALSE MATCHES": "{fmr:g}",
    "THRESHOLD": "{threshold:.4f}",
    "TRUE MATCHES": "{tmr:.2%}",
}


def calibrate(
    model: options.ModelArgument,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Holds a folder of photos for each person.")
    ],
    *,
    fmr: Annotated[
        float,
        typer.Option(
            metavar="RATE", help="Share of pairs of strangers that may pass for one person."
        ),
    ] = 1e-4,
    include: options.Include = None,
    exclude: options.Exclude = None,
    strangers: options.Strangers = False,
    people: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder of people to measure true matches on, in place of FOLDER.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a model's file that holds the threshold."),
    ] = None,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
) -> Answer:
    """Find the threshold for a false-match rate, from photos of people.

    --calibration of other commands takes what --json prints.
    """
    from mien.evaluation.calibrate import calibrate as find
    from mien.files import Choice
    from mien.recognition.calibration import store
    from mien.recognition.model import load, model_file

    network = load(model, detector=detector)
    choice = Choice(include or (), exclude or ())
    found = find(
        network,
        folder,
        choice=choice,
        fmr=fmr,
        strangers=strangers,
        people=people,
        progress=console.progress,
    )
    if out:
        store(model_file(model), out, found.to_json())
    return Answer(
        found.to_json(),
        [Table(COLUMNS, dict.fromkeys((found.chosen, *found.table)))],
        [
            f"{found.photos} photos of {found.people} people: "
            f"{found.impostor_pairs} pairs of strangers, {found.genuine_pairs} of one person",
            *([f"{out} is {found.model_id} with this threshold"] if out else []),
        ],
        found.skipped,
    )
