"""The whole way from a photo's file to names, by stage, beside `face_recognition`.

Both take every photo in turn, so that a machine that slows down slows both: the ratio holds where
single times do not.  Then ours takes them several at a time, as where a folder is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image as Pillow

from benchmarks.peers import FaceRecognition, boxes_of
from mien import files, images
from mien.boxes import Floats
from mien.cli.options import DEFAULT_MODEL, ModelName
from mien.cli.render import Answer, Table
from mien.errors import BadInput
from mien.facebank.index.exact import ExactIndex
from mien.parallel import at_once, map_in_order
from mien.recognition.align import crops
from mien.recognition.detect.mien_detector import MienDetector
from mien.recognition.embedder import OnnxEmbedder
from mien.recognition.model import model_file
from mien.types import Image

SIZES = ((640, 480), (1280, 720))  # width and height in pixels
PEOPLE = 1000  # that a face is looked for among
FOLDER = 100  # photos, or more: threads begin slowly, and at the end wait for the last

Boxes = NDArray[np.float32]  # (N, 4) x1, y1, x2, y2
Stages = dict[str, float]  # seconds a photo by stage


@dataclass(frozen=True, slots=True)
class Way:
    """One recogniser on all photos of one size."""

    name: str
    width: int
    height: int
    threads: int
    photos: int
    faces: int  # that it found
    alone: int  # faces that it found and the other did not
    missed: int  # photos in which it found none
    milliseconds: float  # a photo, the median over the turns
    fastest: float
    slowest: float
    stages: Stages  # milliseconds a photo, medians; none where several go through at a time
    ratio: float | None  # its time to the first's; None for the first


class Clock:
    """Adds up seconds by stage."""

    def __init__(self) -> None:
        self.stages: Stages = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts what runs inside."""
        start = time.perf_counter()
        yield
        self.stages[name] = self.stages.get(name, 0) + time.perf_counter() - start


class _Timed(MienDetector):
    """The detector, its three networks timed apart."""

    clock = Clock()

    def find(self, halves: list[Image], min_face: float) -> Floats:
        with self.clock.stage("find"):
            return super().find(halves, min_face)

    def look_again(self, halves: list[Image], points: Floats) -> tuple[Floats, Floats]:
        with self.clock.stage("look again"):
            return super().look_again(halves, points)

    def settle(self, halves: list[Image], points: Floats) -> Floats:
        with self.clock.stage("settle"):
            return super().settle(halves, points)


def ways(
    photos: Sequence[Path],
    model: Path,
    folder: Path,
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    threads: int | None = None,
    turns: int = 7,
    beside: bool = True,
) -> list[Way]:
    """How long photos take, ours first.

    Args:
        photos: files of pictures with faces.
        model: a file of `mien export`.
        folder: where the photos are kept in the sizes that are measured, as JPEG.
        sizes: width and height; a photo is fitted into it, black where it does not reach.
        threads: of our networks; dlib takes one.
        turns: how often all photos go through, after one time that is not counted.
        beside: whether `face_recognition` is measured too.

    Raises:
        BadInput, BadModel, MissingExtra: something cannot be used.
    """
    runs = {"mien": _ours(model, threads)}
    if beside:
        runs[FaceRecognition.name] = _theirs()
    several = _ours(model, 1)
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads or before)
    try:
        return [
            way
            for size in sizes
            for way in _measured(
                runs, several, _fitted(photos, size, folder), size, threads or before, turns
            )
        ]
    finally:
        cv2.setNumThreads(before)


Run = Callable[[Path, Clock], Boxes]  # a photo to its faces' boxes


def _measured(
    runs: dict[str, Run],
    several: Run,
    photos: list[Path],
    size: tuple[int, int],
    threads: int,
    turns: int,
) -> list[Way]:
    boxes = {name: [run(path, Clock()) for path in photos] for name, run in runs.items()}
    clocks = {name: [Clock() for _ in range(turns)] for name in runs}
    number, together = min(threads, at_once(len(photos))), []
    folder = photos * -(-FOLDER // len(photos))
    for turn in range(turns):
        for path in photos:
            for name, run in runs.items():
                run(path, clocks[name][turn])
        if number > 1:
            start = time.perf_counter()
            for _, done in map_in_order(lambda path: several(path, Clock()), folder, number):
                done()
            together.append(time.perf_counter() - start)
    first = next(iter(runs))
    totals = {
        name: np.array([sum(clock.stages.values()) for clock in every]) * 1000 / len(photos)
        for name, every in clocks.items()
    }
    measured = [
        Way(
            name=name,
            width=size[0],
            height=size[1],
            threads=threads if name == first else 1,
            photos=len(photos),
            faces=sum(map(len, boxes[name])),
            alone=sum(
                _unseen(others, own)
                for other in runs
                if other != name
                for own, others in zip(boxes[name], boxes[other], strict=True)
            ),
            missed=sum(not len(found) for found in boxes[name]),
            milliseconds=float(np.median(totals[name])),
            fastest=float(totals[name].min()),
            slowest=float(totals[name].max()),
            stages={
                stage: float(np.median([clock.stages[stage] for clock in clocks[name]]))
                * 1000
                / len(photos)
                for stage in clocks[name][0].stages
            },
            ratio=None if name == first else float(np.median(totals[name] / totals[first])),
        )
        for name in runs
    ]
    if not together:
        return measured
    each = np.array(together) * 1000 / len(folder)
    many = replace(
        measured[0],
        name=f"{first}, {number} at a time",
        threads=1,
        milliseconds=float(np.median(each)),
        fastest=float(each.min()),
        slowest=float(each.max()),
        stages={},
        ratio=float(np.median(each / totals[first])),
    )
    return [measured[0], many, *measured[1:]]


def _unseen(some: Boxes, others: Boxes) -> int:
    """How many of the others have their middle in none of some."""
    middles = (others[:, None, :2] + others[:, None, 2:]) / 2  # (M, 1, 2)
    inside = np.all((some[:, :2] <= middles) & (middles <= some[:, 2:]), axis=2)  # (M, N)
    return int(np.sum(~np.any(inside, axis=1)))


def _ours(model: Path, threads: int | None) -> Run:
    detector, embed = _Timed(threads=threads), OnnxEmbedder(model, threads=threads)
    people = np.random.default_rng(0).standard_normal((PEOPLE, embed.dim), np.float32)
    index = ExactIndex(people / np.linalg.norm(people, axis=1, keepdims=True))

    def run(path: Path, clock: Clock) -> Boxes:
        detector.clock = Clock()
        with clock.stage("read"):
            data = images.read_bytes(path)
        with clock.stage("decode"):
            image = images.decode(data, str(path))
        with clock.stage("detect"):
            faces = detector(image)
        for name, seconds in detector.clock.stages.items():
            clock.stages[name] = clock.stages.get(name, 0) + seconds
            clock.stages["detect"] -= seconds  # what is left is the picture's own preparation
        with clock.stage("align"):
            aligned = crops(image, faces)
        with clock.stage("embed"):
            vectors = embed(aligned)
        with clock.stage("search"):
            index.search(vectors, 1)
        return np.array([face.box for face in faces], np.float32).reshape(-1, 4)

    return run


def _theirs() -> Run:
    peer = FaceRecognition()
    people = np.random.default_rng(0).standard_normal((PEOPLE, 128))

    def run(path: Path, clock: Clock) -> Boxes:
        with clock.stage("decode"):
            image = np.array(Pillow.open(path).convert("RGB"))
        with clock.stage("detect"):
            found = peer.detect(image)
        with clock.stage("embed"):
            vectors = peer.embed(image, found)
        with clock.stage("search"):
            for vector in vectors:
                np.linalg.norm(people - vector, axis=1)
        return boxes_of(found)

    return run


def _fitted(photos: Sequence[Path], size: tuple[int, int], folder: Path) -> list[Path]:
    """The photos as JPEGs of one size, each in the middle of black."""
    width, height = size
    paths = []
    for number, photo in enumerate(photos):
        image = images.read(photo)
        scale = min(width / image.shape[1], height / image.shape[0])
        columns, rows = (max(1, round(side * scale)) for side in image.shape[1::-1])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        canvas = np.zeros((height, width, 3), np.uint8)
        top, left = (height - rows) // 2, (width - columns) // 2
        canvas[top : top + rows, left : left + columns] = cv2.resize(
            image, (columns, rows), interpolation=method
        )
        paths.append(folder / f"{number}-{width}x{height}.jpg")
        images.write(paths[-1], canvas)
    return paths


_COLUMNS = {
    "": "{name}",
    "SIZE": "{width}x{height}",
    "THREADS": "{threads}",
    "FACES": "{faces}",
    "ALONE": "{alone}",
    "MISSED": "{missed}",
    "MS A PHOTO": "{milliseconds:.1f}",
    "RANGE": "{fastest:.1f} to {slowest:.1f}",
    "TIMES MIEN'S": "{ratio:.2f}",
}


def main(
    photos: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Photos that show faces, or folders.")
    ],
    *,
    model: ModelName = DEFAULT_MODEL,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WxH",
            show_default="640x480 and 1280x720",
            help="Fit the photos into it; may be repeated.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processors to use.")
    ] = None,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Times that each is timed.")] = 7,
    alone: Annotated[
        bool, typer.Option("--alone", help="Leave out face_recognition, which needs mien\\[peers].")
    ] = False,
) -> Answer:
    """Measure the whole way from a photo to names, by stage, beside face_recognition.

    ALONE counts faces that only this one found, MISSED photos in which it found none.
    """
    with TemporaryDirectory() as folder:
        measured = ways(
            files.walk(photos),
            model_file(model),
            Path(folder),
            sizes=[_size(text) for text in size] if size else SIZES,
            threads=threads,
            turns=turns,
            beside=not alone,
        )
    stages = [
        f"{way.name} {way.width}x{way.height}: "
        + ", ".join(f"{name} {spent:.1f}" for name, spent in way.stages.items())
        for way in measured
        if way.stages
    ]
    return Answer({"turns": turns, "ways": measured}, [Table(_COLUMNS, measured), *stages])


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise BadInput(f"{text!r} is no size: give width and height, as in 640x480")
    return int(width), int(height)
