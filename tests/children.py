"""Work in a process of its own, which may be limited, lose its rights or be killed.

It is forked, so it starts in a moment and can run any function of a test.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Callable
from multiprocessing.process import BaseProcess

NOBODY = 65534


def start(work: Callable[[], object]) -> BaseProcess:
    """A process that does some work; its exit code is 0 if nothing was raised."""
    process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    process.start()
    return process


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

    process = start(report)
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
