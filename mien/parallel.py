"""How many processors there are to use, and several photos worked on at a time, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8  # photos; while one of 12 megapixels is looked at, it takes 0.15 GB


def processors() -> int:
    """Processors that this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def at_once(photos: int = AT_ONCE) -> int:
    """How many of so many photos to look at at a time: more would take memory and gain little."""
    return max(1, min(photos, processors(), AT_ONCE))


def threads_each(at_once: int) -> int:
    """How many threads each of so many photos has for its networks."""
    return max(1, processors() // at_once)


def ahead(
    do: Callable[[T], R], things: Iterable[T], at_once: int
) -> Generator[tuple[T, Callable[[], R]], None, None]:
    """Yield each thing with a function that returns, or raises, what was made of it.

    Args:
        do: is called in threads; twice as many results as these may wait, and no more.
        things: what it is given, taken as it comes to them.
        at_once: how many are worked on at a time; with one, a thing is when it is asked about.
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
    finally:  # whoever asks no more does not wait for what was not begun
        threads.shutdown(cancel_futures=True)
