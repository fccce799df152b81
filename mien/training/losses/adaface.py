"""AdaFace: a margin that depends on how good the photograph seems to be."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mien.training.losses.stateful import StatefulLoss
from mien.training.losses.target import angle, on_target


class AdaFace(StatefulLoss):
    """Scaled cosines, the target's with a margin that follows the embedding's length.

    The length stands for the quality of the photograph.  A quality q in [-1, 1] narrows the angle
    by margin * q and takes margin * (1 + q) off the cosine: like ArcFace at -1, CosFace at 0, and
    at 1 the weight is on the hard faces, which are then hard for a reason other than a bad photo.
    Kim et al., AdaFace, 2022, arXiv 2204.00964.  Mean and deviation of the lengths are running
    averages over batches, which begin at 20 and 100 as in its authors' code.

    Args:
        margin: of the average photo, on the cosine; the most on the angle, in radians.
        scale: logit at angle 0 without the margin.
        concentration: quality of a length that is one deviation above the mean.
        momentum: weight of a batch in the running averages; 1 looks at the batch alone.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        *,
        margin: float = 0.4,
        scale: float = 64.0,
        concentration: float = 0.333,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        self.margin, self.scale = margin, scale
        self.concentration, self.momentum = concentration, momentum
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    def forward(self, cosine: Tensor, labels: Tensor, *, norms: Tensor) -> Tensor:
        """Logits, (N, C), float32 even under autocast.

        Args:
            cosine: of each embedding to each class, (N, C), in [-1, 1].
            labels: class of each embedding, (N,), int64 in [0, C).
            norms: length of each embedding, (N,); no gradient passes.
        """
        if norms.shape != labels.shape:
            raise ValueError(f"norms must be {tuple(labels.shape)}, not {tuple(norms.shape)}")
        norms = norms.detach().float().clamp(1e-3, 100)[:, None]  # (N, 1)
        if self.training:
            self.mean.lerp_(norms.mean(), self.momentum)
            # Not the sample's deviation (N - 1), which a batch of one does not have.
            self.deviation.lerp_(norms.std(correction=0), self.momentum)
        quality = self.concentration * (norms - self.mean) / (self.deviation + 1e-3)
        quality = quality.clamp(-1, 1)

        def adapt(target: Tensor) -> Tensor:
            wider = (angle(target) - self.margin * quality).clamp(0, math.pi)
            return wider.cos() - self.margin * (1 + quality)

        return self.scale * on_target(cosine, labels, adapt)
