"""A socket, and the server behind it until it is told to stop."""

from __future__ import annotations

import ipaddress
import socket

import uvicorn
from starlette.types import ASGIApp

from mien.errors import BadInput


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach a host's name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
        BadInput: the address is not this machine's, or the port is taken or forbidden.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"cannot listen on {host} port {port} ({reason}): give another") from error
    # What it accepts inherits this; asyncio sees to it only for sockets that it has made itself.
    # An answer's second part would wait for the first to be acknowledged: 40 milliseconds.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def server(app: ASGIApp, *, grace: float) -> uvicorn.Server:
    """What answers until SIGTERM or SIGINT, then what was accepted, for `grace` seconds at most."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # addresses and names of people do not belong in a log
        server_header=False,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=int(grace),
        ws="none",
    )
    return uvicorn.Server(config)
