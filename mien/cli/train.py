"""The command that trains.  It needs the extra `train`."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli import console
from mien.cli.options import Json
from mien.errors import BadInput, needs_extra

if TYPE_CHECKING:
    from mien.training import TrainConfig

# What the original calls its networks, as far as it has names for them.
OLD_NETWORKS = {
    "seesawFaceNet": "seesaw_shuffle",
    "mobilefacenet": "mobileface",
    "ir": "ir_{depth}",
    "ir_se": "ir_se_{depth}",
}
_NET, _LOSS, _TEACHER, _RATE, _BATCH, _RUN, _SEARCH = (
    "The network",
    "The loss",
    "A teacher",
    "How fast it learns",
    "What it sees",
    "How it is computed",
    "Before a run",
)


def _option(panel: str, *names: str, help: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **settings)


def train(
    data: Annotated[
        str, typer.Option("--data", "-d", metavar="DIR", help="What mien prepare has made.")
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The run; one that was begun there goes on."),
    ] = Path("run"),
    net: Annotated[
        str, _option(_NET, "--net", "-net", metavar="NAME", help="See mien models.")
    ] = "seesaw_shuffle",
    depth: Annotated[
        int,
        _option(
            _NET, "--depth", "-depth", metavar="N", help="Layers of ir and ir_se: 50, 100, 152."
        ),
    ] = 50,
    dim: Annotated[int, _option(_NET, metavar="N", min=2, help="Numbers in an embedding.")] = 128,
    weights: Annotated[
        str | None,
        _option(
            _NET, metavar="FILE", help="A checkpoint to start from, or a model, as mien-small."
        ),
    ] = None,
    loss: Annotated[
        str,
        _option(
            _LOSS,
            metavar="NAME",
            help="liarcface, arcface, cosface, softmax, adaface; none, with a teacher.",
        ),
    ] = "liarcface",
    margin: Annotated[
        float | None,
        _option(_LOSS, metavar="M", show_default="the loss's", help="The loss's margin."),
    ] = None,
    scale: Annotated[
        float | None,
        _option(_LOSS, metavar="S", show_default="the loss's", help="The logits' scale."),
    ] = None,
    negatives: Annotated[
        float,
        _option(_LOSS, metavar="SHARE", help="Other classes that a step looks at (Partial FC)."),
    ] = 1.0,
    label_smoothing: Annotated[
        float, _option(_LOSS, metavar="SHARE", help="What of the truth is spread over all classes.")
    ] = 0.0,
    teacher: Annotated[
        str | None, _option(_TEACHER, metavar="FILE", help="A trained network in ONNX.")
    ] = None,
    teacher_scaling: Annotated[
        str, _option(_TEACHER, metavar="NAME", help="How its input is scaled: imagenet, half.")
    ] = "imagenet",
    teacher_weight: Annotated[
        float, _option(_TEACHER, metavar="W", min=0, help="Its weight beside the loss.")
    ] = 1.0,
    feature_weight: Annotated[
        float,
        _option(_TEACHER, metavar="W", min=0, help="Its features' weight beside its embeddings."),
    ] = 0.3,
    block_steps: Annotated[
        int,
        _option(_TEACHER, metavar="N", min=0, help="Steps in which each block learns by itself."),
    ] = 0,
    block_rate: Annotated[
        float, _option(_TEACHER, metavar="RATE", min=0, help="Learning rate in those steps.")
    ] = 3e-3,
    rate: Annotated[
        float, _option(_RATE, "--rate", "-lr", metavar="RATE", min=0, help="Learning rate.")
    ] = 0.1,
    optimizer: Annotated[str, _option(_RATE, metavar="NAME", help="sgd or adamw.")] = "sgd",
    momentum: Annotated[float, _option(_RATE, metavar="M", help="Momentum of sgd.")] = 0.9,
    weight_decay: Annotated[
        float, _option(_RATE, metavar="D", help="Weight decay of the body.")
    ] = 4e-5,
    last_decay: Annotated[
        float, _option(_RATE, metavar="D", help="The same of the last layer and of the classes.")
    ] = 4e-4,
    schedule: Annotated[
        str, _option(_RATE, metavar="NAME", help="How the rate falls: milestones or cosine.")
    ] = "milestones",
    milestones: Annotated[
        str, _option(_RATE, metavar="E,E", help="Epochs at which the rate falls to a tenth.")
    ] = "8,12,14",
    warmup: Annotated[int, _option(_RATE, metavar="N", min=0, help="Steps of rising rate.")] = 0,
    epochs: Annotated[
        float, _option(_RATE, "--epochs", "-e", metavar="N", min=0, help="Epochs to train.")
    ] = 16,
    steps: Annotated[
        int | None, _option(_RATE, metavar="N", min=1, help="Steps to train, in place of epochs.")
    ] = None,
    clip: Annotated[
        float | None, _option(_RATE, metavar="LENGTH", help="Cut gradients down to it.")
    ] = None,
    ema: Annotated[
        float,
        _option(_RATE, metavar="DECAY", min=0, max=1, help="Keep a moving average of the weights."),
    ] = 0.0,
    batch: Annotated[
        int, _option(_BATCH, "--batch", "-b", metavar="N", min=2, help="Pictures in a step.")
    ] = 196,
    accumulate: Annotated[
        int, _option(_BATCH, metavar="N", min=1, help="Parts that a step is computed in.")
    ] = 1,
    augment: Annotated[
        str,
        _option(
            _BATCH,
            metavar="NAMES",
            help="all, or some of crop, flip, light, low_resolution, blur, jpeg, grey, occlude, "
            "each with its chance if it is to be another: flip,blur:0.3.",
        ),
    ] = "flip",
    validate: Annotated[
        list[str] | None,
        _option(
            _BATCH, metavar="SET", help="A .bin or a folder of sets to measure; may be repeated."
        ),
    ] = None,
    validate_every: Annotated[
        float, _option(_BATCH, metavar="N", help="Epochs between measurements.")
    ] = 1.0,
    seed: Annotated[int, _option(_BATCH, metavar="N", min=0, help="Seed of all chance.")] = 0,
    device: Annotated[
        str | None, _option(_RUN, metavar="NAME", show_default="the best", help="cpu or cuda.")
    ] = None,
    precision: Annotated[
        str | None,
        _option(_RUN, metavar="NAME", show_default="the fastest", help="float32, bf16, fp16."),
    ] = None,
    channels_last: Annotated[
        bool | None,
        _option(
            _RUN,
            "--channels-last/--channels-first",
            show_default="the faster",
            help="How pictures lie in memory.",
        ),
    ] = None,
    compile: Annotated[bool, _option(_RUN, "--compile", help="Use torch.compile.")] = False,
    workers: Annotated[
        int,
        _option(_RUN, "--workers", "-w", metavar="N", min=0, help="Processes that load pictures."),
    ] = 0,
    threads: Annotated[
        int | None,
        _option(_RUN, metavar="N", min=1, show_default="torch's", help="Processors to use."),
    ] = None,
    save_every: Annotated[
        int, _option(_RUN, metavar="N", min=1, help="Steps between checkpoints.")
    ] = 200,
    find_lr: Annotated[
        bool, _option(_SEARCH, "--find-lr", help="Look for a good rate instead, and draw it.")
    ] = False,
    find_batch: Annotated[
        bool, _option(_SEARCH, "--find-batch", help="Look for the fastest batch instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a network, on one machine or, under torchrun, on many.

    The defaults are the recipe of SeesawFaceNet's own code, with Li-ArcFace for its loss.
    """
    given = dict(locals())
    for name in ("out", "net", "depth", "find_lr", "find_batch", "as_json"):
        del given[name]
    with needs_extra("training", "train"):
        from mien.training import TrainConfig

    given["backbone"] = OLD_NETWORKS.get(net, net).format(depth=depth)
    given["loss"] = None if loss == "none" else loss
    given["validate"] = tuple(validate or ())
    given["milestones"] = _epochs(milestones)
    config = TrainConfig(**given)
    if find_lr:
        _find_rate(config, out, as_json)
    elif find_batch:
        _find_batch(config, as_json)
    else:
        _train(config, out, as_json)


def _epochs(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in re.split(r"[, ]+", text) if part)
    except ValueError as error:
        raise BadInput(f"milestones are epochs such as 8,12,14, not {text!r}") from error


def _train(config: TrainConfig, out: Path, as_json: bool) -> None:
    from mien.training import distributed
    from mien.training import train as run

    def report(entry: dict[str, Any]) -> None:
        left = int(entry["seconds_left"])
        console.note(
            f"step {entry['step']} of {entry['steps']}, epoch {entry['epoch']:.2f}, "
            f"loss {entry['loss']:.4f}, rate {entry['rate']:.2g}, "
            f"{entry['photos_per_second']:.0f} photos a second, "
            f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
        )
        for name, accuracy in entry.get("validation", {}).items():
            console.note(f"{name}: {100 * accuracy:.2f} %")

    def begun() -> None:
        console.note(
            f"training {config.backbone} into {out}: Ctrl-C saves, and the same command goes on"
        )

    last = run(config, out, report, begun)
    if distributed.is_main():
        if as_json:
            console.document({"checkpoint": str(last)})
        else:
            console.say(str(last))


def _find_rate(config: TrainConfig, out: Path, as_json: bool) -> None:
    from mien.training import distributed, find_rate
    from mien.training.plots import draw_rates

    sweep = find_rate(config)
    if not distributed.is_main():
        return
    picture = out / "rates.png"
    draw_rates(sweep, picture)
    if as_json:
        console.document({**asdict(sweep), "picture": str(picture)})
    else:
        console.say(f"-lr {sweep.suggested:.2g} is where the loss falls fastest; see {picture}")


def _find_batch(config: TrainConfig, as_json: bool) -> None:
    from mien.training import find_batch

    trials = []
    for trial in find_batch(config):
        trials.append(trial)
        console.note(f"-b {trial.batch}: {trial.photos_per_second:.1f} photos a second")
    best = max(trials, key=lambda trial: trial.photos_per_second)
    if as_json:
        content = {"suggested": best.batch, "trials": [asdict(trial) for trial in trials]}
        console.document(content)
    else:
        console.say(f"-b {best.batch} is the fastest here")
