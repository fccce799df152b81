"""MobileFaceNet (Chen et al., 2018, arXiv 1804.07573): inverted residuals, and no global pooling.

| network    | parameters 128 / 512 | MACs    |
|------------|----------------------|---------|
| PReLU      | 1.003 M / 1.201 M    | 221.0 M |
| SiLU       | 0.996 M / 1.193 M    | 221.0 M |

The paper has PReLU; SiLU is the variant that the SeesawFaceNet code compares with.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mien.training.backbones.blocks import conv_bn, embedding_head, mobile_stages, mobile_stem


class Bottleneck(nn.Module):
    """1x1 up, 3x3 depthwise, 1x1 down without activation; adds its input at stride 1.

    Args:
        in_channels, out_channels: of the block.
        expanded: channels of the depthwise convolution.
        stride: 1 or 2, of the depthwise convolution.
        activation: a name in `ACTIVATIONS`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, expanded: int, stride: int, *, activation: str
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and in_channels == out_channels
        self.layers = nn.Sequential(
            conv_bn(in_channels, expanded, 1, activation=activation),
            conv_bn(expanded, expanded, 3, activation=activation, stride=stride, groups=expanded),
            conv_bn(expanded, out_channels, 1, activation="linear"),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class MobileFaceNet(nn.Module):
    """(N, 3, 112, 112) in [-1, 1] -> (N, dim), not normalised.

    Args:
        dim: numbers in an embedding.
        activation: a name in `ACTIVATIONS`.
    """

    def __init__(self, *, dim: int = 128, activation: str = "prelu") -> None:
        super().__init__()
        self.dim = dim

        def block(in_channels: int, out_channels: int, expanded: int, stride: int) -> Bottleneck:
            return Bottleneck(in_channels, out_channels, expanded, stride, activation=activation)

        self.stem = mobile_stem(64, activation)
        self.blocks = mobile_stages(block)
        self.head = embedding_head(128, dim, activation)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.stem(x)))
        return out


def mobileface(**kwargs: Any) -> MobileFaceNet:
    """MobileFaceNet: 1.00 M parameters, 221 M MACs at 128."""
    return MobileFaceNet(**kwargs)
