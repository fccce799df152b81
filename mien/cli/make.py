"""The command that makes a model of a checkpoint.  It needs the extra `train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli import console
from mien.cli.extra import needs_extra
from mien.cli.options import Json
from mien.errors import BadInput


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="What mien train has left.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The model's file, ending in .onnx.")],
    *,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", show_default="as the file's", help="The model's.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What mien calibrate --json has printed: the threshold to store."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a model's file of a checkpoint."""
    with needs_extra("Exporting"):
        from mien import checkpoint as checkpoints
        from mien.export import export as write

    origin = _read_calibration(calibration) if calibration else None
    card = write(
        checkpoints.load(checkpoint),
        out,
        name=name or out.stem,
        threshold=origin["chosen"]["threshold"] if origin else None,
        calibration=origin,
    )
    if as_json:
        console.document({"path": str(out), "model_id": card.model_id, "dim": card.dim})
    else:
        console.say(f"{out} is {card.model_id}")


def _read_calibration(path: Path) -> dict[str, Any]:
    from mien.images import read_bytes

    try:
        content = json.loads(read_bytes(path))
        float(content["chosen"]["threshold"])
        str(content["model_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is not what mien calibrate --json prints: run it again") from error
    return {key: value for key, value in content.items() if key != "skipped"}
