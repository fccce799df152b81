"""ArcFace: a margin added to the angle, whose cosine is the logit."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mien.training.losses.target import angle, on_target


def arcface(cosine: Tensor, labels: Tensor, *, margin: float = 0.5, scale: float = 64.0) -> Tensor:
    """Scaled cosines, the target's of an angle that is wider by the margin.

    Deng et al., ArcFace, 2019, arXiv 1801.07698.  cos(angle + margin) rises again where their sum
    is beyond pi, and would push the hardest faces the wrong way.  There the logit is the one of
    its authors' code, cosine - margin * sin(margin): it steps down at the joint (by 0.12 at a
    margin of 0.5) and falls on, and at -1 its slope is 1 where that of an angle has no bound.

    Args:
        cosine: of each embedding to each class, (N, C), in [-1, 1].
        labels: class of each embedding, (N,), int64 in [0, C).
        margin: added to the target's angle, in radians, in [0, pi).
        scale: logit at angle 0 without the margin.

    Returns:
        Logits for cross-entropy, (N, C), float32 even under autocast.
    """

    def widen(target: Tensor) -> Tensor:
        wider = angle(target) + margin
        beyond = target - margin * math.sin(margin)
        return torch.where(wider < math.pi, wider.cos(), beyond)

    return scale * on_target(cosine, labels, widen)
