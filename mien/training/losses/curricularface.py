"""CurricularFace: hard negatives count little at first, and more as training goes on."""

from __future__ import annotations

import torch
from torch import Tensor

from mien.training.losses.stateful import StatefulLoss
from mien.training.losses.target import angle, check, widened


class CurricularFace(StatefulLoss):
    """ArcFace, with each negative that is nearer than the widened target weighted.

    Such a cosine c becomes c * (t + c), where t is the running mean of the targets' cosines: the
    better the network, the more hard negatives count.  Huang et al., CurricularFace, 2020,
    arXiv 2004.00288.

    Args:
        margin: added to the target's angle, in radians.
        scale: logit at angle 0 without the margin.
        momentum: weight of a batch in t.
    """

    t: Tensor

    def __init__(self, *, margin: float = 0.5, scale: float = 64.0, momentum: float = 0.01) -> None:
        super().__init__()
        self.margin, self.scale, self.momentum = margin, scale, momentum
        self.register_buffer("t", torch.tensor(0.0))

    def forward(self, cosine: Tensor, labels: Tensor, *, targets: Tensor, known: Tensor) -> Tensor:
        """Logits, (N, C), float32 even under autocast.

        Args:
            cosine: of each embedding to each class, (N, C), in [-1, 1].
            labels: class of each embedding, (N,), int64 in [0, C).
            targets: cosine of each embedding to its own class, (N,).
            known: false where an embedding is nobody's, (N,).
        """
        check(cosine, labels)
        cosine, targets = cosine.float(), targets.float()[:, None]
        if self.training and known.any():
            self.t.lerp_(targets.detach()[known].mean(), self.momentum)
        hard = cosine > (angle(targets) + self.margin).cos()
        weighted = torch.where(hard, cosine * (self.t + cosine), cosine)
        return self.scale * weighted.scatter(1, labels[:, None], widened(targets, self.margin))
