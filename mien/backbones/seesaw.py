"""SeesawFaceNets (Zhang, 2019, arXiv 1908.09124): inverted residuals with unevenly split 1x1s.

| network                | parameters 128 / 512 | MACs    |
|------------------------|----------------------|---------|
| share, shuffle         | 1.173 M / 1.370 M    | 145.6 M |

MACs are those of the split convolutions, as published.
"""

from __future__ import annotations

from torch import Tensor, nn

from mien.backbones.blocks import (
    ACTIVATIONS,
    SplitConv,
    SqueezeExcite,
    conv_bn,
    embedding_head,
)


class SeesawBlock(nn.Module):
    """Split 1x1 up, 3x3 depthwise, squeeze-excite, split 1x1 down; adds its input at stride 1.

    Args:
        in_channels, out_channels: of the block.
        expanded: channels of the depthwise convolution.
        stride: 1 or 2, of the depthwise convolution.
        mixing: how the two parts of the channels meet.  "shuffle": interleaved before the
            depthwise convolution.  "share": the quarter is the first part on the way up and the
            last on the way down.
        activation: a name in `ACTIVATIONS`.
        squeeze_excite: whether channels are weighed after the depthwise convolution.
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
    ) -> None:
        super().__init__()
        if mixing not in ("share", "shuffle"):
            raise ValueError(f"mixing must be 'share' or 'shuffle', not {mixing!r}")
        self.residual = stride == 1 and in_channels == out_channels
        self.up = nn.Sequential(
            SplitConv(in_channels, expanded, shuffled=mixing == "shuffle"),
            nn.BatchNorm2d(expanded),
            ACTIVATIONS[activation](expanded),
        )
        self.depthwise = conv_bn(
            expanded, expanded, 3, activation=activation, stride=stride, groups=expanded
        )
        self.attention = SqueezeExcite(expanded) if squeeze_excite else nn.Identity()
        self.down = nn.Sequential(
            SplitConv(expanded, out_channels, quarter_first=mixing == "shuffle"),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(self.attention(self.depthwise(self.up(x))))
        return x + y if self.residual else y


class SeesawFaceNet(nn.Module):
    """(N, 3, 112, 112) in [-1, 1] -> (N, dim), not normalised.

    Args:
        dim: numbers in an embedding.
        mixing, activation, squeeze_excite: of every block, see `SeesawBlock`.
    """

    def __init__(
        self,
        *,
        dim: int = 128,
        mixing: str = "shuffle",
        activation: str = "silu",
        squeeze_excite: bool = True,
    ) -> None:
        super().__init__()
        self.dim = dim

        def block(in_channels: int, out_channels: int, expanded: int, stride: int) -> SeesawBlock:
            return SeesawBlock(
                in_channels,
                out_channels,
                expanded,
                stride,
                mixing=mixing,
                activation=activation,
                squeeze_excite=squeeze_excite,
            )

        self.stem = nn.Sequential(
            conv_bn(3, 64, 3, activation=activation, stride=2),
            conv_bn(64, 64, 3, activation=activation, groups=64),
        )
        self.blocks = nn.Sequential(
            block(64, 64, 128, 2),
            *(block(64, 64, 128, 1) for _ in range(4)),
            block(64, 128, 256, 2),
            *(block(128, 128, 256, 1) for _ in range(6)),
            block(128, 128, 512, 2),
            *(block(128, 128, 256, 1) for _ in range(2)),
        )
        self.head = embedding_head(128, dim, activation)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.stem(x)))
        return out


def seesaw_share(**kwargs: bool | int | str) -> SeesawFaceNet:
    """Seesaw-shareFaceNet: 1.17 M parameters, 146 M MACs at 128."""
    return SeesawFaceNet(mixing="share", **kwargs)  # type: ignore[arg-type]


def seesaw_shuffle(**kwargs: bool | int | str) -> SeesawFaceNet:
    """Seesaw-shuffleFaceNet: 1.17 M parameters, 146 M MACs at 128."""
    return SeesawFaceNet(mixing="shuffle", **kwargs)  # type: ignore[arg-type]
