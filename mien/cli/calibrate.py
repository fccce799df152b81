"""The command `calibrate`: which threshold keeps strangers apart?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console
from mien.cli.options import DEFAULT_DETECTOR, DetectorName, Exclude, Include, ModelArgument
from mien.cli.render import Answer, Table

_COLUMNS = {
    "FALSE MATCHES": "{fmr:g}",
    "THRESHOLD": "{threshold:.4f}",
    "TRUE MATCHES": "{tmr:.2%}",
}


def calibrate(
    model: ModelArgument,
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
    include: Include = None,
    exclude: Exclude = None,
    detector: DetectorName = DEFAULT_DETECTOR,
) -> Answer:
    """Find the threshold for a false-match rate, from photos of people."""
    from mien.evaluation.calibrate import calibrate as find
    from mien.files import Choice
    from mien.recognition.model import load

    network = load(model, detector=detector)
    choice = Choice(include or (), exclude or ())
    found = find(network, folder, choice=choice, fmr=fmr, progress=console.progress)
    return Answer(
        found.to_json(),
        [Table(_COLUMNS, dict.fromkeys((found.chosen, *found.table)))],
        [
            f"{found.photos} photos of {found.people} people: "
            f"{found.impostor_pairs} pairs of strangers, {found.genuine_pairs} of one person"
        ],
        found.skipped,
    )
