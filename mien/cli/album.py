"""The command `album`: who is in which photo of a collection?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli import console
from mien.cli.options import (
    DEFAULT_DETECTOR,
    DEFAULT_MODEL,
    DetectorName,
    FacebankPath,
    Fpir,
    Json,
    ModelName,
    Threshold,
)
from mien.errors import without_password


def _index() -> Path:
    from platformdirs import user_data_path

    return user_data_path("mien") / "album.db"


def album(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Holds photos, at any depth.")],
    *,
    people: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="NAME", help="Only photos that show this person; may be repeated."
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table of all faces there.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page to look at there.")
    ] = None,
    xmp: Annotated[
        bool, typer.Option("--xmp", help="Write the names into a photo.jpg.xmp beside each photo.")
    ] = False,
    facebank: FacebankPath,
    index: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            envvar="MIEN_ALBUM",
            default_factory=_index,
            show_default="album.db in your data folder",
            help="Where faces are kept, so that no photo is looked at twice.",
        ),
    ],
    threshold: Threshold = None,
    fpir: Fpir = None,
    model: ModelName = DEFAULT_MODEL,
    detector: DetectorName = DEFAULT_DETECTOR,
    as_json: Json = False,
) -> None:
    """Say who is in which photo of a collection, looking only at what is new or has changed."""
    from contextlib import nullcontext

    from mien.facebank.stores import exists, open_store
    from mien.parallel import at_once, threads_each
    from mien.recognition.model import load
    from mien.verbs.album import Album, write_csv, write_page, write_sidecars

    network = load(model, detector=detector, threads=threads_each(at_once()))
    policy = network.policy(threshold=threshold, fmr=fpir)
    there = exists(facebank)
    known = open_store(facebank, model_id=network.model_id) if there else nullcontext()
    with known as bank, Album(index, network) as collection:
        if bank is None or not bank.people():
            console.note_nobody(without_password(facebank))
        update = collection.update(folder, at_once=at_once(), progress=console.progress)
        everything = collection.ask(folder, bank, policy=policy) if xmp else []
        entries = collection.ask(folder, bank, people or (), policy=policy)
    skipped = update.skipped
    if csv:
        write_csv(csv, entries)
    if html:
        write_page(html, entries)
    sidecars = 0
    if xmp:
        sidecars, left_alone = write_sidecars(everything)
        skipped += left_alone
    count = console.note_skipped(skipped)
    if as_json:
        written = {"csv": csv, "html": html}
        console.document(
            {
                "index": str(index),
                "model_id": network.model_id,
                "added": update.added,
                "kept": update.kept,
                "removed": update.removed,
                **{name: str(path) for name, path in written.items() if path},
                **({"sidecars": sidecars} if xmp else {}),
                "photos": [_entry(entry) for entry in entries],
                "skipped": console.skips(skipped),
            }
        )
    else:
        rows = [(", ".join(entry.people) or "-", str(entry.path)) for entry in entries]
        console.table([("PEOPLE", "PHOTO"), *rows])
        console.note(
            f"{update.added} looked at, {update.kept} kept, {update.removed} removed; "
            f"{console.counted(len(entries), 'photo')}"
            + (f"; {console.counted(sidecars, 'sidecar')} written" if xmp else "")
        )
    console.leave(count)


def _entry(entry: Any) -> dict[str, Any]:
    return {
        "path": str(entry.path),
        "width": entry.width,
        "height": entry.height,
        "faces": [
            {
                "person": face.match.person,
                "score": round(face.match.score, 6),
                "confidence": round(face.confidence, 6),
                "box": [round(value, 1) for value in face.box],
            }
            for face in entry.faces
        ],
    }
