"""ArcFace: a margin added to the angle, whose cosine is the logit."""

from __future__ import annotations

from torch import Tensor

from mien.training.losses.target import on_target, widened


def arcface(cosine: Tensor, labels: Tensor, *, margin: float = 0.5, scale: float = 64.0) -> Tensor:
    """Scaled cosines, the target's of an angle that is wider by the margin.

    Deng et al., ArcFace, 2019, arXiv 1801.07698.  Beyond pi: see `target.widened`.

    Args:
        cosine: of each embedding to each class, (N, C), in [-1, 1].
        labels: class of each embedding, (N,), int64 in [0, C).
        margin: added to the target's angle, in radians, in [0, pi).
        scale: logit at angle 0 without the margin.

    Returns:
        Logits for cross-entropy, (N, C), float32 even under autocast.
    """

    return scale * on_target(cosine, labels, lambda target: widened(target, margin))
