"""Learning from a teacher: its features block by block, and its embedding at the end."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def feature_distance(student: Tensor, teacher: Tensor, variance: Tensor) -> Tensor:
    """Squared error as a share of the variance, averaged over channels.

    All channels count alike (Romero et al., FitNets, arXiv 1412.6550,
    with a variance in place of a regressor since both networks have the same shape).

    Args:
        student, teacher: (N, C, H, W) or (N, C).
        variance: of each of the teacher's channels, (C,), as `channel_variance` gives it.

    Returns:
        Scalar; 0 where they are equal, 1 for a student that knows only the mean.
    """
    axes = [axis for axis in range(student.dim()) if axis != 1]
    return ((student - teacher).square().mean(axes) / variance).mean()


def channel_variance(features: Tensor) -> Tensor:
    """Variance of each channel, (C,), kept off zero by a thousandth of the mean."""
    axes = [axis for axis in range(features.dim()) if axis != 1]
    variance = features.var(axes)
    return variance + 1e-3 * variance.mean()


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of each pair of embeddings, averaged; (N, D) each -> scalar in [0, 2]."""
    return (1 - F.cosine_similarity(student.float(), teacher.float())).mean()


def relational_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The difference of the two networks' similarities within the batch.

    Mean squared difference of all cosines between the batch's embeddings, so that the two may
    differ in size (Park et al., Relational Knowledge Distillation, arXiv 1904.05068).

    Args:
        student, teacher: (N, D) and (N, E).
    """
    s, t = F.normalize(student.float()), F.normalize(teacher.float())
    return torch.mean((s @ s.T - t @ t.T).square())


def similarity_divergence(
    student: Tensor, teacher: Tensor, others: Tensor, temperature: float = 0.06
) -> Tensor:
    """The difference of the two networks' similarities to many other pictures.

    KL divergence of the softmax over the cosines to other pictures' targets (Fang et al., SEED,
    arXiv 2101.04731): the nearest count most, and they are what a false match is made of.  A
    picture's own target, where it is among the others, is left out.

    Args:
        student, teacher: (N, D), the teacher's of unit length.
        others: targets of other pictures, (M, D) of unit length.
        temperature: the lower, the more the nearest count.
    """
    s = F.normalize(student.float())
    wanted = teacher @ others.T
    own = wanted > 0.999
    goal = (wanted / temperature).masked_fill(own, -1e4).log_softmax(1)
    seen = (s @ others.T / temperature).masked_fill(own, -1e4).log_softmax(1)
    return F.kl_div(seen, goal, log_target=True, reduction="batchmean")
