"""Training without batch norm: each one is folded into the layer before it, which gains a bias.

Batch norm helps early in training and later only costs time: a third of a step on a CPU. Once the
losses have settled, its running statistics can be constants.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from mien.training.backbones.blocks import DepthwiseBranches, SplitConv, affine


class ChannelAffine(nn.Module):
    """A learned scale and shift for each channel: a batch norm that no layer before it can absorb.

    IR networks begin a block with one, and the convolution behind it pads with zeros.
    """

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(scale), nn.Parameter(shift)

    def forward(self, x: Tensor) -> Tensor:
        shape = [1, -1, *[1] * (x.dim() - 2)]
        return x * self.scale.view(shape) + self.shift.view(shape)


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Folds every batch norm, in place, without changing what the network computes in evaluation.

    Layers keep their names: where a batch norm stood in a sequence, an identity stands. Branches
    of a depthwise convolution become the one convolution that they add up to.

    Returns:
        The network, in evaluation, whose parameters are new ones.
    """
    network.eval()
    if isinstance(network, DepthwiseBranches):
        return _trainable(network.folded())
    if isinstance(network, _BatchNorm):
        return ChannelAffine(*(value.detach().clone() for value in affine(network)))
    children: list[tuple[str, Any]] = [*network.named_children(), ("", None)]
    for (name, layer), (after, norm) in pairwise(children):
        if isinstance(network, nn.Sequential) and (fused := _fused(layer, norm)) is not None:
            setattr(network, name, _trainable(fused))
            setattr(network, after, nn.Identity())
        elif getattr(network, name) is layer:  # else it was folded into the one before
            setattr(network, name, fold_batch_norm(layer))
    return network


def _fused(layer: Any, norm: Any) -> nn.Module | None:
    """A layer and the batch norm after it as one layer, if they can be folded."""
    if not isinstance(norm, _BatchNorm):
        return None
    if isinstance(layer, SplitConv):
        layer.absorb(*affine(norm))
        return layer
    if isinstance(layer, nn.Conv2d):
        return fuse_conv_bn_eval(layer, norm)
    return fuse_linear_bn_eval(layer, norm) if isinstance(layer, nn.Linear) else None


def _trainable(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        parameter.requires_grad_(True)
    return layer


def is_folded(network: nn.Module) -> bool:
    """Whether no batch norm is left."""
    return not any(isinstance(layer, _BatchNorm) for layer in network.modules())


@torch.no_grad()
def recalibrate(network: nn.Module, batches: list[Tensor]) -> None:
    """Recalibrates the statistics of batch norms on pictures, in place.

    Needed when blocks that were trained separately are joined, before folding.

    Args:
        network: any.
        batches: (N, 3, 112, 112) each, in [-1, 1].
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    network.train()
    for batch in batches:
        network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
