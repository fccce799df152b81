"""Writes ONNX files: a graph of operations and their constants.

The package `onnx` does this and more, but is large and only training needs it.  The numbers are
those of the fields and types in onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.recognition.onnx.protobuf import field

FLOAT, UINT8, INT8, INT32, INT64 = 1, 2, 3, 6, 7  # what a tensor holds
_KINDS = {np.dtype(np.float32): FLOAT, np.dtype(np.uint8): UINT8, np.dtype(np.int64): INT64}
_INT, _INTS = 2, 7  # what an attribute holds
_FILE, _OPERATIONS = 8, 13  # versions


def node(
    operation: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int | list[int]
) -> bytes:
    """An operation, with the names of its inputs and outputs."""
    named = [field(1, name) for name in inputs] + [field(2, name) for name in outputs]
    options = [field(5, _attribute(name, value)) for name, value in attributes.items()]
    return b"".join(named) + field(4, operation) + b"".join(options)


def _attribute(name: str, value: int | list[int]) -> bytes:
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, _INT)
    return field(1, name) + b"".join(field(8, one) for one in value) + field(20, _INTS)


def initializer(name: str, array: NDArray[Any]) -> bytes:
    """A named constant: float32, uint8 or int64."""
    shape = b"".join(field(1, size) for size in array.shape)
    return shape + field(2, _KINDS[array.dtype]) + field(8, name) + field(9, array.tobytes())


def external_initializer(name: str, kind: int, shape: Sequence[int], size: int) -> bytes:
    """An array of `size` bytes that comes with the session's options, not with the file."""
    place = {"location": "memory", "length": str(size)}
    where = b"".join(field(13, field(1, key) + field(2, value)) for key, value in place.items())
    sizes = b"".join(field(1, size) for size in shape)
    return sizes + field(2, kind) + field(8, name) + where + field(14, 1)


def value_info(name: str, kind: int, *shape: int | str) -> bytes:
    """The name, type and shape of an input or output; a named dimension is dynamic."""
    each = b"".join(field(1, field(1 if isinstance(one, int) else 2, one)) for one in shape)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, each)))


def model(
    nodes: Iterable[bytes],
    constants: Iterable[bytes],
    inputs: Iterable[bytes],
    outputs: Iterable[bytes],
) -> bytes:
    """An ONNX file; operations are in topological order."""
    parts = {1: nodes, 5: constants, 11: inputs, 12: outputs}
    graph = b"".join(field(number, one) for number, part in parts.items() for one in part)
    return field(1, _FILE) + field(7, graph + field(2, "mien")) + field(8, field(2, _OPERATIONS))
