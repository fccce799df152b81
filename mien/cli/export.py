"""The command that makes a model of a checkpoint.  It needs the extra `train`."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
            help="A checkpoint of mien train, or a .pth of the original code; or, with --scaling, "
            "a network.",
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
    scaling: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Make a model of another project's ONNX network that expects pixels scaled as: "
            "half (about -1 to 1, as most), or imagenet.",
        ),
    ] = None,
    net: Annotated[
        str | None,
        typer.Option(
            "--net",
            "-net",
            metavar="NAME",
            show_default=False,
            help="The network of a .pth that does not tell: seesaw_shuffle or seesaw_share.",
        ),
    ] = None,
    rgb: Annotated[
        bool,
        typer.Option("--rgb", help="The .pth was trained on RGB, not on BGR as its own code does."),
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The output of mien calibrate --json: the threshold to store."
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

    For onnx-int8, and for a new threshold by --calibration, a model's own file or the name of one
    that ships will do in place of a checkpoint.  With --scaling, another project's face recogniser
    in ONNX becomes a model: 112 x 112 in, vectors out.
    """
    if (to == "onnx-int8") != bool(calibrate):
        raise BadInput("--to onnx-int8 and --calibrate PHOTOS go together: give both or neither")
    ours = to in ("onnx", "onnx-int8")
    if not ours and (name or calibration):
        raise BadInput(f"a file for {to} holds neither: leave out --name and --calibration")
    if scaling and to != "onnx":
        raise BadInput(f"--scaling makes a model of a network, and not for {to}: give one of them")
    with needs_extra("exporting", "train"):
        from mien.training import original
        from mien.training.export import adopt, recalibrate, to_int8
        from mien.training.export import export as write
        from mien.training.export.elsewhere import to as write_for

    def load() -> Checkpoint:
        return original.load(checkpoint, net, bgr=not rgb)

    if not ours:
        written = write_for(to, load(), out)
        like = "not run here" if written.like is None else f"cosine {written.like:.6f}"
        return Answer(
            {"path": out, "target": to, "like": written.like}, [f"{out} is for {to} ({like})"]
        )
    origin = _read_calibration(calibration) if calibration else None
    threshold = origin["chosen"]["threshold"] if origin else None
    with TemporaryDirectory() as folder:
        if scaling:
            card = adopt(
                checkpoint,
                out,
                scaling=scaling,
                name=name or out.stem,
                threshold=threshold,
                calibration=origin,
            )
        elif origin and to == "onnx" and (file := _model(checkpoint)):
            if name:
                raise BadInput("a model keeps its name with another threshold: leave out --name")
            card = recalibrate(file, out, calibration=origin)
        elif to == "onnx" or checkpoint.suffix != ".onnx":
            plain = out if to == "onnx" else Path(folder) / "float.onnx"
            card = write(
                load(),
                plain,
                name=name or out.stem,
                threshold=threshold if to == "onnx" else None,
                calibration=origin if to == "onnx" else None,
            )
        else:
            plain = _model(checkpoint) or checkpoint
        if to == "onnx-int8":
            card = to_int8(plain, out, _faces(calibrate or []), calibration=origin)
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
    from mien.recognition.align import crops
    from mien.recognition.detect.mtcnn import MTCNN
    from mien.recognition.quality import largest
    from mien.types import Skipped

    paths = files.walk(photos)
    console.note_skipped(paths.skipped)
    detector = MTCNN(min_face=30)  # as in training: photos are often crops of faces, and small
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


def _read_calibration(path: Path) -> dict[str, Any]:
    from mien.images import read_bytes

    try:
        content = json.loads(read_bytes(path))
        float(content["chosen"]["threshold"])
        str(content["model_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is not what mien calibrate --json prints: run it again") from error
    return {key: value for key, value in content.items() if key != "skipped"}
