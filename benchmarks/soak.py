"""How `mien serve` stands many hours of clients of all kinds, in minutes.

Good clients ask for what they know the answer to; slow ones keep connections and take their time;
broken ones send what is no HTTP, no form and no picture; hostile ones send what is made to take
long or to fill memory.  All the while the service is asked whether it is alive, and its memory and
its log are measured.
"""

from __future__ import annotations

import io
import json
import random
import re
import resource
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
import typer
from PIL import Image

from benchmarks.serve import ask, body_of, same, service
from mien import files
from mien.cli.options import DEFAULT_MODEL, ModelName
from mien.cli.render import Answer, Table
from mien.errors import BadInput, needs_extra

SECONDS = 10  # that the service gives a request
PATIENCE = 3 * SECONDS  # of a client
IDLE = 2000  # connections that say nothing
API = "/api/v1"


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of client has seen."""

    name: str
    requests: int
    wrong: int  # answers that are not the right one, or a fault of the service (500)
    refused: int  # as it should be, or because it was busy
    late: int  # requests that the client has given up after `PATIENCE` seconds
    p99: float  # milliseconds of a request, or of several that belong together
    worst: float


@dataclass(slots=True)
class _Seen:
    """What clients of one kind note."""

    name: str
    wrong: int = 0
    refused: int = 0
    late: int = 0
    milliseconds: list[float] = field(default_factory=list)

    def kind(self) -> Kind:
        """All of it in some figures."""
        times = self.milliseconds or [0.0]
        return Kind(
            name=self.name,
            requests=len(self.milliseconds),
            wrong=self.wrong,
            refused=self.refused,
            late=self.late,
            p99=float(np.percentile(times, 99)),
            worst=max(times),
        )


@dataclass(frozen=True, slots=True)
class Soaked:
    """How the service was all the while."""

    minutes: float
    megabytes_first: float  # of its main process, after the first tenth of the time; median
    megabytes_last: float  # in the last tenth
    megabytes_most: float
    seconds_running: float  # of its main process, on a processor
    seconds_waiting: float  # for a processor, which others had: answers are late by as much
    descriptors_first: int  # open before the clients came
    descriptors_last: int  # when all had gone
    log_bytes: int
    faults: dict[str, int]  # kinds of lines in the log
    kinds: list[Kind]


class Soak:
    """Clients of a service, until their time is over.

    Args:
        port: where it listens.
        bodies: forms with a photo each; the last one is of somebody who is enrolled and forgotten.
        truth: the answers to the others.
        seconds: for how long.
    """

    def __init__(
        self, port: int, bodies: Sequence[bytes], truth: Sequence[Any], seconds: float
    ) -> None:
        self.port, self.bodies, self.truth = port, bodies, truth
        self.end = time.monotonic() + seconds
        self.seen: list[_Seen] = []

    def run(self) -> None:
        """Begin all clients, and wait for them."""
        clients: list[tuple[str, Callable[[_Seen], Iterator[None]], int]] = [
            ("alive", self._alive, 1),
            ("good", self._good, 3),
            ("batch", self._batch, 1),
            ("people", self._people, 1),
            ("slow", self._slow, 4),
            ("idle", self._idle, 1),
            ("broken", self._broken, 2),
            ("hostile", self._hostile, 2),
        ]
        threads = []
        for name, client, number in clients:
            kind = _Seen(name)
            self.seen.append(kind)
            for _ in range(number):
                threads.append(threading.Thread(target=self._drive, args=(client, kind)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _drive(self, client: Callable[[_Seen], Iterator[None]], kind: _Seen) -> None:
        steps = client(kind)
        while time.monotonic() < self.end:
            start = time.monotonic()
            try:
                next(steps, None)
            except TimeoutError:
                kind.late += 1
                steps = client(kind)
            except (OSError, HTTPException):  # it may hang up on all but the good
                kind.wrong += kind.name in ("alive", "good", "batch", "people")
                steps = client(kind)
                time.sleep(0.1)
            kind.milliseconds.append(1000 * (time.monotonic() - start))
            if kind.name == "alive":
                time.sleep(0.1)
        steps.close()  # type: ignore[attr-defined]

    def _connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        with closing(self._connect()) as connection:
            connection.request("POST", path, body, {"Content-Type": FORM})
            response = connection.getresponse()
            return response.status, response.read()

    def _note(self, kind: _Seen, status: int, *expected: int) -> None:
        kind.refused += status >= 400
        # A machine that is too busy lets requests arrive too late: 408.
        kind.wrong += status == 500 or (bool(expected) and status not in (*expected, 408, 503))

    def _alive(self, kind: _Seen) -> Iterator[None]:
        for path in cycle(("/health", "/ready")):
            with closing(self._connect()) as connection:
                connection.request("GET", path)
                self._note(kind, connection.getresponse().status, 200, 503)
            yield

    def _good(self, kind: _Seen) -> Iterator[None]:
        for place in cycle(range(len(self.truth))):
            status, answer = self._post(f"{API}/identify", self.bodies[place])
            self._note(kind, status, 200)
            kind.wrong += status == 200 and not same(json.loads(answer), self.truth[place])
            yield

    def _batch(self, kind: _Seen) -> Iterator[None]:
        photos = [
            body.replace(b'name="photo"', b'name="photos"')
            for body in self.bodies[: len(self.truth)][:8]
        ]
        form = b"".join(body.rpartition(END.rstrip())[0] for body in photos)
        while True:
            status, text = self._post(f"{API}/identify/batch", form + END)
            self._note(kind, status, 200)
            for line in map(json.loads, text.splitlines() if status == 200 else ()):
                busy = line.get("code") == "busy"
                kind.wrong += not busy and not same(line, self.truth[line["photo"]])
            yield

    def _people(self, kind: _Seen) -> Iterator[None]:
        name = quote("Somebody of the soak")
        body = f'{FIELD}name="largest"\r\n\r\ntrue\r\n'.encode() + self.bodies[-1]

        def do(method: str, path: str, *expected: int) -> None:
            with closing(self._connect()) as connection:
                connection.request(method, f"{API}{path}")
                self._note(kind, connection.getresponse().status, *expected)

        while True:
            status, _ = self._post(f"{API}/people/{name}/photos", body)
            self._note(kind, status, 200, 201)
            do("GET", f"/people/{name}", 200, 404)
            do("GET", "/people?limit=3", 200)
            do("GET", "/facebank", 200)
            do("DELETE", f"/people/{name}", 200, 404)
            yield

    def _slow(self, kind: _Seen) -> Iterator[None]:
        while True:
            with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as slow:
                if random.random() < 0.5:  # of sending
                    slow.sendall(_head("POST", f"{API}/identify", len(self.bodies[0])))
                    for byte in self.bodies[0][:200]:
                        slow.sendall(bytes([byte]))
                        if self._wait(0.2):
                            return
                else:  # of reading
                    for _ in range(20):
                        slow.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    if self._wait(2 * SECONDS):
                        return
            yield

    def _idle(self, kind: _Seen) -> Iterator[None]:
        while True:
            with ExitStack() as stack:
                for _ in range(IDLE):
                    client = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
                    stack.enter_context(client)
                if self._wait(SECONDS / 2):
                    return
            yield

    def _broken(self, kind: _Seen) -> Iterator[None]:
        chance = random.Random(len(kind.milliseconds))
        good = self.bodies[0]
        while True:
            at = chance.randrange(len(good))
            noise = chance.randbytes(300)
            for sent in (
                noise,
                b"GET /" + noise + b" HTTP/1.1\r\n\r\n",
                _head("POST", f"{API}/identify", len(good)) + good[:at],
                _head("POST", f"{API}/identify", at) + good[:at],
                _head("POST", f"{API}/identify", len(good)) + good[:at] + noise + good[at + 300 :],
                _head("POST", f"{API}/identify", None) + b"5\r\n--mie\r\nzz\r\n",
                _head("PUT", f"{API}/people/{'x' * 300}", 0),
                _head("POST", f"{API}/match", 9, "application/json") + b'{"model_i',
            ):
                with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS) as client:
                    client.sendall(sent)
                    client.shutdown(socket.SHUT_WR)
                    answer = client.recv(1 << 16)
                    self._note(kind, int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 400)
                yield

    def _hostile(self, kind: _Seen) -> Iterator[None]:
        strings = b'{"model_id": "m", "vectors": [[' + b'"x",' * 60_000 + b'"x"]]}'
        numbers = b'{"model_id": "m", "vectors": [[' + b"1e999," * 30_000 + b"1]]}"
        deep = b"[" * 200_000
        fields = b"".join(f'{FIELD}name="a{n}"\r\n\r\n1\r\n'.encode() for n in range(20_000)) + END
        bodies = [
            ("application/json", f"{API}/match", strings),
            ("application/json", f"{API}/match", numbers),
            ("application/json", f"{API}/match", deep),
            ("application/x-www-form-urlencoded", f"{API}/identify", b"a=1&" * 60_000),
            (FORM, f"{API}/identify", fields),
            (FORM, f"{API}/import", _form("archive", b'{"mien":1}\n' * 100_000)),
            (FORM, f"{API}/import", _form("archive", b"[" * 5_000_000)),
            *((FORM, f"{API}/identify", _form("photo", one)) for one in pictures()),
        ]
        for content_type, path, body in cycle(bodies):
            with closing(self._connect()) as connection, suppress(OSError):
                connection.request("POST", path, body, {"Content-Type": content_type})
                self._note(kind, connection.getresponse().status)
            yield
            query = "&".join(f"a{number}=1" for number in range(8000))
            with closing(self._connect()) as connection, suppress(OSError):
                connection.request("GET", f"{API}/people?{query}")
                self._note(kind, connection.getresponse().status)
            yield

    def _wait(self, seconds: float) -> bool:
        """Wait; whether all is over."""
        time.sleep(min(seconds, max(0.0, self.end - time.monotonic())))
        return time.monotonic() >= self.end


BOUNDARY = "mien-benchmark"
FIELD = f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
END = f"--{BOUNDARY}--\r\n".encode()
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def pictures() -> list[bytes]:
    """Pictures of few bytes that take long to decode, or much memory."""
    grey, progressive = Image.new("L", (7000, 7000)), io.BytesIO()
    grey.save(progressive, "JPEG", progressive=True)
    jpeg = progressive.getvalue()
    last = jpeg.rindex(b"\xff\xda")  # the scan that is repeated

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    def png(width: int, height: int, before: bytes = b"") -> bytes:
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        rows = zlib.compress(bytes((width + 1) * height), 9)
        end = chunk(b"IDAT", rows) + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + head + before + end

    return [
        jpeg[:last] + jpeg[last:-2] * 300 + jpeg[-2:],
        png(1, 40_000_000),
        png(40_000_000, 1),
        png(7000, 7000),
        png(8, 8, chunk(b"tEXt", b"a\0b") * 200_000),
        png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000), 9))),
    ]


def _form(name: str, data: bytes) -> bytes:
    head = f'{FIELD}name="{name}"; filename="x"\r\n\r\n'
    return head.encode() + data + b"\r\n" + END


def _head(method: str, path: str, size: int | None, kind: str = FORM) -> bytes:
    length = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    lines = (f"{method} {path} HTTP/1.1", "Host: localhost", length, f"Content-Type: {kind}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def megabytes(process: int) -> float:
    """Memory of a process that is resident."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1000


def _descriptors(process: int) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def soak(photos: Sequence[Path], model: str, minutes: float) -> Soaked:
    """Let all kinds of clients ask a service for some minutes.

    Args:
        photos: that good clients send, two at least.
        model: name or file.
        minutes: how long.

    Raises:
        BadInput: a photo cannot be read, or the service does not start or answer.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    bodies, memory = [body_of(path) for path in photos], []
    with TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        log = stack.enter_context((folder / "log").open("wb"))
        running = stack.enter_context(
            service(model, folder / "soak.db", stderr=log, seconds=SECONDS)
        )
        for number, body in enumerate(bodies[:-1][:10]):
            ask(running.port, f"{API}/people/{quote(f'Person {number}')}/photos", body, enroll=True)
        truth = [ask(running.port, f"{API}/identify", body) for body in bodies[:-1]]
        clients = Soak(running.port, bodies, truth, 60 * minutes)
        before = _descriptors(running.process)
        driven = threading.Thread(target=clients.run)
        driven.start()
        while driven.is_alive():
            memory.append(megabytes(running.process))
            driven.join(1)
        times = Path(f"/proc/{running.process}/schedstat").read_text().split()
        running_s, waiting_s = (int(nanoseconds) / 1e9 for nanoseconds in times[:2])
        end = time.monotonic() + 2 * SECONDS  # until the last of the slow ones is hung up on
        while (descriptors := _descriptors(running.process)) > before and time.monotonic() < end:
            time.sleep(0.5)
        lines = (folder / "log").read_text(errors="replace").splitlines()
        tenth = max(1, len(memory) // 10)
        return Soaked(
            minutes=minutes,
            megabytes_first=float(np.median(memory[tenth : 2 * tenth])),
            megabytes_last=float(np.median(memory[-tenth:])),
            megabytes_most=max(memory),
            seconds_running=running_s,
            seconds_waiting=waiting_s,
            descriptors_first=before,
            descriptors_last=descriptors,
            log_bytes=(folder / "log").stat().st_size,
            faults=dict(Counter(re.sub(r"[\da-f]{4,}|\d+", "#", line)[:100] for line in lines)),
            kinds=[seen.kind() for seen in clients.seen],
        )


_COLUMNS = {
    "CLIENTS": "{name}",
    "REQUESTS": "{requests}",
    "WRONG": "{wrong}",
    "REFUSED": "{refused}",
    "LATE": "{late}",
    "P99 MS": "{p99:.0f}",
    "WORST MS": "{worst:.0f}",
}
_SERVICE = {
    "MINUTES": "{minutes:g}",
    "MB AT FIRST": "{megabytes_first:.0f}",
    "MB AT LAST": "{megabytes_last:.0f}",
    "MB AT MOST": "{megabytes_most:.0f}",
    "RUNNING S": "{seconds_running:.0f}",
    "WAITING S": "{seconds_waiting:.0f}",
    "DESCRIPTORS": "{descriptors_first}, {descriptors_last}",
    "LOG BYTES": "{log_bytes}",
}


def main(
    photos: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Photos that show faces, or folders.")
    ],
    *,
    model: ModelName = DEFAULT_MODEL,
    minutes: Annotated[float, typer.Option(metavar="N", min=0.1, help="How long.")] = 30,
) -> Answer:
    """Let good, slow, broken and hostile clients ask mien serve together, and see what it does."""
    with needs_extra("mien serve", "serve"):
        import fastapi  # noqa: F401  the service that this starts needs it
    paths = files.walk(photos)
    if len(paths) < 2:
        raise BadInput(f"{len(paths)} photos are too few: give two at least, of different people")
    done = soak(paths, model, minutes)
    return Answer(done, [Table(_COLUMNS, done.kinds), Table(_SERVICE, [done])])
