"""The arguments and options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperGroup

from mien import defaults


def _facebank() -> str:
    from platformdirs import user_data_path

    return str(user_data_path("mien") / "facebank.db")


FacebankPath: TypeAlias = Annotated[
    str,
    typer.Option(
        "--facebank",
        metavar="ADDRESS",
        envvar="MIEN_FACEBANK",
        default_factory=_facebank,
        show_default="facebank.db in your data folder",
        help="Where the people are kept: a file, milvus+file:FILE, milvus://HOST,"
        " postgresql://HOST/DB.",
    ),
]
IndexPath: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--index",
        metavar="FILE",
        envvar="MIEN_INDEX",
        show_default="index.db beside the facebank",
        help="Where the faces of photos are kept, so that no photo is looked at twice.",
    ),
]
NoIndex: TypeAlias = Annotated[
    bool, typer.Option("--no-index", help="Keep nothing of the photos, and know nothing of them.")
]
ModelName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME",
        help="A model that ships with mien (see mien models), or the file of another.",
    ),
]
FacebankModel: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        show_default="the facebank's",
        help="A model that ships with mien (see mien models), or the file of another.",
    ),
]
DetectorName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--detector",
        metavar="NAME",
        help="mien, mtcnn, a file of YuNet or SCRFD, or whole, for photos that are aligned faces.",
    ),
]
ModelArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model that ships with mien, or a file.")
]
Threshold: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SCORE",
        min=-1,
        max=1,
        show_default="the model's",
        help="The score from which two faces count as one person.",
    ),
]
Fmr: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--fmr",
        metavar="RATE",
        help="Instead of a score: pairs of strangers that may pass for one person, such as 1e-4.",
    ),
]
Fpir: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--fpir",
        "--fmr",
        metavar="RATE",
        show_default="0.01",
        help="Instead of a score: strangers who may get a name, however many people are enrolled.",
    ),
]
Calibration: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="FILE",
        show_default="the model's",
        help="What mien calibrate --json has printed: the model's thresholds.",
    ),
]
Strangers: TypeAlias = Annotated[
    bool,
    typer.Option("--strangers", help="Every photo in FOLDER shows somebody else."),
]
Balance: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--balance",
        metavar="FILE",
        help="Remove what faces of a class have in common: a CSV file with a column `file`,"
        " beside its photos.",
    ),
]
By: TypeAlias = Annotated[
    str, typer.Option("--by", metavar="COLUMNS", help="Columns that together define a class.")
]
Share: TypeAlias = Annotated[
    float, typer.Option("--share", metavar="X", min=0, max=1, help="How much of it to remove.")
]
Tta: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--tta", help="Embed the mirrored face too: slightly more accurate, twice the time."
    ),
]
Include: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Of folders, take only what matches, such as '*.jpg' or 2019; may be repeated.",
    ),
]
Exclude: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Of folders, leave out what matches; may be repeated.",
    ),
]


def _set_runtime(name: str | None) -> str | None:
    """Make it the default, of this process and those that it starts."""
    from mien.recognition.onnx.runtime import VARIABLE, asked

    if name:
        os.environ[VARIABLE] = asked(name)
    return name


Runtime: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="NAME",
        callback=_set_runtime,
        show_default="auto, or MIEN_RUNTIME",
        help="What runs networks: onnxruntime, openvino, cuda, coreml, directml; auto tries once.",
    ),
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document; docs/json.md names its fields.")
]
CLUSTERS = Path("mien-clusters")  # where mien cluster leaves its groups
DEFAULT_MODEL = defaults.MODEL
DEFAULT_DETECTOR = defaults.DETECTOR


def model_of(facebank: str) -> str:
    """The shipped model that made a facebank, or the default."""
    from mien.facebank.stores import open_store
    from mien.recognition.model import shipped_as

    with open_store(facebank) as bank:
        return shipped_as(bank.model_id) or DEFAULT_MODEL


def bare_flags(parameters: list[Any]) -> list[Any]:
    """The parameters; in help, no flag is followed by a type as if it took a value."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


def runtimes_chosen() -> list[str]:
    """A line for each model and detector whose fastest runtime was found on this machine."""
    from mien import machine

    known = machine.everything().items()
    return [
        f"{question.partition(' | ')[0]}: {found['found']}, found in {found['seconds']} s"
        for question, found in known
        if question.startswith("runtime for ")
    ]


class Group(TyperGroup):
    """A command of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """What it takes, as help shows it."""
        return bare_flags(super().get_params(ctx))
