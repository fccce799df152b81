"""The command `cluster`: who are the strangers in these photos?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import console, options
from mien.cli.index import opened
from mien.cli.render import Answer, Column, Table
from mien.errors import CannotWrite

if TYPE_CHECKING:
    from mien.types import Skipped


def cluster(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Photos, folders of them, or patterns.")
    ],
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where to write the groups, with a page to look at.")
    ] = options.CLUSTERS,
    facebank: options.FacebankPath,
    index: options.IndexPath = None,
    no_index: options.NoIndex = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            min=-1,
            max=1,
            show_default="by the number of faces",
            help="Score at which two groups are merged.",
        ),
    ] = None,
    add: Annotated[
        bool,
        typer.Option("--add", help="Keep the groups in DIR, and let new faces join them."),
    ] = False,
    smallest: Annotated[
        int, typer.Option(metavar="N", min=1, help="Faces that a group must have.")
    ] = 2,
    min_face: Annotated[
        int, typer.Option(metavar="PIXELS", min=0, help="Smallest face to group.")
    ] = 40,
    include: options.Include = None,
    exclude: options.Exclude = None,
    model: options.ModelName = options.DEFAULT_MODEL,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
    calibration: options.Calibration = None,
) -> Answer:
    """Group the faces of people whom the facebank does not know.

    Look at index.html in DIR, then name a group: mien enroll DIR --cluster 7 --as "Jane Doe".
    """
    from contextlib import nullcontext

    from mien import files
    from mien.facebank.stores import exists, open_store
    from mien.parallel import at_once, threads_each
    from mien.recognition.model import load
    from mien.verbs.cluster import cluster as find
    from mien.verbs.cluster import earlier_groups, require_own, save, to_json

    require_own(out)  # before the long part
    photos = files.walk(paths, choice=files.Choice(include or (), exclude or ()))
    many = at_once(len(photos))
    network = load(model, detector=detector, calibration=calibration, threads=threads_each(many))
    earlier = earlier_groups(out, network.model_id) if add else None
    there = exists(facebank)
    with (
        open_store(facebank, model_id=network.model_id) if there else nullcontext() as bank,
        opened(index, no_index, facebank, bank, network) as kept,
    ):
        found = find(
            photos,
            network,
            index=kept,
            facebank=bank,
            threshold=threshold,
            earlier=earlier,
            smallest=smallest,
            min_face=min_face,
            at_once=many,
            progress=console.progress,
        )
    unwritten: tuple[Skipped, ...] = ()
    failed: list[str] = []
    try:
        unwritten = save(found, out)
    except CannotWrite as error:  # what was found is told all the same
        failed.append(str(error))
    skipped = (*photos.skipped, *found.skipped, *unwritten)
    groups = list(found.groups.items())
    return Answer(
        {"out": out, **to_json(found), "skipped": skipped},
        [Table(_COLUMNS, groups)],
        [
            *failed,
            f"{console.counted(len(groups), 'group')}, {console.counted(found.alone, 'face')} in "
            f"none, {found.known} known; see {out / 'index.html'}",
        ],
        skipped,
        code=console.SKIPPED if failed else 0,
    )


_COLUMNS: dict[str, Column] = {
    "GROUP": "{0}",
    "FACES": lambda group: str(len(group[1])),
    "SUCH AS": "{1[0].path}",
}
