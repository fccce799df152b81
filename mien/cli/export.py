"""The command that makes a model of a checkpoint.  It needs the extra `train`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from mien import defaults
from mien.cli import console
from mien.cli.render import Answer
from mien.errors import BadInput, needs_extra

if TYPE_CHECKING:
    from mien.training.checkpoint import Checkpoint
    from mien.types import Crops


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A checkpoint of mien train.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The model's file, ending in .onnx.")],
    *,
    to: Annotated[
        str,
        typer.Option(
            metavar="TARGET",
            help="onnx; onnx-int8; or for other programs openvino, tflite, coreml, ncnn, "
            "executorch.",
        ),
    ] = "onnx",
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default="as the file's", help="What the model is called."
        ),
    ] = None,
    average: Annotated[
        bool,
        typer.Option(
            "--average",
            help="Average the weights of the checkpoints that mien train --keep N has left beside "
            "this one.",
        ),
    ] = False,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Photos of faces that onnx-int8 is fitted to; may be repeated.",
        ),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Of quantisation-aware training of onnx-int8, some minutes."
        ),
    ] = 300,
) -> Answer:
    """Make a model's file of a checkpoint.

    For onnx-int8, a model's file or the name of one that ships will do in place of a checkpoint.
    """
    if (to == "onnx-int8") != bool(calibrate):
        raise BadInput("--to onnx-int8 and --calibrate PHOTOS go together: give both or neither")
    ours = to in ("onnx", "onnx-int8")
    if checkpoint.suffix == ".pth":
        raise BadInput(f"{checkpoint} is a .pth: make a model of it with mien adopt")
    if not ours and name:
        raise BadInput(f"a file for {to} holds no name: leave out --name")
    with needs_extra("exporting", "train"):
        from mien.training.checkpoint import average as mean
        from mien.training.checkpoint import load
        from mien.training.export import export as write
        from mien.training.export import to_int8
        from mien.training.export.other_runtimes import to as write_for

    def trained() -> Checkpoint:
        if not average:
            return load(checkpoint)
        kept = sorted(checkpoint.parent.glob("step-*.safetensors"))
        if len(kept) < 2:
            raise BadInput(
                f"{len(kept)} checkpoints lie beside {checkpoint}, and an average takes two: train "
                "with --keep 5, or leave out --average"
            )
        return mean([load(path) for path in kept])

    if not ours:
        written = write_for(to, trained(), out)
        like = "not run here" if written.like is None else f"cosine {written.like:.6f}"
        return Answer(
            {"path": out, "target": to, "like": written.like}, [f"{out} is for {to} ({like})"]
        )
    file = _model(checkpoint) if to == "onnx-int8" else None
    with TemporaryDirectory() as folder:
        if file is None:
            file = out if to == "onnx" else Path(folder) / "float.onnx"
            card = write(trained(), file, name=name or out.stem)
        if to == "onnx-int8":
            crops = _faces(calibrate or [])
            card = to_int8(file, out, crops, steps=steps, progress=console.progress)
    return Answer(
        {"path": out, "model_id": card.model_id, "dim": card.dim}, [f"{out} is {card.model_id}"]
    )


def _model(checkpoint: Path) -> Path | None:
    """The file of a model that stands where a checkpoint may."""
    from mien.recognition.model import WEIGHTS

    if checkpoint.suffix == ".onnx":
        return checkpoint
    inside = WEIGHTS / f"{checkpoint}.onnx"
    return inside if inside.is_file() else None


def _faces(photos: list[str]) -> Crops:
    """The largest face of each of some thousands of the photos, aligned."""
    import numpy as np

    from mien import files, images
    from mien.recognition import detect
    from mien.recognition.align import crops
    from mien.recognition.quality import largest
    from mien.types import Skipped

    paths = files.walk(photos)
    console.note_skipped(paths.skipped)
    # As in training: photos are often crops of faces, and small.
    detector = detect.named(defaults.DETECTOR, min_face=30)
    found = []
    for path in console.progress(paths[:: -(-len(paths) // 2048) or 1], "detecting"):
        try:
            image = images.read(path)
        except BadInput as error:
            console.note_skipped([Skipped(path, str(error))])
            continue
        if faces := detector(image):
            found.append(crops(image, largest(faces)))
    return np.concatenate(found) if found else np.zeros((0, 112, 112, 3), np.uint8)
