"""Training measured: photos a second, forward and backward, beside the published formulation.

The peer is SeesawFaceNet as its authors wrote it: every 1x1 split into two convolutions, each with
batch norm, joined again; a channel shuffle that copies; x * sigmoid(x) as two operations.  It is
built from a network of ours and computes the same function.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn

from benchmarks.data import drawn
from mien.cli.render import Answer, Column, Table
from mien.errors import BadInput
from mien.training.backbones import BACKBONES
from mien.training.backbones.blocks import SplitConv
from mien.training.backbones.seesaw import SeesawBlock
from mien.training.batch_norm import fold_batch_norm
from mien.training.data.augment import parse
from mien.training.data.batches import Batches
from mien.training.data.shards import Record, finish, write_shard
from mien.training.precision import (
    Precision,
    hold_memory,
    precisions,
    slow_kinds,
    step_seconds,
)

PEER = "published seesaw_shuffle"


@dataclass(frozen=True, slots=True)
class Rate:
    """A network in one precision."""

    network: str
    dtype: str  # mixed: but for those kinds of convolution that it makes slower
    channels_last: bool
    photos_per_second: float  # the median over the turns
    slowest: float  # turn, in photos a second
    fastest: float
    ratio: float  # to the peer, channels first, of the same precision: the median over the turns


@dataclass(frozen=True, slots=True)
class Load:
    """The data side alone, with so many processes that load."""

    workers: int
    photos_per_second: float


def rates(
    networks: Sequence[str] = ("seesaw_shuffle", "mobileface"),
    *,
    batch: int = 64,
    threads: int = 1,
    turns: int = 5,
    device: str = "cpu",
    hold: bool = False,
) -> list[Rate]:
    """How fast networks train, folded too, and the peer, in every precision that the device has.

    Args:
        networks: names in `BACKBONES`.
        batch: photos in a step.
        threads: processors to use.
        turns: steps of each, after one that is not counted; all take one in turn.
        device: of torch.
        hold: whether all keep their memory from step to step, as `mien train` does.

    Raises:
        BadInput: no such network.
    """
    for name in networks:
        if name not in BACKBONES:
            raise BadInput(f"there is no network {name!r}; use one of: {', '.join(BACKBONES)}")
    if hold:
        hold_memory()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    place = torch.device(device)
    built: dict[str, nn.Module] = {PEER: published(BACKBONES["seesaw_shuffle"]())}
    for name in networks:
        built[name] = BACKBONES[name]()
        built[f"{name}, folded"] = fold_batch_norm(BACKBONES[name]()).train()
    photos = torch.randn(batch, 3, 112, 112, device=place)
    runs = [
        (name, each, deepcopy(network).to(place))
        for precision in precisions(place)
        for name, network in built.items()
        for each in _mixed(precision, network.to(place), photos)
    ]
    taken = np.array(
        [
            [batch / step_seconds(network, photos, precision) for _, precision, network in runs]
            for _ in range(turns + 1)
        ][1:]
    )  # (turns, runs)
    peers = {
        precision.dtype: taken[:, k]
        for k, (name, precision, _) in enumerate(runs)
        if name == PEER and not precision.channels_last and not precision.float32
    }
    return [
        _rate(name, precision, taken[:, k], peers[precision.dtype])
        for k, (name, precision, _) in enumerate(runs)
    ]


def loads(
    *, batch: int = 64, workers: Sequence[int] = (1, 2), turns: int = 5, augment: str = "all"
) -> list[Load]:
    """How fast batches of made-up pictures are read, decoded and augmented, with no network.

    Args:
        batch: photos in each.
        workers: processes that load.
        turns: batches of each process that are timed, after one that is not.
        augment: see `mien.training.data.augment.parse`.
    """
    with TemporaryDirectory() as folder:
        records = [Record(drawn(number, 144), 0, "", 144) for number in range(256)]
        write_shard(Path(folder), 0, records, [])
        pictures = finish(Path(folder), 1, ["one"], lambda labels, skipped: {})
        batches = Batches(pictures, batch, parse(augment), 0)
        found = []
        for count in workers:
            loaded = batches.load(0, (turns + 1) * count, workers=count)
            for _ in range(count):
                next(loaded)
            start = time.perf_counter()
            photos = sum(len(one.seen) for one in loaded)
            found.append(Load(count, photos / (time.perf_counter() - start)))
    return found


def gains(measured: Sequence[Rate]) -> dict[str, float]:
    """How many times as fast each network is as with batch norm and one precision."""
    best = {
        name: 0.0 for rate in measured if (name := rate.network.removesuffix(", folded")) != PEER
    }
    single = dict(best)
    for rate in measured:
        name = rate.network.removesuffix(", folded")
        if name in best:
            best[name] = max(best[name], rate.photos_per_second)
            if name == rate.network and not rate.dtype.endswith(" mixed"):
                single[name] = max(single[name], rate.photos_per_second)
    return {name: best[name] / single[name] for name in best}


def _mixed(precision: Precision, network: nn.Module, photos: Tensor) -> list[Precision]:
    """The precision, and where some layers are slower in it, the one that leaves those out."""
    kinds = slow_kinds(network, photos, precision)
    return [precision, *([replace(precision, float32=kinds)] if kinds else [])]


def _rate(name: str, precision: Precision, taken: np.ndarray, peer: np.ndarray) -> Rate:
    return Rate(
        name,
        str(precision.dtype).removeprefix("torch.") + (" mixed" if precision.float32 else ""),
        precision.channels_last,
        float(np.median(taken)),
        float(taken.min()),
        float(taken.max()),
        float(np.median(taken / peer)),
    )


def published(network: nn.Module) -> nn.Module:
    """The same network with the same weights, as the authors' code formulates it."""
    peer = deepcopy(network)
    for parent in list(peer.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SeesawBlock):
                setattr(parent, name, PublishedBlock(child))
            elif isinstance(child, nn.SiLU):
                setattr(parent, name, Swish())
    return peer.train(network.training)


class Swish(nn.Module):
    """What the authors' code calls h_swish."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.sigmoid()


class NormedSplit(nn.Module):
    """A quarter and three quarters of the channels, each convolved and normalised, then joined.

    After training it is `mien.training.export.fuse.PublishedSplit`: without norms, and shuffled.
    """

    def __init__(self, split: SplitConv, norm: nn.BatchNorm2d, activation: type[nn.Module]) -> None:
        super().__init__()
        self.sizes = [weight.shape[1] for weight in split.parts]
        self.parts = nn.ModuleList()
        outputs = torch.split(split.order.argsort(), [len(weight) for weight in split.parts])
        for weight, places in zip(split.parts, outputs, strict=True):
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
            conv.weight = nn.Parameter(weight.detach()[:, :, None, None].clone())
            part_norm = nn.BatchNorm2d(len(weight))
            for key, value in norm.state_dict().items():
                part_norm.state_dict()[key].copy_(value[places] if value.dim() else value)
            self.parts.append(nn.Sequential(conv, part_norm, activation()))

    def forward(self, x: Tensor) -> Tensor:
        pieces = torch.split(x, self.sizes, 1)
        return torch.cat([part(y) for part, y in zip(self.parts, pieces, strict=True)], 1)


class PublishedBlock(nn.Module):
    """A shuffled seesaw block of SiLU, as it was published."""

    def __init__(self, block: SeesawBlock) -> None:
        super().__init__()
        up, up_norm, _ = block.up
        down, down_norm = block.down
        assert isinstance(up, SplitConv)
        assert isinstance(down, SplitConv)
        assert isinstance(up_norm, nn.BatchNorm2d)
        assert isinstance(down_norm, nn.BatchNorm2d)
        self.up = NormedSplit(up, up_norm, Swish)
        self.depthwise = nn.Sequential(block.depthwise[0], block.depthwise[1], Swish())
        self.attention = block.attention
        self.down = NormedSplit(down, down_norm, nn.Identity)
        self.shortcut = block.shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.up(x)
        n, c, h, w = y.shape
        y = y.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        y = self.down(self.attention(self.depthwise(y)))
        return y if self.shortcut is None else self.shortcut(x) + y


_COLUMNS: dict[str, Column] = {
    "NETWORK": "{network}",
    "DTYPE": "{dtype}",
    "CHANNELS": lambda rate: "last" if rate.channels_last else "first",
    "PHOTOS PER SECOND": "{photos_per_second:.1f}",
    "RANGE": "{slowest:.1f} to {fastest:.1f}",
    "RATIO": "{ratio:.2f}",
}


def main(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NETWORK",
            show_default="seesaw_shuffle mobileface",
            help="Networks to time; mien models lists them.",
        ),
    ] = None,
    *,
    batch: Annotated[int, typer.Option(metavar="N", min=2, help="Photos per step.")] = 64,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Processors to use.")] = 1,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Steps of each.")] = 5,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, or cuda.")] = "cpu",
    hold: Annotated[
        bool,
        typer.Option("--hold-memory", help="Keep memory from step to step, as mien train does."),
    ] = False,
) -> Answer:
    """Measure training: photos per second, beside the published form of the seesaw block."""
    measured = rates(
        networks or ("seesaw_shuffle", "mobileface"),
        batch=batch,
        threads=threads,
        turns=turns,
        device=device,
        hold=hold,
    )
    gained = gains(measured)
    loaded = loads(batch=batch, turns=turns)
    fastest = max(rate.photos_per_second for rate in measured)
    lines = [
        f"{name}: {gain:.2f} times its best with batch norm and one precision"
        for name, gain in gained.items()
    ]
    lines += [
        f"loading alone, {one.workers} workers: {one.photos_per_second:.0f} photos per second, "
        f"{one.photos_per_second / fastest:.1f} times the fastest network's"
        for one in loaded
    ]
    content = {"batch": batch, "threads": threads, "turns": turns, "rates": measured}
    return Answer(content | {"gains": gained, "loads": loaded}, [Table(_COLUMNS, measured), *lines])
