"""The embedding layer that fits given targets best, before a network learns them.

A network that has learned one embedding space is to learn another, as where its blocks were
distilled from one teacher and the targets are of several: least squares finds the new last layer at
once, which would take an optimizer hundreds of steps.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)  # of ridge regression, as shares of the features' variance
HELD_OUT = 0.2


@torch.no_grad()
def refit_head(network: Any, x: Tensor, goal: Tensor) -> float:
    """Sets the last linear layer of a network, in place, unless the one it has is better.

    Which is better, and how strongly it is regularised, held-out pictures decide.

    Args:
        network: whose head ends with a linear layer, and a batch norm or an identity behind it.
        x: pictures, (N, 3, 112, 112) in [-1, 1].
        goal: their targets, (N, D) of unit length.

    Returns:
        The mean cosine of the held-out pictures' embeddings and targets.
    """
    layers = list(network.head)
    place = max(k for k, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    linear, norm = layers[place], layers[place + 1]
    training, whole = network.training, nn.Sequential(network.stem, network.blocks, *layers[:place])
    network.eval()
    features = torch.cat([whole(part) for part in torch.split(x, 64)]).flatten(1).float()
    network.train(training)
    kept = round(len(x) * (1 - HELD_OUT))

    def fitted(count: int, penalty: float) -> Tensor:
        """(features + 1, D), by ridge regression; the last row is the bias."""
        ones = torch.ones(count, 1, device=features.device)
        columns = torch.cat([features[:count], ones], 1)
        ridge = penalty * features.var() * count * torch.eye(columns.shape[1], device=x.device)
        matrix: Tensor = torch.linalg.solve(columns.T @ columns + ridge, columns.T @ goal[:count])
        return matrix

    def cosine(embeddings: Tensor) -> float:
        return float(F.cosine_similarity(embeddings, goal[kept:]).mean())

    tail = nn.Sequential(linear, norm).eval()
    before = cosine(tail(features[kept:]))
    norm.train(training)
    found = {penalty: fitted(kept, penalty) for penalty in PENALTIES}
    shares = {
        penalty: cosine(features[kept:] @ matrix[:-1] + matrix[-1])
        for penalty, matrix in found.items()
    }
    best = max(shares, key=lambda penalty: shares[penalty])
    if shares[best] <= before:
        return before
    matrix = fitted(len(x), best)
    matrix = matrix * (linear.weight.std() / matrix[:-1].std())  # optimizers step by that scale
    linear.weight.copy_(matrix[:-1].T)
    if linear.bias is not None:
        linear.bias.copy_(matrix[-1])
    else:
        outputs = features @ matrix[:-1]
        norm.running_mean.copy_(outputs.mean(0))
        norm.running_var.copy_(outputs.var(0))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(norm.running_mean + matrix[-1])
    return shares[best]
