"""What runs networks: ONNX Runtime with one of its providers, and for embeddings OpenVINO."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadModel, needs_extra
from mien.parallel import processors
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
        content = model.read_bytes() if isinstance(model, Path) else model
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
    # Threads that spin while they wait take the processor from the next network.
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


def load_network(
    model: bytes, *, runtime: str, threads: int | None = None, otherwise: str
) -> Callable[[Array], Array]:
    """A network of one input and one output, ready to be called on a batch of any size.

    Args:
        model: an ONNX file's bytes.
        runtime: one of `mien.recognition.onnx.runtime.RUNTIMES`.
        threads: processors to use; all that the process may use by default.
        otherwise: the sentence for the user where it cannot be loaded.

    Raises:
        BadModel: damaged; says `otherwise`.
        MissingExtra: OpenVINO is not installed.
    """
    if runtime == "openvino":
        return _on_openvino(model, threads, otherwise)
    network = session(model, threads=threads, runtime=runtime, otherwise=otherwise)
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
