"""Quantisation-aware training: a network in 8 bits learns the vectors that it gave in float32.

Forward, it computes what its file will: weights and maps are rounded.  Backward, gradients pass as
if they had not been (Jacob et al. 2018, arXiv 1712.05877).  Weights and biases are learned; the
scales of maps stay as they were calibrated, and that of a channel's weights follows from the
largest of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor, nn

from mien.errors import BadInput
from mien.types import Crops, Embeddings, Progress

BATCH = 16
RATE = 1e-3  # of a step at first, relative to the size of what it changes
LARGEST = 63  # of a weight's code: 7 bits, see `mien.training.export.int8`


def fine_tune(
    proto: onnx.ModelProto,
    weights: dict[str, Tensor],
    crops: Crops,
    vectors: Embeddings,
    *,
    steps: int,
    progress: Progress,
) -> None:
    """Trains a quantised network, in place, to give these vectors for these crops.

    Args:
        proto: what ONNX Runtime's static quantisation has made, with QuantizeLinear and
            DequantizeLinear around each operation.
        weights: before they were quantised, by the name of their codes.
        crops: (N, 112, 112, 3) uint8.
        vectors: (N, D) of unit length.
        steps: of AdamW, each on `BATCH` crops.
        progress: is given the steps.

    Raises:
        BadInput: the network has an operation that cannot be trained here.
    """
    network = QuantisedNetwork(proto, weights)
    # A step is a share of a tensor's size: that of folded weights differs from layer to layer.
    groups = [
        {"params": [p], "lr": 1.0, "size": float(p.detach().square().mean().sqrt())}
        for p in network.parameters()
        if p.detach().any()
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0)
    random, goals = np.random.default_rng(0), torch.from_numpy(vectors)
    for step in progress(range(steps), "training"):
        for group in optimizer.param_groups:
            group["lr"] = RATE * group["size"] * (1 + math.cos(math.pi * step / steps)) / 2
        chosen = random.integers(len(crops), size=BATCH)
        optimizer.zero_grad()
        loss = 1 - F.cosine_similarity(network(torch.from_numpy(crops[chosen])), goals[chosen])
        loss.mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    network.write()


class QuantisedNetwork(nn.Module):
    """A quantised ONNX network that can be trained.

    Raises:
        BadInput: it has an operation that is not in `OPERATIONS`.
    """

    def __init__(self, proto: onnx.ModelProto, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self._graph = proto.graph
        for node in self._graph.node:
            if node.op_type not in OPERATIONS:
                raise BadInput(
                    f"networks with {node.op_type} cannot be trained in 8 bits: give --steps 0"
                )
        self._nodes = [
            (node, {each.name: helper.get_attribute_value(each) for each in node.attribute})
            for node in self._graph.node
        ]
        self._constants: dict[str, Tensor] = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
            for tensor in self._graph.initializer
        }
        learned = {one: weights[one] for one in self._constants if one in weights}
        for node in self._graph.node:
            for name in node.input[2:] if node.op_type in ("Conv", "Gemm") else ():
                if name in self._constants:
                    learned[name] = self._constants[name]
        self._names = list(learned)
        self._learned = nn.ParameterList(nn.Parameter(each.float()) for each in learned.values())

    def forward(self, crops: Tensor) -> Tensor:
        """(N, D) for (N, 112, 112, 3) uint8."""
        values: dict[str, Any] = {
            **self._constants,
            **dict(zip(self._names, self._learned, strict=True)),
            self._graph.input[0].name: crops,
        }
        for node, attributes in self._nodes:
            given = [values[name] for name in node.input if name]
            if node.op_type == "DequantizeLinear" and node.input[0] in self._names:
                made = _rounded(given[0], channel_scales(given[0], attributes.get("axis", 0)))
            else:
                made = OPERATIONS[node.op_type](attributes, *given)
            values[node.output[0]] = made
        embeddings: Tensor = values[self._graph.output[0].name]
        return embeddings

    def write(self) -> None:
        """Puts what was learned into the network's file."""
        held = {tensor.name: tensor for tensor in self._graph.initializer}
        learned = {
            name: each.detach() for name, each in zip(self._names, self._learned, strict=True)
        }
        for node, attributes in self._nodes:
            if node.op_type == "DequantizeLinear" and node.input[0] in learned:
                weight = learned.pop(node.input[0])
                scale = channel_scales(weight, attributes.get("axis", 0))
                codes = weight.div(scale).round().to(torch.int8)
                held[node.input[0]].CopyFrom(_tensor(node.input[0], codes))
                held[node.input[1]].CopyFrom(_tensor(node.input[1], scale.flatten()))
        for name, value in learned.items():
            held[name].CopyFrom(_tensor(name, value))


def _tensor(name: str, value: Tensor) -> onnx.TensorProto:
    return numpy_helper.from_array(value.numpy(), name)


def channel_scales(weight: Tensor, axis: int) -> Tensor:
    """What one of a code stands for in each channel, in the weight's dimensions."""
    others = [k for k in range(weight.dim()) if k != axis]
    return weight.detach().abs().amax(others, keepdim=True).clamp(min=1e-12) / LARGEST


class _Round(torch.autograd.Function):
    """Multiples of a scale, with the gradient of what was rounded to them."""

    @staticmethod
    def forward(_: Any, x: Tensor, scale: Any) -> Tensor:
        multiples: Tensor = x.div(scale).round_().mul_(scale)
        return multiples

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _rounded(x: Tensor, scale: Tensor | float) -> Tensor:
    return cast("Tensor", _Round.apply(x, scale))  # type: ignore[no-untyped-call]


def _quantise(_: Any, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """A map as its codes say it; torch's own operation takes three times as long."""
    step, middle = scale.item(), int(zero)
    low, high = (torch.iinfo(zero.dtype).min - middle, torch.iinfo(zero.dtype).max - middle)
    return _rounded(F.hardtanh(x, low * step, high * step), step)


def _conv(attributes: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    return F.conv2d(
        F.pad(x, (left, right, top, bottom)) if (top, left) != (bottom, right) else x,
        weight,
        bias,
        attributes.get("strides", [1, 1]),
        (top, left) if (top, left) == (bottom, right) else 0,
        attributes.get("dilations", [1, 1]),
        attributes.get("group", 1),
    )


def _gemm(attributes: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight if attributes.get("transB") else weight.T, bias)


OPERATIONS: dict[str, Callable[..., Tensor]] = {  # of the attributes and the inputs
    "Add": lambda _, x, y: x + y,
    "AveragePool": lambda a, x: F.avg_pool2d(x, a["kernel_shape"], a["strides"]),
    "Cast": lambda a, x: x.to(torch.float32 if a["to"] == onnx.TensorProto.FLOAT else torch.int64),
    "Clip": lambda _, x, low, high=None: x.clamp(low, high),
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "Conv": _conv,
    "DequantizeLinear": lambda _, x, *scale: x,
    "Div": lambda _, x, y: x / y,
    "Expand": lambda _, x, shape: x.expand(*shape.tolist()),
    "Flatten": lambda _, x: x.flatten(1),
    "Gemm": _gemm,
    "Identity": lambda _, x: x,
    "LpNormalization": lambda a, x: F.normalize(x, dim=a["axis"]),
    "MatMul": lambda _, x, y: x @ y,
    "Mul": lambda _, x, y: x * y,
    "PRelu": lambda _, x, slope: torch.where(x < 0, slope * x, x),
    "QuantizeLinear": _quantise,
    "ReduceL2": lambda a, x, axes: torch.linalg.vector_norm(x, dim=axes.tolist(), keepdim=True),
    "ReduceMean": lambda a, x, axes: x.mean(axes.tolist(), keepdim=bool(a.get("keepdims", 1))),
    "Relu": lambda _, x: x.relu(),
    "Reshape": lambda _, x, shape: x.reshape(*shape.tolist()),
    "Shape": lambda a, x: torch.tensor(x.shape)[a.get("start", 0) : a.get("end")],
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Sub": lambda _, x, y: x - y,
    "Transpose": lambda a, x: x.permute(*a["perm"]),
    "Unsqueeze": lambda _, x, axes: x[(..., *[None] * len(axes))],
}
