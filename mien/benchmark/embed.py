"""Networks measured: crops a second, beside other networks in the same run.

All of them take a turn, then all take the next: a machine that slows down slows all of them, so
ratios hold where single times do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.embed import OnnxEmbedder
from mien.errors import BadInput
from mien.runtime import session
from mien.types import Crops

SECONDS = 0.2  # that a turn takes at least, so that the clock's grain does not count


@dataclass(frozen=True, slots=True)
class Speed:
    """A network at one batch size and number of threads."""

    model: str
    batch: int  # crops in a run
    threads: int
    milliseconds: float  # a crop, the median over the turns
    fastest: float  # turn, in milliseconds a crop
    slowest: float
    ratio: float  # the first network's time to this one's, median: over 1, this is the faster


def speeds(
    models: Sequence[Path],
    beside: Sequence[Path] = (),
    *,
    batches: Sequence[int] = (1, 8, 32),
    threads: Sequence[int] = (1, 2),
    turns: int = 7,
) -> list[Speed]:
    """How fast networks embed; the first is what the others are compared with.

    Args:
        models: files of `mien export`.
        beside: other ONNX files that take one float32 picture, (N, 3, H, W).
        batches: crops in a run; a file of a fixed batch is run as often as that takes.
        threads: processors to use.
        turns: how often each is timed, after one turn that is not counted.

    Raises:
        BadModel: a file cannot be run.
        BadInput: a file beside takes something other than a picture.
    """
    found = []
    for count in threads:
        names = [path.stem for path in (*models, *beside)]
        runs: list[Callable[[Crops], object]] = [
            *(OnnxEmbedder(path, threads=count) for path in models),
            *(_other(path, count) for path in beside),
        ]
        for batch in batches:
            crops = np.random.default_rng(0).integers(0, 256, (batch, 112, 112, 3), np.uint8)
            taken = np.array(
                [[_milliseconds(run, crops) for run in runs] for _ in range(turns + 1)][1:]
            )  # (turns, networks)
            medians = np.median(taken, axis=0)
            ratios = np.median(taken[:, :1] / taken, axis=0)
            found += [
                Speed(
                    name,
                    batch,
                    count,
                    float(medians[k]),
                    float(taken[:, k].min()),
                    float(taken[:, k].max()),
                    float(ratios[k]),
                )
                for k, name in enumerate(names)
            ]
    return found


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
