"""Processes that look at photos, each with a model of its own.

Half of the work on a small photo is Python's, of which a process does one thing at a time.  And a
photo that brings a decoder down takes one of these along, not the service.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Self, TypeVar

import cv2

from mien.errors import MienError
from mien.recognition.model import Model

T = TypeVar("T")


class Lost(MienError):
    """A worker has ended, or cannot begin."""


class Workers:
    """As many processes as are asked for; each does one thing at a time.  Used in a `with`.

    Args:
        make: the model; it is sent to the processes.
        number: of processes.
    """

    def __init__(self, make: Callable[[], Model], number: int) -> None:
        self._all = [_Worker(make) for _ in range(number)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()

    def __len__(self) -> int:
        return len(self._all)

    def __enter__(self) -> Self:
        for worker in self._all:
            worker.start()
        return self

    def wait(self) -> None:
        """Come back when all are ready.

        Raises:
            Lost: one has ended.
            MienError: see `make`.
        """
        for worker in self._all:
            worker.wait()
            self._idle.put(worker)

    def run(self, do: Callable[..., T], *args: object) -> T:
        """What a function returns or raises that an idle one calls.

        Args:
            do: is given the process's model, then `args`; it is sent there, so it has to be a
                module's or a class's.
            args: are sent there too.

        Raises:
            Lost: it has ended; another will begin in its place.
        """
        worker = self._idle.get()
        try:
            return worker.run(do, args)
        finally:
            self._idle.put(worker)

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.end()
        for worker in self._all:
            worker.process.join()


class _Worker:
    """A process, and the next one where it has ended."""

    def __init__(self, make: Callable[[], Model]) -> None:
        self._make = make

    def start(self) -> None:
        # Not forked: there are threads here, and a forked child of them can hang.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, self._make))
        self.process.start()
        theirs.close()

    def wait(self) -> None:
        self._receive()

    def run(self, do: Callable[..., T], args: Sequence[object]) -> T:
        if not self.process.is_alive():
            self.end()
            self.start()
            try:
                self.wait()
            except MienError as error:
                raise Lost(f"no other worker can begin: {error}") from error
        with suppress(BrokenPipeError):  # it has ended just now
            self._pipe.send((do, args))
        done: T = self._receive()
        return done

    def _receive(self) -> Any:
        try:
            done, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            raise Lost(
                f"a worker has ended ({self.process.exitcode}), perhaps of too little memory: give"
                " it more, or smaller photos"
            ) from error
        if not done:
            raise value
        return value

    def end(self) -> None:
        self._pipe.close()


def _work(pipe: Connection, make: Callable[[], Model]) -> None:
    """Do what comes through a pipe until its other end closes, whatever became of who held it."""
    for ended in (signal.SIGINT, signal.SIGTERM):  # sent to all: what was accepted is answered
        signal.signal(ended, signal.SIG_IGN)
    cv2.setNumThreads(1)
    with suppress(EOFError, OSError):
        try:
            model = make()
        except MienError as error:
            pipe.send((False, error))
            return
        pipe.send((True, None))
        while True:
            do, args = pipe.recv()
            try:
                answer = True, do(model, *args)
            except Exception as error:
                if not isinstance(error, MienError):
                    error.add_note(traceback.format_exc())
                answer = False, error
            pipe.send(answer)
