"""Networks measured as they would be deployed, before they have learned anything.

Each is built with random weights, folded and exported as `mien export` does; what it computes is
of no use, but it takes as long as it will.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated

import numpy as np
import typer
from torch import nn

from mien.cli import console
from mien.cli.render import Answer, Column, Table
from mien.recognition.onnx.session import session
from mien.training.backbones import BACKBONES
from mien.training.backbones.count import sizes
from mien.training.backbones.slim import OPTIONS, slim_seesaw
from mien.training.export import graph
from mien.training.zoo import NETWORKS

SECONDS = 0.1  # that a turn takes at least, so that the clock's grain does not count


@dataclass(frozen=True, slots=True)
class FaceTime:
    """A network on ONNX Runtime, one face at a time, on one thread."""

    milliseconds: float  # a face, the median over the turns
    fastest: float
    slowest: float
    ratio: float  # the first network's time to this one's, median: over 1, this is the faster


def face_times(
    networks: Mapping[str, Callable[[], nn.Module]], *, turns: int = 7
) -> dict[str, FaceTime]:
    """How long each takes for a face; all take a turn, then all take the next.

    Args:
        networks: what builds each; the first is what the others are compared with.
        turns: how often each is timed, after one turn that is not counted.
    """
    sessions = [
        session(graph(build().eval()), threads=1, otherwise=f"{name} would not run")
        for name, build in networks.items()
    ]
    crop = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), np.uint8)
    taken = np.array(
        [[_milliseconds(each, crop) for each in sessions] for _ in range(turns + 1)][1:]
    )  # (turns, networks)
    ratios = np.median(taken[:, :1] / taken, axis=0)
    return {
        name: FaceTime(
            float(np.median(taken[:, k])),
            float(taken[:, k].min()),
            float(taken[:, k].max()),
            float(ratios[k]),
        )
        for k, name in enumerate(networks)
    }


def _milliseconds(network: object, crop: np.ndarray) -> float:
    """The median run of one turn, which a moment without the processor does not move."""
    taken, begin = [], time.perf_counter()
    while time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        network.run(None, {"crops": crop})  # type: ignore[attr-defined]
        taken.append(time.perf_counter() - start)
    return 1000 * float(np.median(taken))


@dataclass(frozen=True, slots=True)
class Network:
    """A network that can be trained, its size and its time."""

    name: str
    parameters: int  # at 128 dimensions
    macs: int  # multiply-adds for a crop
    arguments: dict[str, object]  # of `slim_seesaw`
    milliseconds: float
    fastest: float
    slowest: float
    ratio: float


_COLUMNS: dict[str, Column] = {
    "NETWORK": "{name}",
    "PARAMETERS": lambda one: console.millions(one.parameters, 2),
    "MACS": lambda one: console.millions(one.macs, 1),
    "MS A FACE": "{milliseconds:.2f}",
    "RATIO": "{ratio:.2f}",
}


def main(
    *,
    slim: Annotated[
        bool, typer.Option("--slim", help="Time the choices of the slim seesaw instead.")
    ] = False,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Times that each is timed.")] = 7,
) -> Answer:
    """Measure networks as they are deployed, on one thread, beside the first."""
    options: dict[str, dict[str, object]] = dict(OPTIONS) if slim else {}
    networks: dict[str, Callable[..., nn.Module]]
    if slim:
        networks = {"seesaw_shuffle": BACKBONES["seesaw_shuffle"]}
        networks |= {name: partial(slim_seesaw, **choice) for name, choice in OPTIONS.items()}
    else:
        networks = {name: BACKBONES[name] for name in NETWORKS}
    timed = face_times(networks, turns=turns)
    found = [
        Network(name, *sizes(networks[name]), options.get(name, {}), **asdict(taken))
        for name, taken in timed.items()
    ]
    more: dict[str, Column] = {"ARGUMENTS": _arguments} if slim else {}
    return Answer({"networks": found}, [Table(_COLUMNS | more, found)])


def _arguments(one: Network) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in one.arguments.items())
