"""Detectors: a picture to its faces.  A new one is one file and one line in the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mien import defaults
from mien.errors import BadInput
from mien.recognition.detect.mien_detector import MienDetector
from mien.recognition.detect.mtcnn import MTCNN
from mien.recognition.detect.single_shot import OneShot
from mien.recognition.detect.whole_image import WholeImage
from mien.recognition.onnx.runtime import PLAIN, PROVIDERS, asked
from mien.types import Detector

DETECTORS: dict[str, Callable[..., Detector]] = {  # of threads, min_face and runtime
    "mien": MienDetector,
    "mtcnn": MTCNN,
    "whole": lambda **_: WholeImage(),
}


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
    provider = asked(runtime)
    if provider not in PROVIDERS:  # sizes of pictures vary, for which OpenVINO compiles anew
        provider = PLAIN
    if name in DETECTORS:
        return DETECTORS[name](threads=threads, min_face=min_face, runtime=provider)
    if Path(name).is_file():
        return OneShot(Path(name), threads=threads, runtime=provider)
    raise BadInput(
        f"there is no detector {name!r}; use one of {', '.join(DETECTORS)}, or a file of YuNet or"
        " SCRFD"
    )
