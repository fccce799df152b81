"""What to know before a run: a good rate, and a good batch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from mien.errors import BadInput, RunStopped
from mien.training import distributed
from mien.training.config import TrainConfig
from mien.training.loop import Run, device_of

LOWEST, HIGHEST = 1e-6, 10.0  # rates that are tried
SMOOTHING = 0.9  # of the loss
TOO_MUCH = 3.0  # times the least loss: the sweep ends


@dataclass(frozen=True, slots=True)
class RateSweep:
    """The loss while the rate rises from step to step."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]  # smoothed
    suggested: float  # where the loss falls most steeply


@dataclass(frozen=True, slots=True)
class BatchTrial:
    """How fast a batch of some size goes."""

    batch: int
    photos_per_second: float


def find_rate(config: TrainConfig, *, steps: int = 100) -> RateSweep:
    """The loss over rates that rise by the same factor a step (Smith, 2017, arXiv 1506.01186).

    The network that it is tried on is forgotten.

    Args:
        config: of the run to come.
        steps: of the sweep, at least 20.

    Raises:
        BadInput: as `train`; or the loss never fell.
    """
    config = replace(config, block_steps=0, steps=steps)
    device = device_of(config)
    with distributed.process_group(device):
        run = Run(config, device)
        run.begin()
        batches = run.batches()
        rates: list[float] = []
        losses: list[float] = []
        mean = 0.0
        for step in range(steps):
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1))
            try:
                learned = run.learn([next(batches) for _ in range(config.accumulate)], rate)
            except RunStopped:
                break
            mean = SMOOTHING * mean + (1 - SMOOTHING) * run.entry(learned)["loss"]
            rates.append(rate)
            losses.append(mean / (1 - SMOOTHING ** (step + 1)))
            if losses[-1] > TOO_MUCH * min(losses):
                break
    return RateSweep(tuple(rates), tuple(losses), _steepest(rates, losses))


def _steepest(rates: list[float], losses: list[float]) -> float:
    first = len(losses) // 10  # the mean of few losses is shaky
    end = losses.index(min(losses[first:]))
    if end < first + 2:
        raise BadInput(
            "the loss did not fall at any rate; give other data, or a network that has learned "
            "something, as --weights"
        )
    falls = {
        rates[k]: (losses[k - 1] - losses[k + 1]) / math.log(rates[k + 1] / rates[k - 1])
        for k in range(first + 1, end)
    }
    return max(falls, key=falls.__getitem__)


def find_batch(config: TrainConfig, *, least: int = 16) -> Iterator[BatchTrial]:
    """Batches of twice the size each time, until one does not fit or is not faster by 3 %.

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
            "a batch is looked for by one process, and torchrun has started"
            f" {distributed.launched()}:"
            " leave torchrun out, and give -b so many times what is found"
        )
    best = 0.0
    batch = least * config.accumulate
    while True:
        trial = replace(config, batch=batch, block_steps=0, steps=3)
        device = device_of(trial)
        try:
            run = Run(trial, device)
            run.begin()
            batches = run.batches()
            seconds = []
            for _ in range(3):  # the first one only prepares
                began = time.perf_counter()
                run.entry(run.learn([next(batches) for _ in range(trial.accumulate)]))
                seconds.append(time.perf_counter() - began)
        except torch.OutOfMemoryError as error:
            if not best:
                raise BadInput(
                    f"a batch of {batch} does not fit into memory; choose a smaller network"
                ) from error
            return
        found = BatchTrial(batch, batch / min(seconds[1:]))
        yield found
        if found.photos_per_second < 1.03 * best or batch > len(run.pictures):
            return
        best, batch = found.photos_per_second, 2 * batch
