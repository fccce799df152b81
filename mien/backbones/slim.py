"""Slim-CNN (Sharma and Foroosh, 2019, arXiv 1907.02157), and a SeesawFaceNet with a block of it.

| network          | place, filters, stride | parameters 128 / 512 | MACs    |
|------------------|------------------------|----------------------|---------|
| slim_seesaw      | 28, 32, conv           | 1.234 M / 1.431 M    | 332.7 M |
| slim_seesaw_28   | 28, 16, depthwise      | 1.180 M / 1.377 M    | 144.6 M |
| slim_seesaw_7    | 7, 32, pool            | 1.052 M / 1.249 M    | 139.9 M |
| (seesaw_shuffle) |                        | 1.173 M / 1.370 M    | 145.6 M |

SlimNet, which tells 40 attributes of a face and embeds nothing, has 0.571 M parameters and
244.4 M MACs at 218 x 178.

`slim_seesaw` was meant to be lighter than the network that it changes, and costs 2.3 times as
much: its module works with 256 channels at 56 x 56.  The other two halve the map first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mien.backbones.blocks import conv_bn
from mien.backbones.seesaw import SeesawFaceNet

# The blocks of stride 2 by the side of the map that they give: number, channels in and out.
PLACES = {28: (0, 64, 64), 14: (5, 64, 128), 7: (12, 128, 128)}


def separable(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """A 3x3 depthwise and a 1x1 convolution."""
    return nn.Sequential(
        conv_bn(in_channels, in_channels, 3, activation="relu", stride=stride, groups=in_channels),
        conv_bn(in_channels, out_channels, 1, activation="relu"),
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
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, filters: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.first = SqueezeExpand(in_channels, filters)
        self.shortcut = conv_bn(in_channels, 8 * filters, 1, activation="relu")
        self.second = SqueezeExpand(8 * filters, filters)
        self.last = separable(8 * filters, out_channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.second(self.first(x) + self.shortcut(x)))
        return out


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


def slim_transition(
    in_channels: int, out_channels: int, *, filters: int, downsample: str, activation: str
) -> nn.Sequential:
    """A Slim module that halves the map.

    Args:
        in_channels, out_channels, filters: of the module.
        downsample: what has the stride.  Before the module "pool", a 3x3 maximum, or "depthwise",
            a 3x3 depthwise convolution; "last", the module's last convolution; or "conv" after
            the module, a bare 2x2 convolution.
        activation: of that depthwise convolution.

    Raises:
        ValueError: another `downsample`.
    """
    stride = 2 if downsample == "last" else 1
    module = SlimModule(in_channels, out_channels, filters=filters, stride=stride)
    if downsample == "pool":
        return nn.Sequential(nn.MaxPool2d(3, 2, padding=1), module)
    if downsample == "depthwise":
        halve = conv_bn(
            in_channels, in_channels, 3, activation="silu", stride=2, groups=in_channels
        )
        return nn.Sequential(halve, module)
    if downsample == "last":
        return nn.Sequential(module)
    if downsample == "conv":
        return nn.Sequential(module, nn.Conv2d(out_channels, out_channels, 2, stride=2))
    raise ValueError(f"downsample must be pool, depthwise, last or conv, not {downsample!r}")


def slim_seesaw(
    *,
    place: int = 28,
    filters: int = 32,
    downsample: str = "conv",
    activation: str = "silu",
    **kwargs: Any,
) -> SeesawFaceNet:
    """Seesaw-shuffleFaceNet with a Slim module for a block: 1.23 M parameters, 333 M MACs at 128.

    Args:
        place: which block of stride 2 is replaced, by the side of the map that it gives: a key
            of `PLACES`.
        filters: of the Slim module.
        downsample: what has the stride, see `slim_transition`.
        activation: of everything outside the Slim module, a name in `ACTIVATIONS`.
        kwargs: of `SeesawFaceNet`, but for its widths and repeats.

    Raises:
        ValueError: another `place` or `downsample`.
    """
    if place not in PLACES:
        raise ValueError(f"place must be one of {sorted(PLACES)}, not {place}")
    number, in_channels, out_channels = PLACES[place]
    network = SeesawFaceNet(activation=activation, **kwargs)
    network.blocks[number] = slim_transition(
        in_channels,
        out_channels,
        filters=filters,
        downsample=downsample,
        activation=activation,
    )
    return network


def slim_seesaw_28(**kwargs: Any) -> SeesawFaceNet:
    """The same place at less cost: 1.18 M parameters, 145 M MACs at 128."""
    return slim_seesaw(filters=16, downsample="depthwise", **kwargs)


def slim_seesaw_7(**kwargs: Any) -> SeesawFaceNet:
    """The Slim module where the channels are many: 1.05 M parameters, 140 M MACs at 128."""
    return slim_seesaw(place=7, downsample="pool", **kwargs)
