"""Boxes of faces: how much of them is common, and of those that show one face the surest."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BATCH = 256  # candidates that are compared with all others together, which bounds the memory


def nms(
    boxes: Floats, confidence: Floats, *, limit: float, of: Literal["union", "smaller"] = "union"
) -> NDArray[np.intp]:
    """Non-maximum suppression (NMS): the rows of the boxes that stay, best first.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        confidence: (N,); of two boxes that overlap the surer one stays.
        limit: of the common area, as a part of what `of` names.
        of: both boxes' union, or the smaller of the two.
    """
    order = np.argsort(-confidence, kind="stable")
    kept = [order[:0]]
    while len(order):
        best, rest = order[:BATCH], order[BATCH:]
        clash = overlap(boxes[best], boxes[order], of) > limit
        alive = np.ones(len(order), bool)
        for i in range(len(best)):
            if alive[i]:
                alive[i + 1 :] &= ~clash[i, i + 1 :]
        kept.append(best[alive[: len(best)]])
        order = rest[alive[len(best) :]]
    return np.concatenate(kept)


def overlap(
    some: NDArray[Any], others: NDArray[Any], of: Literal["union", "smaller"] = "union"
) -> NDArray[Any]:
    """(M, N) common areas of M boxes and N others, as a part of the union (IoU) or the smaller."""
    width = np.minimum.outer(some[:, 2], others[:, 2]) - np.maximum.outer(some[:, 0], others[:, 0])
    height = np.minimum.outer(some[:, 3], others[:, 3]) - np.maximum.outer(some[:, 1], others[:, 1])
    common = width.clip(0) * height.clip(0)
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (some, others)]
    whole = np.minimum.outer(*areas) if of == "smaller" else np.add.outer(*areas) - common
    part: NDArray[Any] = common / np.maximum(whole, 1e-12)  # an empty box has no part in any
    return part
