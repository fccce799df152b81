"""Runs networks: on ONNX Runtime with one of its providers, or on OpenVINO."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadModel, needs_extra
from mien.files import contents
from mien.parallel import processors
from mien.recognition.onnx.protobuf import fields
from mien.recognition.onnx.runtime import PLAIN, PROVIDERS

_LOG = logging.getLogger(__name__)
Array = NDArray[Any]


def session(
    model: Path | bytes,
    *,
    threads: int | None = None,
    profile: str | None = None,
    runtime: str = PLAIN,
    otherwise: str,
) -> Any:
    """A network ready to run.

    Args:
        model: an ONNX file, or its bytes.
        threads: processors to use; all that the process may use by default.
        profile: where the times of all operations are written, without the end of its name.
        runtime: a key of `PROVIDERS`.
        otherwise: the sentence for the user where it cannot be loaded.

    Raises:
        BadModel: missing or damaged; says `otherwise`.
    """
    settings = options(threads)
    if profile:
        settings.enable_profiling, settings.profile_file_prefix = True, profile
    try:
        content = contents(model) if isinstance(model, Path) else model
        try:
            return start(content, settings, PROVIDERS[runtime])
        except runtime_errors():
            if runtime == PLAIN:
                raise
            found = start(content, settings)  # or it is the file that is damaged
            _LOG.warning("%s fails: ONNX Runtime runs on the processor instead", runtime)
            return found
    except runtime_errors(OSError) as error:
        raise BadModel(otherwise) from error


def options(threads: int | None = None) -> Any:
    """The options of a session with this many threads; by default one per processor."""
    import onnxruntime as ort  # slow to import, and not every command runs a network

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads or processors()
    settings.inter_op_num_threads = 1
    # Spinning threads would take the processor from the next network.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 4  # what goes wrong is raised, not printed
    return settings


def start(model: bytes, settings: Any, provider: str = PROVIDERS[PLAIN]) -> Any:
    """A session of ONNX Runtime with `options`; raises `runtime_errors`."""
    import onnxruntime as ort

    providers = list(dict.fromkeys([provider, PROVIDERS[PLAIN]]))  # the second takes what is left
    # Without its fallback, which prints to stdout and tries the same again.
    return ort.InferenceSession(model, settings, providers, enable_fallback=0)


@cache
def runtime_errors(*besides: type[Exception]) -> tuple[type[Exception], ...]:
    """The errors of ONNX Runtime and OpenVINO when a network cannot be loaded or run.

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


@dataclass(frozen=True, slots=True)
class Network:
    """A network with one input, ready to run from several threads."""

    run: Callable[[Array], list[Array]]  # from a batch to every output
    shape: tuple[int | None, ...]  # of what it takes; None: any size
    outputs: tuple[str, ...]  # names

    def __call__(self, batch: Array) -> list[Array]:
        return self.run(batch)


def network(
    model: Path | bytes, *, runtime: str = PLAIN, threads: int | None = None, otherwise: str
) -> Network:
    """A network ready to run; see `session`.

    Args:
        model: an ONNX file, or its bytes.
        runtime: one of `mien.recognition.onnx.runtime.RUNTIMES`.
        threads: processors to use for one caller; all that the process may use by default.
        otherwise: the sentence for the user where it cannot be loaded.

    Raises:
        BadModel: missing or damaged; says `otherwise`.
        MissingExtra: OpenVINO is not installed.
    """
    if runtime == "openvino":
        return _on_openvino(model, threads or processors(), otherwise)
    started = session(model, threads=threads, runtime=runtime, otherwise=otherwise)
    (entry, *_), outputs = started.get_inputs(), started.get_outputs()
    return Network(
        lambda batch: started.run(None, {entry.name: batch}),
        tuple(size if isinstance(size, int) else None for size in entry.shape),
        tuple(output.name for output in outputs),
    )


def load_network(
    model: bytes, *, runtime: str, threads: int | None = None, otherwise: str
) -> Callable[[Array], Array]:
    """The first output of a `network`, for a batch of any size."""
    loaded = network(model, runtime=runtime, threads=threads, otherwise=otherwise)
    return lambda batch: loaded(batch)[0]


def import_openvino() -> Any:
    """The package, kept from reporting its import to an analytics service."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as if not installed
    import openvino  # slow to import

    return openvino


@cache
def _openvino() -> Any:
    with needs_extra("OpenVINO", "openvino"):
        return import_openvino().Core()


def _on_openvino(model: Path | bytes, threads: int, otherwise: str) -> Network:
    core = _openvino()
    callers = max(1, processors() // threads)  # at a time, others wait
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": callers,
        "INFERENCE_NUM_THREADS": callers * threads,
    }
    try:
        content = model.read_bytes() if isinstance(model, Path) else model
        read = core.read_model(model=content, weights=b"")
        shape = list(read.input().partial_shape)
        # One by one: each batch size would be compiled separately, and larger ones gain nothing.
        read.reshape([1, *shape[1:]])
        compiled = core.compile_model(read, "CPU", settings)
    except (OSError, RuntimeError) as error:
        raise BadModel(otherwise) from error
    idle: SimpleQueue[Any] = SimpleQueue()
    for _ in range(callers):
        idle.put(compiled.create_infer_request())

    def run(batch: Array) -> list[Array]:
        request = idle.get()
        try:
            said = [list(request.infer({0: one[None]}).values()) for one in batch]
        finally:
            idle.put(request)
        return [np.concatenate(parts) for parts in zip(*said, strict=True)]

    return Network(
        run,
        tuple(size.get_length() if size.is_static else None for size in shape),
        _output_names(content),
    )


def _output_names(model: bytes) -> tuple[str, ...]:
    """The names in the file: OpenVINO also lists aliases of an output."""
    graph = dict(fields(model))[7]
    return tuple(dict(fields(value))[1].decode() for key, value in fields(graph) if key == 12)
