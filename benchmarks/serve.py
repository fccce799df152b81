"""How many photos a second `mien serve` answers for, beside answering one at a time.

Both services run all the while and are asked in turn, so that a machine that slows down slows both.
The clients share the machine with the service, as its page does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import cycle, islice, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Annotated, Any
from urllib.parse import quote, urlsplit

import numpy as np
import typer

from mien import files, images
from mien.cli.options import DEFAULT_MODEL, ModelName
from mien.cli.render import Answer, Table
from mien.errors import BadInput, needs_extra

_BOUNDARY = "mien-benchmark"
_ENROLLED = 10  # of the photos: names as well as boxes can be wrong


@dataclass(frozen=True, slots=True)
class Served:
    """One way to answer."""

    name: str
    clients: int
    requests_per_second: float  # medians over the turns, as the next two
    median: float  # milliseconds of an answer
    p99: float
    wrong: int  # answers that were not those of the photo
    ratio: float  # its requests a second to those of one at a time


@dataclass(slots=True)
class _Turn:
    """What clients have noted."""

    milliseconds: list[float] = field(default_factory=list)
    wrong: int = 0
    seconds: float = 0.0  # until the last answer

    @property
    def rate(self) -> float:
        return len(self.milliseconds) / self.seconds


def ways(
    photos: Sequence[Path], model: str, folder: Path, *, clients: int, seconds: float, turns: int
) -> list[Served]:
    """One at a time, one client alone, and many at once.

    Args:
        photos: are sent by each client from a place of its own on.
        model: name or file.
        folder: where the facebanks go.
        clients: that ask at once.
        seconds: of each turn.
        turns: of each way, one after the other.

    Raises:
        BadInput: a photo cannot be read, or the service does not start or answer.
    """
    bodies = [body_of(path) for path in photos]
    with ExitStack() as stack:
        one = stack.enter_context(service(model, folder / "one.db", at_once=1)).port
        many = stack.enter_context(service(model, folder / "many.db")).port
        for port in (one, many):
            for number, body in enumerate(bodies[:_ENROLLED]):
                ask(port, f"/api/v1/people/{quote(f'Person {number}')}/photos", body, enroll=True)
        truth = [ask(one, "/api/v1/identify", body) for body in bodies]
        tried = [("one at a time", one, clients), ("one client", many, 1)]
        tried.append(("together", many, clients))
        noted: dict[str, list[_Turn]] = {name: [] for name, _, _ in tried}
        for _ in range(turns):
            for name, port, number in tried:
                noted[name].append(_turn(port, bodies, truth, number, seconds))
    rates = {name: float(np.median([turn.rate for turn in noted[name]])) for name in noted}
    return [
        Served(
            name=name,
            clients=number,
            requests_per_second=rates[name],
            median=_percentile(noted[name], 50),
            p99=_percentile(noted[name], 99),
            wrong=sum(turn.wrong for turn in noted[name]),
            ratio=rates[name] / rates["one at a time"],
        )
        for name, _, number in tried
    ]


def _percentile(turns: Sequence[_Turn], percent: float) -> float:
    return float(np.median([np.percentile(turn.milliseconds, percent) for turn in turns]))


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs."""

    port: int
    process: int  # its id


@contextmanager
def service(
    model: str, facebank: Path, *, stderr: IO[bytes] | None = None, **options: int
) -> Iterator[Running]:
    """A service that runs meanwhile."""
    command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--json", "--no-keep"]
    command += ["--model", model, "--facebank", str(facebank)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        try:
            assert process.stdout
            lines = iter(process.stdout.readline, "")
            document = "".join(takewhile(lambda line: line != "}\n", lines))
            if not document:
                raise BadInput("the service did not start: run mien serve to see why")
            port = urlsplit(json.loads(document + "}")["url"]).port
            yield Running(port or 0, process.pid)
        finally:
            process.terminate()


def body_of(path: Path) -> bytes:
    """A photo as a form has it."""
    head = 'Content-Disposition: form-data; name="photo"; filename="photo"'
    data = images.read_bytes(path)
    return f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode()


def ask(port: int, path: str, body: bytes, *, enroll: bool = False) -> Any:
    """What a service answers to a form."""
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        if enroll:  # the largest of several
            extra = (
                f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="largest"\r\n\r\ntrue\r\n'
            )
            body = extra.encode() + body
        status, answer = _post(connection, path, body)
    if status >= 400 and not enroll:
        raise BadInput(f"the service answers {status}: {answer.get('error')}")
    return answer


def _post(connection: HTTPConnection, path: str, body: bytes) -> tuple[int, Any]:
    head = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    connection.request("POST", path, body, head)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def _turn(
    port: int, bodies: Sequence[bytes], truth: Sequence[Any], clients: int, seconds: float
) -> _Turn:
    turn, begun = _Turn(), time.perf_counter()

    def ask(first: int) -> None:
        with closing(HTTPConnection("127.0.0.1", port)) as connection:
            for place in islice(cycle(range(len(bodies))), first, None):
                start = time.perf_counter()
                if start > begun + seconds:
                    return
                _, answer = _post(connection, "/api/v1/identify", bodies[place])
                turn.milliseconds.append(1000 * (time.perf_counter() - start))
                turn.wrong += not same(answer, truth[place])

    places = [number * len(bodies) // clients for number in range(clients)]
    threads = [threading.Thread(target=ask, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turn.seconds = time.perf_counter() - begun
    return turn


def same(one: Any, other: Any) -> bool:
    """Whether two answers are of one photo; scores may differ by round-off."""
    faces = one.get("faces", []), other["faces"]
    return len(faces[0]) == len(faces[1]) and all(
        a["person"] == b["person"] and a["box"] == b["box"] and abs(a["score"] - b["score"]) < 1e-3
        for a, b in zip(*faces, strict=True)
    )


_COLUMNS = {
    "": "{name}",
    "CLIENTS": "{clients}",
    "REQUESTS PER SECOND": "{requests_per_second:.1f}",
    "RATIO": "{ratio:.2f}",
    "MEDIAN MS": "{median:.0f}",
    "P99 MS": "{p99:.0f}",
    "WRONG": "{wrong}",
}


def main(
    photos: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Photos that show faces, or folders.")
    ],
    *,
    model: ModelName = DEFAULT_MODEL,
    clients: Annotated[
        int, typer.Option(metavar="N", min=1, help="Clients that ask at the same time.")
    ] = 32,
    seconds: Annotated[float, typer.Option(metavar="S", min=1, help="Length of each turn.")] = 10,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Times that each is timed.")] = 3,
) -> Answer:
    """Measure for how many photos per second mien serve answers, beside one at a time."""
    with needs_extra("mien serve", "serve"):
        import fastapi  # noqa: F401  the services that this starts need it
    paths = files.walk(photos)
    with TemporaryDirectory() as folder:
        measured = ways(paths, model, Path(folder), clients=clients, seconds=seconds, turns=turns)
    content = {"photos": len(paths), "seconds": seconds, "turns": turns, "ways": measured}
    return Answer(content, [Table(_COLUMNS, measured)])
