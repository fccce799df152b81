"""UniFace: one threshold for all people, learned as part of the loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mien.training.losses.stateful import StatefulLoss
from mien.training.losses.target import on_target


class UniFace(StatefulLoss):
    """The unified cross-entropy: a binary decision for every class by itself.

    Softmax only requires that an embedding's own class be the nearest.  Here all cosines of one
    person must lie above one learned threshold, bias / scale, and all others below, as verification
    needs.  Zhou et al., UniFace, ICCV 2023.

    Args:
        margin: taken off the target's cosine.
        scale: of the cosines.
    """

    binary = True

    def __init__(self, *, margin: float = 0.4, scale: float = 64.0) -> None:
        super().__init__()
        self.margin, self.scale = margin, scale
        self.bias = nn.Parameter(torch.zeros(()))

    def begin(self, classes: float) -> None:
        """Initialises the bias as the authors' code does: log(10 * classes)."""
        with torch.no_grad():
            self.bias.fill_(math.log(10 * classes))

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """Logits of a binary cross-entropy, (N, C), float32 even under autocast.

        Args:
            cosine: of each embedding to each class, (N, C), in [-1, 1].
            labels: class of each embedding, (N,), int64 in [0, C).
        """
        less = on_target(cosine, labels, lambda target: target - self.margin)
        return self.scale * less - self.bias
