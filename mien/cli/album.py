"""The command `album`: who is in which photo of a collection?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli import console, options
from mien.cli.index import opened
from mien.cli.render import Answer, Column, Paths, Table
from mien.errors import BadInput, CannotWrite, without_password

if TYPE_CHECKING:
    from mien.collection.album import AlbumPhoto


def album(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Holds photos, at any depth.")
    ] = None,
    *,
    people: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="NAME", help="Only photos that show this person; may be repeated."
        ),
    ] = None,
    paths: Annotated[
        bool, typer.Option("--paths", help="Print only the photos' paths, one per line.")
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table of all faces there.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page of the photos there.")
    ] = None,
    xmp: Annotated[
        bool, typer.Option("--xmp", help="Write the names to photo.jpg.xmp next to each photo.")
    ] = False,
    keywords: Annotated[
        bool, typer.Option("--xmp-keywords", help="Write them there as keywords, too.")
    ] = False,
    parent: Annotated[
        str,
        typer.Option(
            "--xmp-parent",
            metavar="KEYWORD",
            show_default=False,
            help="And as hierarchical keywords below this one: People makes People|Ann.",
        ),
    ] = "",
    short: Annotated[
        bool, typer.Option("--xmp-short", help="Write to photo.xmp, as Adobe's programs name it.")
    ] = False,
    forget: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="First forget the photos of this folder that are not there now; may be repeated.",
        ),
    ] = None,
    facebank: options.FacebankPath,
    index: options.IndexPath = None,
    no_index: options.NoIndex = False,
    threshold: options.Threshold = None,
    fpir: options.Fpir = None,
    include: options.Include = None,
    exclude: options.Exclude = None,
    model: options.ModelName = options.DEFAULT_MODEL,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
    calibration: options.Calibration = None,
) -> Answer:
    """Say who is in which photo of a collection, looking only at what is new or has changed."""
    from contextlib import ExitStack

    from mien.collection.album import album as ask
    from mien.collection.fill import update
    from mien.collection.photo_index import PhotoIndex
    from mien.facebank.stores import exists, open_store
    from mien.files import Choice
    from mien.parallel import at_once, threads_each
    from mien.recognition.model import load
    from mien.verbs.album import write_csv, write_page, write_sidecars

    if folder is None and not forget:
        raise BadInput("there is nothing to look at: name a folder that holds photos")
    network = load(
        model, detector=detector, calibration=calibration, threads=threads_each(at_once())
    )
    policy = network.policy(threshold=threshold, fmr=fpir)
    choice = Choice(include or (), exclude or ())
    xmp = xmp or keywords or bool(parent) or short
    there = exists(facebank)
    with ExitStack() as stack:
        bank = None
        if there:
            bank = stack.enter_context(open_store(facebank, model_id=network.model_id))
        kept = stack.enter_context(opened(index, no_index, facebank, bank, network, required=True))
        collection = kept or stack.enter_context(PhotoIndex(None))
        forgotten = sum(map(collection.forget, forget or ()))
        about = {
            "index": kept.path if kept else None,
            "model_id": network.model_id,
            **({"forgotten": forgotten} if forget else {}),
        }
        notes = [f"{console.counted(forgotten, 'photo')} forgotten"] if forget else []
        if folder is None:
            return Answer(about, [], notes)
        if bank is None or not bank.people():
            console.note_nobody(without_password(facebank))
        done = update(
            folder,
            network,
            collection,
            choice=choice,
            at_once=at_once(),
            progress=console.progress,
        )
        found = partial(ask, folder, network, collection, bank, choice=choice, policy=policy)
        everything = found() if xmp else []
        entries = found(people or ())
    outputs = {"csv": (csv, write_csv), "html": (html, write_page)}
    written, failed = {}, []
    for kind, (path, write) in outputs.items():
        if path:
            try:
                write(path, entries)
            except CannotWrite as error:  # what was found is told all the same
                failed.append(str(error))
            else:
                written[kind] = path
    sidecars, left_alone = write_sidecars(everything, keywords=keywords, parent=parent, short=short)
    skipped = (*done.skipped, *left_alone)
    content = {
        **about,
        "added": done.added,
        "kept": done.kept,
        "removed": done.removed,
        **written,
        **({"sidecars": sidecars} if xmp else {}),
        "photos": [_entry(entry) for entry in entries],
        "skipped": skipped,
    }
    summary = (
        f"{console.counted(len(entries), 'photo')}; {done.added} looked at, {done.kept} kept, "
        f"{done.removed} removed"
        + (f"; {console.counted(sidecars, 'sidecar')} written" if xmp else "")
    )
    return Answer(
        content,
        [Paths([entry.path for entry in entries]) if paths else Table(_COLUMNS, entries)],
        [*notes, *failed, *([] if paths else [summary])],
        skipped,
        code=console.SKIPPED if failed else 0,
    )


def _entry(entry: AlbumPhoto) -> dict[str, Any]:
    return {
        "path": entry.path,
        "width": entry.width,
        "height": entry.height,
        "faces": [
            {
                "person": face.match.person,
                "score": face.match.score,
                "confidence": face.confidence,
                "box": face.box,
            }
            for face in entry.faces
        ],
    }


def _people(entry: AlbumPhoto) -> str:
    """Who is in a photo, as many as a line of a terminal has room for."""
    if not entry.people:
        return "-"
    first, *others = entry.people
    shown = first
    for number, name in enumerate(others):
        if console.width([f"{shown}, {name} and 99 more"]) > _WIDEST:
            return f"{shown} and {len(others) - number} more"
        shown += f", {name}"
    return shown


_WIDEST = 40
_COLUMNS: dict[str, Column] = {"PEOPLE": _people, "PHOTO": "{path}"}
