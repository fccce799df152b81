"""Detectors: a picture to its faces.  A new one is one file and one line in the table."""

from __future__ import annotations

from collections.abc import Callable

from mien.recognition.detect.mtcnn import MTCNN
from mien.recognition.detect.whole import WholeImage
from mien.types import Detector

DETECTORS: dict[str, Callable[[int | None], Detector]] = {  # of so many threads; None: of all
    "mtcnn": lambda threads: MTCNN(threads=threads),
    "whole": lambda _: WholeImage(),
}
