"""CosFace, also called AM-softmax: a margin taken off the cosine."""

from __future__ import annotations

from torch import Tensor

from mien.training.losses.target import on_target


def cosface(cosine: Tensor, labels: Tensor, *, margin: float = 0.35, scale: float = 30.0) -> Tensor:
    """Scaled cosines, the target's less a constant.

    Wang et al., CosFace, 2018, arXiv 1801.09414, which scales by 64; Wang et al., Additive Margin
    Softmax, 2018, arXiv 1801.05599, which scales by 30 as SeesawFaceNet's own code does.

    Args:
        cosine: of each embedding to each class, (N, C), in [-1, 1].
        labels: class of each embedding, (N,), int64 in [0, C).
        margin: taken off the target's cosine.
        scale: logit at angle 0 without the margin.

    Returns:
        Logits for cross-entropy, (N, C), float32 even under autocast.
    """
    return scale * on_target(cosine, labels, lambda target: target - margin)
