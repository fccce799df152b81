"""How many processors this process may use, and work that several threads share."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8  # photos
ROOM = 512 << 20  # bytes for each: one of 12 megapixels takes 0.15 GB, of 50 0.5 GB
CGROUPS = Path("/sys/fs/cgroup")


def processors() -> int:
    """Processors that this process may use: no more than its affinity and its container allow."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, min(len(os.sched_getaffinity(0)), _quota()))
    return os.cpu_count() or 1


@cache
def _quota() -> int:
    """Processors' worth of time that Linux's control group leaves this process, rounded up."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):  # versions 2, 1
        with suppress(OSError, ValueError):
            text = " ".join((CGROUPS / file).read_text("ascii") for file in files)
            quota, period = map(int, text.split())  # "max" where there is none
            if quota > 0:
                return math.ceil(quota / period)
    return os.cpu_count() or 1


@cache
def memory() -> int:
    """Bytes that this process may take: no more than the machine has, and its container allows."""
    limits = []
    with suppress(AttributeError, ValueError, OSError):  # as on Windows
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in ("memory.max", "memory/memory.limit_in_bytes"):  # versions 2, 1
        with suppress(OSError, ValueError):
            limits.append(int((CGROUPS / file).read_text("ascii")))
    return min(limits, default=AT_ONCE * ROOM)


def workers() -> int:
    """Processes or threads that look at photos: no more than processors, and memory for each."""
    return max(1, min(processors(), memory() // ROOM))


def at_once(photos: int = AT_ONCE) -> int:
    """How many photos to process at a time: more would take memory and gain little."""
    return max(1, min(photos, workers(), AT_ONCE))


def threads_each(at_once: int) -> int:
    """Threads per network, when this many photos are processed at a time."""
    return max(1, processors() // at_once)


def map_in_order(
    do: Callable[[T], R], things: Iterable[T], at_once: int
) -> Generator[tuple[T, Callable[[], R]], None, None]:
    """Yield each thing, in order, with a function that returns its result or raises its error.

    Args:
        do: is called in threads; at most two results for each of these wait to be taken.
        things: its arguments, taken only when their turn is near.
        at_once: how many threads; with one, `do` is called when its result is asked for.
    """
    if at_once == 1:
        for thing in things:
            yield thing, partial(do, thing)
        return
    coming: deque[tuple[T, Callable[[], R]]] = deque()
    threads = ThreadPoolExecutor(at_once)
    try:
        for thing in things:
            coming.append((thing, threads.submit(do, thing).result))
            if len(coming) > 2 * at_once:
                yield coming.popleft()
        while coming:
            yield coming.popleft()
    finally:  # a caller that stops does not wait for what has not begun
        threads.shutdown(cancel_futures=True)


class Team:
    """Threads that share the parts of a piece of work with the thread that asks for it.

    Args:
        threads: that work on what one caller asks, itself among them; by default all processors.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or processors()
        self._helpers = ThreadPoolExecutor(processors())  # of all who call; none runs yet

    def map(self, do: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """What `do` returns for each part, in their order; raises what it raises in any thread."""
        todo = deque(enumerate(parts))  # whose popleft no two threads win
        done: dict[int, R] = {}

        def work() -> None:
            while True:
                try:
                    i, part = todo.popleft()
                except IndexError:
                    return
                done[i] = do(part)

        helpers = [self._helpers.submit(work) for _ in range(min(self.threads, len(parts)) - 1)]
        work()
        for helper in helpers:
            if not helper.cancel():
                helper.result()
        return [done[i] for i in range(len(parts))]
