"""The margin head: class weights, and a margin loss on the cosines to them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.training import distributed
from mien.training.losses.stateful import StatefulLoss

ROWS = 4096  # classes whose initial weights are drawn together


class MarginHead(nn.Module):
    """Embeddings and labels to cross-entropy, over cosines to the weights of each class.

    Every rank holds a part of the classes and sees the embeddings of all ranks, so that ten million
    people fit; a step may sample some of the negative classes (An et al., Partial FC, arXiv
    2203.15565).  The loss and its
    gradients are the same for any number of ranks.

    All of it is float32, also under autocast: the step of bfloat16 below 1 is as much as 5 degrees.

    Args:
        dim: of an embedding.
        classes: how many people there are.
        loss: what `mien.training.losses.make` gives, or any function or `StatefulLoss` like it.
            What it takes beside cosines and labels is said there.
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
        takes = loss.forward if isinstance(loss, nn.Module) else loss
        self.takes = {"norms", "targets", "known"} & inspect.signature(takes).parameters.keys()
        self.first, self.end = (
            classes * rank // distributed.world_size()
            for rank in (distributed.rank(), distributed.rank() + 1)
        )
        self.weight = nn.Parameter(_initial_weights(self.first, self.end, classes, dim, seed))
        self.stateful = loss if isinstance(loss, StatefulLoss) else None
        if self.stateful:
            if self.stateful.binary and label_smoothing:
                raise ValueError("this loss takes no label_smoothing: it is no softmax")
            self.stateful.begin(classes * negative_sample_rate)
        if distributed.world_size() > 1:  # the mean over ranks, as DistributedDataParallel has it
            self.weight.register_hook(_mean_over_ranks)  # type: ignore[no-untyped-call]
            for shared in self.shared():
                shared.register_hook(_mean_of_sum)  # type: ignore[no-untyped-call]

    def shared(self) -> list[nn.Parameter]:
        """The parameters that all ranks have alike: those of the loss."""
        return list(self.stateful.parameters()) if self.stateful else []

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
            sampled = self._sample(labels, step)
            weights = self.weight if sampled is None else self.weight[sampled]
            cosine = F.linear(F.normalize(embeddings), F.normalize(weights.float()))
            columns, here = self._columns(labels, sampled)
            known, norms = labels >= 0, embeddings.norm(dim=1)
            logits = self._logits(cosine.clamp(-1, 1), columns, here, known=known, norms=norms)
            binary = self.stateful and self.stateful.binary
            losses = (self._binary if binary else self._softmax)(logits, columns, here)
            more = self.stateful.regulariser(norms) if self.stateful else None
            if more is not None:
                losses = losses + more
            return (losses * known).sum() / known.sum().clamp(min=1)

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

    def _sample(self, labels: Tensor, step: int) -> Tensor | None:
        """The classes of this rank that the step samples, sorted and counted from its first."""
        if self.negative_sample_rate == 1:
            return None
        count = self.end - self.first
        random = np.random.default_rng([self.seed, step, self.first])
        priority = torch.from_numpy(random.random(count, np.float32)).to(labels.device)
        mine = labels[(labels >= self.first) & (labels < self.end)] - self.first
        priority[mine] = 2.0
        wanted = max(math.ceil(self.negative_sample_rate * count), int((priority == 2).sum()))
        return priority.topk(wanted).indices.sort().values

    def _columns(self, labels: Tensor, sampled: Tensor | None) -> tuple[Tensor, Tensor]:
        """The column of each label, and whether it is here; where it is not, the column is 0."""
        here = (labels >= self.first) & (labels < self.end)
        columns = (labels - self.first).where(here, torch.zeros_like(labels))
        if sampled is not None:
            columns = torch.searchsorted(sampled, columns).where(here, columns)
        return columns, here

    def _logits(self, cosine: Tensor, columns: Tensor, here: Tensor, **offered: Tensor) -> Tensor:
        if "targets" in self.takes:
            target = cosine.gather(1, columns[:, None])[:, 0] * here
            offered["targets"] = distributed.all_reduce(target)
        taken = {name: value for name, value in offered.items() if name in self.takes}
        if here.all():
            return self.loss(cosine, columns, **taken)
        # A row whose class is elsewhere gets its margin in a column that is dropped again.
        wider = F.pad(cosine, (0, 1))
        elsewhere = torch.full_like(columns, cosine.shape[1])
        return self.loss(wider, columns.where(here, elsewhere), **taken)[:, :-1]

    def _softmax(self, logits: Tensor, columns: Tensor, here: Tensor) -> Tensor:
        """Cross-entropy of each row, as torch's own; each rank holds some columns."""
        peak = distributed.all_reduce_max(logits.amax(1))
        target = logits.gather(1, columns[:, None])[:, 0] * here
        sums = torch.stack([(logits - peak[:, None]).exp().sum(1), target, logits.sum(1)])
        sums = distributed.all_reduce(sums)
        share = self.label_smoothing
        columns_in_all = distributed.all_reduce(
            torch.tensor(float(logits.shape[1]), device=logits.device)
        )
        right = (1 - share) * sums[1] + share * sums[2] / columns_in_all
        return sums[0].log() + peak - right

    def _binary(self, logits: Tensor, columns: Tensor, here: Tensor) -> Tensor:
        """The binary cross-entropies of each row, summed over the classes of all ranks."""
        target = logits.gather(1, columns[:, None])[:, 0]
        return distributed.all_reduce(F.softplus(logits).sum(1) - target * here)


def _mean_over_ranks(gradient: Tensor) -> Tensor:
    return gradient / distributed.world_size()


def _mean_of_sum(gradient: Tensor) -> Tensor:
    return distributed.all_reduce(gradient) / distributed.world_size()


def _initial_weights(first: int, end: int, classes: int, dim: int, seed: int) -> Tensor:
    """Initial weights of some of the classes, the same for any number of ranks; Xavier's normal.

    (end - first, dim)
    """
    deviation = math.sqrt(2 / (classes + dim))
    parts = []
    for block in range(first // ROWS, -(-end // ROWS)):
        random = np.random.default_rng([seed, block])
        rows = random.standard_normal((min(ROWS, classes - block * ROWS), dim), np.float32)
        parts.append(rows[max(0, first - block * ROWS) : end - block * ROWS])
    return torch.from_numpy(deviation * np.concatenate(parts))
