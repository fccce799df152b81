"""Work in a process of its own, which may be limited, lose its rights or be killed.

It is forked from a process without threads that has imported what is slow to import.  A fork of
the tests' own process could find locks closed, by threads which are not there to open them.
"""

from __future__ import annotations

import copyreg
import multiprocessing
import os
import resource
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import cloudpickle

NOBODY = 65534
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("pytest", "hypothesis", "pyarrow.parquet", "mien.training.prepare"),
        *("mien.verbs.album", "mien.verbs.embed_photos", "mien.verbs.enroll"),
    ]
)
copyreg.pickle(connection.Connection, connection.reduce_connection)  # type: ignore[attr-defined]


class _Work:
    """Any function of a test, with what it refers to."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        self.environment, self.folder = dict(os.environ), Path.cwd()

    def __reduce__(self) -> tuple[Any, ...]:
        return cloudpickle.loads, (cloudpickle.dumps(self.__dict__),)


def _begin(work: dict[str, Any], ready: Barrier) -> None:
    os.environ.clear()
    os.environ.update(work["environment"])
    os.chdir(work["folder"])
    ready.wait(60)
    work["function"]()


def start(*works: Callable[[], object]) -> list[BaseProcess]:
    """Processes that begin together; each exit code is 0 if nothing was raised.

    What a test has patched is as it was there, and what a work changes stays there.
    """
    ready = _FORKS.Barrier(len(works) + 1)
    processes = [
        _FORKS.Process(target=_begin, args=(_Work(work), ready), daemon=True) for work in works
    ]
    for process in processes:
        process.start()
    ready.wait(60)
    return [*processes]


def error_of(work: Callable[[], object]) -> Exception | None:
    """What some work raises in a process of its own."""
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def report() -> None:
        try:
            work()
        except Exception as error:
            sender.send(error)
        else:
            sender.send(None)

    (process,) = start(report)
    sender.close()
    assert receiver.poll(60), "the process said nothing"
    error: Exception | None = receiver.recv()
    process.join()
    return error


def limit_files(size: int) -> None:
    """Let this process write no file longer than so many bytes, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def drop_rights() -> None:
    """Let permissions count for this process, which they do not for root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
