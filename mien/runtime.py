"""ONNX Runtime as everything here uses it: a file in, a session out, one clear error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

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
