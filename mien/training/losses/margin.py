"""The last layer of training: a direction for each class, and what a margin loss makes of it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.training import distributed

ROWS = 4096  # classes whose first directions are drawn together


class MarginHead(nn.Module):
    """Embeddings and labels to cross-entropy, over cosines to one learned direction per class.

    Every rank keeps a part of the classes and sees the embeddings of all ranks, so that ten
    million people fit where one machine's memory ends; a step may look at only some of the classes
    that nobody in the batch is of (An et al., Partial FC, arXiv 2203.15565).  The loss and its
    gradients are the same for any number of ranks.

    All of it is float32, also under autocast: the step of bfloat16 below 1 is as much as 5 degrees.

    Args:
        dim: of an embedding.
        classes: how many people there are.
        loss: one of `LOSSES`, or any function like them; `partial(arcface, margin=0.4)` sets its
            margin.  One that takes `norms` is given the lengths of the embeddings.
        negative_sample_rate: share of its classes that a rank samples in a step, in (0, 1]; those
            of the batch are always among them.
        label_smoothing: share of the truth that is spread over all classes, in [0, 1).
        seed: of the initial class weights and of the sampled negatives.

    Raises:
        ValueError: fewer classes than ranks, or a share out of range.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        loss: Callable[..., Tensor],
        *,
        negative_sample_rate: float = 1.0,
        label_smoothing: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if classes < distributed.world_size():
            raise ValueError(
                f"{classes} classes cannot be spread over {distributed.world_size()} processes"
            )
        if not 0 < negative_sample_rate <= 1:
            raise ValueError(f"negative_sample_rate must lie in (0, 1], not {negative_sample_rate}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), not {label_smoothing}")
        self.classes, self.loss, self.seed = classes, loss, seed
        self.negative_sample_rate, self.label_smoothing = negative_sample_rate, label_smoothing
        self.takes_norms = "norms" in inspect.signature(loss).parameters
        self.first, self.end = (
            classes * rank // distributed.world_size()
            for rank in (distributed.rank(), distributed.rank() + 1)
        )
        self.weight = nn.Parameter(_directions(self.first, self.end, classes, dim, seed))
        if distributed.world_size() > 1:  # the mean over ranks, as DistributedDataParallel has it
            self.weight.register_hook(_mean_over_ranks)  # type: ignore[no-untyped-call]

    def forward(self, embeddings: Tensor, labels: Tensor, step: int = 0) -> Tensor:
        """Mean cross-entropy over the labelled embeddings of all ranks, a float32 scalar.

        Args:
            embeddings: (N, D), as the network gives them; of any length.  N is every rank's.
            labels: class of each, (N,), int64 in [0, C), or -1 for one that is nobody's.
            step: seeds the sampled negatives, together with the seed.

        Raises:
            ValueError: the shapes do not fit, or a label is not a class.
        """
        self._check(embeddings, labels)
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings, labels = (
                distributed.all_gather(embeddings.float()),
                distributed.all_gather(labels),
            )
            looked_at = self._choose(labels, step)
            directions = self.weight if looked_at is None else self.weight[looked_at]
            cosine = F.linear(F.normalize(embeddings), F.normalize(directions.float()))
            columns, here = self._columns(labels, looked_at)
            logits = self._logits(cosine.clamp(-1, 1), columns, here, embeddings)
            return self._cross_entropy(logits, columns, here, labels >= 0)

    def _check(self, embeddings: Tensor, labels: Tensor) -> None:
        if embeddings.dim() != 2 or embeddings.shape[1] != self.weight.shape[1]:
            wanted, got = self.weight.shape[1], tuple(embeddings.shape)
            raise ValueError(f"embeddings must be (N, {wanted}), not {got}")
        if labels.shape != embeddings.shape[:1]:
            raise ValueError(f"labels must be ({len(embeddings)},), not {tuple(labels.shape)}")
        if labels.dtype != torch.int64:
            raise ValueError(f"labels must be int64, not {labels.dtype}")
        wrong = labels[(labels < -1) | (labels >= self.classes)]
        if len(wrong):
            raise ValueError(f"label {wrong[0].item()} is not in [0, {self.classes})")

    def _choose(self, labels: Tensor, step: int) -> Tensor | None:
        """The classes of this rank that the step looks at, sorted and counted from its first."""
        if self.negative_sample_rate == 1:
            return None
        count = self.end - self.first
        random = np.random.default_rng([self.seed, step, self.first])
        chance = torch.from_numpy(random.random(count, np.float32)).to(labels.device)
        mine = labels[(labels >= self.first) & (labels < self.end)] - self.first
        chance[mine] = 2.0
        wanted = max(math.ceil(self.negative_sample_rate * count), int((chance == 2).sum()))
        return chance.topk(wanted).indices.sort().values

    def _columns(self, labels: Tensor, looked_at: Tensor | None) -> tuple[Tensor, Tensor]:
        """The column of each label, and whether it is here; where it is not, the column is 0."""
        here = (labels >= self.first) & (labels < self.end)
        columns = (labels - self.first).where(here, torch.zeros_like(labels))
        if looked_at is not None:
            columns = torch.searchsorted(looked_at, columns).where(here, columns)
        return columns, here

    def _logits(self, cosine: Tensor, columns: Tensor, here: Tensor, embeddings: Tensor) -> Tensor:
        norms = {"norms": embeddings.norm(dim=1)} if self.takes_norms else {}
        if here.all():
            return self.loss(cosine, columns, **norms)
        # A row whose class is elsewhere gets its margin in a column that is dropped again.
        wider = F.pad(cosine, (0, 1))
        elsewhere = torch.full_like(columns, cosine.shape[1])
        return self.loss(wider, columns.where(here, elsewhere), **norms)[:, :-1]

    def _cross_entropy(
        self, logits: Tensor, columns: Tensor, here: Tensor, known: Tensor
    ) -> Tensor:
        """As torch's own, of which each rank holds some columns."""
        peak = distributed.all_reduce_max(logits.amax(1))
        target = logits.gather(1, columns[:, None])[:, 0] * here
        sums = torch.stack([(logits - peak[:, None]).exp().sum(1), target, logits.sum(1)])
        sums = distributed.all_reduce(sums)
        share = self.label_smoothing
        columns_in_all = distributed.all_reduce(
            torch.tensor(float(logits.shape[1]), device=logits.device)
        )
        right = (1 - share) * sums[1] + share * sums[2] / columns_in_all
        losses = (sums[0].log() + peak - right) * known
        return losses.sum() / known.sum().clamp(min=1)


def _mean_over_ranks(gradient: Tensor) -> Tensor:
    return gradient / distributed.world_size()


def _directions(first: int, end: int, classes: int, dim: int, seed: int) -> Tensor:
    """First directions of some of the classes, the same for any number of ranks; Xavier's normal.

    (end - first, dim)
    """
    deviation = math.sqrt(2 / (classes + dim))
    parts = []
    for block in range(first // ROWS, -(-end // ROWS)):
        random = np.random.default_rng([seed, block])
        rows = random.standard_normal((min(ROWS, classes - block * ROWS), dim), np.float32)
        parts.append(rows[max(0, first - block * ROWS) : end - block * ROWS])
    return torch.from_numpy(deviation * np.concatenate(parts))
