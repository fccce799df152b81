"""What a request passes on its way to any route, and its answer on the way back."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.serve.api_keys import Keys, Role
from mien.serve.metrics import Metrics
from mien.serve.problems import problem
from mien.serve.service import Limits

SENDERS = 10_000  # whose rates are remembered
OPEN = ("/health", "/ready", "/")  # what needs no token: it tells nothing of anybody
OPEN_BELOW = "/page/"
FULL = re.compile("/api/v1/(networks|photos|export)|/page/ort/")  # not worth compressing, or large
LOG = logging.getLogger("mien.access")
_ID = re.compile("[A-Za-z0-9._-]{1,64}")  # of a request, as its sender may give it
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval';"
    " img-src 'self' blob: data:; media-src 'self' blob: mediastream:;"
    " object-src 'none'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Rejected(HTTPException):
    """A request that goes no further, and whose body is not read to its end."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(status, reason, {"Connection": "close"} | headers)


def network_of(address: str) -> str:
    """Whose an address is: itself, or of IPv6 its /64, which one customer has; "" if it is none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # what a proxy has put in its place
        return ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.IPv6Address(int(parsed) >> 64 << 64))


class RateLimiter:
    """How often each sender comes: a token bucket for each that fills at the rate, for two seconds.

    Whoever has not come for longest is forgotten first.
    """

    def __init__(self, rate: float) -> None:
        self.rate, self.most = rate, max(1.0, 2 * rate)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def allows(self, sender: str, now: float) -> bool:
        """Whether this sender may come now; if so, it has come."""
        tokens, when = self._left.pop(sender, (self.most, now))
        tokens = min(self.most, tokens + (now - when) * self.rate)
        allowed = tokens >= 1
        self._left[sender] = (tokens - allowed, now)
        while len(self._left) > SENDERS:
            self._left.popitem(last=False)
        return allowed


@dataclass(slots=True, eq=False)
class Body:
    """What has come of a request."""

    size: int = 0
    arrived: bool = False


class Bodies:
    """Those of all requests that are arriving, waiting or in progress.

    Whoever finds no room is not read from meanwhile; there is always some for the one that has
    been arriving for longest, or none could ever end.

    Args:
        most: bytes, about.
    """

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._arriving: dict[Body, None] = {}
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Body]:
        """One more, until its request is answered."""
        body = Body()
        try:
            yield body
        finally:
            self._arriving.pop(body, None)
            self._held -= body.size
            await self._notify()

    async def room_for(self, body: Body) -> None:
        """Wait until more of a body may come."""
        self._arriving.setdefault(body)
        if not self.has_room_for(body):
            async with self._changed:
                await self._changed.wait_for(lambda: self.has_room_for(body))

    def has_room_for(self, body: Body) -> bool:
        """Whether more of it may come."""
        return self._held < self._most or next(iter(self._arriving)) is body

    async def grow(self, body: Body, message: Message) -> None:
        """Note what has come of it."""
        size = len(message.get("body", b""))
        body.size += size
        self._held += size
        if not message.get("more_body", False):
            body.arrived = True
            del self._arriving[body]
            await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class RecordMiddleware:
    """Gives each request an id, counts it, and logs it where that is wanted.

    Args:
        app: what is behind it.
        metrics: count.
        root_path: the prefix of all paths, such as /mien, which a proxy may take away or leave.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, root_path: str = "") -> None:
        self._app, self._metrics, self._root = app, metrics, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, size = time.perf_counter(), 0, 0
        given = Headers(scope=scope).get("x-request-id", "")
        id_ = given if _ID.fullmatch(given) else secrets.token_hex(8)

        async def noted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = id_
            size += len(message.get("body", b""))
            await send(message)

        path = scope["path"]
        if not path.startswith(f"{self._root}/"):
            path = self._root + path
        # A HEAD is answered as a GET, of whose answer the server sends no body.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        inner = {**scope, "path": path, "root_path": self._root, "method": method, "mien.id": id_}
        try:
            await self._app(inner, receive, noted)
        finally:
            route = getattr(inner.get("route"), "path", "other")
            seconds = time.perf_counter() - start
            self._metrics.note(route, status, seconds)
            sender = scope["client"][0] if scope.get("client") else "-"
            LOG.info(
                "%s %s %s %s %d %d bytes %.0f ms",
                *(sender, id_, scope["method"], route, status, size, 1000 * seconds),
            )


class CompressMiddleware:
    """Compresses answers that are read again and again and are small: no loop stands still."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._gzip = app, GZipMiddleware(app, minimum_size=1000, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        small = (
            scope["type"] == "http" and scope["method"] == "GET" and not FULL.match(_path(scope))
        )
        await (self._gzip if small else self._app)(scope, receive, send)


class AccessMiddleware:
    """Lets a request through, or answers it itself: it must be from a known sender, small, in
    time, not too frequent.

    Args:
        app: what is behind it.
        limits: bytes, of one and of all, seconds and rate.
        json: bytes of a body that is no form; `limits.bytes` are for photos alone.
        keys: of which senders must know one; None: anybody may ask for anything.
        hosts: names by which the service may be called; None: any.  Without it a foreign page
            could have its own name point here and read the answers.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        json: int,
        keys: Keys | None,
        hosts: frozenset[str] | None,
    ) -> None:
        self._app, self._limits, self._json, self._hosts = app, limits, json, hosts
        self._keys = keys
        self._rates = RateLimiter(limits.rate) if limits.rate else None
        self._bodies = Bodies(limits.held)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if page:
                    headers["Cache-Control"] = "no-cache"  # the same for all: see `ETag`
                for name, value in _HEADERS.items():
                    if message["status"] != 304 or name == "Cache-Control":
                        headers.setdefault(name, value)
            await send(message)

        headers, path = Headers(scope=scope), _path(scope)
        page = path == "/" or path.startswith(OPEN_BELOW)
        try:
            scope["mien.role"] = self._admit(scope, headers, path)
            most = self._most(headers)
        except Rejected as error:
            answer = problem(error.status_code, error.detail, error.headers)
            await answer(scope, receive, with_headers)
            return
        async with self._bodies.one() as body:
            await self._app(scope, self._counted(receive, body, most), with_headers)

    def _admit(self, scope: Scope, headers: Headers, path: str) -> Role | None:
        """What the sender may do; None: what is open to all."""
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            name, site = urlsplit(f"//{host}").hostname or "", urlsplit(origin or "").netloc
        except ValueError as error:  # a bracket that is not closed
            raise Rejected(400, "Host or Origin is not an address") from error
        if self._hosts is not None and name not in self._hosts:
            raise Rejected(403, "this service is not called by that name: use its address")
        # Browsers send no Origin with a picture or a link; a link may lead to the page.
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site") and path != "/"
        if foreign or (origin is not None and site != host):
            raise Rejected(403, "pages of other sites may not ask this service")
        sender = network_of(scope["client"][0]) if scope.get("client") else ""
        if self._rates and not self._rates.allows(sender, time.monotonic()):
            reason = f"more than {self._rates.rate:g} requests a second: wait a moment"
            raise Rejected(429, reason, **{"Retry-After": "1"})
        if self._keys is None:
            return Role.ALL
        if path in OPEN or path.startswith(OPEN_BELOW):
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        role = self._keys.role(given.strip()) if scheme.lower() == "bearer" else None
        if role is None:
            reason = "the token is missing or wrong: send Authorization: Bearer TOKEN"
            raise Rejected(401, reason, **{"WWW-Authenticate": "Bearer"})
        return role

    def _most(self, headers: Headers) -> int:
        """Bytes that a body may have."""
        kind = headers.get("content-type", "").lower()
        if kind.startswith("application/x-www-form-urlencoded"):  # of a million small fields
            raise Rejected(415, "a form is sent as multipart/form-data here: so must be this one")
        form = kind.startswith("multipart/form-data")
        most = self._limits.bytes if form else self._json
        told = headers.get("content-length", "0")
        if not told.isdecimal() or len(told) > 20 or int(told) > most:
            raise _too_large(most)
        return most

    def _counted(self, receive: Receive, body: Body, most: int) -> Receive:
        """The body, as long as it is small, comes in time, and finds room."""
        seconds = self._limits.seconds
        end = time.monotonic() + seconds

        async def counted() -> Message:
            if body.arrived:  # what comes now is that the sender has gone, whenever that is
                return await receive()
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    await self._bodies.room_for(body)
                    message = await receive()
            except TimeoutError as error:
                if self._bodies.has_room_for(body):
                    reason = f"the request took over {seconds:g} seconds to arrive"
                    raise Rejected(408, reason) from error
                reason = "too many photos are on their way: try again in a moment"
                raise Rejected(503, reason, **{"Retry-After": "1"}) from error
            await self._bodies.grow(body, message)
            if body.size > most:
                raise _too_large(most)
            return message

        return counted


def _path(scope: Scope) -> str:
    """A path without the prefix of all."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _too_large(most: int) -> Rejected:
    return Rejected(413, f"the request has over {most} bytes: send smaller photos, or fewer")
