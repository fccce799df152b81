"""Exact int8 matrix products, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.recognition.onnx import graph
from mien.recognition.onnx.session import options, start

CPUINFO = Path("/proc/cpuinfo")


def multiplier(
    blocks: NDArray[np.int8], zero: int
) -> Callable[[NDArray[np.uint8]], Sequence[NDArray[np.int32]]]:
    """The function from rows, (M, D), to the sums of (rows - zero) @ blocks, exact.

    The sums are parts of (M, blocks * B): of each block, or of all where that takes no copying.
    Where ONNX Runtime can, it multiplies a single row by the blocks as they lie in memory, which
    may be a file's; for anything else it packs a copy of them, when first asked.

    Args:
        blocks: (blocks, D, B), contiguous, of absolute values up to 64; they must not change.
        zero: the number that stands for zero in the rows.
    """
    packed = cache(lambda: _session(blocks, zero, given=False))
    flags = _cpu_flags()
    if "avx2" not in flags or "amx_int8" in flags:
        return lambda rows: packed().run(None, {"q": rows})

    in_place = _session(blocks, 0, given=True)  # with any other zero it would pack at each call
    zeros = np.full((1, blocks.shape[1]), zero, np.uint8)
    too_much = in_place.run(None, {"q": zeros, "w": blocks})[0]

    def multiply(rows: NDArray[np.uint8]) -> Sequence[NDArray[np.int32]]:
        if len(rows) > 1:
            several: list[NDArray[np.int32]] = packed().run(None, {"q": rows})
            return several
        sums: NDArray[np.int32] = in_place.run(None, {"q": rows, "w": blocks})[0]
        sums -= too_much
        return [sums.reshape(1, -1)]

    return multiply


def _session(blocks: NDArray[np.int8], zero: int, *, given: bool) -> Any:
    """A session that multiplies "q" by "w", which is given as well and all blocks, or by each."""
    from onnxruntime import OrtValue

    settings = options()
    names = ["w"] if given else [f"w{i}" for i in range(len(blocks))]
    if not given:
        values = [OrtValue.ortvalue_from_numpy(block) for block in blocks]
        settings.add_external_initializers(names, values)
    return start(_matmul_integer(names, blocks.shape, zero, given=given), settings)


def _matmul_integer(names: list[str], shape: tuple[int, ...], zero: int, *, given: bool) -> bytes:
    """An ONNX file of a MatMulInteger by each name: an input of this shape, or one block of it.

    Blocks come from outside, and are constants, which ONNX Runtime packs if they are matrices.
    """
    stack, inner, columns = shape
    before = (stack,) if given else ()
    nodes = [graph.node("MatMulInteger", ["q", name, "zero"], [f"q{name}"]) for name in names]
    constants = [graph.initializer("zero", np.array(zero, np.uint8))]
    inputs = [graph.value_info("q", graph.UINT8, "M", inner)]
    if given:
        inputs += [graph.value_info(name, graph.INT8, *shape) for name in names]
    else:
        block, size = (inner, columns), inner * columns
        constants += [graph.external_initializer(name, graph.INT8, block, size) for name in names]
    outputs = [graph.value_info(f"q{name}", graph.INT32, *before, "M", columns) for name in names]
    return graph.model(nodes, constants, inputs, outputs)


def _cpu_flags() -> set[str]:
    """What the processor can do, where there is a file to ask."""
    try:
        return set(CPUINFO.read_text("ascii", errors="replace").split())
    except OSError:
        return set()
