"""Naming people in a video, beside detecting and embedding in every picture of it.

The clip is made from photographs: people of whom the place and the name are known in every picture,
moving, growing, shrinking and blurred over a background.  Both ways read the same file, in turns,
piece by piece, so that a machine that slows down slows both.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, cast

import av
import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from mien import files, images
from mien.boxes import overlap
from mien.cli.options import DEFAULT_MODEL, ModelName
from mien.cli.render import Answer, Table
from mien.errors import BadInput
from mien.facebank.facebank import Facebank
from mien.facebank.rows import Photo
from mien.recognition.model import Model, load
from mien.types import Embeddings, Face, Image, NamedFace
from mien.verbs.watch import Moment, watch
from mien.video.read import Frame, Video

WIDTH, HEIGHT = 1280, 720
RATE = 30  # pictures a second
PEOPLE = 3
MARGIN = 0.9  # what a cut-out shows around a face, in parts of the face's size
HIT = 0.3  # common area of two boxes, as a part of both together, that is the same face


@dataclass(frozen=True, slots=True)
class Way:
    """One way to name people in the clip."""

    name: str
    fps: float  # pictures a second, the median over the turns
    slowest: float  # turn, in pictures a second
    fastest: float
    named: float  # share of the people in all pictures who got their own name
    wrong: float  # share who got another's
    ratio: float  # its speed to that of looking at every picture, median over the turns


@dataclass(frozen=True, slots=True, eq=False)
class Actor:
    """A cut-out of a photograph, and where the face is in it."""

    name: str
    image: Image
    box: NDArray[np.float32]  # (4,) x1, y1, x2, y2 in the cut-out


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Somebody in a picture."""

    name: str
    box: NDArray[np.float32]


def actors(photos: Sequence[Path], model: Model) -> tuple[list[Actor], Embeddings]:
    """The first few people of photographs with one face, and their vectors.

    Raises:
        BadInput: there are fewer than `PEOPLE` who differ.
    """
    threshold = model.policy().threshold
    found: list[Actor] = []
    vectors: list[NDArray[np.float32]] = []
    for path in photos:
        image = images.read(path)
        looked = model.look(image, limit=1)
        for face, vector in zip(looked.faces, looked.vectors, strict=True):
            if all(float(vector @ other) < threshold for other in vectors):
                found.append(_cut(path.stem, image, face))
                vectors.append(vector)
        if len(found) == PEOPLE:
            return found, np.stack(vectors)
    raise BadInput(f"{len(found)} people are in the photos: give photos of {PEOPLE}")


def _cut(name: str, image: Image, face: Face) -> Actor:
    """A face 200 pixels large with what is around it."""
    reach = face.size * MARGIN
    x1, y1, x2, y2 = face.box
    left, top = max(0, int(x1 - reach)), max(0, int(y1 - reach))
    part = image[top : int(y2 + reach), left : int(x2 + reach)]
    scale = 200 / face.size
    size = round(part.shape[1] * scale), round(part.shape[0] * scale)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    box = (face.box - np.array([left, top, left, top], np.float32)) * np.float32(scale)
    return Actor(name, cast("Image", cv2.resize(part, size, interpolation=method)), box)


def scenes(people: Sequence[Actor], seconds: float) -> Iterator[tuple[Image, list[Truth]]]:
    """The clip's pictures and who is where in them: each person in a third of the picture."""
    rows = np.linspace(40, 150, HEIGHT)[:, None, None] + np.linspace(0, 60, WIDTH)[None, :, None]
    noise = np.random.default_rng(0).normal(0, 12, (HEIGHT // 8, WIDTH // 8, 3))
    light = rows + cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    backdrop: Image = light.clip(0, 255).astype(np.uint8)
    for number in range(round(seconds * RATE)):
        canvas, truths = backdrop.copy(), []
        for place, actor in enumerate(people):
            turn = 2 * np.pi * (number / RATE / 4 + place / len(people))  # around once in 4 seconds
            scale = 0.45 + 0.2 * np.sin(turn * 0.7)
            height, width = actor.image.shape[:2]
            x = WIDTH * (place + 0.5) / len(people) + 90 * np.sin(turn) - width * scale / 2
            y = HEIGHT / 2 + 110 * np.cos(turn * 1.3) - height * scale / 2
            matrix = np.array([[scale, 0, x], [0, scale, y]])
            sharp = cv2.resize(actor.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            spread = 1.2 * (1 + np.sin(turn * 0.9))  # pixels: in and out of focus
            soft = cv2.GaussianBlur(sharp, (0, 0), max(spread, 0.1))
            shift = np.array([[1, 0, x], [0, 1, y]])
            cv2.warpAffine(
                soft, shift, (WIDTH, HEIGHT), canvas, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT
            )
            box = actor.box.reshape(2, 2) @ matrix[:, :2].T + matrix[:, 2]
            truths.append(Truth(actor.name, box.reshape(4).astype(np.float32)))
        yield canvas, truths


def make_clip(path: Path, people: Sequence[Actor], seconds: float) -> list[list[Truth]]:
    """Write the clip, H.264 in MP4; who is in each of its pictures."""
    truths = []
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image, truth in scenes(people, seconds):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            truths.append(truth)
        out.mux(stream.encode(None))
    return truths


def every_picture(
    stills: Iterator[Frame], model: Model, facebank: Facebank, path: Path
) -> Iterator[tuple[int, tuple[NamedFace, ...]]]:
    """The names in each picture by itself, with its number."""
    threshold = model.policy().threshold_among(person.photos for person in facebank.people())
    for still in stills:
        image = still.image()
        looked = model.look(image)
        matches = facebank.search(looked.vectors, threshold)
        pairs = zip(looked.faces, matches, strict=True)
        yield still.number, tuple(NamedFace(path, face, match) for face, match in pairs)


def ways(
    photos: Sequence[Path], model: Model, path: Path, *, seconds: float, turns: int
) -> list[Way]:
    """How fast and how rightly both ways name the people of a clip, ours first."""
    people, vectors = actors(photos, model)
    truths = make_clip(path, people, seconds)
    video = Video(path)
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as bank:
        bank.add(
            [Photo(one.name, f"{i:064x}", "", one.name, 1.0, 200) for i, one in enumerate(people)],
            vectors,
        )

        def tracked() -> Iterator[tuple[int, tuple[NamedFace, ...]]]:
            for seen in watch(video.stills(), model, bank, path=path):
                if isinstance(seen, Moment):
                    yield seen.frame.number, seen.faces

        def looked() -> Iterator[tuple[int, tuple[NamedFace, ...]]]:
            return every_picture(video.stills(), model, bank, path)

        runs = {"mien": tracked, "every picture": looked}
        answers = {name: dict(run()) for name, run in runs.items()}
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(turns):
            for name, run in runs.items():
                start = time.perf_counter()
                count = sum(1 for _ in run())
                rates[name].append(count / (time.perf_counter() - start))
    slow = np.array(rates["every picture"])
    return [
        Way(
            name,
            float(np.median(rates[name])),
            min(rates[name]),
            max(rates[name]),
            *_shares(answers[name], truths),
            float(np.median(np.array(rates[name]) / slow)),
        )
        for name in runs
    ]


def _shares(
    answers: dict[int, tuple[NamedFace, ...]], truths: list[list[Truth]]
) -> tuple[float, float]:
    """The shares of people in pictures who got their own name, and another's."""
    right = wrong = total = 0
    for number, truth in enumerate(truths):
        sightings = answers.get(number, ())
        for person in truth:
            total += 1
            boxes = np.array([one.face.box for one in sightings], np.float32).reshape(-1, 4)
            common = overlap(person.box[None], boxes)[0]
            names = [
                one.match.person
                for one, part in zip(sightings, common, strict=True)
                if part >= HIT and one.match.person
            ]
            right += person.name in names
            wrong += any(name != person.name for name in names)
    return right / total, wrong / total


_COLUMNS = {
    "": "{name}",
    "FRAMES PER SECOND": "{fps:.1f}",
    "RANGE": "{slowest:.1f} to {fastest:.1f}",
    "NAMED": "{named:.1%}",
    "WRONG": "{wrong:.1%}",
    "TIMES AS FAST": "{ratio:.2f}",
}


def main(
    photos: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Photos of three people, or folders.")
    ],
    *,
    model: ModelName = DEFAULT_MODEL,
    seconds: Annotated[float, typer.Option(metavar="S", min=1, help="Length of the clip.")] = 10,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Times that each is timed.")] = 3,
    clip: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the clip there, as MP4.")
    ] = None,
) -> Answer:
    """Measure naming people in a clip made of photos, beside looking at every frame of it.

    Of three people who move, grow, shrink and blur at 1280 x 720, NAMED and WRONG are the shares
    that got their own name and another's, over all frames.
    """
    network = load(model)
    with TemporaryDirectory() as folder:
        path = clip or Path(folder) / "clip.mp4"
        measured = ways(files.walk(photos), network, path, seconds=seconds, turns=turns)
    about = {"width": WIDTH, "height": HEIGHT, "fps": RATE, "seconds": seconds, "turns": turns}
    return Answer(about | {"ways": measured}, [Table(_COLUMNS, measured)])
