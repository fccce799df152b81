"""IR and IR-SE, the residual networks of ArcFace (Deng et al., 2019, arXiv 1801.07698).

| network   | parameters 128 / 512  | MACs     | | with SE               |
|-----------|-----------------------|----------|-|-----------------------|
| ir_50     | 33.940 M / 43.575 M   |  6.29 G  | | 34.163 M / 43.798 M   |
| ir_100    | 55.495 M / 65.130 M   | 12.07 G  | | 55.867 M / 65.502 M   |
| ir_152    | 61.103 M / 70.738 M   | 12.30 G  | | 61.514 M / 71.149 M   |

Squeeze-excite (arXiv 1709.01507) adds less than 0.4 M MACs.  The batch norm at a block's start
stays in an exported file: the convolution after it pads with zeros.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from mien.training.backbones.blocks import SqueezeExcite, conv_bn

BLOCKS = {50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 152: (3, 8, 36, 3)}  # at 56, 28, 14 and 7


class IRBlock(nn.Module):
    """Batch norm, two 3x3 convolutions around a PReLU, batch norm; adds its input."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, squeeze_excite: bool
    ) -> None:
        super().__init__()
        self.shortcut: nn.Module
        if in_channels == out_channels:
            self.shortcut = nn.MaxPool2d(1, stride) if stride > 1 else nn.Identity()
        else:
            self.shortcut = conv_bn(
                in_channels, out_channels, 1, activation="linear", stride=stride
            )
        self.layers = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.PReLU(out_channels),
            conv_bn(out_channels, out_channels, 3, activation="linear", stride=stride),
        )
        self.attention: nn.Module = nn.Identity()
        if squeeze_excite:
            self.attention = SqueezeExcite(
                out_channels, reduction=16, activation="relu", bias=False
            )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.attention(self.layers(x))
        return out


class IR(nn.Module):
    """(N, 3, 112, 112) in [-1, 1] -> (N, dim), not normalised.

    Args:
        dim: numbers in an embedding.
        depth: a key of `BLOCKS`.
        squeeze_excite: whether every block has squeeze-excite.
        dropout: share of the last map that training leaves out.
    """

    def __init__(
        self,
        *,
        dim: int = 128,
        depth: int = 50,
        squeeze_excite: bool = False,
        dropout: float = 0.6,
    ) -> None:
        super().__init__()
        self.dim = dim
        widths = (64, 64, 128, 256, 512)
        self.stem = conv_bn(3, 64, 3, activation="prelu")
        self.blocks = nn.Sequential(
            *(
                IRBlock(
                    out_channels if repeat else in_channels,
                    out_channels,
                    1 if repeat else 2,
                    squeeze_excite=squeeze_excite,
                )
                for (in_channels, out_channels), repeats in zip(
                    pairwise(widths), BLOCKS[depth], strict=True
                )
                for repeat in range(repeats)
            )
        )
        self.head = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(512 * 7 * 7, dim),
            nn.BatchNorm1d(dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.stem(x)))
        return out


def ir_50(**kwargs: Any) -> IR:
    """IR-50: 33.9 M parameters, 6.3 G MACs at 128."""
    return IR(depth=50, **kwargs)


def ir_100(**kwargs: Any) -> IR:
    """IR-100: 55.5 M parameters, 12.1 G MACs at 128."""
    return IR(depth=100, **kwargs)


def ir_152(**kwargs: Any) -> IR:
    """IR-152: 61.1 M parameters, 12.3 G MACs at 128."""
    return IR(depth=152, **kwargs)


def ir_se_50(**kwargs: Any) -> IR:
    """IR-SE-50: 34.2 M parameters, 6.3 G MACs at 128."""
    return IR(depth=50, squeeze_excite=True, **kwargs)


def ir_se_100(**kwargs: Any) -> IR:
    """IR-SE-100: 55.9 M parameters, 12.1 G MACs at 128."""
    return IR(depth=100, squeeze_excite=True, **kwargs)


def ir_se_152(**kwargs: Any) -> IR:
    """IR-SE-152: 61.5 M parameters, 12.3 G MACs at 128."""
    return IR(depth=152, squeeze_excite=True, **kwargs)
