"""Building blocks of the backbones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# SiLU is what the SeesawFaceNet code calls h_swish: it multiplies by a true sigmoid.
ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "silu": lambda channels: nn.SiLU(),  # in place, it would copy its input for the gradient
    "relu": lambda channels: nn.ReLU(inplace=True),
    "hard_swish": lambda channels: nn.Hardswish(),
    "prelu": nn.PReLU,
    "linear": lambda channels: nn.Identity(),
}


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, *, activation: str, **kwargs: Any
) -> nn.Sequential:
    """A convolution, batch norm and an activation; without bias and padded to keep the size."""
    kwargs = {"padding": kernel // 2, "bias": False, **kwargs}
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, **kwargs),
        nn.BatchNorm2d(out_channels),
        ACTIVATIONS[activation](out_channels),
    )


class SplitConv(nn.Module):
    """A 1x1 convolution split unevenly: one quarter and three quarters of the channels.

    The published code slices its input, convolves the parts and concatenates them.  Here both
    kernels are placed in one matrix that is zero elsewhere, for a single dense convolution: 1.6
    times the arithmetic in less time, since nothing is copied.  Shuffling the output's channels
    reorders the matrix's rows and costs nothing.

    Args:
        in_channels, out_channels: multiples of 4.
        quarter_first: whether the quarter is the first or the last of the channels.
        shuffled: interleave the two halves of the output's channels (a shuffle of 2 groups).
    """

    order: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        quarter_first: bool = True,
        shuffled: bool = False,
    ) -> None:
        super().__init__()
        if in_channels % 4 or out_channels % 4:
            raise ValueError(f"channels must be multiples of 4, not {in_channels}, {out_channels}")
        self.quarter_first = quarter_first
        self.quarter = nn.Parameter(torch.empty(out_channels // 4, in_channels // 4))
        self.rest = nn.Parameter(torch.empty(3 * out_channels // 4, 3 * in_channels // 4))
        for weight in (self.quarter, self.rest):
            nn.init.kaiming_uniform_(weight, a=5**0.5)  # torch's own for a convolution
        order = torch.arange(out_channels)
        if shuffled:
            order = order.view(2, out_channels // 2).T.reshape(-1)
        self.register_buffer("order", order, persistent=False)
        self.register_parameter("bias", None)  # of a folded batch norm, in the output's order

    @torch.no_grad()
    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Scales and shifts each channel of the output, (out_channels,) each, in place."""
        unshuffled = torch.empty_like(scale)
        unshuffled[self.order] = scale
        first, second = self.parts
        first.mul_(unshuffled[: len(first), None])
        second.mul_(unshuffled[len(first) :, None])
        self.bias = nn.Parameter(shift.clone())

    @property
    def parts(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Both kernels, in the order of the channels that they take."""
        return (self.quarter, self.rest) if self.quarter_first else (self.rest, self.quarter)

    def dense(self) -> Tensor:
        """The same map as one matrix, (out_channels, in_channels)."""
        whole: Tensor = torch.block_diag(*self.parts)  # type: ignore[no-untyped-call]
        return whole[self.order]

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.dense()[:, :, None, None], self.bias)


class DepthwiseBranches(nn.Module):
    """A reparameterised 3x3 depthwise convolution: 3x3, 1x1 and, at stride 1, identity branches.

    Each has its batch norm; `folded` is the single convolution they add up to after training.
    Vasu et al., MobileOne, arXiv 2206.04040.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.wide, self.point = (
            conv_bn(channels, channels, kernel, activation="linear", stride=stride, groups=channels)
            for kernel in (3, 1)
        )
        self.identity = nn.BatchNorm2d(channels) if stride == 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.wide(x) + self.point(x)
        return y if self.identity is None else y + self.identity(x)

    def folded(self) -> nn.Conv2d:
        """The same function in evaluation."""
        branches: list[Any] = [self.wide, self.point]
        wide, point = (fuse_conv_bn_eval(branch[0], branch[1]) for branch in branches)
        with torch.no_grad():
            wide.weight += F.pad(point.weight, [1, 1, 1, 1])
            wide.bias += point.bias
            if self.identity is not None:
                scale, shift = affine(self.identity)
                wide.weight[:, 0, 1, 1] += scale
                wide.bias += shift
        conv: nn.Conv2d = wide
        return conv


def affine(norm: Any) -> tuple[Tensor, Tensor]:
    """Batch norm's scale and shift in evaluation, each (C,)."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: channel attention (Hu et al., arXiv 1709.01507)."""

    def __init__(
        self, channels: int, *, reduction: int = 4, activation: str = "prelu", bias: bool = True
    ) -> None:
        super().__init__()
        squeezed = channels // reduction
        self.squeeze = nn.Linear(channels, squeezed, bias=bias)
        self.activation = ACTIVATIONS[activation](squeezed)
        self.excite = nn.Linear(squeezed, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.excite(self.activation(self.squeeze(x.mean((2, 3)))))  # (N, C)
        weighed: Tensor = x * weight.sigmoid()[:, :, None, None]
        return weighed


def mobile_stem(channels: int, activation: str) -> nn.Sequential:
    """MobileFaceNet's stem: (N, 3, 112, 112) -> (N, channels, 56, 56)."""
    return nn.Sequential(
        conv_bn(3, channels, 3, activation=activation, stride=2),
        conv_bn(channels, channels, 3, activation=activation, groups=channels),
    )


def mobile_stages(
    block: Callable[[int, int, int, int], nn.Module],
    *,
    stem: int | None = None,
    widths: tuple[int, int] = (64, 128),
    repeats: tuple[int, int, int] = (4, 6, 2),
    expanded: tuple[int, int, int, int, int, int] | None = None,
) -> nn.Sequential:
    """MobileFaceNet's stages: (N, stem, 56, 56) -> (N, widths[1], 7, 7).

    Args:
        block: makes one of (in_channels, out_channels, expanded, stride).
        stem: channels of the input; widths[0] by default.
        widths: channels at 28 x 28, and at 14 x 14 and 7 x 7.
        repeats: blocks of stride 1 at 28, at 14 and at 7, after one of stride 2 each.
        expanded: channels of the depthwise convolutions: of the block to 28, of those at 28, and
            so on for 14 and 7; by default twice those of the block, and four times to 7.
    """
    narrow, wide = widths
    to_28, at_28, to_14, at_14, to_7, at_7 = expanded or (
        *(2 * narrow, 2 * narrow, 2 * wide),
        *(2 * wide, 4 * wide, 2 * wide),
    )
    return nn.Sequential(
        block(stem or narrow, narrow, to_28, 2),
        *(block(narrow, narrow, at_28, 1) for _ in range(repeats[0])),
        block(narrow, wide, to_14, 2),
        *(block(wide, wide, at_14, 1) for _ in range(repeats[1])),
        block(wide, wide, to_7, 2),
        *(block(wide, wide, at_7, 1) for _ in range(repeats[2])),
    )


def embedding_head(in_channels: int, dim: int, activation: str) -> nn.Sequential:
    """MobileFaceNet's head: 1x1 to 512, a 7x7 depthwise in place of pooling, linear, batch norm.

    (N, C, 7, 7) -> (N, dim).  Chen et al., arXiv 1804.07573, section 3.1.
    """
    return nn.Sequential(
        conv_bn(in_channels, 512, 1, activation=activation),
        conv_bn(512, 512, 7, activation="linear", groups=512, padding=0),
        nn.Flatten(),
        nn.Linear(512, dim, bias=False),
        nn.BatchNorm1d(dim),
    )
