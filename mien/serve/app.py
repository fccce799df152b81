"""The application: the routes, and what every request passes on its way to them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.formparsers import MultiPartParser
from starlette.types import ASGIApp

from mien import __version__
from mien.serve.api_keys import Keys
from mien.serve.metrics import Metrics
from mien.serve.middleware import AccessMiddleware, CompressMiddleware, RecordMiddleware
from mien.serve.problems import RESPONSES, answer_with_problems
from mien.serve.routes import device, facebank, groups, people, photos, recognise, state
from mien.serve.service import Service

# Uploads stay in memory, which `Limits.held` bounds: a photo must not reach a disk.
MultiPartParser.spool_max_size = sys.maxsize


def make_app(
    service: Service,
    metrics: Metrics,
    *,
    keys: Keys | None = None,
    hosts: frozenset[str] | None = None,
    root_path: str = "",
) -> ASGIApp:
    """The service as an ASGI application.

    Args:
        service: does the work; it is closed when the application ends.
        metrics: counts; the service's `count_faces` should be its `faces`.
        keys: see `AccessMiddleware`.
        hosts: see `AccessMiddleware`.
        root_path: see `RecordMiddleware`.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="mien",
        version=__version__,
        description="Who is in a photo. A score is a cosine in [-1, 1], not a probability.",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        root_path=root_path,
        redirect_slashes=False,  # to whatever Host the request has named
        generate_unique_id_function=lambda route: route.name,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        responses=RESPONSES,
    )
    app.state.service, app.state.metrics = service, metrics
    answer_with_problems(app)
    for part in (state, recognise, device, people, photos, groups, facebank):
        app.include_router(part.router)
    app.mount("/page", state.page)
    app.openapi()  # now, and not while a request waits for it
    gate = AccessMiddleware(
        CompressMiddleware(app),
        limits=service.limits,
        json=service.json_bytes,
        keys=keys,
        hosts=hosts,
    )
    return RecordMiddleware(gate, metrics=metrics, root_path=root_path)
