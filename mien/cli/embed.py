"""The command `embed`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console, options
from mien.cli.render import Answer


def embed(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER-OR-BUCKET", help="Photos: a folder, or as s3://bucket/photos."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The Parquet file to write.")],
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes; more than one need mien\\[ray].")
    ] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Ray cluster that shares the folder of FILE."),
    ] = None,
    include: options.Include = None,
    exclude: options.Exclude = None,
    model: options.ModelName = options.DEFAULT_MODEL,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
) -> Answer:
    """Write the vectors of many photos to a Parquet file.

    Each photo gets one row, with its largest face or the reason why there is none. The same command
    resumes after an interruption.
    """
    from mien.files import Choice
    from mien.verbs.embed_photos import embed_photos, loader

    start = time.perf_counter()
    done = embed_photos(
        source,
        out,
        loader(model, detector),
        choice=Choice(include or (), exclude or ()),
        workers=workers,
        cluster=cluster,
        progress=console.progress,
    )
    rate = done.new / (time.perf_counter() - start)
    return Answer(
        {
            "out": out,
            "photos": done.photos,
            "new": done.new,
            "faces": done.faces,
            "errors": done.errors,
            "photos_per_second": round(rate, 2),
        },
        [
            f"{console.counted(done.photos, 'photo')} in {out}, {done.new} new "
            f"at {rate:.1f} per second, {done.faces} with a vector"
        ],
        skipped=(*done.unlisted, *done.first_errors),
        unnamed=done.errors - len(done.first_errors),
        elsewhere=f"the column error of {out}",
    )
