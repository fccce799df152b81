"""How a network is computed: in which precision, and in which order its numbers lie in memory.

Which is fastest depends on the processor and can be told only by trying.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch
from torch import nn

from mien.align import SIZE

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
REPEATS = 2  # of a step, of which the faster counts


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to compute a network."""

    precision: str  # a key of DTYPES
    channels_last: bool  # whether the channels of a pixel lie side by side

    @property
    def memory_format(self) -> torch.memory_format:
        """Torch's name for the order."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which it computes."""
        dtype = DTYPES[self.precision]
        return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)

    def asdict(self) -> dict[str, Any]:
        """For a record."""
        return asdict(self)


def fastest(
    network: nn.Module,
    batch: int,
    device: torch.device,
    *,
    precision: str | None = None,
    channels_last: bool | None = None,
) -> Layout:
    """The layout in which a training step takes the least time here.

    The network's weights and figures are as before.

    Args:
        network: (N, 3, 112, 112) -> (N, dim), in training.
        batch: pictures in the steps that are tried.
        device: where.
        precision: a key of DTYPES; None tries float32 and bf16.
        channels_last: None tries both.
    """
    precisions = [precision] if precision else ["float32", "bf16"]
    orders = [channels_last] if channels_last is not None else [True, False]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    seconds = {
        layout: _step_seconds(network, batch, device, layout)
        for layout in (Layout(*chosen) for chosen in product(precisions, orders))
    }
    network.load_state_dict(before)
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return min(seconds, key=seconds.__getitem__)


def _step_seconds(network: nn.Module, batch: int, device: torch.device, layout: Layout) -> float:
    network.to(memory_format=layout.memory_format)  # type: ignore[call-overload]
    network.train()
    x = torch.randn(batch, 3, SIZE, SIZE, device=device).contiguous(
        memory_format=layout.memory_format
    )
    seconds = []
    for _ in range(REPEATS + 1):  # the first one only prepares
        began = time.perf_counter()
        with layout.autocast(device):
            loss = network(x).float().square().mean()
        loss.backward()
        network.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])
