"""How fast photos are looked at on this machine, with each runtime that is installed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mien import images
from mien.errors import BadInput
from mien.parallel import map_in_order, threads_each
from mien.recognition.model import Model, load
from mien.recognition.onnx.runtime import PLAIN, installed
from mien.types import Skipped

LEAST = 16  # photos in a turn: threads begin slowly, and at the end wait for the last


@dataclass(frozen=True, slots=True)
class Speed:
    """A runtime of networks on some photos, from their files to vectors."""

    runtime: str
    photos_per_second: float  # the median over the turns
    slowest: float  # turn
    fastest: float
    ratio: float  # to ONNX Runtime on the processor: the median over the turns
    faces: int  # in all photos


def readable(paths: Iterable[Path]) -> tuple[list[Path], list[Skipped]]:
    """The photos to measure with, and those that cannot be read.

    Raises:
        BadInput: none can.
    """
    photos, skipped = [], []
    for path in paths:
        try:
            images.read(path)
        except BadInput as error:
            skipped.append(Skipped(path, str(error)))
        else:
            photos.append(path)
    if skipped and not photos:
        raise BadInput(skipped[0].reason)
    return photos, skipped


def speed(
    paths: Sequence[Path], name: str | Path, *, detector: str, at_once: int, turns: int = 5
) -> list[Speed]:
    """How many photos per second each runtime of this machine takes, the fastest first.

    They take turns, so that a machine that slows down slows all.

    Args:
        paths: photos.
        name: a model that ships, or a file.
        detector: as `load` takes it.
        at_once: photos to look at at a time.
        turns: how often all photos go through, after one time that is not counted.

    Raises:
        BadInput: a photo cannot be read.
        BadModel: no such model, or a damaged one.
    """
    models = {
        runtime: load(name, detector=detector, threads=threads_each(at_once), runtime=runtime)
        for runtime in installed()
    }
    if not paths:
        raise BadInput("there are no photos to measure with: name some that show faces")
    many = list(paths) * -(-LEAST // len(paths))
    faces = {runtime: _turn(one, paths, at_once)[0] for runtime, one in models.items()}
    taken: dict[str, list[float]] = {runtime: [] for runtime in models}
    for _ in range(turns):
        for runtime, one in models.items():
            taken[runtime].append(len(many) / _turn(one, many, at_once)[1])
    found = [
        Speed(
            runtime,
            median(rates),
            min(rates),
            max(rates),
            median(rate / plain for rate, plain in zip(rates, taken[PLAIN], strict=True)),
            faces[runtime],
        )
        for runtime, rates in taken.items()
    ]
    return sorted(found, key=lambda one: -one.photos_per_second)


def _turn(model: Model, paths: Iterable[Path], at_once: int) -> tuple[int, float]:
    """The faces in photos, and the seconds that they took."""

    def look(path: Path) -> int:
        return model.look(images.read(path)).found

    start = time.perf_counter()
    faces = sum(done() for _, done in map_in_order(look, paths, at_once))
    return faces, time.perf_counter() - start
