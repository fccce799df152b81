"""AdaFace: a margin that depends on how good the photograph seems to be."""

from __future__ import annotations

import math

from torch import Tensor

from mien.training.losses.target import angle, on_target


def adaface(
    cosine: Tensor,
    labels: Tensor,
    *,
    norms: Tensor,
    margin: float = 0.4,
    scale: float = 64.0,
    concentration: float = 0.333,
) -> Tensor:
    """Scaled cosines, the target's with a margin that follows the embedding's length.

    The length stands for the quality of the photograph.  A quality q in [-1, 1] narrows the angle
    by margin * q and takes margin * (1 + q) off the cosine: like ArcFace at -1, CosFace at 0, and
    at 1 the weight is on the hard faces, which are then hard for a reason other than a bad photo.
    Kim et al., AdaFace, 2022, arXiv 2204.00964.  The mean and deviation of the lengths are those
    of the batch; the paper smooths them over batches.

    Args:
        cosine: of each embedding to each class, (N, C), in [-1, 1].
        labels: class of each embedding, (N,), int64 in [0, C).
        norms: length of each embedding before it was made a unit vector, (N,); no gradient
            passes.
        margin: of the average photo, on the cosine; the most on the angle, in radians.
        scale: logit at angle 0 without the margin.
        concentration: quality of a length that is one deviation above the mean.

    Returns:
        Logits for cross-entropy, (N, C), float32 even under autocast.
    """
    if norms.shape != labels.shape:
        raise ValueError(f"norms must be {tuple(labels.shape)}, not {tuple(norms.shape)}")
    norms = norms.detach().float()[:, None]  # (N, 1)
    # Not the sample's deviation (N - 1), which a batch of one does not have.
    deviation = norms.std(correction=0) + 1e-3
    quality = (concentration * (norms - norms.mean()) / deviation).clamp(-1, 1)

    def adapt(target: Tensor) -> Tensor:
        wider = (angle(target) - margin * quality).clamp(0, math.pi)
        return wider.cos() - margin * (1 + quality)

    return scale * on_target(cosine, labels, adapt)
