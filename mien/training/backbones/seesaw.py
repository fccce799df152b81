"""SeesawFaceNets (Zhang, 2019, arXiv 1908.09124): inverted residuals with unevenly split 1x1s.

| network        | parameters 128 / 512 | MACs    |
|----------------|----------------------|---------|
| share, shuffle | 1.173 M / 1.370 M    | 145.6 M |
| shuffle (mobi) | 2.608 M / 2.806 M    | 152.6 M |
| fast           | 0.701 M / 0.898 M    | 145.1 M |
| dense          | 1.295 M / 1.492 M    | 218.5 M |
| DW v1, v2      | 4.050 M / 4.247 M    | 526.3 M |

MACs are those of the split convolutions, as published.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mien.training.backbones.blocks import (
    ACTIVATIONS,
    SplitConv,
    SqueezeExcite,
    conv_bn,
    embedding_head,
    mobile_stages,
    mobile_stem,
)


class SeesawBlock(nn.Module):
    """Split 1x1 up, 3x3 depthwise, squeeze-excite, split 1x1 down; adds its input at stride 1.

    Args:
        in_channels, out_channels: of the block.
        expanded: channels of the depthwise convolution.
        stride: 1 or 2, of the depthwise convolution.
        mixing: how the two parts of the channels meet.  "shuffle": interleaved before the
            depthwise convolution.  "share": the quarter is the first part on the way up and the
            last on the way down.  "dense": they are not split.
        activation: a name in `ACTIVATIONS`.
        squeeze_excite: whether squeeze-excite follows the depthwise convolution.
        reduction: reduction ratio of squeeze-excite.
        shortcut: what a block of stride 2 adds.  "none", "conv": a 1x1 of its input at stride 2,
            or "pool": a 1x1 of its input's 2x2 maxima.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expanded: int,
        stride: int,
        *,
        mixing: str,
        activation: str,
        squeeze_excite: bool,
        reduction: int = 4,
        shortcut: str = "none",
    ) -> None:
        super().__init__()
        if mixing not in ("share", "shuffle", "dense"):
            raise ValueError(f"mixing must be 'share', 'shuffle' or 'dense', not {mixing!r}")
        if shortcut not in ("none", "conv", "pool"):
            raise ValueError(f"shortcut must be 'none', 'conv' or 'pool', not {shortcut!r}")
        up: nn.Module
        down: nn.Module
        if mixing == "dense":
            up = nn.Conv2d(in_channels, expanded, 1, bias=False)
            down = nn.Conv2d(expanded, out_channels, 1, bias=False)
        else:
            up = SplitConv(in_channels, expanded, shuffled=mixing == "shuffle")
            down = SplitConv(expanded, out_channels, quarter_first=mixing == "shuffle")
        self.up = nn.Sequential(
            up,
            nn.BatchNorm2d(expanded),
            ACTIVATIONS[activation](expanded),
        )
        self.depthwise = conv_bn(
            expanded, expanded, 3, activation=activation, stride=stride, groups=expanded
        )
        self.attention = (
            SqueezeExcite(expanded, reduction=reduction) if squeeze_excite else nn.Identity()
        )
        self.down = nn.Sequential(down, nn.BatchNorm2d(out_channels))
        self.shortcut: nn.Module | None = None
        if stride == 1 and in_channels == out_channels:
            self.shortcut = nn.Identity()
        elif stride == 2 and shortcut == "conv":
            self.shortcut = conv_bn(in_channels, out_channels, 1, activation=activation, stride=2)
        elif stride == 2 and shortcut == "pool":
            self.shortcut = nn.Sequential(
                nn.MaxPool2d(2), conv_bn(in_channels, out_channels, 1, activation=activation)
            )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(self.attention(self.depthwise(self.up(x))))
        return y if self.shortcut is None else self.shortcut(x) + y


class SeesawFaceNet(nn.Module):
    """(N, 3, 112, 112) in [-1, 1] -> (N, dim), not normalised.

    Args:
        dim: numbers in an embedding.
        stem, widths, repeats, expanded: channels and blocks, see `mobile_stages`.
        mixing, activation, squeeze_excite, reduction, shortcut: of every block, see
            `SeesawBlock`.
    """

    def __init__(
        self,
        *,
        dim: int = 128,
        stem: int | None = None,
        widths: tuple[int, int] = (64, 128),
        repeats: tuple[int, int, int] = (4, 6, 2),
        expanded: tuple[int, int, int, int, int, int] | None = None,
        mixing: str = "shuffle",
        activation: str = "silu",
        squeeze_excite: bool = True,
        reduction: int = 4,
        shortcut: str = "none",
    ) -> None:
        super().__init__()
        self.dim = dim

        def block(in_channels: int, out_channels: int, middle: int, stride: int) -> SeesawBlock:
            return SeesawBlock(
                in_channels,
                out_channels,
                middle,
                stride,
                mixing=mixing,
                activation=activation,
                squeeze_excite=squeeze_excite,
                reduction=reduction,
                shortcut=shortcut,
            )

        self.stem = mobile_stem(stem or widths[0], activation)
        self.blocks = mobile_stages(
            block, stem=stem, widths=widths, repeats=repeats, expanded=expanded
        )
        self.head = embedding_head(widths[1], dim, activation)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.stem(x)))
        return out


def seesaw_share(**kwargs: Any) -> SeesawFaceNet:
    """Seesaw-shareFaceNet: 1.17 M parameters, 146 M MACs at 128."""
    return SeesawFaceNet(mixing="share", **kwargs)


def seesaw_shuffle(**kwargs: Any) -> SeesawFaceNet:
    """Seesaw-shuffleFaceNet: 1.17 M parameters, 146 M MACs at 128."""
    return SeesawFaceNet(mixing="shuffle", **kwargs)


def seesaw_shuffle_mobi(**kwargs: Any) -> SeesawFaceNet:
    """Seesaw-shuffleFaceNet(mobi), reconstructed: 2.61 M parameters, 153 M MACs at 128.

    Known are its name, its results and its size, 2.8 M parameters and 154 M MACs at 512; how it
    is built is in no code that was published.  This is a guess from its size: twice the
    parameters for 6 % more MACs can only be where a map is one pixel, which is in squeeze-excite
    or the head.  A squeeze-excite that does not squeeze, and the shortcuts of DW v1, make
    2.806 M and 152.8 M at 512: 0.2 % and 0.8 % from what was published.
    """
    return SeesawFaceNet(reduction=1, shortcut="conv", **kwargs)


def seesaw_fast(**kwargs: Any) -> SeesawFaceNet:
    """Seesaw-shuffleFaceNet of what runtimes compute fastest: 0.70 M parameters, 145 M MACs at 128.

    ReLU in place of SiLU, and no squeeze-excite.
    """
    return SeesawFaceNet(mixing="shuffle", activation="relu", squeeze_excite=False, **kwargs)


def seesaw_dense(**kwargs: Any) -> SeesawFaceNet:
    """What fits into the time of seesaw_fast: 1.29 M parameters, 219 M MACs at 128.

    A runtime computes a split convolution as one dense matrix with zeros in it, so weights in
    their place cost no time. Half of the channels at 56 x 56 and two blocks at 28 x 28 are given
    up for half as many channels more at 14 x 14 and twice as many at 7 x 7.
    """
    return SeesawFaceNet(
        mixing="dense",
        activation="relu",
        squeeze_excite=False,
        stem=32,
        repeats=(2, 6, 2),
        expanded=(96, 128, 256, 384, 512, 512),
        **kwargs,
    )


def seesaw_dw_v1(**kwargs: Any) -> SeesawFaceNet:
    """DW-SeesawFaceNet V1, deeper and wider: 4.05 M parameters, 526 M MACs at 128."""
    return SeesawFaceNet(widths=(96, 192), repeats=(8, 12, 4), shortcut="conv", **kwargs)


def seesaw_dw_v2(**kwargs: Any) -> SeesawFaceNet:
    """DW-SeesawFaceNet V2, whose shortcuts pool: 4.05 M parameters, 526 M MACs at 128."""
    return SeesawFaceNet(widths=(96, 192), repeats=(8, 12, 4), shortcut="pool", **kwargs)
