"""Several things worked on at a time, and dealt with one by one in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


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
