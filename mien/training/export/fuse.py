"""Fuses a trained network into fewer operations before export.

Each form was timed (docs/speed.md); these are what ONNX Runtime runs fastest.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from mien.training.backbones.blocks import DepthwiseBranches, SplitConv


class QuickPReLU(nn.Module):
    """PReLU as `slope * x + (1 - slope) * relu(x)`: runtimes are slow at PReLU itself."""

    slope: Tensor

    def __init__(self, layer: nn.PReLU) -> None:
        super().__init__()
        self.register_buffer("slope", layer.weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        slope = self.slope.view(-1, *[1] * (x.dim() - 2))
        return slope * x + (1 - slope) * F.relu(x)


class PublishedSplit(nn.Module):
    """A `SplitConv` as the published code has it: slices, two convolutions, a join, a shuffle."""

    def __init__(self, split: SplitConv) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_conv(part) for part in split.parts)
        self.widths = [part.shape[1] for part in split.parts]
        self.shuffled = not bool((split.order.diff() == 1).all())
        self.bias = split.bias

    def forward(self, x: Tensor) -> Tensor:
        slices = torch.split(x, self.widths, 1)
        y = torch.cat([part(piece) for part, piece in zip(self.parts, slices, strict=True)], 1)
        y = F.channel_shuffle(y, 2) if self.shuffled else y
        return y if self.bias is None else y + self.bias[:, None, None]


def as_published(module: nn.Module) -> nn.Module:
    """Puts each split convolution back into its published form, in place: to compare with."""
    for name, child in module.named_children():
        published = PublishedSplit(child) if isinstance(child, SplitConv) else as_published(child)
        setattr(module, name, published)
    return module


def fuse(module: nn.Module) -> nn.Module:
    """Fuses every linear sequence of layers into one convolution or linear layer, in place."""
    if isinstance(module, DepthwiseBranches):
        return module.folded()
    for name, child in module.named_children():
        setattr(module, name, fuse(child))
    if isinstance(module, SplitConv):
        return _conv(module.dense(), module.bias)
    if isinstance(module, nn.PReLU):
        return QuickPReLU(module)
    if isinstance(module, nn.Sequential):
        layers: list[nn.Module] = []
        for layer in module:
            before = layers[-1] if layers else None
            if isinstance(before, nn.Conv2d) and isinstance(layer, nn.BatchNorm2d):
                layers[-1] = fuse_conv_bn_eval(before, layer)
            elif isinstance(before, nn.Linear) and isinstance(layer, nn.BatchNorm1d):
                layers[-1] = fuse_linear_bn_eval(before, layer)
            elif not isinstance(layer, nn.Identity):
                layers.append(layer)
        return nn.Sequential(*layers)
    return module


def _conv(matrix: Tensor, bias: Tensor | None = None) -> nn.Conv2d:
    """A matrix as a 1x1 convolution."""
    conv = nn.Conv2d(matrix.shape[1], matrix.shape[0], 1, bias=bias is not None)
    conv.weight = nn.Parameter(matrix.detach()[:, :, None, None])
    conv.bias = None if bias is None else nn.Parameter(bias.detach())
    return conv.eval()
