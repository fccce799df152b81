"""A model and a facebank for many requests at once.

Photos are looked at by workers, as many at a time as there are of them; what those find comes back
here.  The facebank belongs to one thread, as SQLite wants it, so changes come one after the other.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from mien.errors import BadInput
from mien.facebank.audit import COMMAND
from mien.facebank.facebank import Facebank
from mien.facebank.rows import Person, Photo, folded
from mien.facebank.stores import Store, create_store, own_file
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.serve import jobs
from mien.serve.face_crops import KeptFaces
from mien.serve.workers import Overloaded, Workers
from mien.types import Embeddings, Match
from mien.verbs.health import Health, examine

T = TypeVar("T")

HEALTH_PEOPLE, HEALTH_PHOTOS = 20_000, 100_000  # whose health is examined in some seconds
NUMBER = 32  # bytes of one in JSON, where it is written in full
GROUPED = 5000  # faces of one request; their distances take 100 MB of a worker


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may take."""

    bytes: int = 25 << 20  # of its body
    held: int = 48 << 20  # bytes of all bodies that are arriving, waiting or in progress
    pixels: int = 50_000_000  # of a photo
    faces: int = 64  # of a photo that are processed, the largest
    seconds: float = 30  # for its body to arrive, and again for the answer
    rate: float | None = None  # requests a second of one address; None: as many as it likes


@dataclass(frozen=True)
class Known:
    """Who is in the facebank, and what it takes to be one of them."""

    people: tuple[Person, ...]
    threshold: float
    fpir: float | None  # share of strangers who get a name; None: the model does not say
    covers: dict[str, str | None] = field(default_factory=dict)  # faces to show, as they are asked

    @cached_property
    def spellings(self) -> dict[str, str]:
        """Each name, by itself and by what it has in common with others of other letters."""
        names = [person.name for person in self.people]
        return {folded(name): name for name in names} | {name: name for name in names}

    def spelling(self, name: str) -> str:
        """A name as it is spelled here, where only the case of letters or their width differs."""
        return self.spellings.get(name) or self.spellings.get(folded(name), name)


class Service:
    """Where requests bring their work.

    Args:
        model: says what the faces found mean; it is not run.
        facebank: its address, see `mien.facebank.stores`; made where there is none.
        workers: find and embed the faces, with the same model.
        policy: from which score on a face gets a name; by default the model's own.
        limits: what a request may take.
        keep: whether faces that are enrolled are kept beside the facebank; None: where it is a
            file that anybody can read who can read the faces.
        local: only this machine can ask, so faces may be shown from photos that lie elsewhere.
        at_once: requests in progress: some in the workers, others being searched for.
        queue: requests that may wait for their turn.
        count_faces: is called with the number of faces that were embedded.

    Raises:
        BadFacebank, FacebankMismatch, CannotWrite: see `Facebank.create`.
        BadInput: faces are to be kept beside a facebank that is no file.
    """

    def __init__(
        self,
        model: Model,
        facebank: str,
        workers: Workers,
        *,
        policy: Policy | None = None,
        limits: Limits | None = None,
        keep: bool | None = None,
        local: bool = False,
        at_once: int = 8,
        queue: int = 256,
        count_faces: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.model, self.limits, self.local = model, limits or Limits(), local
        self.policy = policy or model.policy()
        self._workers, self._count_faces = workers, count_faces
        self._at_once, self._room, self._in_hand = at_once, at_once + queue, 0
        self._known: tuple[object, Known] | None = None
        self._health: tuple[object, Health] | None = None
        self._threads, self._store_thread = _threads(at_once, "photos"), _threads(1, "facebank")
        self._store: Store = self._store_thread.submit(
            create_store, facebank, model_id=model.model_id, dim=model.dim
        ).result()
        own = isinstance(self._store, Facebank) and not self._store.encrypted
        self.kept: KeptFaces | None = None
        if keep or (keep is None and own):
            self.kept = KeptFaces(Path(os.path.realpath(f"{own_file(facebank)}.photos")))
            self._store_thread.submit(self.kept.mend, self._store).result()

    def require_model(self, model_id: str) -> None:
        """Refuse vectors of another network.

        Raises:
            BadInput: they are.
        """
        if model_id != self.model.model_id:
            raise BadInput(
                f"these vectors are not of {self.model.model_id}: see GET /api/v1/device"
            )

    @property
    def json_bytes(self) -> int:
        """How many a request needs at most that sends the vectors of a photo's faces."""
        return self.limits.faces * self.model.dim * NUMBER + 4096

    @property
    def photos_at_once(self) -> int:
        """How many are looked at, each by a worker."""
        return len(self._workers)

    def may_show(self, photo: Photo) -> bool:
        """Whether there still is a picture of a face that those who ask may see."""
        kept = self.kept is not None and self.kept.owns(photo)
        return (kept or self.local) and os.access(photo.path, os.R_OK)

    @property
    def ready(self) -> bool:
        """Whether a request would be begun now, and not wait for others."""
        return self._workers.alive and self._in_hand < self._at_once

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """A request's place among those in hand, for as long as its answer may take.

        Raises:
            Overloaded: too many wait, or the time is over.
        """
        if self._in_hand >= self._room:
            raise Overloaded("too many requests are waiting: try again in a moment")
        seconds = self.limits.seconds
        self._in_hand += 1
        try:
            async with asyncio.timeout(seconds) as timeout:
                yield Turn(self, time.monotonic() + seconds)
        except TimeoutError as error:
            if not timeout.expired():
                raise
            raise Overloaded(f"this took longer than {seconds:g} seconds: try again") from error
        finally:
            self._in_hand -= 1

    def close(self) -> None:
        """Finish what was begun and let go of the facebank."""
        self._threads.shutdown(cancel_futures=True)
        self._store_thread.submit(self._store.close).result()
        self._store_thread.shutdown()

    def read_known(self, store: Store) -> Known:
        """Who is in the facebank now."""
        version = _version(store)
        if self._known is None or self._known[0] != version:
            people = tuple(store.people())
            threshold = self.policy.threshold_among(person.photos for person in people)
            self._known = version, self.known_at(threshold, people)
        return self._known[1]

    def known_at(self, threshold: float, people: tuple[Person, ...]) -> Known:
        """What a threshold means among people."""
        strangers, photos = self.policy.impostors, [person.photos for person in people]
        return Known(people, threshold, strangers.fpir(photos, threshold) if strangers else None)

    def _read_health(self, store: Store) -> Health:
        version = _version(store)
        if self._health is None or self._health[0] != version:
            people = self.read_known(store).people
            photos = sum(person.photos for person in people)
            if len(people) > HEALTH_PEOPLE or photos > HEALTH_PHOTOS:
                raise BadInput(
                    f"the health of {len(people)} people and {photos} photos takes too long to"
                    " answer: run mien people health on the server"
                )
            self._health = version, examine(store, self.model, policy=self.policy, look=False)
        return self._health[1]


class Turn:
    """What a request may have done for it, until its time is over.  Made by `Service.turn`.

    Every method raises Overloaded and WorkerLost as `Workers.run` does, and of a photo BadInput
    where it is none.
    """

    def __init__(self, service: Service, until: float) -> None:
        self._service, self._until = service, until

    async def store(self, do: Callable[[Store], T]) -> T:
        """What a function of the facebank returns; it waits for what others do with it."""
        service = self._service
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(service._store_thread, do, service._store)

    async def work(self, do: Callable[..., T], *args: object) -> T:
        """What a function of `mien.serve.jobs` returns that a worker calls."""
        run = partial(self._service._workers.run, do, *args, until=self._until)
        return await asyncio.get_running_loop().run_in_executor(self._service._threads, run)

    async def look(
        self, photo: bytes, *, limit: int | None = None, thumbs: bool = False
    ) -> jobs.LookedPhoto:
        """The faces in a photo, the largest where they are more than a limit."""
        limits = self._service.limits
        most = min(limit or limits.faces, limits.faces)
        looked = await self.work(jobs.look, photo, limits.pixels, most, thumbs)
        self._service._count_faces(len(looked.faces))
        return looked

    async def enrollable(
        self, photo: bytes, at: tuple[float, float] | None, *, largest: bool
    ) -> jobs.Portrait:
        """The one face of a photo, or the one at a point, or the largest; see `jobs.portrait`."""
        found = await self.work(jobs.portrait, photo, self._service.limits.pixels, at, largest)
        self._service._count_faces(1)
        return found

    async def known(self) -> Known:
        """See `Service.read_known`."""
        return await self.store(self._service.read_known)

    async def health(self) -> Health:
        """The health of the facebank.

        Raises:
            BadInput: it is too large to find that out while a client waits.
        """
        return await self.store(self._service._read_health)

    async def search(
        self, vectors: Embeddings, threshold: float | None = None
    ) -> tuple[list[Match], Known]:
        """Whom each face looks like, and the facebank that this was said of.

        Args:
            vectors: of the faces, (N, D).
            threshold: the score to be named, in place of the policy's.
        """

        def do(store: Store) -> tuple[list[Match], Known]:
            known = self._service.read_known(store)
            if threshold is not None:
                known = self._service.known_at(threshold, known.people)
            return store.search(vectors, known.threshold), known

        return await self.store(do)

    async def nearest(self, vectors: Embeddings, count: int) -> list[list[Match]]:
        """The people whom each face looks like most, best first."""
        return await self.store(lambda store: store.nearest(vectors, count))

    async def group(self, vectors: bytes, photos: bytes, poor: bytes) -> list[int]:
        """The group of each vector; see `jobs.grouped`.

        Raises:
            BadInput: more than `GROUPED`.
        """
        if len(poor) > GROUPED:
            raise BadInput(f"{len(poor)} faces are more than {GROUPED}: send fewer at a time")
        return await self.work(jobs.grouped, vectors, self._service.policy, photos, poor)


def _version(store: Store) -> object:
    """What differs after a change; whether other engines' people have is asked once a second."""
    return store.version() if isinstance(store, Facebank) else int(time.monotonic())


def _threads(number: int, name: str) -> ThreadPoolExecutor:
    """Threads whose work is the service's in the facebank's log."""
    return ThreadPoolExecutor(number, name, COMMAND.set, ("mien serve",))
