"""Detectors: a picture to its faces.  A new one is one file and one line in the table."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from mien import defaults
from mien.errors import BadInput, BadModel
from mien.parallel import processors
from mien.recognition.detect.mien_detector import MienDetector
from mien.recognition.detect.mtcnn import MTCNN
from mien.recognition.detect.single_shot import OneShot
from mien.recognition.detect.whole_image import WholeImage
from mien.recognition.onnx.runtime import AUTO, PLAIN, asked, fastest
from mien.types import Detector

DETECTORS: dict[str, Callable[..., Detector]] = {  # of threads, min_face and runtime
    "mien": MienDetector,
    "mtcnn": MTCNN,
    "whole": lambda **_: WholeImage(),
}
_LOG = logging.getLogger(__name__)
_PICTURE = np.zeros((480, 640, 3), np.uint8)  # that runtimes are timed on


def named(
    name: str,
    *,
    threads: int | None = None,
    min_face: float = defaults.MIN_FACE,
    runtime: str | None = None,
) -> Detector:
    """A detector of the table, or of a file of YuNet or SCRFD.

    Args:
        name: of either.
        threads: that work on one picture; by default as many as there are processors to use.
        min_face: side in pixels of the smallest face, where the detector heeds it.
        runtime: see `mien.recognition.model.load`.

    Raises:
        BadInput: there is neither such a detector nor such a file; or the face is too small for it.
        BadModel: the file is of neither family, or weights are missing or damaged.
    """
    if name not in DETECTORS and not Path(name).is_file():
        raise BadInput(
            f"there is no detector {name!r}; use one of {', '.join(DETECTORS)}, or a file of YuNet"
            " or SCRFD"
        )

    def load(runtime: str) -> Detector:
        if name in DETECTORS:
            return DETECTORS[name](threads=threads, min_face=min_face, runtime=runtime)
        return OneShot(Path(name), threads=threads, runtime=runtime)

    chosen = asked(runtime)
    if chosen == AUTO:
        what = f"detector {Path(name).name} with {threads or processors()} threads"
        chosen = fastest(what, lambda one: partial(load(one), _PICTURE))
    try:
        return load(chosen)
    except BadModel:
        if chosen == PLAIN:
            raise
        found = load(PLAIN)  # or it is the file that is damaged
        _LOG.warning("detector %s runs on ONNX Runtime, as %s fails", name, chosen)
        return found


def identity(detector: Detector) -> str:
    """What decides which faces a detector finds: its kind, its weights and its settings."""
    weights = [detector.network(name) for name in getattr(detector, "networks", ())]  # type: ignore[attr-defined]
    if isinstance(detector, OneShot):
        weights = [detector.file.read_bytes()]
    settings = {
        name: getattr(detector, name, None)
        for name in ("min_face", "factor", "threshold", "thresholds")
    }
    digest = hashlib.sha256(b"".join(weights)).hexdigest()[:12] if weights else ""
    told = [f"{name}={value}" for name, value in settings.items() if value is not None]
    return " ".join([type(detector).__qualname__, *filter(None, [digest]), *told])
