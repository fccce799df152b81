"""The command `find`: all photos of somebody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import console, options
from mien.cli.index import opened
from mien.cli.render import Answer, Paths
from mien.errors import BadInput

if TYPE_CHECKING:
    from mien.types import Skipped


def find(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Who is in the photo.")],
    *,
    other: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME", help="And this person; may be repeated."),
    ] = None,
    only: Annotated[bool, typer.Option("--only", help="And nobody else, named or not.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--in", metavar="FOLDER", help="Only photos in this folder."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Taken then or later: 2019, 2019-07 or 2019-07-14."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Taken then or earlier.")
    ] = None,
    copy: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy the photos there.")] = None,
    link: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Make links to the photos there.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page of the photos there.")
    ] = None,
    facebank: options.FacebankPath,
    index: options.IndexPath = None,
    threshold: options.Threshold = None,
    fpir: options.Fpir = None,
    model: options.ModelName = options.DEFAULT_MODEL,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
    calibration: options.Calibration = None,
) -> Answer:
    """Find all photos of somebody among those that mien album has looked at.

    Their paths are printed one a line, for other programs.
    """
    from mien.collection.album import album
    from mien.facebank.stores import open_store
    from mien.recognition.model import load
    from mien.verbs import find as verb
    from mien.verbs.album import write_page

    if copy and link:
        raise BadInput("--copy and --link exclude each other: give one of them")
    people = [*names, *(other or ())]
    days = (
        verb.day(since) if since else None,
        verb.day(until, last=True) if until else None,
    )
    network = load(model, detector=detector, calibration=calibration)
    policy = network.policy(threshold=threshold, fmr=fpir)
    with (
        open_store(facebank, model_id=network.model_id) as bank,
        opened(index, False, facebank, bank, network, required=True) as kept,
    ):
        assert kept
        entries = album(folder, network, kept, bank, people, policy=policy)
    entries = verb.choose(entries, only=only, people=people, since=days[0], until=days[1])
    there = [entry for entry in entries if entry.path.is_file()]
    notes = []
    if away := len(entries) - len(there):
        notes.append(f"{console.counted(away, 'photo')} more, not there now")
    if not entries:
        notes.append("none: run mien album FOLDER first, if it has not looked at the photos yet")
    skipped: tuple[Skipped, ...] = ()
    if target := copy or link:
        done, skipped = verb.gather(there, target, link=link is not None)
        what = "linked" if link else "copied"
        notes.append(f"{console.counted(done, 'photo')} {what} to {target}")
    if html:
        write_page(html, there)
    paths = [entry.path for entry in there]
    return Answer(
        {"people": people, "photos": paths, "away": away, "skipped": skipped},
        [Paths(paths)],
        notes,
        skipped,
    )
