"""The command that makes a model of another project's network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli import console
from mien.cli.calibrate import COLUMNS
from mien.cli.options import DEFAULT_DETECTOR, Balance, By, DetectorName, Share, Strangers
from mien.cli.render import Answer, Table
from mien.errors import BadInput, needs_extra

if TYPE_CHECKING:
    from mien.recognition.adopt import Recogniser, Subtraction
    from mien.recognition.embedder import Card

_ORIGINAL = (".pth", ".pt")


def adopt(
    network: Annotated[
        Path,
        typer.Argument(
            metavar="NETWORK",
            help="A face recogniser in ONNX, or a .pth of SeesawFaceNet's or InsightFace_Pytorch's"
            " code.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The model's file, ending in .onnx.")],
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="Holds a folder of photos for each person: to find the input form and the"
            " threshold.",
            show_default=False,
        ),
    ] = None,
    *,
    form: Annotated[
        str | None,
        typer.Option(
            metavar="FORM",
            show_default="as its file says, or as tells people apart best",
            help="How it wants its pixels: half (-1 to 1), unit (0 to 1), bytes (0 to 255),"
            " imagenet, or numbers as 127.5/128, MEAN/DEVIATION; for BGR bgr, unit-bgr and so on.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default="as the file's", help="What the model is called."
        ),
    ] = None,
    fmr: Annotated[
        float,
        typer.Option(
            metavar="RATE", help="Share of pairs of strangers that may pass for one person."
        ),
    ] = 1e-3,
    strangers: Strangers = False,
    balance: Balance = None,
    by: By = "age,group",
    share: Share = 0.5,
    net: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="The network of a .pth that does not tell: seesaw_shuffle or seesaw_share.",
        ),
    ] = None,
    detector: DetectorName = DEFAULT_DETECTOR,
) -> Answer:
    """Make a model of another project's network, with a threshold of its own.

    It takes aligned faces and returns vectors, as InsightFace's and EdgeFace's do.
    """
    from mien.evaluation.calibrate import calibrate
    from mien.recognition.calibration import store
    from mien.recognition.model import load

    if out.suffix != ".onnx":
        raise BadInput(f"a model's file ends in .onnx, unlike {out}")
    said, tried, balanced = [], {}, None
    called = name or out.stem
    if network.suffix in _ORIGINAL:
        if balance:
            raise BadInput("--balance is for networks in ONNX: leave it out")
        form = form or "bgr"
        card = _of_original(network, out, form, called, net)
    else:
        from mien.recognition.adopt import Recogniser
        from mien.recognition.adopt import adopt as write

        recogniser = Recogniser(network)
        form = form or recogniser.form
        if form is None:
            tried = _tried(recogniser, folder, strangers, detector)
            form, other = list(tried)[:2]
            said.append(
                f"{network} takes its pixels as {form}: people are {tried[form]:.2f} standard"
                f" deviations apart, with {other} {tried[other]:.2f}"
            )
        card = write(recogniser, out, form=form, name=called)
        if balance:
            subtract, balanced = _subtraction(out, balance, by, share, detector)
            card = write(recogniser, out, form=form, name=called, subtract=subtract)
            said.append(console.balanced(**balanced))
    content = {
        "path": out,
        "model_id": card.model_id,
        "dim": card.dim,
        "form": form,
        "tried": tried,
        "balance": balanced,
        "calibration": None,
    }
    text: list[str | Table] = [*said, f"{out} is {card.model_id}, {card.dim} dimensions"]
    if not folder:
        notes = ["it has no threshold: run mien calibrate with photos of people"]
        return Answer(content, text, notes)
    try:
        found = calibrate(
            load(out, detector=detector),
            folder,
            fmr=fmr,
            strangers=strangers,
            progress=console.progress,
        )
    except BadInput as error:
        notes = [f"it has no threshold: {error}"]
        return Answer(content, text, notes, code=console.SKIPPED)
    store(out, out, found.to_json())
    content["calibration"] = found.to_json()
    text.append(Table(COLUMNS, dict.fromkeys((found.chosen, *found.table))))
    return Answer(content, text, skipped=found.skipped)


def _of_original(network: Path, out: Path, form: str, name: str, net: str | None) -> Card:
    """The model of a checkpoint of the original's code."""
    with needs_extra("reading a .pth", "train"):
        from mien.training import from_pth
        from mien.training.export import export
    if form not in ("bgr", "half"):
        raise BadInput(f"{network} takes bgr, or half where it was trained on RGB, not {form!r}")
    return export(from_pth.load(network, net, bgr=form == "bgr"), out, name=name)


def _tried(
    recogniser: Recogniser, folder: Path | None, strangers: bool, detector: str
) -> dict[str, float]:
    """How well each input form tells people apart, the best first."""
    from mien import files
    from mien.evaluation.find_input_form import separations
    from mien.recognition import detect

    if folder is None or strangers:
        raise BadInput(
            f"{recogniser.file} does not say how it wants its pixels: give --form, or a FOLDER of"
            " people to try"
        )
    person_of, _ = files.photos_of_people(folder)
    return separations(recogniser, person_of, detect.named(detector), console.progress)


def _subtraction(
    model: Path, labels: Path, by: str, share: float, detector: str
) -> tuple[Subtraction, dict[str, Any]]:
    """What is to be taken from a model's vectors, of photos whose classes are known."""
    with needs_extra("balancing", "train"):
        from mien.training import balance as training
    from mien import files
    from mien.evaluation.demographics import read_labels
    from mien.evaluation.people import embed_largest
    from mien.recognition.adopt import Subtraction
    from mien.recognition.model import load

    known = read_labels(labels)
    balance = training.Balance(known, tuple(by.split(",")), share)
    photos = [path for path in files.walk([labels.parent]) if known.get(path)]
    faces = embed_largest([load(model, detector=detector)], photos, console.progress, "balancing")
    balance.fit(faces.vectors[0], [str(path) for path in faces.photos])
    subtract = Subtraction(balance.weight, balance.bias, share * balance.means)
    return subtract, balance.describe()
