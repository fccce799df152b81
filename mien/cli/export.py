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
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Photos of faces that set the scales of onnx-int8; may be repeated.",
        ),
    ] = None,
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
        from mien.training import checkpoint as checkpoints
        from mien.training.export import export as write
        from mien.training.export import to_int8
        from mien.training.export.other_runtimes import to as write_for

    if not ours:
        written = write_for(to, checkpoints.load(checkpoint), out)
        like = "not run here" if written.like is None else f"cosine {written.like:.6f}"
        return Answer(
            {"path": out, "target": to, "like": written.like}, [f"{out} is for {to} ({like})"]
        )
    file = _model(checkpoint) if to == "onnx-int8" else None
    with TemporaryDirectory() as folder:
        if file is None:
            file = out if to == "onnx" else Path(folder) / "float.onnx"
            card = write(checkpoints.load(checkpoint), file, name=name or out.stem)
        if to == "onnx-int8":
            card = to_int8(file, out, _faces(calibrate or []))
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
    """The largest face of each of some hundreds of the photos, aligned."""
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
    for path in console.progress(paths[:: -(-len(paths) // 256) or 1], "detecting"):
        try:
            image = images.read(path)
        except BadInput as error:
            console.note_skipped([Skipped(path, str(error))])
            continue
        if faces := detector(image):
            found.append(crops(image, largest(faces)))
    return np.concatenate(found) if found else np.zeros((0, 112, 112, 3), np.uint8)
