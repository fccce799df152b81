"""Detectors beside each other: whom they miss, what they mistake for a face, points, and time.

The data are laid out as docs/models/mien-detector.md says; what is absent is left out.
"""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mien import images
from mien.boxes import overlap
from mien.recognition.align import crop
from mien.recognition.onnx.session import session
from mien.recognition.quality import largest
from mien.types import Detector, Face, Image

FMR = 1e-3
HELD_OUT = 40  # people of celebs/, the last
WITHIN = 40  # degrees by which a found face may be turned otherwise than it is
SIZES = (16, 24, 40)  # pixels of the faces in composed scenes
SCENE, FACES = (480, 640), 8  # rows and columns of one, and its faces
ALARMS = 20  # scenes with one false face between them
MEAN, SPREAD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of the teacher's pixels

Floats = NDArray[np.float64]
Detectors = Mapping[str, Detector]


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement of every detector."""

    what: str
    values: Sequence[str]  # in the order of the detectors


def bars(
    detectors: Detectors,
    smallest: Callable[[int], Detectors],
    data: Path,
    limit: int | None,
    parts: Sequence[str],
) -> Iterator[Row]:
    """All rows of some parts of the table.

    Args:
        detectors: by name, one thread each.
        smallest: the same, of a smallest face of so many pixels, and that say whatever they doubt.
        data: see above.
        limit: photos of each set; None: all.
        parts: some of `PARTS`.
    """
    for name in parts:
        folder, measure = PARTS[name]
        if (data / folder).is_dir():
            yield from measure(detectors, smallest, data, limit)


def _everyday(detectors: Detectors, _: Any, data: Path, limit: int | None) -> Iterator[Row]:
    """Photos of FairFace's validation part: found as they are, by label, and made hard."""
    with (data / "fairface" / "labels.csv").open() as file:
        labels = [row for row in csv.DictReader(file) if row["file"].startswith("val/")]
    labels = _some(labels, limit)
    photos = [images.read(data / "fairface" / row["file"]) for row in labels]
    found = {name: [bool(detect(one)) for one in photos] for name, detect in detectors.items()}
    yield Row(f"no face in {len(photos)} of FairFace val", _missed(found.values()))
    for label in ("group", "age", "sex"):
        groups = sorted({row[label] for row in labels})
        worst = []
        for each in found.values():
            rates = {
                group: 1
                - np.mean([f for f, row in zip(each, labels, strict=True) if row[label] == group])
                for group in groups
            }
            last = max(rates, key=lambda group: rates[group])
            worst.append(f"{100 * rates[last]:.2f} % {last}")
        yield Row(f"  of one {label}, the worst", worst)
    hard: dict[str, tuple[Callable[[Image, int], Image], Callable[[int], float] | None]] = {
        "turned by 45 degrees": (lambda p, i: _turned(p, 45 if i % 2 else -45), _signed(45)),
        "turned by 90 degrees": (lambda p, i: np.rot90(p, 1 if i % 2 else 3).copy(), _signed(90)),
        "turned by 180 degrees": (lambda p, _: np.rot90(p, 2).copy(), lambda _: 180.0),
        "brightness x 0.08": (lambda p, _: (p * 0.08).astype(np.uint8), None),
        "a tenth of the face cut off": (_cut, None),
    }
    for what, (change, angle) in hard.items():
        changed = [change(photo, i) for i, photo in enumerate(photos)]
        shares = list[str]()
        for detect in detectors.values():
            right = [
                any(
                    angle is None or _apart(_roll(face), angle(i)) < WITHIN
                    for face in detect(one)[:1]
                )
                for i, one in enumerate(changed)
            ]
            shares.append(f"{100 * np.mean(right):.1f} %")
        yield Row(f"found, {what}", shares)


def _published(detectors: Detectors, _: Any, data: Path, limit: int | None) -> Iterator[Row]:
    """Photos of CFP's profiles and of LFW."""
    cfp = [p for p in sorted((data / "cfp" / "images").glob("*/*")) if int(p.stem[-4:]) > 10]
    for what, paths in (
        ("CFP's profiles", cfp),
        ("LFW", sorted((data / "lfw").glob("images/*/*"))),
    ):
        photos = _some(paths, limit)
        found = {
            name: [bool(detect(images.read(p))) for p in photos]
            for name, detect in detectors.items()
        }
        yield Row(f"no face in {len(photos)} of {what}", _missed(found.values()))


def _false(detectors: Detectors, _: Any, data: Path, limit: int | None) -> Iterator[Row]:
    """Photos whose faces were painted over: of FairFace val and of LFW."""
    sets = (
        ("FairFace val", sorted((data / "fairface" / "val").iterdir())),
        ("LFW", sorted((data / "lfw" / "images").glob("*/*_0001.jpg"))),
    )
    for what, paths in sets:
        wrong = dict.fromkeys(detectors, 0)
        photos = _some(paths, limit or 1000)
        for path in photos:
            photo = images.read(path)
            faces = [face for detect in detectors.values() for face in detect(photo)]
            middle = [np.array([1, 1, 5, 5]) * len(photo) / 6] if len(photo) < 200 else []
            painted = painted_over(photo, [*middle, *(face.box for face in faces)])
            for name, detect in detectors.items():
                wrong[name] += len(detect(painted))
        yield Row(
            f"faces in {len(photos)} of {what}, painted over", [str(n) for n in wrong.values()]
        )


def _scenes(_: Any, smallest: Any, data: Path, limit: int | None) -> Iterator[Row]:
    """Small faces in composed scenes, where one scene in 20 has a false one."""
    paths = sorted((data / "fairface" / "val").iterdir())
    number = min(limit or 200, 200)
    for size in SIZES:
        rates = []
        for detect in smallest(size).values():
            random = np.random.default_rng(0)
            found, alarms = list[float](), list[float]()
            for _ in range(number):
                scene, boxes = compose(random, paths, size)
                sure = np.zeros(len(boxes))
                for face in detect(scene):
                    common = overlap(face.box[None], boxes)[0]
                    if common.max() > 0.3:
                        sure[common.argmax()] = max(sure[common.argmax()], face.confidence)
                    else:
                        alarms.append(face.confidence)
                found += sure.tolist()
            alarms.sort(reverse=True)
            least = alarms[number // ALARMS] if len(alarms) > number // ALARMS else 0.0
            rates.append(f"{100 * np.mean(np.array(found) > least):.1f} %")
        yield Row(f"found, {size} pixels in {number} scenes", rates)


def _alignment(detectors: Detectors, _: Any, data: Path, limit: int | None) -> Iterator[Row]:
    """True matches of a teacher's vectors of the crops that the points make."""
    people = sorted((data / "celebs").iterdir())[-HELD_OUT:]
    paths = [(n, path) for n, person in enumerate(people) for path in sorted(person.iterdir())]
    teacher = session(
        data / "teacher" / "mobilefacenet-ms1m.onnx", threads=1, otherwise="the teacher is damaged"
    )
    values = []
    for detect in detectors.values():
        vectors, who = [], []
        for n, path in paths:
            photo = images.read(path)
            if faces := detect(photo):
                pixels = (crop(photo, largest(faces)[0].points) - np.array(MEAN)) / SPREAD
                given = pixels.astype(np.float32).transpose(2, 0, 1)[None]
                (vector,) = teacher.run(None, {teacher.get_inputs()[0].name: given})[0]
                vectors.append(vector / np.linalg.norm(vector))
                who.append(n)
        scores = np.stack(vectors) @ np.stack(vectors).T
        pairs = np.triu_indices(len(who), 1)
        same = np.array(who)[pairs[0]] == np.array(who)[pairs[1]]
        strangers = np.sort(scores[pairs][~same])[::-1]
        values.append(
            f"{100 * np.mean(scores[pairs][same] > strangers[int(FMR * len(strangers))]):.1f} %"
        )
    yield Row(f"TAR at FAR {FMR:g}, {len(paths)} photos of celebs", values)


def _time(detectors: Detectors, _: Any, data: Path, limit: int | None) -> Iterator[Row]:
    """Milliseconds a picture, one thread."""
    faces = _some(sorted((data / "fairface" / "val").iterdir()), 20)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for columns, rows in ((640, 480), (1280, 720), (4000, 3000)):
            for number in (1, 20):
                picture = _group(faces[:number], rows, columns)
                spent = defaultdict(list)
                for _ in range(7):
                    for name, detect in detectors.items():
                        start = time.process_time()
                        detect(picture)
                        spent[name].append(time.process_time() - start)
                values = [f"{1000 * np.min(spent[name]):.1f} ms" for name in detectors]
                yield Row(f"{columns} x {rows}, {number} face{'s' * (number > 1)}", values)
    finally:
        cv2.setNumThreads(threads)


PARTS = {  # of the table, with the folder that each needs
    "everyday": ("fairface", _everyday),
    "published": ("lfw", _published),
    "false": ("fairface/val", _false),
    "scenes": ("fairface/val", _scenes),
    "alignment": ("celebs", _alignment),
    "time": ("fairface/val", _time),
}


def compose(random: np.random.Generator, paths: Sequence[Path], size: int) -> tuple[Image, Floats]:
    """A scene of clouds and stripes with faces of a size that fade into it, and their (N, 4) boxes.

    FairFace's photos have their face in the middle, with a quarter of it around.
    """
    rows, columns = SCENE
    clouds = [
        cv2.resize(
            random.uniform(0, 255, (n, n, 3)), (columns, rows), interpolation=cv2.INTER_CUBIC
        )
        for n in (4, 16, 64)
    ]
    scene = np.clip(0.5 * clouds[0] + 0.3 * clouds[1] + 0.2 * clouds[2], 0, 255).astype(np.uint8)
    side = round(1.5 * size)
    boxes = np.empty((0, 4))
    while len(boxes) < FACES:
        photo = images.read(paths[int(random.integers(len(paths)))])
        x, y = random.integers(0, columns - side), random.integers(0, rows - side)
        box = np.array([x, y, x, y]) + np.array([1, 1, 5, 5]) * side / 6
        grown = box + np.array([-size, -size, size, size])
        if len(boxes) and overlap(grown[None], boxes).max() > 0:
            continue
        small = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)
        shape: NDArray[Any] = np.zeros((side, side), np.float32)
        cv2.ellipse(
            shape, (side // 2, side // 2), (round(0.42 * side), side // 2), 0, 0, 360, 1, -1
        )
        shape = cv2.GaussianBlur(shape, (0, 0), max(0.5, 0.03 * side))[..., None]
        under = scene[y : y + side, x : x + side]
        under[:] = under + shape * (small.astype(np.float32) - under)
        boxes = np.vstack([boxes, box])
    return scene, boxes


def _group(paths: Sequence[Path], rows: int, columns: int) -> Image:
    """A picture with photos in a grid of 5 x 4, or one in its middle."""
    if len(paths) == 1:
        picture = np.full((rows, columns, 3), 110, np.uint8)
        side = rows // 2
        face = cv2.resize(images.read(paths[0]), (side, side), interpolation=cv2.INTER_CUBIC)
        left = (columns - side) // 2
        picture[rows // 4 : rows // 4 + side, left : left + side] = face
        return picture
    photos = [cv2.resize(images.read(path), (144, 144)) for path in paths]
    grid = np.vstack([np.hstack(photos[i : i + 5]) for i in range(0, 20, 5)])
    return cast("Image", cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC))


def _turned(photo: Image, degrees: int) -> Image:
    rows, columns = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), degrees, 1)
    return cast("Image", cv2.warpAffine(photo, matrix, (columns, rows)))


def _cut(photo: Image, turn: int) -> Image:
    """A photo of FairFace whose border takes a tenth of the face; of each side in turn."""
    edge = round(photo.shape[0] * (1 / 6 + 2 / 30))
    return np.ascontiguousarray(np.rot90(np.rot90(photo, turn % 4)[edge:], -(turn % 4)))


def _signed(degrees: int) -> Callable[[int], float]:
    """How a face lies, of which every other one was turned to the left by so much."""
    return lambda i: float(-degrees if i % 2 else degrees)


def _roll(face: Face) -> float:
    """Degrees that the eyes' line is turned to the right."""
    x, y = face.points[1] - face.points[0]
    return float(np.degrees(np.arctan2(y, x)))


def _apart(one: float, other: float) -> float:
    return abs((one - other + 180) % 360 - 180)


def painted_over(photo: Image, boxes: Iterable[NDArray[Any]]) -> Image:
    """The photo without what is in some boxes."""
    rows, columns = photo.shape[:2]
    mask = np.zeros((rows, columns), np.uint8)
    for x0, y0, x1, y1 in boxes:
        centre = round((x0 + x1) / 2), round((y0 + y1) / 2)
        half = round(0.62 * (x1 - x0)), round(0.62 * (y1 - y0))
        cv2.ellipse(mask, centre, half, 0, 0, 360, 255, -1)
    small = [cv2.resize(one, (columns // 2, rows // 2)) for one in (photo, mask)]
    painted = cv2.inpaint(small[0], small[1], 4, cv2.INPAINT_TELEA)
    full = cv2.resize(painted, (columns, rows), interpolation=cv2.INTER_CUBIC)
    return np.where(mask[..., None] > 0, full, photo)


def _missed(found: Iterable[Sequence[bool]]) -> list[str]:
    return [f"{100 * (1 - np.mean(each)):.2f} %" for each in found]


def _some(things: Sequence[Any], limit: int | None) -> list[Any]:
    """At most so many, from all over."""
    if limit is None or len(things) <= limit:
        return list(things)
    return [things[i] for i in np.linspace(0, len(things) - 1, limit).astype(int)]
