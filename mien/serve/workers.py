"""Processes that look at photos, each with a model of its own.

Half of the work on a small photo is Python's, of which a process does one thing at a time.  And a
photo that brings a decoder down, or keeps it busy for hours, costs one of these, not the service.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar

import cv2

from mien.errors import MienError
from mien.recognition.model import Model

T = TypeVar("T")


class WorkerLost(MienError):
    """A worker has ended, or cannot start."""


class Overloaded(MienError):
    """The work is not done in its time, or would not be."""


class Workers:
    """A pool of processes, each of which does one thing at a time.  Used in a `with`.

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
        """Return when all are ready.

        Raises:
            WorkerLost: one has ended.
            MienError: see `make`.
        """
        for worker in self._all:
            worker.wait(math.inf)
            self._idle.put(worker)

    @property
    def alive(self) -> bool:
        """Whether one of them can do something, now or when it has done what it is doing."""
        return any(worker.process.is_alive() for worker in self._all)

    def run(self, do: Callable[..., T], *args: object, until: float = math.inf) -> T:
        """What a function returns or raises that an idle process calls.

        Args:
            do: is given the process's model, then `args`; it is sent there, so it has to be a
                module's or a class's.
            args: are sent there too; arrays can only be read there.
            until: the value of `time.monotonic` at which to give up.

        Raises:
            WorkerLost: the process has ended; another takes its place.
            Overloaded: none was idle in time, or the function took too long: its process was
                killed, and another takes its place.
        """
        try:
            worker = self._idle.get(timeout=_left(until))
        except Empty as error:
            raise Overloaded("no worker was free in time: try again later") from error
        try:
            return worker.run(do, args, until)
        finally:
            self._idle.put(worker)

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.kill()


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
        self._ready = False

    def wait(self, until: float) -> None:
        if not self._ready:
            if not self._pipe.poll(_left(until)):
                raise Overloaded("no worker was ready in time: try again later")
            self._receive()
            self._ready = True

    def run(self, do: Callable[..., T], args: Sequence[object], until: float) -> T:
        if not self.process.is_alive():
            self.kill()
            self.start()
        try:
            self.wait(until)
        except Overloaded:
            raise
        except MienError as error:
            raise WorkerLost(f"no other worker can start: {error}") from error
        with suppress(BrokenPipeError):  # it has ended just now
            _send(self._pipe, do, args)
        if not self._pipe.poll(_left(until)):
            self.kill()
            self.start()
            raise Overloaded("the work took too long: try again later")
        done: T = self._receive()
        return done

    def _receive(self) -> Any:
        try:
            done, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            raise WorkerLost(
                f"a worker has ended ({self.process.exitcode}), perhaps out of memory: give"
                " it more, or smaller photos"
            ) from error
        if not done:
            try:
                raise value
            finally:
                del value  # or it would keep itself, and with it the photo that was sent
        return value

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self._pipe.close()


def _send(pipe: Connection, do: Callable[..., object], args: Sequence[object]) -> None:
    """Send a call; photos go as they are, as there is no room for copies of them."""
    photos: list[pickle.PickleBuffer] = []
    wrapped = [pickle.PickleBuffer(one) if isinstance(one, bytes) else one for one in args]
    call = pickle.dumps((do, wrapped), 5, buffer_callback=photos.append)
    pipe.send((call, len(photos)))
    for photo in photos:
        pipe.send_bytes(photo.raw())


def _receive(pipe: Connection) -> tuple[Callable[..., object], Sequence[object]]:
    call, photos = pipe.recv()
    do, args = pickle.loads(call, buffers=[pipe.recv_bytes() for _ in range(photos)])
    return do, args


def _left(until: float) -> float | None:
    """Seconds until then; None: forever."""
    return None if until == math.inf else max(0.0, until - time.monotonic())


def _work(pipe: Connection, make: Callable[[], Model]) -> None:
    """Do what comes through a pipe until its other end closes, whatever became of who held it."""
    for ended in (signal.SIGINT, signal.SIGTERM):  # sent to all: what was accepted is answered
        signal.signal(ended, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _silence_libraries()
    cv2.setNumThreads(1)
    with suppress(EOFError, OSError):
        try:
            model = make()
        except MienError as error:
            pipe.send((False, error))
            return
        pipe.send((True, None))
        while True:
            do, args = _receive(pipe)
            try:
                answer = True, do(model, *args)
            except Exception as error:
                if not isinstance(error, MienError):
                    error.add_note(traceback.format_exc())
                answer = False, error
            pipe.send(answer)


def _silence_libraries() -> None:
    """Decoders write a line for each damaged photo, and many of them could fill a disk."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)  # Python's own goes on
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _end_with_parent() -> None:
    """What is busy does not notice that its pipe has closed."""
    parent = multiprocessing.parent_process()
    assert parent
    wait([parent.sentinel])
    os._exit(1)
