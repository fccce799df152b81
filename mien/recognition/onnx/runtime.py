"""Chooses the runtime of a network: the one asked for, or the fastest on this machine."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec

from mien import machine
from mien.errors import BadInput, BadModel, MissingExtra

AUTO, PLAIN = "auto", "onnxruntime"
PROVIDERS = {  # of ONNX Runtime, by the name of the runtime
    PLAIN: "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
RUNTIMES = (PLAIN, "openvino", *list(PROVIDERS)[1:])
PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "openvino")
VARIABLE = "MIEN_RUNTIME"  # of the environment: the default
SECONDS = 0.3  # of timing, beside loading
ROUNDS = 3  # at least, each runtime once a round, so that a machine that slows down slows all
FEW = 100  # photos, done before another runtime would be ready
GAIN = 0.9  # of ONNX Runtime's time: another must be faster than this to be chosen


def installed() -> list[str]:
    """Those of `RUNTIMES` that this machine has, ONNX Runtime on the processor first."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    return [
        name
        for name in RUNTIMES
        if (find_spec("openvino") if name == "openvino" else PROVIDERS[name] in there)
    ]


def asked(name: str | None = None) -> str:
    """A name of `RUNTIMES`, or "auto": by default what MIEN_RUNTIME says, else "auto".

    Raises:
        BadInput: it is neither, or this machine has no such runtime.
    """
    name = name or os.environ.get(VARIABLE) or AUTO
    if name not in (AUTO, *RUNTIMES):
        raise BadInput(f"there is no runtime {name!r}: use one of {', '.join((AUTO, *RUNTIMES))}")
    if name in PROVIDERS and name != PLAIN and name not in installed():
        raise BadInput(
            f"the installed ONNX Runtime has no {PROVIDERS[name]}: install one that has, or use "
            "--runtime auto"
        )
    return name


def fastest(what: str, load: Callable[[str], Callable[[], object]]) -> str:
    """The fastest runtime on this machine; timed once, then remembered.

    Args:
        what: is to be run, as "mien-small with 2 threads".
        load: for the name of a runtime, what to time; it may raise BadModel or MissingExtra.
    """
    names = installed()

    def find() -> str:
        runs = {}
        for name in names:
            with suppress(BadModel, MissingExtra):
                runs[name] = load(name)
        return least_time(runs) if PLAIN in runs else PLAIN

    return str(machine.once(f"runtime for {what}", PACKAGES, find)) if len(names) > 1 else PLAIN


def least_time(runs: Mapping[str, Callable[[], object]]) -> str:
    """The name of what takes the least time; ONNX Runtime unless another is clearly faster.

    Args:
        runs: what to time; holds `PLAIN`.
    """
    for run in runs.values():
        run()  # the first time is not like the others
    least = dict.fromkeys(runs, math.inf)  # the minimum: other load can only add to it
    start, rounds = time.perf_counter(), 0
    while rounds < ROUNDS or time.perf_counter() - start < SECONDS:
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            least[name] = min(least[name], time.perf_counter() - began)
        rounds += 1
    best = min(least, key=least.__getitem__)
    return best if least[best] < GAIN * least[PLAIN] else PLAIN


def for_photos(count: int) -> str:
    """What `asked` says; for few photos "auto" is ONNX Runtime, which is loaded soonest."""
    name = asked()
    return PLAIN if name == AUTO and count < FEW else name
