"""Distributed training: ranks and collective operations.

`torchrun` starts the ranks.  Gradients follow the convention of torch.distributed: the sum of all
ranks' losses is differentiated, of which DistributedDataParallel takes the mean.  In a single
process, every function here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

T = TypeVar("T")

PATIENCE = timedelta(minutes=5)  # for a rank that hangs; one that has died is noticed at once


def rank() -> int:
    """The number of this process, 0 to `world_size() - 1`."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is rank 0, even after the process group is gone."""
    return int(os.environ.get("RANK", "0")) == 0


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def launched() -> int:
    """How many processes torchrun has started, even before they have joined."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """The number of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Joins the process group that torchrun has started, if any."""
    if launched() == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def barrier() -> None:
    """Returns when all ranks have arrived."""
    if world_size() > 1:
        dist.barrier()


def all_gather(x: Tensor) -> Tensor:
    """All ranks' rows in the order of the ranks, (N, ...) -> (world * N, ...), differentiable."""
    return _apply(_AllGather, x) if world_size() > 1 else x


def all_reduce(x: Tensor) -> Tensor:
    """The sum over all ranks, differentiable."""
    return _apply(_AllReduce, x) if world_size() > 1 else x


def _apply(function: type[torch.autograd.Function], x: Tensor) -> Tensor:
    out: Tensor = function.apply(x)  # type: ignore[no-untyped-call]
    return out


def _sum(x: Tensor) -> Tensor:
    x = x.contiguous().clone()
    dist.all_reduce(x)
    return x


# torch.distributed.nn has these two, but announces that they will go.
class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _sum(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _sum(gradient)


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rows = [
            torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())
        ]
        dist.all_gather(rows, x.contiguous())
        return torch.cat(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _sum(gradient).chunk(world_size())[rank()]


def all_reduce_max(x: Tensor) -> Tensor:
    """The maximum over all ranks, without gradient."""
    x = x.detach()
    if world_size() > 1:
        x = x.clone()
        dist.all_reduce(x, dist.ReduceOp.MAX)
    return x


class SharedBatchNorm(_BatchNorm):
    """Batch norm over all ranks' batches, so that a step does not depend on their number.

    torch's own SyncBatchNorm needs a GPU.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"input must be (N, C, ...), not {tuple(x.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        values = x.float()
        count = world_size() * values.numel() // values.shape[1]
        mean = all_reduce(values.sum(axes)) / count
        centred = values - mean.view(shape)
        variance = all_reduce(centred.square().sum(axes)) / count
        figures: Any = self  # of which torch's types allow for a batch norm without any
        with torch.no_grad():
            unbiased = variance * count / max(1, count - 1)
            figures.running_mean.lerp_(mean, self.momentum)
            figures.running_var.lerp_(unbiased, self.momentum)
            figures.num_batches_tracked += 1
        slope = self.weight * (variance + self.eps).rsqrt()
        return (centred * slope.view(shape) + self.bias.view(shape)).to(x.dtype)


def share_batch_norm(network: nn.Module) -> None:
    """Makes every batch norm of a network one over all ranks; the names of its weights stay."""
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                shared = SharedBatchNorm(layer.num_features, layer.eps, layer.momentum)
                shared.load_state_dict(layer.state_dict())
                setattr(parent, name, shared.to(layer.weight.device))


def any_rank(fact: bool, device: torch.device) -> bool:
    """Whether something is true on any rank."""
    return (
        bool(all_reduce_max(torch.tensor(float(fact), device=device))) if world_size() > 1 else fact
    )


def broadcast(find: Callable[[], T]) -> T:
    """Rank 0's value, broadcast to all ranks."""
    found = [find() if rank() == 0 else None]
    if world_size() > 1:
        dist.broadcast_object_list(found)
    return found[0]  # type: ignore[return-value]
