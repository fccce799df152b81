"""Finds a learning rate and a batch size before a run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from mien.errors import BadInput, RunStopped
from mien.training import distributed
from mien.training.config import TrainConfig
from mien.training.data.shards import Shards
from mien.training.run import Run, device_of

LOWEST, HIGHEST = 1e-6, 10.0  # learning rates that are tried
SMOOTHING = 0.35  # decades: deviation of the Gaussian that the losses are smoothed with
CLIMB = 0.1  # of the first losses: a rise beyond this is no noise
TOO_MUCH = 3.0  # times the lowest loss, where the sweep ends


@dataclass(frozen=True, slots=True)
class LrSweep:
    """The loss while the learning rate rises from step to step."""

    lrs: tuple[float, ...]
    losses: tuple[float, ...]  # smoothed
    suggested: float  # a tenth of where the loss climbs


@dataclass(frozen=True, slots=True)
class BatchTrial:
    """How fast batches of a size go."""

    batch: int
    photos_per_second: float


def find_lr(config: TrainConfig, *, steps: int = 100) -> LrSweep:
    """The loss over learning rates that rise by a factor a step (Smith, 2017, arXiv 1506.01186).

    The network that it is tried on is forgotten.

    Args:
        config: of the run to come.
        steps: of the sweep, at least 20.

    Raises:
        BadInput: as `train`; or the loss never fell.
    """
    config = replace(config, block_steps=0, steps=steps)
    config.check()
    device = device_of(config)
    with distributed.process_group(device):
        run = Run(config, Shards(config.data), device)
        batches = run.batches()
        lrs: list[float] = []
        losses: list[float] = []
        lowest = math.inf
        for step in range(steps):
            lr = LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1))
            try:
                found = run.step([next(batches) for _ in range(config.accumulate)], lr)
            except RunStopped:
                break
            lrs.append(lr)
            losses.append(run.entry(found)["loss"])
            recent = float(np.mean(losses[-5:]))  # of one batch, it may be chance
            lowest = min(lowest, recent)
            if recent > TOO_MUCH * lowest:
                break
    return sweep(lrs, losses)


def sweep(lrs: list[float], losses: list[float]) -> LrSweep:
    """What the losses of one batch each, at rising learning rates, say.

    Where the loss falls fastest is mostly noise; where it climbs again is not.  So the losses are
    smoothed, and the suggestion is a tenth of the learning rate in the middle of their largest
    rise, or of the highest one tried if there is none.

    Raises:
        BadInput: the loss did not fall.
    """
    places = np.log10(lrs)
    kernel = np.exp(-(((places[:, None] - places) / SMOOTHING) ** 2) / 2)
    smooth = kernel @ np.array(losses) / kernel.sum(1)
    rises = smooth - np.minimum.accumulate(smooth)
    top = int(rises.argmax())
    climbs = bool(rises[top] > CLIMB * smooth[0])
    least = int(smooth[: top + 1].argmin() if climbs else smooth.argmin())
    before = float(np.median(losses[: max(1, least // 2)]))
    if before - smooth[least] < 0.01 * before:
        raise BadInput(
            "the loss did not fall at any learning rate; give other data, or a network that has "
            "been trained, as --weights"
        )
    middle = places[-1]
    if climbs:
        part = slice(least, top + 1)
        half = (smooth[least] + smooth[top]) / 2
        middle = np.interp(half, np.maximum.accumulate(smooth[part]), places[part])
    return LrSweep(tuple(lrs), tuple(smooth.tolist()), float(10**middle / 10))


def find_batch(config: TrainConfig, *, least: int = 16) -> Iterator[BatchTrial]:
    """Batch sizes that double, until one does not fit or is not faster by 3 %.

    Args:
        config: of the run to come; its batch is not used.
        least: the first size.

    Yields:
        Every size that was tried and fits.

    Raises:
        BadInput: as `train`; not even the first size fits; or there are several processes, of which
            one that runs out of memory would leave the others waiting.
    """
    if distributed.launched() > 1:
        raise BadInput(
            "--find-batch is for one process, and torchrun has started "
            f"{distributed.launched()}: run it without torchrun, and multiply what it finds"
        )
    config.check()
    pictures, best = Shards(config.data), 0.0
    batch = least * config.accumulate
    while True:
        trial = replace(config, batch=batch, block_steps=0, steps=3)
        device = device_of(trial)
        try:
            run = Run(trial, pictures, device)
            batches = run.batches()
            seconds = []
            for _ in range(3):  # the first one only prepares
                began = time.perf_counter()
                run.entry(run.step([next(batches) for _ in range(trial.accumulate)]))
                seconds.append(time.perf_counter() - began)
        except torch.OutOfMemoryError as error:
            if not best:
                raise BadInput(
                    f"a batch of {batch} does not fit into memory; choose a smaller network"
                ) from error
            return
        found = BatchTrial(batch, batch / min(seconds[1:]))
        yield found
        if found.photos_per_second < 1.03 * best or batch > len(pictures):
            return
        best, batch = found.photos_per_second, 2 * batch
