"""A network and a data set of almost no size, so that tests of training take no time.

As a program, `toy.py WORLD OUT JSON`, it is all ranks of a run.  They are as torchrun starts them,
but forked, so that torch is loaded once for all.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import socket
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import MienError
from mien.training import TrainConfig, distributed, train
from mien.training.backbones import BACKBONES
from mien.training.backbones.blocks import conv_bn
from mien.training.data.shards import NO_LABEL, Record, Shards, finish, write_shard
from mien.training.losses import LOSSES, make
from mien.training.losses.margin import MarginHead
from mien.training.run import Run


class Toy(nn.Module):
    """(N, 3, 112, 112) -> (N, dim), with the parts of a backbone.

    Args:
        dim: of an embedding.
        dies_at: the step in which it kills its process, as a machine that fails.
    """

    def __init__(self, *, dim: int = 8, dies_at: int | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.stem = conv_bn(3, 4, 8, activation="relu", stride=8, padding=0)
        self.blocks = nn.Sequential(
            *(conv_bn(4, 4, 3, activation="relu", groups=4) for _ in range(2))
        )
        self.head = nn.Sequential(
            nn.AvgPool2d(7), nn.Flatten(), nn.Linear(16, dim, bias=False), nn.BatchNorm1d(dim)
        )
        steps = itertools.count()

        def die(*_: object) -> None:
            if self.training and next(steps) == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

        self.head.register_forward_pre_hook(die)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.stem(x)))
        return out


def data(folder: Path, seed: int = 7) -> Path:
    """A data set of 60 pictures of 6 people, each of a colour of their own; 6 have no label."""
    random = np.random.default_rng(seed)
    colours = random.integers(0, 256, (6, 1, 1, 3))
    people = np.arange(60) % 6
    noise = random.integers(-40, 40, (60, 112, 112, 3))
    pixels = (colours[people] + noise).clip(0, 255).astype(np.uint8)
    records = [
        Record(cv2.imencode(".png", picture)[1].tobytes(), label, str(number), 112)
        for number, (picture, label) in enumerate(
            zip(pixels, np.where(np.arange(60) < 54, people, NO_LABEL).tolist(), strict=True)
        )
    ]
    write_shard(folder, 0, records, [])
    finish(folder, 1, tuple("abcdef"), lambda labels, skipped: {"sets": []})
    return folder


USUAL: dict[str, Any] = {
    "backbone": "toy",
    "dim": 8,
    "batch": 12,
    "steps": 20,
    "scale": 16.0,
    "precision": "float32",
    "channels_last": False,
    "save_every": 5,
}


def config(**settings: Any) -> TrainConfig:
    """A short run over the toys; a test adds its `data` to what is usual."""
    return TrainConfig(**USUAL | settings)


def main() -> None:
    if sys.argv[1] == "heads":
        started(2, [partial(save_heads, rank, Path(sys.argv[2])) for rank in range(2)])
    world, out, settings = int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    dies_at, overflows_at = settings.pop("dies_at", None), settings.pop("overflows_at", None)
    whole = config(**settings)
    started(
        world, [partial(learn, rank, out, whole, dies_at, overflows_at) for rank in range(world)]
    )


def started(world: int, ranks: list[partial[None]]) -> None:
    """Runs the ranks of a world, and exits as they do."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world),
    }
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=rank, daemon=True) for rank in ranks]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))


def heads() -> dict[str, dict[str, Tensor]]:
    """What every loss makes of a rank's share of embeddings: value, gradients and state."""
    share = 12 // distributed.world_size()
    mine = slice(distributed.rank() * share, (distributed.rank() + 1) * share)
    found = {}
    for name in LOSSES:
        head = MarginHead(8, 6, make(name))
        random = torch.Generator().manual_seed(1)
        embeddings = (5 * torch.randn(12, 8, generator=random))[mine].requires_grad_()
        labels = torch.tensor([0, 1, 2, 3, 4, 5, 5, -1, 3, 2, 0, 1])[mine]
        loss = head(embeddings, labels)
        loss.backward()
        assert embeddings.grad is not None and head.weight.grad is not None
        found[name] = {
            "loss": loss.detach(),
            "embeddings": embeddings.grad / distributed.world_size(),  # as data parallel has it
            "weight": head.weight.grad,
        }
        found[name] |= {f"state {key}": value.clone() for key, value in head.named_buffers()}
        found[name] |= {
            f"shared {k}": value.grad
            for k, value in enumerate(head.shared())
            if value.grad is not None
        }
    return found


def save_heads(rank: int, out: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    with distributed.process_group(torch.device("cpu")):
        torch.save(heads(), out / f"{rank}.pt")


def learn(
    rank: int, out: Path, settings: TrainConfig, dies_at: int | None, overflows_at: int | None
) -> None:
    """A rank's part of a run; rank 1 dies at a step, or has infinite gradients there."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    BACKBONES["toy"] = partial(Toy, dies_at=dies_at) if rank == 1 else Toy  # type: ignore[assignment]
    try:
        if overflows_at is None:
            train(settings, out)
        else:
            overflow(rank, out, settings, overflows_at)
    except MienError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(2)


def overflow(rank: int, out: Path, settings: TrainConfig, at: int) -> None:
    """What a rank has after a step in which a gradient of rank 1 is infinite, in a file."""
    cpu = torch.device("cpu")
    with distributed.process_group(cpu):
        run = Run(settings, Shards(settings.data), cpu)
        assert run.head

        def spoil(weight: Tensor) -> None:
            if rank == 1 and run.steps_done == at and weight.grad is not None:
                weight.grad.fill_(torch.inf)

        run.head.weight.register_post_accumulate_grad_hook(spoil)  # type: ignore[no-untyped-call]
        batches = run.batches()
        for _ in range(at + 2):
            run.step([next(batches)])
        state = {**run.network.state_dict(), "scale": torch.tensor(run.scaler.get_scale())}
        torch.save(state, out / f"rank-{rank}.pt")


if __name__ == "__main__":
    main()
