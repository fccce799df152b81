"""The command `speed`: how fast is this machine?"""

from __future__ import annotations

from typing import Annotated

import typer

from mien.cli import options
from mien.cli.render import Answer, Table

_COLUMNS = {
    "RUNTIME": "{runtime}",
    "PHOTOS PER SECOND": "{photos_per_second:.1f}",
    "RANGE": "{slowest:.1f} to {fastest:.1f}",
    "RATIO": "{ratio:.2f}",
}


def speed(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Photos like yours, or folders of them.")
    ],
    *,
    include: options.Include = None,
    exclude: options.Exclude = None,
    model: options.ModelName = options.DEFAULT_MODEL,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
) -> Answer:
    """Measure how many photos per second this machine manages, and with which runtime.

    From a photo's file to a vector for each face, with as many photos at a time as mien identify.
    """
    from mien import files
    from mien.parallel import at_once, processors
    from mien.verbs.speed import readable
    from mien.verbs.speed import speed as measure

    found = files.walk(paths, choice=files.Choice(include or (), exclude or ()))
    photos, skipped = readable(found)
    measured = measure(photos, model, detector=detector, at_once=at_once())
    best, *others = measured
    faces = best.faces / len(photos)
    said = (
        f"{best.photos_per_second:.1f} photos per second on {processors()} processors, with"
        f" {faces:.1f} faces in each"
    )
    if others:
        said += f"; --runtime {best.runtime} is the fastest"
    content = {"photos": len(photos), "processors": processors(), "runtimes": measured}
    return Answer(content, [Table(_COLUMNS, measured), said], skipped=(*found.skipped, *skipped))
