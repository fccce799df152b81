"""The last layer of training: a direction for each class, and what a margin loss makes of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MarginHead(nn.Module):
    """Embeddings and labels to cross-entropy, over cosines to one learned direction per class.

    All of it is float32, also under autocast: the step of bfloat16 below 1 is as much as 5 degrees.

    Args:
        dim: of an embedding.
        classes: how many people there are.
        loss: one of `LOSSES`, or any function like them; `partial(arcface, margin=0.4)` sets its
            margin.  One that takes `norms` is given the lengths of the embeddings.
    """

    def __init__(self, dim: int, classes: int, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(classes, dim)))
        self.loss = loss
        self.takes_norms = "norms" in inspect.signature(loss).parameters

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Cosine of each embedding to each class, (N, C), float32 in [-1, 1]."""
        if embeddings.dim() != 2 or embeddings.shape[1] != self.weight.shape[1]:
            wanted, got = self.weight.shape[1], tuple(embeddings.shape)
            raise ValueError(f"embeddings must be (N, {wanted}), not {got}")
        with torch.autocast(embeddings.device.type, enabled=False):
            units, directions = F.normalize(embeddings.float()), F.normalize(self.weight.float())
            return F.linear(units, directions).clamp(-1, 1)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy, a float32 scalar.

        Args:
            embeddings: (N, D), as the network gives them; of any length.
            labels: class of each, (N,), int64 in [0, C).

        Raises:
            ValueError: the shapes do not fit, or a label is not a class.
        """
        cosine = self.cosines(embeddings)
        norms = {"norms": embeddings.float().norm(dim=1)} if self.takes_norms else {}
        return F.cross_entropy(self.loss(cosine, labels, **norms), labels)
