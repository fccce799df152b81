"""Normalised softmax: scaled cosines, the baseline without a margin."""

from __future__ import annotations

from torch import Tensor

from mien.training.losses.target import check


def softmax(cosine: Tensor, labels: Tensor, *, margin: float = 0.0, scale: float = 64.0) -> Tensor:
    """Scaled cosines, without a margin (Wang et al., NormFace, 2017, arXiv 1704.06369).

    Args:
        cosine: of each embedding to each class, (N, C), in [-1, 1].
        labels: class of each embedding, (N,), int64 in [0, C).
        margin: 0; all losses have the same signature.
        scale: logit at angle 0.

    Returns:
        Logits for cross-entropy, (N, C), float32 even under autocast.
    """
    if margin != 0:
        raise ValueError(f"softmax has no margin, got {margin}: cosface is softmax with one")
    check(cosine, labels)
    return scale * cosine.float()
