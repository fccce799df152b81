"""The command `mien`: one function for each verb, over the functions of the package.

Nothing heavy is imported before a command needs it, so that help and completion come at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from mien import __version__
from mien.cli import (
    adopt,
    album,
    calibrate,
    camera,
    cluster,
    compare,
    console,
    embed,
    enroll,
    evaluate,
    export,
    find,
    identify,
    models,
    people,
    people_health,
    people_upkeep,
    prepare,
    review,
    serve,
    speed,
    targets,
    train,
)
from mien.cli.exit import WRONG_USAGE, run
from mien.cli.options import Group, bare_flags, runtimes_chosen
from mien.cli.render import Answer, shown
from mien.facebank.audit import COMMAND
from mien.facebank.encryption_key import FILE_VARIABLE

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 the answer is no; 2 not done, and a sentence says why; "
    "3 done, except for what was skipped; 70 a bug in mien; 130 interrupted; "
    "141 nobody reads the output; 143 ended by SIGTERM.",
)
_people = typer.Typer(cls=people.ListByDefault)


class Command(TyperCommand):
    """A command that the facebank's log can name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments; what is wrong with them knows of which command they are."""
        try:
            return super().parse_args(ctx, args)
        except WRONG_USAGE as error:
            error.ctx = error.ctx or ctx
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run it under its name."""
        token = COMMAND.set(ctx.command_path)
        ctx.call_on_close(lambda: COMMAND.reset(token))
        return super().invoke(ctx)

    def get_params(self, ctx: Any) -> list[Any]:
        """What it takes, as help shows it."""
        return bare_flags(super().get_params(ctx))


def _version(asked: bool) -> None:
    if not asked:
        return
    console.say(f"mien {__version__}")
    for line in runtimes_chosen():
        console.say(line)
    raise typer.Exit


@app.callback()
def _mien(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Print the version and the runtimes that were chosen.",
        ),
    ] = False,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            metavar="FILE",
            envvar=FILE_VARIABLE,
            help="File with the key of an encrypted facebank.",
        ),
    ] = None,
) -> None:
    """Recognise people in photos: offline, on an ordinary processor."""
    if key_file:
        os.environ[FILE_VARIABLE] = str(key_file)


def _add(
    group: typer.Typer,
    name: str,
    function: Callable[..., Answer | None],
    example: str,
    panel: str | None = None,
) -> None:
    epilog = f"Example: {example}"
    group.command(name, cls=Command, epilog=epilog, rich_help_panel=panel)(shown(function))


_RECOGNISE, _MEASURE, _MAKE = "Recognise", "Measure", "Make models"
_add(app, "enroll", enroll.enroll, "mien enroll people", _RECOGNISE)
_add(app, "identify", identify.identify, "mien identify a.jpg holiday --save named", _RECOGNISE)
_add(
    app, "album", album.album, "mien album photos --with 'Jane Doe' --with 'Joe Bloggs'", _RECOGNISE
)
_add(app, "review", review.review, "mien review photos", _RECOGNISE)
_add(app, "find", find.find, "mien find 'Jane Doe' --since 2019 --copy for-jane", _RECOGNISE)
_add(app, "cluster", cluster.cluster, "mien cluster holiday --out strangers", _RECOGNISE)
_add(app, "camera", camera.camera, "mien camera rtsp://10.0.0.5/live", _RECOGNISE)
_add(app, "compare", compare.compare, "mien compare passport.jpg selfie.jpg", _RECOGNISE)
_add(app, "embed", embed.embed, "mien embed photos --out photos.parquet", _RECOGNISE)
_add(app, "serve", serve.serve, "mien serve --port 8000", _RECOGNISE)
_add(_people, "list", people.list_people, "mien people list --json")
_add(_people, "photos", people.list_photos, "mien people photos 'Jane Doe'")
_add(_people, "rename", people.rename, "mien people rename 'J. Doe' 'Jane Doe'")
_add(_people, "delete", people.delete, "mien people delete 'Jane Doe' --photo blurred.jpg")
_add(_people, "check", people_upkeep.check, "mien people check")
_add(_people, "repair", people_upkeep.repair, "mien people repair")
_add(_people, "export", people_upkeep.export, "mien people export people.jsonl")
_add(_people, "import", people_upkeep.import_, "mien people import people.jsonl")
_add(_people, "encrypt", people_upkeep.encrypt, "mien people encrypt --keyring")
_add(_people, "decrypt", people_upkeep.decrypt, "mien people decrypt")
_add(_people, "log", people_upkeep.log, "mien people log --keep 10000")
_add(_people, "move", people.move, "mien people move people.db milvus://localhost:19530")
_add(_people, "health", people_health.health, "mien people health --fpir 0.001")
_add(
    app,
    "evaluate",
    evaluate.evaluate,
    "mien evaluate mien-small mine.onnx lfw/pairs.txt --report report.html",
    _MEASURE,
)
_add(app, "calibrate", calibrate.calibrate, "mien calibrate mien-small people", _MEASURE)
_add(app, "speed", speed.speed, "mien speed photos", _MEASURE)
_add(app, "models", models.models, "mien models --json", _MEASURE)
_add(app, "prepare", prepare.prepare, "mien prepare people --out data", _MAKE)
_add(
    app,
    "targets",
    shown(targets.targets),
    "mien targets data --teacher a.onnx:imagenet --teacher b.onnx:bgr",
    _MAKE,
)
_add(app, "train", train.train, "mien train -d data -net seesaw_shuffle -b 196 -e 16", _MAKE)
_add(app, "adopt", adopt.adopt, "mien adopt w600k_mbf.onnx theirs.onnx people", _MAKE)
_add(app, "export", export.export, "mien export run/last.safetensors my-model.onnx", _MAKE)
app.add_typer(
    _people,
    name="people",
    help="List, examine, rename, delete and move the people in the facebank.",
    epilog="Example: mien people",
    rich_help_panel=_RECOGNISE,
)


@cache
def _command() -> Callable[..., Any]:
    """The whole command line: building it takes longer than much of what it does."""
    return get_command(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, this process's by default, and exit."""
    run(_command, "mien", arguments)
