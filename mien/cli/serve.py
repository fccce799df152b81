"""The command `serve`: the verbs over HTTP, and the page."""

from __future__ import annotations

import ipaddress
import os
import secrets
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console
from mien.cli.options import (
    DEFAULT_DETECTOR,
    DEFAULT_MODEL,
    DetectorName,
    FacebankPath,
    Fpir,
    Json,
    ModelName,
    Threshold,
)
from mien.cli.render import Answer, show
from mien.errors import BadInput, needs_extra, without_password

TOKEN = "MIEN_TOKEN"  # the environment variable
SHORTEST = 16  # characters of a token


def serve(
    *,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address to listen on; others need a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="0 picks a free one.")
    ] = 8000,
    facebank: FacebankPath,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help=f"Holds the token that every request must send; or set {TOKEN}.",
        ),
    ] = None,
    new_token: Annotated[
        bool, typer.Option("--new-token", help="Print a random token, and exit.")
    ] = False,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address or network of a proxy whose X-Forwarded-For to believe.",
        ),
    ] = None,
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--no-keep",
            show_default="where the facebank is a file that is not encrypted",
            help="Keep crops of the faces that are enrolled, in a folder next to the facebank.",
        ),
    ] = None,
    megabytes: Annotated[int, typer.Option(metavar="N", min=1, help="Largest request.")] = 25,
    megapixels: Annotated[int, typer.Option(metavar="N", min=1, help="Largest photo.")] = 50,
    faces: Annotated[
        int, typer.Option(metavar="N", min=1, help="Keep only the N largest faces of each photo.")
    ] = 64,
    seconds: Annotated[
        float,
        typer.Option(
            metavar="S", min=1, help="Time limit for a request to arrive, and again for its answer."
        ),
    ] = 30,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="N", min=0.1, show_default="20, or any on loopback", help="Requests per second."
        ),
    ] = None,
    at_once: Annotated[
        int, typer.Option(metavar="N", min=1, help="Requests answered at a time.")
    ] = 8,
    threshold: Threshold = None,
    fpir: Fpir = None,
    model: ModelName = DEFAULT_MODEL,
    detector: DetectorName = DEFAULT_DETECTOR,
    as_json: Json = False,
) -> None:
    """Recognise, enrol and keep people over HTTP, with a page for browsers.

    Runs until it is stopped, and then finishes the requests it has accepted.
    """
    if new_token:
        console.say(secrets.token_urlsafe(32))
        return
    with needs_extra("mien serve", "serve"):
        from mien.serve.app import make_app
        from mien.serve.metrics import Metrics
        from mien.serve.server import bind, is_loopback, server
    from mien.parallel import processors
    from mien.recognition.model import load
    from mien.serve.service import Limits, Service
    from mien.serve.workers import Workers

    token = _token(token_file)
    _require_address(proxy)
    # With a token, others may come through a proxy.
    local = is_loopback(host) and token is None and proxy is None
    if token is None and not local:
        raise BadInput(
            f"anyone who reaches {proxy or host} could read and change the facebank: set {TOKEN} or"
            " give --token-file, or listen on 127.0.0.1 without --proxy"
        )
    limits = Limits(
        bytes=megabytes << 20,
        pixels=megapixels * 1_000_000,
        faces=faces,
        seconds=seconds,
        rate=rate if rate or local else 20,
    )
    with ExitStack() as stack:
        listening = stack.enter_context(bind(host, port))
        number = min(at_once, processors())
        make = partial(load, model, detector=detector, threads=processors() // number)
        workers = stack.enter_context(Workers(make, number))
        network = load(model, detector=detector)
        workers.wait()
        metrics = Metrics()
        service = Service(
            network,
            facebank,
            workers,
            policy=network.policy(threshold=threshold, fmr=fpir),
            limits=limits,
            keep=keep,
            local=local,
            at_once=at_once,
            count_faces=metrics.faces,
        )
        app = make_app(
            service,
            metrics,
            token=token,
            hosts=frozenset({"localhost", "127.0.0.1", "::1", host}) if local else None,
        )
        url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        about = {"url": url, "facebank": without_password(facebank), "model_id": network.model_id}
        show(Answer(about, [f"mien answers on {url}; Ctrl-C ends it"]), as_json=as_json)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn sends itself what it has handled
        server(app, seconds=seconds, proxy=proxy).run(sockets=[listening])


def _require_address(proxy: str | None) -> None:
    try:
        ipaddress.ip_network(proxy or "::1")
    except ValueError as error:
        raise BadInput(
            f"--proxy {proxy} is not an address: give one such as 10.0.0.2, or a network such as"
            " 10.0.0.0/24"
        ) from error


def _token(file: Path | None) -> str | None:
    """What requests must send; None: no token is set."""
    token = os.environ.get(TOKEN, "").strip()
    if file is not None:
        try:
            token = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{file} cannot be read: give a file with the token in it") from error
        if not token:
            raise BadInput(f"{file} is empty: put the token into it")
    if not (token.isascii() and token.isprintable()):  # each client would send it otherwise
        raise BadInput("the token must be of printable ASCII characters: choose another")
    if 0 < len(token) < SHORTEST:
        raise BadInput(
            f"the token has {len(token)} characters and could be guessed: use at least {SHORTEST},"
            " such as mien serve --new-token makes"
        )
    return token or None
