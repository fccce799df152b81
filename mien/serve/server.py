"""A socket, and the server behind it until it is told to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

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


class _InTime(H11Protocol):
    """A connection that ends where a request's headers take too long; uvicorn itself would wait."""

    seconds: float
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unwatch()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:  # the headers are there
            self._unwatch()
        elif self._end is None:
            self._end = self.loop.call_later(self.seconds, self.transport.close)

    def _unwatch(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None


def server(app: ASGIApp, *, seconds: float) -> uvicorn.Server:
    """What answers until SIGTERM or SIGINT, then what was accepted.

    Args:
        app: what to answer with.
        seconds: for a request's headers to arrive, and at the end for what was accepted.
    """
    config = uvicorn.Config(
        app,
        http=type("InTime", (_InTime,), {"seconds": seconds}),
        log_level="warning",
        access_log=False,  # addresses and names of people do not belong in a log
        server_header=False,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=int(seconds),
        ws="none",
    )
    return uvicorn.Server(config)
