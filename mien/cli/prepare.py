"""The command `prepare`.  It needs the extra `data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console
from mien.cli.options import Exclude, Include
from mien.cli.render import Answer, Table
from mien.errors import BadInput, needs_extra

_SHOWN = 20  # skipped pictures that are named on stderr; prepare.json names all


def prepare(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="InsightFace's folders (train.rec), folders of people (NAME/*.jpg), photos.",
        ),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The data set's folder; an unfinished one is resumed."),
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="The photos are aligned crops already: keep them.")
    ] = False,
    resize: Annotated[
        bool,
        typer.Option("--resize", help="Resize square crops of another size to 112 x 112."),
    ] = False,
    people: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Use only these people: one folder name per line."),
    ] = None,
    include: Include = None,
    exclude: Exclude = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, show_default="one per processor", help="Processes."),
    ] = None,
    original_layout: Annotated[
        bool,
        typer.Option("--original-layout", help="Write imgs/LABEL/*.jpg and the sets as files too."),
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Only read a finished data set, and check its hashes."),
    ] = None,
) -> Answer:
    """Make a data set to train on."""
    if check is None and (not paths or out is None):
        raise BadInput("there is nothing to do: give what to prepare and --out DIR, or --check DIR")
    if check is not None and (paths or out):
        raise BadInput("--check DIR only reads a data set: leave out PATH and --out")
    with needs_extra("prepared data", "data"):
        from mien.training import prepare as verb
    from mien.files import Choice
    from mien.types import Skipped

    if check is not None:
        prepared = verb.check(check)
    else:
        assert paths and out
        prepared = verb.prepare(
            paths,
            out,
            aligned=aligned,
            resize=resize,
            people=_listed(people) if people else None,
            choice=Choice(include or (), exclude or ()),
            workers=workers,
            progress=console.progress,
        )
        if original_layout:
            verb.write_original_layout(prepared, out, console.progress)
    report = prepared.report
    skipped = [Skipped(Path(skip["path"]), skip["reason"]) for skip in report["skipped"]]
    rows = [
        (console.counted(len(prepared), "record"), f"of {console.people(report['people'])}"),
        *((console.counted(s["pairs"], "pair"), s["name"]) for s in report["sets"]),
        *((f"{r['count']:,} skipped", r["kind"]) for r in report["reasons"]),
        ("sha256", prepared.digest),
    ]
    content = {"out": check or out, **report}
    text = [Table({"DATA SET": "{0}", str(check or out): "{1}"}, rows)]
    if check is not None:
        return Answer(content, text)
    notes = []
    if report["empty"]:
        names = ", ".join(report["empty"][:5])
        empty = console.people(len(report["empty"]))
        notes.append(f"{empty} without a picture keep their labels: {names}")
    if report["single"]:
        notes.append(f"{console.people(report['single'])} with one picture")
    return Answer(
        content,
        text,
        notes,
        skipped[:_SHOWN],
        unnamed=max(0, len(skipped) - _SHOWN),
        elsewhere=f"{out}/prepare.json",
    )


def _listed(path: Path) -> frozenset[str]:
    from mien.images import read_bytes

    try:
        lines = read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a list of people: it must be text in UTF-8") from error
    if not (names := frozenset(line.strip() for line in lines if line.strip())):
        raise BadInput(f"{path} names nobody: write a folder's name on each line")
    return names
