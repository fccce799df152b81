"""ONNX Runtime as everything here uses it: a file in, a session out, one clear error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadModel


def processors() -> int:
    """Processors that this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def session(model: Path | bytes, *, threads: int | None = None, otherwise: str) -> Any:
    """A network ready to run.

    Args:
        model: an ONNX file, or its bytes.
        threads: processors to use; all that the process may use by default.
        otherwise: the sentence for the user where it cannot be loaded.

    Raises:
        BadModel: missing or damaged; says `otherwise`.
    """
    import onnxruntime as ort  # slow to import, and not every command runs a network
    from onnxruntime.capi import onnxruntime_pybind11_state as broken

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or processors()
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the processor from the next network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised, not printed
    try:
        content = model.read_bytes() if isinstance(model, Path) else model
        return ort.InferenceSession(content, options, ["CPUExecutionProvider"])
    except (
        OSError,
        broken.Fail,
        broken.InvalidArgument,
        broken.InvalidGraph,
        broken.InvalidProtobuf,
        broken.NotImplemented,
        broken.RuntimeException,
    ) as error:
        raise BadModel(otherwise) from error


def product(
    columns: NDArray[np.int8], zero: int
) -> Callable[[NDArray[np.uint8]], NDArray[np.int32]]:
    """The function from rows, (M, D), to the sums of (rows - zero) @ columns, (M, N), exact.

    Args:
        columns: (D, N), contiguous, of absolute values up to 64; it is packed into a copy.
        zero: the number that stands for zero in the rows.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = processors()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_external_initializers(["w"], [ort.OrtValue.ortvalue_from_numpy(columns)])
    depth, count = columns.shape
    network = ort.InferenceSession(
        _matmul_integer(depth, count, zero), options, ["CPUExecutionProvider"]
    )
    return lambda rows: network.run(None, {"q": rows})[0]


def _matmul_integer(depth: int, count: int, zero: int) -> bytes:
    """An ONNX file of one MatMulInteger, whose matrix is given from outside.

    It is written by hand, since the package onnx is only there where models are trained.  Numbers
    are those of the fields in onnx.proto3.
    """
    where = b"".join(
        _field(13, _field(1, key), _field(2, value))
        for key, value in (
            (b"location", b"memory"),
            (b"length", str(depth * count).encode()),
        )
    )
    matrix = _number(1, depth) + _number(1, count) + _number(2, 3) + _field(8, b"w") + where
    offset = _number(2, 2) + _field(8, b"zero") + _field(9, bytes([zero]))
    node = b"".join(_field(1, name) for name in (b"q", b"w", b"zero"))
    graph = (
        _field(1, node, _field(2, b"sums"), _field(4, b"MatMulInteger"))
        + _field(2, b"product")
        + _field(5, matrix, _number(14, 1))
        + _field(5, offset)
        + _field(11, _value(b"q", 2, depth))
        + _field(12, _value(b"sums", 6, count))
    )
    return _number(1, 8) + _field(7, graph) + _field(8, _number(2, 13))


def _value(name: bytes, kind: int, columns: int) -> bytes:
    """A matrix of any number of rows, as the graph's borders name it."""
    shape = _field(1, _field(2, b"M")) + _field(1, _number(1, columns))
    return _field(1, name) + _field(2, _field(1, _number(1, kind), _field(2, shape)))


def _field(number: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
