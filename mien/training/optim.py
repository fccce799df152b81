"""Optimizers, the learning rate of every step, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mien.training.config import TrainConfig
from mien.training.losses.margin import MarginHead

BLOCK_WARMUP = 50  # steps


def learning_rate(config: TrainConfig, step: int, pictures: int) -> float:
    """The learning rate of a step."""
    total = config.total_steps(pictures)
    if step < config.block_steps:
        rise = min(1.0, (step + 1) / BLOCK_WARMUP)
        return config.block_lr * rise * (0.05 + 0.95 * _cosine(step / config.block_steps))
    step, total = step - config.block_steps, total - config.block_steps
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.schedule == "cosine":
        return config.lr * rise * _cosine(step / total)
    epoch = step * config.batch / pictures
    return config.lr * rise * 0.1 ** sum(epoch >= milestone for milestone in config.milestones)


def _cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def network_optimizer(config: TrainConfig, network: nn.Module, step: int) -> torch.optim.Optimizer:
    """The network's, at a step: batch norm, biases and slopes have no weight decay."""
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    last: Any = linear[-1].weight  # a parameter, which torch's types call a tensor
    matrices = [p for p in network.parameters() if p.dim() > 1 and p is not last]
    vectors = [p for p in network.parameters() if p.dim() <= 1]
    groups = [(matrices, config.weight_decay), ([last], config.head_weight_decay), (vectors, 0.0)]
    return _optimizer(config, groups, adamw=step < config.block_steps)


def head_optimizer(config: TrainConfig, head: MarginHead) -> torch.optim.Optimizer:
    """That of the class weights, and of what else the loss learns, which has no weight decay."""
    groups = [([head.weight], config.head_weight_decay)]
    groups += [(head.shared(), 0.0)] if head.shared() else []
    return _optimizer(config, groups, adamw=False)


def _optimizer(
    config: TrainConfig, groups: Iterable[tuple[list[nn.Parameter], float]], *, adamw: bool
) -> torch.optim.Optimizer:
    named = [{"params": params, "weight_decay": decay} for params, decay in groups]
    if adamw or config.optimizer == "adamw":
        return torch.optim.AdamW(named, lr=config.lr)
    return torch.optim.SGD(named, lr=config.lr, momentum=config.momentum)


class EMA:
    """The exponential moving average of a network's weights and of its batch norm statistics."""

    def __init__(self, network: nn.Module) -> None:
        self.weights = {
            name: value.detach().clone() for name, value in network.state_dict().items()
        }

    @torch.no_grad()
    def update(self, network: nn.Module, decay: float, step: int) -> None:
        """Moves it to a network's weights, faster in the first steps of a run."""
        share = 1 - min(decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, share)
            else:
                self.weights[name].copy_(value)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Takes the weights of another; raises KeyError where they are of another network."""
        for name, value in self.weights.items():
            value.copy_(weights[name])


def flat_state(optimizer: torch.optim.Optimizer, prefix: str = "") -> dict[str, Tensor]:
    """The state of an optimizer (momentum, moments) as flat tensors, to be stored."""
    return {
        f"{prefix}{index}.{name}": value
        for index, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
        if isinstance(value, Tensor)
    }


def load_flat_state(optimizer: torch.optim.Optimizer, stored: dict[str, Tensor]) -> None:
    """Gives an optimizer the state that `flat_state` has returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in stored.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
