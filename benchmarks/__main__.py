"""`python -m benchmarks PART` measures a part of mien, beside others where they are installed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.main import get_command

from mien.cli import Command, console
from mien.cli.exit import run
from mien.cli.render import shown
from mien.errors import needs_extra

PARTS = {  # what each measures
    "cluster": "groups of faces: pairwise F, purity, groups with somebody wrong",
    "data": "prepared data: records per second beside files, and memory",
    "detect": "the detector: faces found and missed, and time",
    "embed": "networks: milliseconds a crop",
    "networks": "networks that can be trained: milliseconds a face, with random weights",
    "openset": "how many people are named while few strangers are",
    "photo": "the whole way from a file to names, beside face_recognition",
    "results": "the figures of the documentation, in docs/results.json",
    "search": "search, beside the speed of memory and other libraries",
    "serve": "photos per second that the service answers for",
    "soak": "the service among good, slow, broken and hostile clients: faults, memory, log",
    "train": "photos per second in training",
    "video": "naming people in a video, beside looking at every frame",
}
_EXTRAS = {"data": "data", "serve": "serve", "soak": "serve", "video": "video"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a benchmark, that of this process's arguments by default, and exit."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or [""]
    os.environ.setdefault("MIEN_RUNTIME", "onnxruntime")  # figures rest on no probe
    if name not in PARTS:
        console.note("usage: python -m benchmarks PART [--help]")
        console.table([("PART", "MEASURES"), *PARTS.items()])
        sys.exit(0 if name in ("-h", "--help") else console.CANNOT)
    run(lambda: _command(name), f"python -m benchmarks {name}", rest)


def _command(name: str) -> Any:
    app = typer.Typer(
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    with needs_extra(f"the benchmark {name}", _EXTRAS.get(name, "train")):
        part = importlib.import_module(f"benchmarks.{name}")
    app.command(cls=Command)(shown(part.main))
    return get_command(app)


if __name__ == "__main__":
    main()
