"""What runs networks: ONNX Runtime, and for embeddings OpenVINO where that is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadInput, BadModel, needs_extra
from mien.parallel import processors
from mien.recognition.onnx import graph

RUNTIMES = ("onnxruntime", "openvino")
CPUINFO = Path("/proc/cpuinfo")

Array = NDArray[Any]


def session(
    model: Path | bytes,
    *,
    threads: int | None = None,
    profile: str | None = None,
    otherwise: str,
) -> Any:
    """A network ready to run.

    Args:
        model: an ONNX file, or its bytes.
        threads: processors to use; all that the process may use by default.
        profile: where the times of all operations are written, without the end of its name.
        otherwise: the sentence for the user where it cannot be loaded.

    Raises:
        BadModel: missing or damaged; says `otherwise`.
    """
    import onnxruntime as ort  # slow to import, and not every command runs a network

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or processors()
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the processor from the next network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    options.log_severity_level = 4  # what goes wrong is raised, not printed
    try:
        content = model.read_bytes() if isinstance(model, Path) else model
        # Without its fallback, which prints to stdout and tries the same again.
        return ort.InferenceSession(content, options, ["CPUExecutionProvider"], enable_fallback=0)
    except failures(OSError) as error:
        raise BadModel(otherwise) from error


@cache
def failures(*besides: type[Exception]) -> tuple[type[Exception], ...]:
    """What ONNX Runtime and OpenVINO raise of a network that they cannot load, or cannot run.

    Args:
        besides: what else may be raised there.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as broken

    return (
        *besides,
        broken.Fail,
        broken.InvalidArgument,
        broken.InvalidGraph,
        broken.InvalidProtobuf,
        broken.NotImplemented,
        broken.RuntimeException,
        RuntimeError,
        UnicodeDecodeError,  # of a message that quotes what is damaged
    )


def chosen() -> str:
    """Which of `RUNTIMES` embeds: what MIEN_RUNTIME says, else ONNX Runtime.

    Raises:
        BadInput: MIEN_RUNTIME names no runtime.
    """
    name = os.environ.get("MIEN_RUNTIME") or RUNTIMES[0]
    if name not in RUNTIMES:
        raise BadInput(f"MIEN_RUNTIME is {name!r}: give one of {', '.join(RUNTIMES)}")
    return name


def _processor() -> set[str]:
    """What the processor can do, where there is a file to ask."""
    try:
        return set(CPUINFO.read_text("ascii", errors="replace").split())
    except OSError:
        return set()


def one_to_one(
    model: bytes, *, runtime: str, threads: int | None = None, otherwise: str
) -> Callable[[Array], Array]:
    """A network of one input and one output, ready to be called on a batch of any size.

    Args:
        model: an ONNX file's bytes.
        runtime: one of `RUNTIMES`.
        threads: processors to use; all that the process may use by default.
        otherwise: the sentence for the user where it cannot be loaded.

    Raises:
        BadModel: damaged; says `otherwise`.
        MissingExtra: OpenVINO is not installed.
    """
    if runtime == "openvino":
        return _on_openvino(model, threads, otherwise)
    network = session(model, threads=threads, otherwise=otherwise)
    entry = network.get_inputs()[0].name

    def run(batch: Array) -> Array:
        found: Array = network.run(None, {entry: batch})[0]
        return found

    return run


def import_openvino() -> Any:
    """The package; by itself it would report to an analytics service that it was imported."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as if not installed
    import openvino  # slow to import

    return openvino


def _on_openvino(model: bytes, threads: int | None, otherwise: str) -> Callable[[Array], Array]:
    with needs_extra("OpenVINO", "openvino"):
        openvino = import_openvino()
    settings = {"INFERENCE_NUM_THREADS": threads or processors(), "PERFORMANCE_HINT": "LATENCY"}
    core = openvino.Core()
    try:
        network = core.read_model(model=model, weights=b"")
        # One by one: each size of batch would be compiled anew, and a larger one gains nothing.
        network.reshape([1, *list(network.input().partial_shape)[1:]])
        request = core.compile_model(network, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise BadModel(otherwise) from error

    alone = Lock()  # a request takes one caller at a time

    def run(batch: Array) -> Array:
        with alone:
            return np.concatenate([request.infer({0: one[None]})[0] for one in batch])

    return run


def product(
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
    packed = cache(lambda: _multiplier(blocks, zero, given=False))
    flags = _processor()
    if "avx2" not in flags or "amx_int8" in flags:
        return lambda rows: packed().run(None, {"q": rows})

    in_place = _multiplier(blocks, 0, given=True)  # with any other zero it would pack at each call
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


def _multiplier(blocks: NDArray[np.int8], zero: int, *, given: bool) -> Any:
    """A session that multiplies "q" by "w", which is given as well and all blocks, or by each."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = processors()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    names = ["w"] if given else [f"w{i}" for i in range(len(blocks))]
    if not given:
        values = [ort.OrtValue.ortvalue_from_numpy(block) for block in blocks]
        options.add_external_initializers(names, values)
    network = _matmul_integer(names, blocks.shape, zero, given=given)
    return ort.InferenceSession(network, options, ["CPUExecutionProvider"])


def _matmul_integer(names: list[str], shape: tuple[int, ...], zero: int, *, given: bool) -> bytes:
    """An ONNX file of a MatMulInteger by each name: an input of this shape, or one block of it.

    Blocks come from outside, and are constants, which ONNX Runtime packs if they are matrices.
    """
    stack, inner, columns = shape
    before = (stack,) if given else ()
    nodes = [graph.node("MatMulInteger", ["q", name, "zero"], [f"q{name}"]) for name in names]
    constants = [graph.constant("zero", np.array(zero, np.uint8))]
    inputs = [graph.border("q", graph.UINT8, "M", inner)]
    if given:
        inputs += [graph.border(name, graph.INT8, *shape) for name in names]
    else:
        block, size = (inner, columns), inner * columns
        constants += [graph.constant_elsewhere(name, graph.INT8, block, size) for name in names]
    outputs = [graph.border(f"q{name}", graph.INT32, *before, "M", columns) for name in names]
    return graph.file(nodes, constants, inputs, outputs)
