"""The command `serve`: the verbs over HTTP, and the page."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import secrets
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console, options
from mien.cli.render import Answer, show
from mien.errors import BadInput, needs_extra, without_password
from mien.serve.api_keys import Keys, parse

TOKEN = "MIEN_TOKEN"  # the environment variable


def serve(
    *,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address to listen on; others need a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="0 picks a free one.")
    ] = 8000,
    facebank: options.FacebankPath,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="Holds the tokens of which every request must send one, each on a line, with a"
            f" role (identify, enroll, all) before it or without. Or set {TOKEN}.",
        ),
    ] = None,
    new_token: Annotated[
        bool, typer.Option("--new-token", help="Print a random token, and exit.")
    ] = False,
    socket: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Unix domain socket to listen on, in place of host and port."
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(
            "--root-path", metavar="/PREFIX", help="Prefix below which a proxy offers the service."
        ),
    ] = "",
    access_log: Annotated[
        bool,
        typer.Option(
            "--access-log", help="Log each request on stderr, with its sender and without names."
        ),
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
    threshold: options.Threshold = None,
    fpir: options.Fpir = None,
    model: options.ModelName = options.DEFAULT_MODEL,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
    calibration: options.Calibration = None,
    as_json: options.Json = False,
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
        from mien.serve.middleware import LOG
        from mien.serve.server import bind, bind_unix, is_loopback, server
    from mien.parallel import processors
    from mien.parallel import workers as most
    from mien.recognition.model import load
    from mien.serve.service import Limits, Service
    from mien.serve.workers import Workers

    keys = _keys(token_file)
    _require_address(proxy)
    _require_prefix(root_path)
    if socket and proxy:
        raise BadInput("--socket and --proxy exclude each other: whoever opens it is believed")
    # With a token, others may come through a proxy.
    local = keys is None and proxy is None and (socket is not None or is_loopback(host))
    if keys is None and not local:
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
        listening = stack.enter_context(bind_unix(socket) if socket else bind(host, port))
        number = min(at_once, most())
        make = partial(load, model, detector=detector, threads=processors() // number)
        workers = stack.enter_context(Workers(make, number))
        network = load(model, detector=detector, calibration=calibration)
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
            keys=keys,
            hosts=frozenset({"localhost", "127.0.0.1", "::1", host}) if local else None,
            root_path=root_path,
        )
        if access_log:
            _write_to_stderr(LOG)
        if socket:
            url = f"unix:{socket}"
        else:
            url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        about = {"url": url, "facebank": without_password(facebank), "model_id": network.model_id}
        show(Answer(about, [f"mien answers on {url}; Ctrl-C ends it"]), as_json=as_json)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn sends itself what it has handled
        believed = "*" if socket else proxy
        server(app, seconds=seconds, proxy=believed).run(sockets=[listening])


def _require_address(proxy: str | None) -> None:
    try:
        ipaddress.ip_network(proxy or "::1")
    except ValueError as error:
        raise BadInput(
            f"--proxy {proxy} is not an address: give one such as 10.0.0.2, or a network such as"
            " 10.0.0.0/24"
        ) from error


def _require_prefix(path: str) -> None:
    if path and not re.fullmatch(r"(/[\w.~-]+)+", path, re.ASCII):
        raise BadInput(f"--root-path {path} is no prefix of paths: give one such as /mien")


def _write_to_stderr(log: logging.Logger) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _keys(file: Path | None) -> Keys | None:
    """The tokens that requests must send one of; None: none is set."""
    text = os.environ.get(TOKEN, "").strip()
    if file is None:
        return parse(text, TOKEN) if text else None
    from mien.files import contents

    try:
        return parse(contents(file).decode(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: give a file with the token in it") from error
