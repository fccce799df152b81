"""The commands that time the whole beside other people's: benchmark photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console
from mien.cli.options import DEFAULT_MODEL, Json, ModelName
from mien.errors import BadInput


def photo(
    photos: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Photos that show faces, or folders.")
    ],
    *,
    model: ModelName = DEFAULT_MODEL,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WxH",
            show_default="640x480 and 1280x720",
            help="Fit the photos into it; may be repeated.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processors to use.")
    ] = None,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Times that each is timed.")] = 7,
    alone: Annotated[
        bool, typer.Option("--alone", help="Leave face_recognition out, which needs mien\\[peers].")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure the whole way from a photo to names, by stage, beside face_recognition.

    ALONE counts faces that only this one found, MISSED photos in which it found none.
    """
    from dataclasses import asdict
    from tempfile import TemporaryDirectory

    from mien import files
    from mien.benchmark.photo import SIZES, ways
    from mien.recognition.model import model_file

    with TemporaryDirectory() as folder:
        measured = ways(
            files.walk(photos),
            model_file(model),
            Path(folder),
            sizes=[_size(text) for text in size] if size else SIZES,
            threads=threads,
            turns=turns,
            beside=not alone,
        )
    if as_json:
        console.document({"turns": turns, "ways": [asdict(way) for way in measured]})
        return
    rows = [
        (
            way.name,
            f"{way.width}x{way.height}",
            str(way.threads),
            str(way.faces),
            str(way.alone),
            str(way.missed),
            f"{way.milliseconds:.1f}",
            f"{way.fastest:.1f} to {way.slowest:.1f}",
            "" if way.ratio is None else f"{way.ratio:.2f}",
        )
        for way in measured
    ]
    heading = (
        "",
        "SIZE",
        "THREADS",
        "FACES",
        "ALONE",
        "MISSED",
        "MS A PHOTO",
        "RANGE",
        "TIMES MIEN'S",
    )
    console.table([heading, *rows])
    for way in [way for way in measured if way.stages]:
        stages = ", ".join(f"{name} {spent:.1f}" for name, spent in way.stages.items())
        console.say(f"{way.name} {way.width}x{way.height}: {stages}")


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise BadInput(f"{text!r} is no size: give width and height, as in 640x480")
    return int(width), int(height)
