"""Li-ArcFace: a margin added to the angle, and logits linear in it."""

from __future__ import annotations

import math

from torch import Tensor

from mien.training.losses.target import angle, on_target


def liarcface(
    cosine: Tensor, labels: Tensor, *, margin: float = 0.45, scale: float = 64.0
) -> Tensor:
    """Logits linear in the angle.

    [0, pi] becomes [scale, -scale], so the slope is the same for easy and hard faces, and a
    margin that leads beyond pi needs no case of its own.  Trains from scratch at 128 numbers.
    Li et al., AirFace, 2019, arXiv 1907.12256.

    Args:
        cosine: of each embedding to each class, (N, C), in [-1, 1].
        labels: class of each embedding, (N,), int64 in [0, C).
        margin: added to the target's angle, in radians.
        scale: logit at angle 0 without the margin.

    Returns:
        Logits for cross-entropy, (N, C), float32 even under autocast.

    Example:
        >>> liarcface(torch.tensor([[0.8, 0.1], [-0.2, 0.5]]), torch.tensor([0, 1]))
        tensor([[19.4468,  4.0812],
                [-8.2041,  2.9987]])
    """
    line = 1 - 2 / math.pi * angle(cosine)
    return scale * on_target(line, labels, lambda target: target - 2 / math.pi * margin)
