"""A socket, its connections, and the server behind them until it is told to stop."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import ipaddress
import logging
import math
import os
import socket
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from mien.errors import BadInput
from mien.serve.middleware import network_of

MOST, EACH = 4096, 128  # connections in all, and of one address
SLOWEST = 1000  # bytes a second that a client must take of an answer
_READ = 1 << 15  # bytes at a time: those of a chunked body can be some thousand chunks
_WAITING = 2048  # connections that the system holds until they are taken
_AT_ONCE = 32  # that are taken before others are served again
_MMAP_THRESHOLD = -3  # of mallopt
_SPARE = 128  # file descriptors that are for no connection
_LOG = logging.getLogger("uvicorn.error")


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
        listening = socket.create_server((host, port), family=family, backlog=_WAITING)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"cannot listen on {host} port {port} ({reason}): give another") from error
    # What it accepts inherits this; asyncio sees to it only for sockets that it has made itself.
    # An answer's second part would wait for the first to be acknowledged: 40 milliseconds.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def bind_unix(path: Path) -> socket.socket:
    """A Unix domain socket that listens, for its owner and group; it is removed where it was left.

    Raises:
        BadInput: something else is there, or it cannot be made.
    """
    try:
        if path.is_socket():
            path.unlink()
        before = os.umask(0o117)
        try:
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(str(path))
        finally:
            os.umask(before)
        listening.listen(_WAITING)
    except OSError as error:
        raise BadInput(
            f"cannot listen on {path} ({error.strerror or error}): give another"
        ) from error
    return listening


@dataclass(slots=True)
class Connections:
    """Who is connected, and whether somebody else may be.

    Args:
        most: in all.
        each: of one address that is neither this machine's nor the proxy's.
        proxy: its address or network, if there is one.
    """

    most: int = MOST
    each: int = EACH
    proxy: str | None = None
    open: Counter[str] = field(default_factory=Counter)  # by `network_of`

    def admits(self, address: str) -> bool:
        """Whether one more may come from an address; if so, it has come."""
        network = network_of(address)
        # Those of a Unix domain socket have no address.
        shared = not address or is_loopback(address) or self._is_proxy(address)
        if self.open.total() >= self.most or not (shared or self.open[network] < self.each):
            return False
        self.open[network] += 1
        return True

    def leaves(self, address: str) -> None:
        """Note that one from an address has ended."""
        network = network_of(address)
        self.open[network] -= 1
        if not self.open[network]:
            del self.open[network]

    def _is_proxy(self, address: str) -> bool:
        if self.proxy is None or self.proxy == "*":
            return False
        with suppress(ValueError):
            return ipaddress.ip_address(address) in ipaddress.ip_network(self.proxy)
        return False


class _Connection(H11Protocol):
    """A connection that ends where its client is slow, or is one of too many.

    uvicorn itself would wait forever for headers, and for an answer to be taken.
    """

    seconds: float  # for a request's headers to arrive
    others: Connections
    _headers: asyncio.TimerHandle | None = None
    _answer: asyncio.TimerHandle | None = None
    _admitted = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # `pause_writing` as soon as anything must wait
        transport.max_size = _READ  # type: ignore[attr-defined]
        self._admitted = self.others.admits(self.client[0] if self.client else "")
        if self._admitted:
            self._watch_headers()
        else:
            _LOG.warning("too many connections: some are refused")
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._admitted:
            self.others.leaves(self.client[0] if self.client else "")
        _cancel(self._headers)
        _cancel(self._answer)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_headers()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_answer(math.inf)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._answer)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; where an answer is on its way there can be no other."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()
        if self.cycle:  # a request whose body is still arriving
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _watch_headers(self) -> None:
        if self.conn.their_state is not h11.IDLE:  # the headers are there
            _cancel(self._headers)
            self._headers = None
        elif self._headers is None:
            self._headers = self.loop.call_later(self.seconds, self.transport.close)

    def _watch_answer(self, before: float) -> None:
        """Hang up where too little has been taken of what waits; nothing is added meanwhile."""
        waiting = self.transport.get_write_buffer_size()
        if before - waiting < SLOWEST * self.seconds:
            self.transport.abort()
        else:
            self._answer = self.loop.call_later(self.seconds, self._watch_answer, waiting)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class OnceAMinute(logging.Filter):
    """Lets one message of each kind through a minute, so that no client can fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a minute has passed since one like it."""
        details = [type(one) for one in record.args or () if isinstance(one, BaseException)]
        error = record.exc_info[0] if record.exc_info else None
        kind = record.name, str(record.msg).partition("\n")[0], *details, error
        now = time.monotonic()
        if now - self._last.get(kind, -math.inf) < 60:
            return False
        if len(self._last) >= 1000:
            self._last.clear()
        self._last[kind] = now
        return True


def raise_descriptors() -> int:
    """File descriptors that this process may have now, which are as many as it may allow itself."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return 1 << 20
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST + _SPARE
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _give_memory_back() -> None:
    """Have this process return what a photo took to the system as soon as it is answered.

    The C library of Linux would soon keep blocks of that size for later, and holes between them.
    """
    settings = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if settings:  # of glibc; others have none
        settings(_MMAP_THRESHOLD, 1 << 20)


class _Server(uvicorn.Server):
    """A server that takes connections some at a time, so that a thousand at once hold up nobody."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for one in sockets or ():
            one.listen(_WAITING)  # asyncio has taken `backlog` for both
        _give_memory_back()
        gc.freeze()  # what is there now stays: looking through it again would stop the loop


def server(app: ASGIApp, *, seconds: float, proxy: str | None = None) -> uvicorn.Server:
    """What answers until SIGTERM or SIGINT, then what was accepted.

    Args:
        app: what to answer with.
        seconds: for a request's headers to arrive, and at the end for what was accepted.
        proxy: the address or network of one whose X-Forwarded-For is to be believed; * believes
            everybody, such as those who may open a Unix domain socket.
    """
    # One connection takes two at most: its own and that of a file which is sent.
    most = max(1, min(MOST, (raise_descriptors() - _SPARE) // 2))
    rules: dict[str, Any] = {"seconds": seconds, "others": Connections(most, proxy=proxy)}
    config = uvicorn.Config(
        app,
        http=type("Connection", (_Connection,), rules),
        log_level="warning",
        access_log=False,  # it has paths, and names of people are in them
        server_header=False,
        proxy_headers=proxy is not None,
        forwarded_allow_ips=proxy,
        backlog=_AT_ONCE,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=int(seconds),
        ws="none",
    )
    for log in map(logging.getLogger, ("uvicorn.error", "asyncio")):
        log.filters = [OnceAMinute()]
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it tells of each broken form
    return _Server(config)
