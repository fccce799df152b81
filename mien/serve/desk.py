"""A model and a facebank for many requests at once.

Photos are decoded and searched for faces by a few threads, no more of them at a time than there are
processors; their crops go through the network one by one, as many at a time as there are lanes.
The facebank belongs to one thread, as SQLite wants it, so changes come one after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import BoundedSemaphore
from typing import TypeVar

import numpy as np

from mien import images
from mien.engines import Store, create_store
from mien.errors import MienError
from mien.facebank.bank import Facebank
from mien.facebank.log import COMMAND
from mien.facebank.rows import Person
from mien.model import Model
from mien.runtime import processors
from mien.types import Crops, Detector, Embedder, Embeddings, Face, Image, Match

T = TypeVar("T")

AT_ONCE = 8  # photos in memory and in hand: while some are embedded, others are looked at


class Busy(MienError):
    """More requests wait than can be answered in time."""


class Spread:
    """An embedder that many threads may call: each crop by itself, some of them at a time.

    A crop takes no less in a batch, and on two threads nearly as long as on one, so most is done
    where each lane's network has one thread (docs/serve.md).

    Args:
        embedder: what to run; where there is one lane, with all crops of a call at once.
        lanes: crops at a time.
        note: is told of each call how many crops it has.
    """

    def __init__(self, embedder: Embedder, lanes: int, note: Callable[[int], None]) -> None:
        self._embedder, self._lanes, self._note = embedder, lanes, note
        self._threads = ThreadPoolExecutor(lanes, "embed")

    @property
    def dim(self) -> int:
        return self._embedder.dim

    @property
    def model_id(self) -> str:
        return self._embedder.model_id

    def __call__(self, crops: Crops) -> Embeddings:
        self._note(len(crops))
        apart = self._lanes > 1 and len(crops)
        parts: list[Crops] = list(crops[:, None]) if apart else [crops]
        return np.concatenate(list(self._threads.map(self._embedder, parts)))

    def close(self) -> None:
        """End the threads, once they have done what they were given."""
        self._threads.shutdown()


@dataclass(frozen=True, slots=True)
class _InTurn:
    """A detector that runs no more often at a time than there are turns."""

    detector: Detector
    turns: BoundedSemaphore

    def __call__(self, image: Image) -> list[Face]:
        with self.turns:
            return self.detector(image)


def _threads(number: int, name: str) -> ThreadPoolExecutor:
    """Threads whose work is the service's in the facebank's log."""
    return ThreadPoolExecutor(number, name, COMMAND.set, ("mien serve",))


@dataclass(frozen=True, slots=True)
class Known:
    """Who is in the facebank, and what it takes to be one of them."""

    people: tuple[Person, ...]
    threshold: float
    fpir: float | None  # share of strangers who get a name; None: the model does not say


class Desk:
    """Where requests bring their work.

    Args:
        model: is used by several threads at once.
        facebank: its address, see `mien.engines`; made where there is none.
        at_once: requests in hand at a time.
        queue: requests that may wait for their turn.
        lanes, note: see `Spread`.

    Raises:
        BadFacebank, FacebankMismatch, CannotWrite: see `Facebank.create`.
    """

    def __init__(
        self,
        model: Model,
        facebank: str,
        *,
        at_once: int = AT_ONCE,
        queue: int = 256,
        lanes: int = 1,
        note: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._spread = Spread(model.embedder, lanes, note)
        self._turns = BoundedSemaphore(processors() if at_once > 1 else 1)
        detector = _InTurn(model.detector, self._turns)
        self.own = model  # not to be run, but to be told of
        self.model = replace(model, detector=detector, embedder=self._spread)
        self.address = facebank
        self.at_once = at_once
        self._room = at_once + queue
        self._in_hand = 0
        self._known: tuple[object, Known] | None = None
        self._lookers, self._clerk = _threads(at_once, "look"), _threads(1, "facebank")
        self._bank: Store = self._clerk.submit(
            create_store, facebank, model_id=model.model_id, dim=model.dim
        ).result()

    @property
    def keeps(self) -> bool:
        """Whether faces may lie beside the facebank: it is a file that anybody can read."""
        return isinstance(self._bank, Facebank) and not self._bank.encrypted

    async def work(self, do: Callable[[], T], timeout: float) -> T:
        """What some work returns that a thread does; it may call `bank`.

        Raises:
            Busy: too much waits, or it takes longer than `timeout` seconds.
        """
        if self._in_hand >= self._room:
            raise Busy("too many requests are waiting: try again in a moment")
        self._in_hand += 1
        done = asyncio.get_running_loop().run_in_executor(self._lookers, do)
        done.add_done_callback(self._finished)
        try:
            return await asyncio.wait_for(asyncio.shield(done), timeout)
        except TimeoutError as error:
            raise Busy(f"this took longer than {timeout:g} seconds: try again later") from error

    def _finished(self, done: asyncio.Future[T]) -> None:
        self._in_hand -= 1
        if not done.cancelled():
            done.exception()  # who asked may have gone: nobody else looks at it

    def bank(self, do: Callable[[Store], T]) -> T:
        """What some work with the facebank returns; it waits for what others do with it."""
        return self._clerk.submit(do, self._bank).result()

    def decode(self, data: bytes, name: str, pixels: int) -> Image:
        """See `mien.images.decode`; as it takes memory, only as many at a time as processors."""
        with self._turns:
            return images.decode(data, name, pixels=pixels)

    def known(self) -> Known:
        """Who is in the facebank now."""
        return self.bank(self._read_known)

    def search(self, vectors: Embeddings) -> tuple[list[Match], Known]:
        """Whom each face looks like, and the facebank that this was said of."""

        def do(bank: Store) -> tuple[list[Match], Known]:
            known = self._read_known(bank)
            return bank.search(vectors, known.threshold), known

        return self.bank(do)

    def _read_known(self, bank: Store) -> Known:
        # Whether another engine's people have changed is looked at once a second.
        version = bank.version() if isinstance(bank, Facebank) else int(time.monotonic())
        if self._known is None or self._known[0] != version:
            people = tuple(bank.people())
            photos = [person.photos for person in people]
            threshold, strangers = self.model.threshold_among(photos), self.model.impostors
            fpir = strangers.fpir(photos, threshold) if strangers else None
            self._known = version, Known(people, threshold, fpir)
        return self._known[1]

    def close(self) -> None:
        """Finish what was begun and let go of the file."""
        self._lookers.shutdown()
        self._spread.close()
        self._clerk.submit(self._bank.close).result()
        self._clerk.shutdown()
