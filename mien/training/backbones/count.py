"""The size of a network, counted as in the papers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mien.training.backbones.blocks import SplitConv


def sizes(build: Callable[[], nn.Module]) -> tuple[int, int]:
    """`parameters` and `multiply_adds` of a network, of which no weight is made."""
    with torch.device("meta"):
        network = build()
    return parameters(network), multiply_adds(network)


def parameters(network: nn.Module) -> int:
    """The number of learned parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, size: tuple[int, int] = (112, 112)) -> int:
    """Multiplications of convolutions and linear layers for one picture of (H, W).

    A split convolution counts for its two parts, as published, though it runs as a dense one.
    The network is run once, or on the meta device as if it were.
    """
    counts: list[int] = []

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        pixels = output[0, 0].numel() if output.dim() == 4 else 1
        if isinstance(module, SplitConv):
            counts.append((module.quarter.numel() + module.rest.numel()) * pixels)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            counts.append(module.weight.numel() * pixels)

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    training, device = network.training, next(network.parameters()).device
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, *size, device=device))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return sum(counts)
