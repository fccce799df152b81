"""The command `benchmark search`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import console
from mien.cli.options import Json

if TYPE_CHECKING:
    from mien.benchmark.search import Growth, Recall, Search

_SEARCH = (
    *("ENGINE", "TEMPLATES", "NUMBERS", "BUILD S", "OPEN S", "QUERY MS", "READ MS", "RATIO"),
    *("BATCH MS", "MB", "DISK MB", "RECALL"),
)
_FACEBANK = (
    *("PEOPLE", "NUMBERS", "FILL S", "OPEN S", "AGAIN S", "ADD MS", "IN EMPTY", "MB"),
    "CACHE MB",
)
_ENGINE = ("ENGINE", "TEMPLATES", "NUMBERS", "FILL S", "QUERY MS", "QUERIES", "RECALL")


def benchmark_search(
    *,
    templates: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=100, show_default="10000", help="How many; may be repeated."),
    ] = None,
    dim: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N", min=2, show_default="128", help="Numbers in each; may be repeated."
        ),
    ] = None,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Times that each is asked.")] = 15,
    alone: Annotated[
        bool, typer.Option("--alone", help="Leave out other libraries, where they are installed.")
    ] = False,
    facebank: Annotated[
        bool, typer.Option("--facebank", help="Fill facebanks of these sizes instead.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Fill an empty facebank there instead, and check its recall."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the search for the nearest template, against the speed of memory.

    Templates are made up: ten alike of each person.
    """
    from dataclasses import asdict

    from mien.benchmark.search import GRAPHS, grow, left_out, measure, recall

    sizes = [(count, wide) for count in templates or (10_000,) for wide in dim or (128,)]
    if engine:
        checked = recall(engine, *sizes[0])
        if as_json:
            console.document(asdict(checked))
        else:
            console.table([_ENGINE, _recall(checked)])
        return
    if facebank:
        grown = [grow(*size) for size in console.progress(sizes, "filling")]
        if as_json:
            console.document({"facebanks": [asdict(one) for one in grown]})
            return
        console.table([_FACEBANK, *map(_growth, grown)])
        return
    found = [
        one
        for size in console.progress(sizes, "searching")
        for one in measure(*size, turns=turns, alone=alone)
    ]
    out = [] if alone else sorted({name for size, _ in sizes for name in left_out(size)})
    if as_json:
        searches = [asdict(one) for one in found]
        document = {"turns": turns, "searches": searches, "left_out": out, "graphs_up_to": GRAPHS}
        console.document(document)
        return
    console.table([_SEARCH, *map(_search, found)])
    if out:
        console.say(f"{', '.join(out)}: left out beyond {GRAPHS} templates, being slow to build")


def _search(one: Search) -> tuple[str, ...]:
    return (
        one.engine,
        f"{one.templates}",
        f"{one.dim}",
        f"{one.build:.2f}",
        f"{one.open:.2f}",
        f"{one.query:.2f}",
        f"{one.read:.2f}",
        f"{one.ratio:.2f}",
        f"{one.together:.3f}",
        f"{one.memory:.0f}",
        f"{one.disk:.0f}",
        f"{one.recall:.3f}",
    )


def _growth(one: Growth) -> tuple[str, ...]:
    return (
        f"{one.templates}",
        f"{one.dim}",
        f"{one.fill:.1f}",
        f"{one.first:.2f}",
        f"{one.again:.2f}",
        f"{one.add:.1f}",
        f"{one.add_empty:.1f}",
        f"{one.disk:.0f}",
        f"{one.cache:.0f}",
    )


def _recall(one: Recall) -> tuple[str, ...]:
    return (
        one.engine,
        f"{one.templates}",
        f"{one.dim}",
        f"{one.fill:.1f}",
        f"{one.query:.2f}",
        f"{one.queries}",
        f"{one.recall:.4f}",
    )
