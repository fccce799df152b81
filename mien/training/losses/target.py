"""Shared by the margin losses: changing a row's target logit, and an angle with a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

EDGE = 1 - 2**-18  # 0.16 degrees from the end; exact in float32
CHORD = math.acos(EDGE) / (1 - EDGE)


def angle(cosine: Tensor) -> Tensor:
    """Angle in radians, float32, whose slope stays finite.

    The slope of acos has no bound at -1 and 1.  Between them and `EDGE` the curve is replaced by
    its chord, so that the angle there is still exactly 0 or pi, and has a gradient that leads away
    from pi; clamping would shift the first and lose the second.
    """
    cosine = cosine.float()
    inner = cosine.clamp(-EDGE, EDGE)
    return inner.acos() - CHORD * (cosine - inner)


def on_target(values: Tensor, labels: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The values in float32, (N, C), with `change` made to the one of each row's label.

    Args:
        values: (N, C).
        labels: (N,), int64 in [0, C).
        change: from targets to targets, (N, 1).

    Raises:
        ValueError: the shapes do not fit, or a label is not a class.
    """
    check(values, labels)
    values, columns = values.float(), labels[:, None]
    return values.scatter(1, columns, change(values.gather(1, columns)))


def check(values: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless there is one class of (N, C) for each row."""
    if values.dim() != 2 or labels.shape != values.shape[:1]:
        raise ValueError(
            f"cosines must be (N, C) and labels (N,), "
            f"not {tuple(values.shape)} and {tuple(labels.shape)}"
        )
    if labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64, not {labels.dtype}")
    classes = values.shape[1]
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ValueError(f"label {wrong[0].item()} is not in [0, {classes})")


def widened(target: Tensor, margin: float | Tensor) -> Tensor:
    """The cosine of an angle that is wider by a margin in radians, falling on beyond pi.

    cos(angle + margin) rises again where the sum is beyond pi, and would push the hardest faces the
    wrong way.  There it is the one of ArcFace's code, cosine - margin * sin(margin): it steps down
    at the joint (by 0.12 at a margin of 0.5), and at -1 its slope is 1 where that of an angle has
    no bound.

    Args:
        target: cosines, (N, 1).
        margin: in [0, pi), or (N, 1) of them.
    """
    margin = torch.as_tensor(margin, device=target.device)
    wider = angle(target) + margin
    return torch.where(wider < math.pi, wider.cos(), target - margin * margin.sin())
