"""What is counted: requests, their times, and the faces that went through the network."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

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

    def note(self, route: str, status: int, seconds: float) -> None:
        """Note a request.

        Args:
            route: its pattern, not its path: names of people are no labels.
            status: of the answer.
            seconds: from its first byte to the answer's last.
        """
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
