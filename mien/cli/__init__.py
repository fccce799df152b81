"""The command `mien`: one function for each verb, over the functions of the package.

Nothing heavy is imported before a command needs it, so that help and completion come at once.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from mien import __version__
from mien.cli import console, embed, make, measure, people, prepare, recognise, search
from mien.errors import MienError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 the answer is no; 2 not done, and a sentence says why; "
    "3 done, but some photos were skipped.",
)
_people = typer.Typer(cls=people.ListByDefault)
_benchmark = typer.Typer()


def _version(asked: bool) -> None:
    if asked:
        console.say(f"mien {__version__}")
        raise typer.Exit


@app.callback()
def _mien(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which mien.")
    ] = False,
) -> None:
    """Recognise people in photos: offline, on an ordinary processor."""


def _add(
    group: typer.Typer,
    name: str,
    function: Callable[..., None],
    example: str,
    panel: str | None = None,
) -> None:
    group.command(name, epilog=f"Example: {example}", rich_help_panel=panel)(function)


_RECOGNISE, _MEASURE, _MAKE = "Recognise", "Measure", "Make models"
_add(app, "enroll", recognise.enroll, "mien enroll people", _RECOGNISE)
_add(app, "identify", recognise.identify, "mien identify a.jpg holiday --save named", _RECOGNISE)
_add(app, "compare", recognise.compare, "mien compare passport.jpg selfie.jpg", _RECOGNISE)
_add(app, "embed", embed.embed, "mien embed photos --out photos.parquet", _RECOGNISE)
_add(_people, "list", people.list_people, "mien people list --json")
_add(_people, "photos", people.list_photos, "mien people photos 'Jane Doe'")
_add(_people, "rename", people.rename, "mien people rename 'J. Doe' 'Jane Doe'")
_add(_people, "delete", people.delete, "mien people delete 'Jane Doe' --photo blurred.jpg")
_add(_people, "move", people.move, "mien people move people.db milvus://localhost:19530")
_add(app, "evaluate", measure.evaluate, "mien evaluate mien-small lfw/pairs.txt", _MEASURE)
_add(app, "calibrate", measure.calibrate, "mien calibrate mien-small people", _MEASURE)
_add(app, "models", measure.models, "mien models", _MEASURE)
_add(_benchmark, "detect", measure.benchmark_detect, "mien benchmark detect photos")
_add(_benchmark, "embed", measure.benchmark_embed, "mien benchmark embed mien-small --threads 1")
_add(app, "prepare", prepare.prepare, "mien prepare people --out data", _MAKE)
_add(_benchmark, "search", search.benchmark_search, "mien benchmark search --templates 100000")
_add(app, "train", make.train, "mien train photos --teacher teacher.onnx --out run", _MAKE)
_add(app, "export", make.export, "mien export run/last.safetensors my-model.onnx", _MAKE)
app.add_typer(
    _people,
    name="people",
    help="List, rename, delete and move the people in the facebank.",
    epilog="Example: mien people",
    rich_help_panel=_RECOGNISE,
)
app.add_typer(_benchmark, name="benchmark", help="Measure the parts.", rich_help_panel=_MEASURE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, this process's by default, and exit."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be text
    try:
        try:
            app(arguments, prog_name="mien")
        except MienError as error:
            console.note(str(error))
            sys.exit(console.CANNOT)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read the results has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(console.NO)
