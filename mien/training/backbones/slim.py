"""Slim-CNN (Sharma and Foroosh, 2019, arXiv 1907.02157), and a SeesawFaceNet with a block of it.

| network          | place, filters, stride | parameters 128 / 512 | MACs    |
|------------------|------------------------|----------------------|---------|
| slim_seesaw      | 28, 32, conv           | 1.234 M / 1.431 M    | 332.7 M |
| slim_seesaw_28   | 28, 16, depthwise      | 1.180 M / 1.377 M    | 144.6 M |
| slim_seesaw_7    | 7, 32, pool            | 1.052 M / 1.249 M    | 139.9 M |
| slim_seesaw_stage | 28, 16, none          | 1.118 M / 1.315 M    | 129.4 M |
| (seesaw_shuffle) |                        | 1.173 M / 1.370 M    | 145.6 M |

SlimNet, which tells 40 attributes of a face and embeds nothing, has 0.571 M parameters and
244.4 M MACs at 218 x 178.

`slim_seesaw` was meant to be lighter than the network that it changes, and costs 2.3 times as
much: its module works with 256 channels at 56 x 56.  The others have the map halved first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mien.training.backbones.blocks import conv_bn
from mien.training.backbones.seesaw import SeesawFaceNet

HALVING = (0, 5, 12)  # the blocks of stride 2

# Every choice that was counted, as arguments of `slim_seesaw`.  The letter is the place: A the
# first block of stride 2, C those at 28 x 28, D the second of stride 2, E those at 14 x 14, F the
# third of stride 2, G those at 7 x 7.
OPTIONS: dict[str, dict[str, Any]] = {
    "A1": {"filters": 32, "downsample": "conv"},
    "A2": {"filters": 32, "downsample": "pool2_after"},
    "A3": {"blocks": 5, "filters": 32, "downsample": "conv"},
    "A4": {"filters": 16, "downsample": "pool3_after"},
    "A5": {"filters": 16, "downsample": "last"},
    "A6": {"filters": 32, "downsample": "last"},
    "A7": {"filters": 16, "downsample": "pool"},
    "A8": {"filters": 32, "downsample": "pool"},
    "A9": {"filters": 16, "downsample": "depthwise"},
    "A10": {"filters": 8, "downsample": "last"},
    "A11": {"filters": 24, "downsample": "depthwise"},
    "C1": {"block": 1, "filters": 16, "downsample": "none", "residual": True},
    "C2": {"block": 1, "filters": 8, "downsample": "none", "residual": True},
    "C3": {"block": 1, "blocks": 4, "filters": 16, "downsample": "none"},
    "C4": {"block": 1, "blocks": 4, "filters": 32, "downsample": "none"},
    "D1": {"block": 5, "filters": 32, "downsample": "last"},
    "D2": {"block": 5, "filters": 32, "downsample": "pool"},
    "D3": {"block": 5, "filters": 32, "downsample": "depthwise"},
    "E1": {"block": 6, "filters": 32, "downsample": "none", "residual": True},
    "E2": {"block": 6, "filters": 24, "downsample": "none", "residual": True},
    "E3": {"block": 6, "filters": 16, "downsample": "none", "residual": True},
    "F1": {"block": 12, "filters": 32, "downsample": "last"},
    "F2": {"block": 12, "filters": 32, "downsample": "pool"},
    "F3": {"block": 12, "filters": 64, "downsample": "pool"},
    "F4": {"block": 12, "filters": 32, "downsample": "depthwise"},
    "G1": {"block": 13, "filters": 32, "downsample": "none", "residual": True},
    "G2": {"block": 13, "blocks": 2, "filters": 32, "downsample": "none"},
    "G3": {"block": 13, "filters": 16, "downsample": "none", "residual": True},
}


def separable(
    in_channels: int, out_channels: int, *, stride: int = 1, activation: str = "relu"
) -> nn.Sequential:
    """A 3x3 depthwise and a 1x1 convolution, which has the activation of that name."""
    return nn.Sequential(
        conv_bn(in_channels, in_channels, 3, activation="relu", stride=stride, groups=in_channels),
        conv_bn(in_channels, out_channels, 1, activation=activation),
    )


class SqueezeExpand(nn.Module):
    """The paper's SSE: 1x1 down to some filters, then 3x3 separable and 1x1 up to 4 times those.

    (N, in_channels, H, W) -> (N, 8 * filters, H, W).
    """

    def __init__(self, in_channels: int, filters: int) -> None:
        super().__init__()
        # These biases are idle before batch norm; the published counts have them.
        self.squeeze = conv_bn(in_channels, filters, 1, activation="relu", bias=True)
        self.separable = separable(filters, 4 * filters)
        self.pointwise = conv_bn(filters, 4 * filters, 1, activation="relu", bias=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.squeeze(x)
        return torch.cat([self.separable(y), self.pointwise(y)], 1)


class SlimModule(nn.Module):
    """Two SSE blocks, a shortcut around the first, and a separable convolution.

    The paper's shortcut is a plain sum, of which the channels differ; the 1x1 is what makes it
    possible, as in other implementations.

    Args:
        in_channels, out_channels: of the module.
        filters: of the SSE blocks, which give 8 times as many channels.
        stride: 1 or 2, of the last convolution.
        residual: whether the input is added to what comes out, which has no activation then.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        filters: int,
        stride: int = 1,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if residual and (stride, in_channels) != (1, out_channels):
            raise ValueError("residual must be False where the module changes the map's size")
        self.residual = residual
        self.first = SqueezeExpand(in_channels, filters)
        self.shortcut = conv_bn(in_channels, 8 * filters, 1, activation="relu")
        self.second = SqueezeExpand(8 * filters, filters)
        self.last = separable(
            8 * filters, out_channels, stride=stride, activation="linear" if residual else "relu"
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.second(self.first(x) + self.shortcut(x)))
        return x + y if self.residual else y


class SlimNet(nn.Module):
    """(N, 3, 218, 178) -> (N, attributes), logits of what is true of a face."""

    def __init__(self, *, attributes: int = 40) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            conv_bn(3, 96, 7, activation="relu", stride=2, padding=0, bias=True),
            nn.MaxPool2d(3, 2),
        ]
        channels = 96
        for filters in (16, 32, 48, 64):
            layers += [SlimModule(channels, 3 * filters, filters=filters), nn.MaxPool2d(3, 2)]
            channels = 3 * filters
        self.layers = nn.Sequential(*layers)
        self.classify = nn.Linear(channels, attributes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classify(self.layers(x).mean((2, 3)))
        return out


def slim_blocks(
    in_channels: int,
    out_channels: int,
    *,
    filters: int,
    downsample: str,
    activation: str,
    residual: bool = False,
) -> nn.Sequential:
    """A Slim module and what halves the map before or after it.

    Args:
        in_channels, out_channels, filters, residual: of the module.
        downsample: what has the stride.  "none"; before the module "pool", a 3x3 maximum, or
            "depthwise", a 3x3 depthwise convolution; "last", the module's last convolution; or
            after the module "conv", a bare 2x2 convolution, or "pool2_after" and "pool3_after",
            2x2 and 3x3 maxima.
        activation: of that depthwise convolution.

    Raises:
        ValueError: another `downsample`.
    """
    halves: dict[str, Callable[[], nn.Module]] = {
        "pool": lambda: nn.MaxPool2d(3, 2, padding=1),
        "depthwise": lambda: conv_bn(
            in_channels, in_channels, 3, activation=activation, stride=2, groups=in_channels
        ),
        "conv": lambda: nn.Conv2d(out_channels, out_channels, 2, stride=2),
        "pool2_after": lambda: nn.MaxPool2d(2),
        "pool3_after": lambda: nn.MaxPool2d(3, 2, padding=1),
    }
    if downsample not in {*halves, "last", "none"}:
        raise ValueError(
            f"downsample must be one of {', '.join([*halves, 'last', 'none'])}, not {downsample!r}"
        )
    layers: list[nn.Module] = [
        SlimModule(
            in_channels,
            out_channels,
            filters=filters,
            stride=2 if downsample == "last" else 1,
            residual=residual,
        )
    ]
    if downsample in halves:
        first = downsample in ("pool", "depthwise")
        layers.insert(0 if first else 1, halves[downsample]())
    return nn.Sequential(*layers)


def slim_seesaw(
    *,
    block: int = 0,
    blocks: int = 1,
    filters: int = 32,
    downsample: str = "conv",
    residual: bool = False,
    activation: str = "silu",
    **kwargs: Any,
) -> SeesawFaceNet:
    """Seesaw-shuffleFaceNet with a Slim module for a block: 1.23 M parameters, 333 M MACs at 128.

    Args:
        block, blocks: the first block that is replaced, and how many are, by one module.  Blocks
            0, 5 and 12 halve the map, to 28 x 28, 14 x 14 and 7 x 7.
        filters: of the Slim module.
        downsample: what has the stride, see `slim_blocks`; "none" where no block halves the map.
        residual: whether the module's input is added to what it gives.
        activation: of everything outside the Slim module, a name in `ACTIVATIONS`.
        kwargs: of `SeesawFaceNet`, but for its widths and repeats.

    Raises:
        ValueError: no such blocks, or a `downsample` or `residual` that does not fit them.
    """
    network = SeesawFaceNet(activation=activation, **kwargs)
    layers = list(network.blocks)
    replaced = range(block, block + blocks)
    halved = [number for number in replaced if number in HALVING]
    if not 0 <= block < replaced.stop <= len(layers) or len(halved) > 1:
        raise ValueError(f"there are no {blocks} blocks from {block} on in two stages at most")
    if (downsample == "none") == bool(halved):
        raise ValueError(
            f"downsample must be {'another' if halved else 'none'} where the blocks that are "
            f"replaced {'halve' if halved else 'keep'} the map, not {downsample!r}"
        )
    layers[block : replaced.stop] = [
        slim_blocks(
            128 if block > 5 else 64,
            128 if replaced[-1] >= 5 else 64,
            filters=filters,
            downsample=downsample,
            residual=residual,
            activation=activation,
        )
    ]
    network.blocks = nn.Sequential(*layers)
    return network


def slim_seesaw_28(**kwargs: Any) -> SeesawFaceNet:
    """The same place at less cost: 1.18 M parameters, 145 M MACs at 128."""
    return slim_seesaw(filters=16, downsample="depthwise", **kwargs)


def slim_seesaw_stage(**kwargs: Any) -> SeesawFaceNet:
    """One Slim module for the four blocks at 28 x 28: 1.12 M parameters, 129 M MACs at 128."""
    return slim_seesaw(**OPTIONS["C3"], **kwargs)


def slim_seesaw_7(**kwargs: Any) -> SeesawFaceNet:
    """The Slim module where the channels are many: 1.05 M parameters, 140 M MACs at 128."""
    return slim_seesaw(block=12, downsample="pool", **kwargs)
