"""A network and a data set of almost no size, so that tests of training take no time.

As a program, `toy.py WORLD OUT JSON`, it is all ranks of a run.  They are as torchrun starts them,
but forked, so that torch is loaded once for all.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import children
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import MienError
from mien.training import TrainConfig, loop, train
from mien.training.backbones import BACKBONES
from mien.training.backbones.blocks import conv_bn


class Toy(nn.Module):
    """(N, 3, 112, 112) -> (N, dim), with the parts of a backbone."""

    def __init__(self, *, dim: int = 8) -> None:
        super().__init__()
        self.dim = dim
        self.stem = conv_bn(3, 4, 8, activation="relu", stride=8, padding=0)
        self.blocks = nn.Sequential(
            *(conv_bn(4, 4, 3, activation="relu", groups=4) for _ in range(2))
        )
        self.head = nn.Sequential(
            nn.AvgPool2d(7), nn.Flatten(), nn.Linear(16, dim, bias=False), nn.BatchNorm1d(dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.stem(x)))
        return out


class ToyPictures:
    """60 small pictures of 6 people, each of a colour of their own; the last 6 have no label."""

    names = tuple("abcdef")
    digest = "toy"

    def __init__(self, folder: str | Path) -> None:
        random = np.random.default_rng(7)
        colours = random.integers(0, 256, (6, 1, 1, 3))
        people = np.arange(60) % 6
        noise = random.integers(-40, 40, (60, 112, 112, 3))
        pixels = (colours[people] + noise).clip(0, 255).astype(np.uint8)
        self._data = [cv2.imencode(".png", picture)[1].tobytes() for picture in pixels]
        self.labels = np.where(np.arange(60) < 54, people, -1)

    def __len__(self) -> int:
        return len(self._data)

    def images(self, indices: NDArray[np.int64]) -> list[bytes]:
        return [self._data[index] for index in indices]

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([seed, epoch]).permutation(60)


def config(**settings: Any) -> TrainConfig:
    """A short run over the toys."""
    usual: dict[str, Any] = {
        "data": "toys",
        "backbone": "toy",
        "dim": 8,
        "batch": 12,
        "steps": 20,
        "scale": 16.0,
        "precision": "float32",
        "channels_last": False,
        "save_every": 5,
    }
    return TrainConfig(**usual | settings)


def use() -> None:
    """Makes the toys known."""
    BACKBONES["toy"] = Toy  # type: ignore[assignment]
    toys: Any = ToyPictures
    vars(loop)["Shards"] = toys


def main() -> None:
    use()
    world, out, settings = int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    dies_at, overflows_at = settings.pop("dies_at", None), settings.pop("overflows_at", None)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world),
    }
    ranks = [
        children.start(partial(learn, rank, out, config(**settings), dies_at, overflows_at))
        for rank in range(world)
    ]
    for process in ranks:
        process.join()
    sys.exit(any(process.exitcode for process in ranks))


def learn(
    rank: int, out: Path, settings: TrainConfig, dies_at: int | None, overflows_at: int | None
) -> None:
    """A rank's part of a run; rank 1 dies at a step, or its classes' gradients are infinite there.

    What the ranks have after that step is in files.
    """
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    if dies_at is not None and rank == 1:
        step = loop.Run.learn

        def step_or_die(self: loop.Run, *rest: Any) -> Any:
            if self.step == dies_at:
                os.kill(os.getpid(), 9)
            return step(self, *rest)

        run: Any = loop.Run
        run.learn = step_or_die
    if overflows_at is not None:
        overflow(rank, out, overflows_at)
    try:
        train(settings, out, lambda entry: None)
    except MienError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(2)


def overflow(rank: int, out: Path, at: int) -> None:
    run: Any = loop.Run
    check, step = run._require_numbers, run.learn

    def check_and_overflow(self: Any, *rest: Any) -> Any:
        if rank == 1 and self.step == at:
            self.head.weight.grad.fill_(torch.inf)
        return check(self, *rest)

    def step_and_tell(self: Any, *rest: Any) -> Any:
        made = step(self, *rest)
        if self.step == at + 2:
            state = {**self.network.state_dict(), "scale": torch.tensor(self.scaler.get_scale())}
            torch.save(state, out / f"rank-{rank}.pt")
        return made

    run._require_numbers, run.learn = check_and_overflow, step_and_tell


if __name__ == "__main__":
    main()
