"""The commands that make models: train, export.  They need the extra `train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli import console
from mien.cli.extra import needs_extra
from mien.cli.options import Json
from mien.errors import BadInput


def train(
    photos: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Photos of faces, or folders of them.")
    ],
    *,
    teacher: Annotated[
        str, typer.Option(metavar="FILE", help="A trained network in ONNX, to learn from.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The run; one that was begun there goes on.")
    ],
    teacher_scaling: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default="imagenet", help="Of its input: imagenet, half."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default="seesaw_shuffle", help="The network to train."),
    ] = None,
    block_steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Steps in which each block learns by itself."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Steps of the whole network, after.")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", min=1, help="Crops in a step.")] = None,
    block_rate: Annotated[
        float | None, typer.Option(metavar="RATE", min=0, help="Of learning, for the blocks.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="RATE", min=0, help="Of learning, for the whole.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Of all chance.")] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processors to use.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a network to see faces as a teacher does.

    What is not given is as in mien.train.TrainConfig.
    """
    with needs_extra("Training"):
        from mien.train import TrainConfig
        from mien.train import train as run
    from mien.detect.mtcnn import MTCNN

    chosen: dict[str, Any] = {
        "teacher_scaling": teacher_scaling,
        "backbone": backbone,
        "block_steps": block_steps,
        "steps": steps,
        "batch": batch,
        "block_rate": block_rate,
        "rate": rate,
        "seed": seed,
        "threads": threads,
    }
    config = TrainConfig(
        photos=tuple(photos),
        teacher=teacher,
        **{name: value for name, value in chosen.items() if value is not None},
    )
    total = config.block_steps + config.steps

    def report(entry: dict[str, Any]) -> None:
        console.note(
            f"step {entry['step']} of {total}, loss {entry['loss']:.4f}, "
            f"{entry['crops_per_second']:.0f} crops a second"
        )

    # Photos to learn from are often crops of faces already, and small.
    last = run(config, out, MTCNN(min_face=30), console.progress, report)
    if as_json:
        console.document({"checkpoint": str(last)})
    else:
        console.say(str(last))


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
