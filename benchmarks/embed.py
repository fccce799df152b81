"""Networks measured: crops a second, beside other networks in the same run.

All of them take a turn, then all take the next: a machine that slows down slows all of them, so
ratios hold where single times do not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.peers import FaceRecognition
from mien.cli.render import Answer, Table
from mien.errors import BadInput, needs_extra
from mien.recognition.embedder import OnnxEmbedder
from mien.recognition.model import model_file, shipped
from mien.recognition.onnx import graph
from mien.recognition.onnx.runtime import RUNTIMES
from mien.recognition.onnx.session import session
from mien.types import Crops

SECONDS = 0.2  # that a turn takes at least, so that the clock's grain does not count
SIDE = 512  # of the matrices whose product tells what the processor can do


@dataclass(frozen=True, slots=True)
class Speed:
    """A network at one batch size and number of threads."""

    model: str
    runtime: str
    batch: int  # crops in a run
    threads: int
    milliseconds: float  # a crop, the median over the turns
    fastest: float  # turn, in milliseconds a crop
    slowest: float
    ratio: float  # the first network's time to this one's, median: over 1, this is the faster
    macs: int | None  # multiplications and additions of a crop, in float32; None where not known
    reached: (
        float | None
    )  # of the rate at which the processor multiplies matrices, in the same turns


@dataclass(frozen=True, slots=True)
class Account:
    """What a network does for one crop, on ONNX Runtime and one thread."""

    model: str
    macs: int | None
    parts: dict[str, float]  # of the time, by type of operation, the largest first


def speeds(
    models: Sequence[Path],
    beside: Sequence[Path] = (),
    *,
    batches: Sequence[int] = (1, 8, 32),
    threads: Sequence[int] = (1, 2),
    turns: int = 7,
    runtimes: Sequence[str] = ("onnxruntime",),
    peers: bool = False,
) -> list[Speed]:
    """How fast networks embed; the first is what the others are compared with.

    Args:
        models: files of `mien export`.
        beside: other ONNX files that take one float32 picture, (N, 3, H, W).
        batches: crops in a run; a file of a fixed batch is run as often as that takes.
        threads: processors to use.
        turns: how often each is timed, after one turn that is not counted.
        runtimes: what runs the models; see `mien.recognition.onnx.runtime.RUNTIMES`.
        peers: whether the network of `face_recognition` is timed too, which takes one thread.

    Raises:
        BadModel: a file cannot be run.
        BadInput: a file beside takes something other than a picture.
        MissingExtra: a runtime or the peer is not installed.
    """
    macs = [account(path).macs for path in (*models, *beside)]
    found = []
    for count in threads:
        runs: list[tuple[str, str, int | None, Callable[[Crops], object]]] = [
            (path.stem, runtime, work, OnnxEmbedder(path, threads=count, runtime=runtime))
            for runtime in runtimes
            for path, work in zip(models, macs, strict=False)
        ]
        runs += [
            (path.stem, "onnxruntime", work, _other(path, count))
            for path, work in zip(beside, macs[len(models) :], strict=True)
        ]
        if peers:
            runs.append((FaceRecognition.name, "dlib", None, _dlib()))
        product = _product(count)
        for batch in batches:
            crops = np.random.default_rng(0).integers(0, 256, (batch, 112, 112, 3), np.uint8)
            every = [*(run for *_, run in runs), product]
            taken = np.array(
                [[_milliseconds(run, crops) for run in every] for _ in range(turns + 1)][1:]
            )  # (turns, networks and the product)
            rates = SIDE**3 / taken[:, -1]  # multiplications a millisecond
            for k, (name, runtime, work, _) in enumerate(runs):
                own = taken[:, k]
                found.append(
                    Speed(
                        name,
                        runtime,
                        batch,
                        count,
                        milliseconds=float(np.median(own)),
                        fastest=float(own.min()),
                        slowest=float(own.max()),
                        ratio=float(np.median(taken[:, 0] / own)),
                        macs=work,
                        reached=float(np.median(work / own / rates)) if work else None,
                    )
                )
    return found


def account(path: Path, *, runs: int = 20) -> Account:
    """Where a network's time goes, from ONNX Runtime's own profile of runs on one crop.

    Raises:
        BadModel: the file cannot be run.
    """
    with TemporaryDirectory() as folder:
        network = session(
            path,
            threads=1,
            profile=f"{folder}/profile",
            otherwise=f"{path} is not an ONNX file that can be run",
        )
        (entry,) = network.get_inputs()
        shape = [size if isinstance(size, int) else 112 for size in entry.shape[1:]]
        kind = np.uint8 if entry.type == "tensor(uint8)" else np.float32
        for _ in range(runs):
            network.run(None, {entry.name: np.zeros((1, *shape), kind)})
        events = json.loads(Path(network.end_profiling()).read_text("utf-8"))
    nodes = [event for event in events if event["name"].endswith("_kernel_time")]
    spent: dict[str, float] = {}
    for node in nodes:
        name = node["args"]["op_name"]
        spent[name] = spent.get(name, 0) + node["dur"]
    total = sum(spent.values())
    parts = {
        name: spent[name] / total for name in sorted(spent, key=lambda name: spent[name])[::-1]
    }
    in_8_bits = any(name.startswith("QLinear") for name in spent)
    work = 0 if in_8_bits else sum(_macs(node["args"]) for node in nodes) // runs
    return Account(path.stem, work or None, parts)


def _macs(node: dict[str, Any]) -> int:
    """Multiplications of a float convolution; what else multiplies is less than a hundredth."""
    if node["op_name"] not in ("Conv", "FusedConv"):
        return 0
    out: list[int] = next(iter(node["output_type_shape"][0].values()))
    kernel: list[int] = next(iter(node["input_type_shape"][1].values()))
    return math.prod(out) * math.prod(kernel[1:])


def _product(threads: int) -> Callable[[Crops], object]:
    """What multiplies two matrices once for each crop: the processor at its best."""

    a, b, c = (graph.value_info(name, graph.FLOAT, SIDE, SIDE) for name in "abc")
    model = graph.model([graph.node("MatMul", "ab", "c")], [], [a, b], [c])
    network = session(model, threads=threads, otherwise="ONNX Runtime multiplies no matrices")
    left, right = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)

    def run(crops: Crops) -> None:
        for _ in crops:
            network.run(None, {"a": left, "b": right})

    return run


def _dlib() -> Callable[[Crops], object]:
    peer = FaceRecognition()
    face = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)

    def run(crops: Crops) -> None:
        for _ in crops:
            peer.embed_crop(face)

    return run


def _milliseconds(run: Callable[[Crops], object], crops: Crops) -> float:
    """A crop's share of one turn."""
    runs, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < SECONDS:
        run(crops)
        runs += 1
    return 1000 * spent / (runs * len(crops))


def _other(path: Path, threads: int) -> Callable[[Crops], object]:
    """What runs a network that is none of ours; scaling its input is not counted."""
    network = session(
        path, threads=threads, otherwise=f"{path} is not an ONNX file that can be run"
    )
    (entry, *more) = network.get_inputs()
    shape = entry.shape
    if more or len(shape) != 4 or shape[1] != 3 or entry.type != "tensor(float)":
        raise BadInput(f"{path} does not take one float32 picture, (N, 3, H, W); give another")
    fixed = shape[0] if isinstance(shape[0], int) else None
    side = [size if isinstance(size, int) else 112 for size in shape[2:]]
    noise = np.random.default_rng(0).standard_normal((fixed or 1, 3, *side), np.float32)

    def run(crops: Crops) -> None:
        if fixed:
            for _ in range(-(-len(crops) // fixed)):
                network.run(None, {entry.name: noise})
        else:
            network.run(None, {entry.name: np.repeat(noise, len(crops), axis=0)})

    return run


_COLUMNS = {
    "MODEL": "{model}",
    "RUNTIME": "{runtime}",
    "BATCH": "{batch}",
    "THREADS": "{threads}",
    "MS A CROP": "{milliseconds:.2f}",
    "RANGE": "{fastest:.2f} to {slowest:.2f}",
    "RATIO": "{ratio:.2f}",
    "REACHED": "{reached:.0%}",
}


def main(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", show_default="all that ship", help="Models to time."),
    ] = None,
    *,
    beside: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Another network in ONNX to time in the same run."),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, help="Crops in a run; may be repeated.")
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, help="Processors; may be repeated.")
    ] = None,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Times that each is timed.")] = 7,
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A network of mien.training.backbones with random weights, exported for this; "
            "NAME:ACTIVATION, NAME:published as its paper has it, NAME:int8 in 8 bits; may be "
            "repeated.",
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", show_default="onnxruntime", help="Or openvino, or both."),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Time the network of face_recognition too.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Say which operations take the time.")
    ] = False,
) -> Answer:
    """Measure networks: milliseconds a crop, and how much faster than the first.

    REACHED is the part of the rate at which the processor multiplies matrices.
    """
    if wrong := set(runtime or ()) - set(RUNTIMES):
        raise BadInput(f"{min(wrong)!r} is no runtime: give {' or '.join(RUNTIMES)}")
    with TemporaryDirectory() as folder:
        files = [model_file(name) for name in models or shipped()]
        files += [_random(text, Path(folder)) for text in network or ()]
        measured = speeds(
            files,
            beside or (),
            batches=batch or (1, 8, 32),
            threads=threads or (1, 2),
            turns=turns,
            runtimes=runtime or ("onnxruntime",),
            peers=peers,
        )
        accounts = [account(path) for path in (*files, *(beside or ()))] if profile else []
    parts = [
        f"{entry.model}: "
        + ", ".join(f"{name} {part:.0%}" for name, part in entry.parts.items() if part >= 0.01)
        for entry in accounts
    ]
    content = {"turns": turns, "speeds": measured}
    return Answer(
        content | ({"accounts": accounts} if profile else {}), [Table(_COLUMNS, measured), *parts]
    )


def _random(text: str, folder: Path) -> Path:
    """A file of the network that a text such as mobileface:silu names."""
    with needs_extra("timing a network", "train"):
        from mien.training.export import export_random, to_int8
    name, *forms = text.split(":")
    path = folder / f"{text.replace(':', '-')}.onnx"
    activations = [form for form in forms if form not in ("published", "int8")]
    try:
        export_random(
            name, path, activation=next(iter(activations), None), published="published" in forms
        )
    except KeyError as error:
        raise BadInput(
            f"{text!r} names no network or activation of mien.training.backbones"
        ) from error
    if "int8" in forms:
        crops = np.random.default_rng(0).integers(0, 256, (32, 112, 112, 3), np.uint8)
        to_int8(path, path, crops, steps=0)
    return path
