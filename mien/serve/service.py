"""A model and a facebank for many requests at once.

Photos are looked at by workers, as many at a time as there are of them; what those find comes back
here.  The facebank belongs to one thread, as SQLite wants it, so changes come one after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from threading import BoundedSemaphore
from typing import TypeVar

from mien import images
from mien.errors import MienError
from mien.facebank.audit import COMMAND
from mien.facebank.bank import Facebank
from mien.facebank.rows import Person
from mien.facebank.stores import Store, create_store
from mien.parallel import processors
from mien.recognition.model import Model
from mien.recognition.quality import largest
from mien.serve.workers import Workers
from mien.types import Crops, Embedder, Embeddings, Face, Image, Match

T = TypeVar("T")


class Busy(MienError):
    """More requests wait than can be answered in time."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a photo shows."""

    width: int
    height: int
    found: int  # faces in it
    faces: list[Face]  # the largest of them
    vectors: Embeddings  # a row for each of these


def look(model: Model, data: bytes, pixels: int, limit: int) -> Looked:
    """The faces in a photo's bytes.

    Args:
        model: finds and embeds them.
        data: see `mien.images.decode`.
        pixels: that the photo may have.
        limit: faces that are embedded, the largest.

    Raises:
        BadInput: it is no photo, or too large.
    """
    image = images.decode(data, "the photo", pixels=pixels)
    found = model.detect(image)
    faces = largest(found, limit, 0)
    return Looked(image.shape[1], image.shape[0], len(found), faces, model.embed(image, faces))


def _here(model: Model, do: Callable[..., T], *args: object) -> T:
    """As `Workers.run`, in the thread that asks."""
    return do(model, *args)


def _embed(model: Model, crops: Crops) -> Embeddings:
    return model.embedder(crops)


@dataclass(frozen=True, slots=True)
class _Counted:
    """An embedder that says how many crops it is given, and may run elsewhere."""

    embedder: Embedder
    run: Callable[[Crops], Embeddings]
    note: Callable[[int], None]

    @property
    def dim(self) -> int:
        return self.embedder.dim

    @property
    def model_id(self) -> str:
        return self.embedder.model_id

    def __call__(self, crops: Crops) -> Embeddings:
        self.note(len(crops))
        return self.run(crops)


def _threads(number: int, name: str) -> ThreadPoolExecutor:
    """Threads whose work is the service's in the facebank's log."""
    return ThreadPoolExecutor(number, name, COMMAND.set, ("mien serve",))


@dataclass(frozen=True, slots=True)
class Known:
    """Who is in the facebank, and what it takes to be one of them."""

    people: tuple[Person, ...]
    threshold: float
    fpir: float | None  # share of strangers who get a name; None: the model does not say


class Service:
    """Where requests bring their work.

    Args:
        model: says what the faces found mean; without workers it finds them, in several threads.
        facebank: its address, see `mien.facebank.stores`; made where there is none.
        workers: find and embed the faces, with the same model.
        at_once: requests in hand: while some are looked at, others are searched for.
        queue: requests that may wait for their turn.
        note: is told how many faces are embedded.

    Raises:
        BadFacebank, FacebankMismatch, CannotWrite: see `Facebank.create`.
    """

    def __init__(
        self,
        model: Model,
        facebank: str,
        *,
        workers: Workers | None = None,
        at_once: int = 8,
        queue: int = 256,
        note: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.own = model  # not to be run, but to be told of
        self._run = workers.run if workers else partial(_here, model)
        self._note = note
        self.model = replace(
            model,
            detector=partial(self._run, Model.detect),
            embedder=_Counted(model.embedder, partial(self._run, _embed), note),
            at_once=len(workers) if workers else 1,
        )
        self._turns = BoundedSemaphore(processors())
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

    def look(self, data: bytes, pixels: int, limit: int) -> Looked:
        """See `look`."""
        looked = self._run(look, data, pixels, limit)
        self._note(len(looked.faces))
        return looked

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
        self._clerk.submit(self._bank.close).result()
        self._clerk.shutdown()
