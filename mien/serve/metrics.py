"""What is counted: requests, their times, and the faces that went through the network."""

from __future__ import annotations

import time

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counts for one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "mien_requests", "Requests answered.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "mien_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._faces = Counter(
            "mien_faces", "Faces that went through the network.", registry=self._registry
        )

    def faces(self, count: int) -> None:
        """Note faces that go through the network."""
        self._faces.inc(count)

    def exposition(self) -> tuple[bytes, int, dict[str, str]]:
        """Body, status and headers of an answer."""
        return generate_latest(self._registry), 200, {"Content-Type": CONTENT_TYPE_LATEST}

    def around(self, app: ASGIApp) -> ASGIApp:
        """An application whose requests are counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            start, status = time.perf_counter(), 0

            async def noted(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, noted)
            finally:
                # The route's pattern, not its path: names of people are no labels.
                route = getattr(scope.get("route"), "path", "other")
                self._requests.labels(route, str(status)).inc()
                self._seconds.labels(route).observe(time.perf_counter() - start)

        return counted
