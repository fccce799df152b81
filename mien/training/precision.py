"""Precision and memory format: which of them is fastest, this machine says itself.

Channels first or last, float32 or bfloat16: the order differs from processor to processor and from
network to network, so a step of each is run and timed.  Some kinds of convolution have no fast
kernel in bfloat16, as on many processors depthwise ones of stride 2: those are found by a step of
each, too, and stay in float32.
"""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of malloc.h
STEPS = 3  # of each that are timed, after one that is not
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Precision:
    """Precision and memory format of training, as `torch.autocast` and `Tensor.to` take them."""

    dtype: torch.dtype = torch.float32  # of convolutions; weights are float32 always
    channels_last: bool = False
    float32: tuple[str, ...] = ()  # kinds of convolution that are computed in it nevertheless

    @property
    def memory_format(self) -> torch.memory_format:
        """For `Tensor.to` and `Module.to`."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> AbstractContextManager[None]:
        """What a forward pass runs in."""
        return torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32)

    def apply(self, network: nn.Module) -> None:
        """Brings a network's weights into the memory format, and marks what stays in float32."""
        network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and type(layer) in (nn.Conv2d, Float32Conv2d):
                layer.__class__ = Float32Conv2d if kind(layer) in self.float32 else nn.Conv2d

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        name = next(name for name, dtype in DTYPES.items() if dtype == self.dtype)
        return {
            "dtype": name,
            "channels_last": self.channels_last,
            "float32": list(self.float32),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Precision:
        """What `to_json` has given."""
        return cls(
            DTYPES[content["dtype"]], content["channels_last"], tuple(content.get("float32", ()))
        )

    def __str__(self) -> str:
        order = "channels last" if self.channels_last else "channels first"
        but = f", but float32 in {' and '.join(self.float32)}" if self.float32 else ""
        return f"{str(self.dtype).removeprefix('torch.')}, {order}{but}"


class Float32Conv2d(nn.Conv2d):
    """A convolution that autocast leaves in float32."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def kind(layer: nn.Conv2d) -> str:
    """What a convolution's speed depends on besides its size, as "depthwise 3x3 of stride 2"."""
    height, width = layer.kernel_size
    depthwise = "depthwise " if layer.groups == layer.in_channels > 1 else ""
    stride = "" if layer.stride == (1, 1) else f" of stride {layer.stride[0]}"
    return f"{depthwise}{height}x{width}{stride}"


def hold_memory() -> None:
    """Has this process keep the memory that a step gives back, for the next one to take.

    The C library of Linux hands large blocks back to the system, which fills them with zeros before
    it gives them out again, some gigabytes a step: half of the time of training on a processor.
    Elsewhere nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return
    settings = getattr(ctypes.CDLL(None), "mallopt", None)  # of glibc; others have none
    if settings:
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 1 << 26)):
            settings(option, value)


def precisions(device: torch.device) -> list[Precision]:
    """Those that a device computes in hardware; float32 with the channels first is the first."""
    dtypes = [torch.float32]
    if _has_bfloat16(device):
        dtypes.append(torch.bfloat16)
    return [Precision(dtype, last) for dtype in dtypes for last in (False, True)]


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False


def fastest(
    network: nn.Module,
    batch: int,
    device: torch.device,
    *,
    among: Sequence[Precision] | None = None,
    size: tuple[int, int] = (112, 112),
) -> Precision:
    """What a network trains fastest in, by a few steps of each in turn.

    The network, its gradients and the random state are left as they were.

    Args:
        network: takes (N, 3, H, W).
        batch: N; it matters to which is fastest.
        device: where to try.
        among: what to choose from; all `precisions` of the device by default.
        size: H and W.
    """
    candidates = list(among or precisions(device))
    if len(candidates) == 1:
        return candidates[0]
    with torch.random.fork_rng():
        photos = torch.randn(batch, 3, *size, device=device)
        spent = [0.0] * len(candidates)
        copies = [deepcopy(network).to(device).train() for _ in candidates]
        candidates = [
            replace(precision, float32=slow_kinds(copy, photos, precision))
            for precision, copy in zip(candidates, copies, strict=True)
        ]
        for step in range(STEPS + 1):
            for k, precision in enumerate(candidates):
                seconds = step_seconds(copies[k], photos, precision)
                spent[k] = min(spent[k], seconds) if step > 1 else seconds
    return min(zip(spent, candidates, strict=True), key=lambda pair: pair[0])[1]


def slow_kinds(network: nn.Module, photos: Tensor, precision: Precision) -> tuple[str, ...]:
    """The kinds of convolution in a network that are slower in a precision than in float32.

    Of each kind the one with the largest output is timed.  Empty where there is nothing to choose:
    in float32, and on a GPU, which has kernels for all.
    """
    if precision.dtype == torch.float32 or photos.is_cuda:
        return ()
    network.to(memory_format=precision.memory_format)  # type: ignore[call-overload]
    largest: dict[str, tuple[int, nn.Conv2d, Tensor]] = {}

    def note(layer: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        name, before = kind(layer), largest.get(kind(layer))
        if before is None or before[0] < output.numel():
            largest[name] = output.numel(), layer, inputs[0].detach()

    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(note) for layer in convolutions]
    with torch.no_grad():
        network(photos.contiguous(memory_format=precision.memory_format))
    for hook in hooks:
        hook.remove()
    return tuple(
        sorted(
            name
            for name, (_, layer, x) in largest.items()
            if _seconds(layer, x, precision)
            > _seconds(layer, x, replace(precision, dtype=torch.float32))
        )
    )


def _seconds(layer: nn.Conv2d, x: Tensor, precision: Precision) -> float:
    """The best time of a layer forward and backward."""
    best = math.inf
    for _ in range(STEPS):
        x = x.detach().requires_grad_()
        start = time.perf_counter()
        with precision.autocast(x.device):
            y: Tensor = layer(x)
        y.backward(torch.ones_like(y))  # type: ignore[no-untyped-call]
        best = min(best, time.perf_counter() - start)
    return best


def step_seconds(network: nn.Module, photos: Tensor, precision: Precision) -> float:
    """Time of one pass forward and backward; the network is left in that."""
    precision.apply(network)
    x = photos.contiguous(memory_format=precision.memory_format)
    network.zero_grad()
    _finish(x)
    start = time.perf_counter()
    with precision.autocast(x.device):
        output: Tensor = network(x)
    output.float().square().mean().backward()  # type: ignore[no-untyped-call]
    _finish(x)
    return time.perf_counter() - start


def _finish(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
