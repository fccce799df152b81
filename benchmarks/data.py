"""Prepared data measured: records a second beside a loop over files, and memory.

The pictures are made up.  Both ways decode the same ones in the same random order, in turns, so
that a machine that slows down slows both.
"""

from __future__ import annotations

import multiprocessing
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image as Pillow

from mien.cli.render import Answer, Table
from mien.images import decode
from mien.training.data.shards import Record, Shards, finish, write_shard

BATCH = 128
_SHARD = 8192


@dataclass(frozen=True, slots=True)
class Reading:
    """Records read and decoded in a second, the medians over the turns."""

    workers: int
    records_per_second: float
    pillow_per_second: float  # the same pictures as files, opened one by one
    ratio: float  # the median; over 1, prepared data are faster


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process held at most while it made a set and while it read it in random order."""

    records: int
    making: float  # megabytes of its own, without what is mapped from files
    reading: float
    records_per_second: float  # read, not decoded


def readings(
    *, records: int = 1000, workers: Sequence[int] = (1, 2), turns: int = 5
) -> list[Reading]:
    """How fast prepared data are read and decoded, beside Pillow on the same pictures as files.

    Args:
        records: how many pictures of 112 x 112 there are.
        workers: processes that share the work.
        turns: how often each is timed, after one turn that is not counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number:06d}.jpg" for number in range(records)]
        pictures = [drawn(number, 112) for number in range(records)]
        for file, picture in zip(files, pictures, strict=True):
            file.write_bytes(picture)
        made = [Record(picture, 0, "", 112) for picture in pictures]
        write_shard(Path(folder), 0, made, [])
        prepared = finish(Path(folder), 1, ["one"], lambda labels, skipped: {})
        order = prepared.order(0, 0)
        found = []
        for count in workers:
            with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
                parts = np.array_split(order, count)
                ours = [partial(_read_prepared, prepared, part) for part in parts]
                theirs = [partial(_read_files, [files[k] for k in part]) for part in parts]
                taken = np.array(
                    [[_seconds(pool, work) for work in (ours, theirs)] for _ in range(turns + 1)][
                        1:
                    ]
                )  # (turns, 2)
            here, pillow = records / np.median(taken, axis=0)
            ratio = float(np.median(taken[:, 1] / taken[:, 0]))
            found.append(Reading(count, float(here), float(pillow), ratio))
    return found


def memory(sizes: Sequence[int] = (10_000, 100_000)) -> list[Memory]:
    """What sets of so many records take, each made and read in a new process."""
    found = []
    for size in sizes:
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as maker,
            ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as reader,
        ):
            making = maker.submit(_make, Path(folder), size).result()
            reading, speed = reader.submit(_read, Path(folder)).result()
            found.append(Memory(size, making, reading, speed))
    return found


def _seconds(pool: ProcessPoolExecutor, work: Sequence[Callable[[], int]]) -> float:
    start = time.perf_counter()
    for future in [pool.submit(one) for one in work]:
        future.result()
    return time.perf_counter() - start


def _read_prepared(prepared: Shards, rows: NDArray[np.int64]) -> int:
    return sum(
        decode(image).shape[0]
        for start in range(0, len(rows), BATCH)
        for image in prepared.images(rows[start : start + BATCH])
    )


def _read_files(files: Sequence[Path]) -> int:
    rows = 0
    for file in files:
        with Pillow.open(file) as picture:
            rows += np.asarray(picture.convert("RGB")).shape[0]
    return rows


def drawn(seed: int, side: int) -> bytes:
    """A JPEG that is about as large as one of a face."""
    coarse = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    picture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def _make(folder: Path, count: int) -> float:
    pictures = [drawn(seed, 32) for seed in range(256)]
    most = 0.0
    starts = range(0, count, _SHARD)
    for number, start in enumerate(starts):
        rows = range(start, min(start + _SHARD, count))
        made = [Record(pictures[row % 256], row % 1000, str(row), 32) for row in rows]
        write_shard(folder, number, made, [])
        most = max(most, _megabytes())
    finish(folder, len(starts), [str(k) for k in range(1000)], lambda labels, skipped: {})
    return max(most, _megabytes())


def _read(folder: Path) -> tuple[float, float]:
    """Every record once, in random order: most megabytes, records a second."""
    prepared = Shards(folder)
    order = prepared.order(0, 0)
    most, start = 0.0, time.perf_counter()
    for first in range(0, len(order), BATCH):
        prepared.images(order[first : first + BATCH])
        if not first % (100 * BATCH):
            most = max(most, _megabytes())
    return max(most, _megabytes()), len(order) / (time.perf_counter() - start)


def _megabytes() -> float:
    """Of this process's own memory; on macOS, the most that it ever had, with mapped files."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1e3


_READINGS = {
    "WORKERS": "{workers}",
    "RECORDS PER SECOND": "{records_per_second:,.0f}",
    "PILLOW ON FILES": "{pillow_per_second:,.0f}",
    "RATIO": "{ratio:.2f}",
}
_MEMORY = {
    "RECORDS": "{records:,}",
    "MAKING TAKES": "{making:.0f} MB",
    "READING TAKES": "{reading:.0f} MB",
    "READ PER SECOND": "{records_per_second:,.0f}",
}


def main(
    *,
    million: Annotated[
        bool,
        typer.Option("--million", help="Measure the memory of a million records too: minutes."),
    ] = False,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Times that each is timed.")] = 5,
) -> Answer:
    """Measure prepared data: records per second beside files, and memory."""
    read = readings(turns=turns)
    held = memory((10_000, 100_000, 1_000_000) if million else (10_000, 100_000))
    content = {"turns": turns, "readings": read, "memory": held}
    return Answer(content, [Table(_READINGS, read), "", Table(_MEMORY, held)])
