"""How the service itself is, and the page for people."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from mien import __version__
from mien.serve import schema
from mien.serve.metrics import Metrics
from mien.serve.routes import TOKEN, TheService

PAGE = Path(__file__).parents[1] / "page"

page = StaticFiles(directory=PAGE)
router = APIRouter(tags=["service"])


@router.get("/health")
async def get_health() -> schema.Status:
    """The service is alive: it answers this whatever else it does."""
    return schema.Status(status="alive", version=__version__)


@router.get("/ready")
async def get_ready(service: TheService) -> schema.Status:
    """Whether a photo sent now would be processed at once; 503 if it would have to wait."""
    if not service.ready:
        raise HTTPException(
            503, "the service has as many requests as it takes", {"Retry-After": "1"}
        )
    return schema.Status(status="ready", version=__version__)


@router.get(
    "/metrics",
    dependencies=[TOKEN],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics(request: Request) -> Response:
    """Counts and times, as Prometheus reads them; no names."""
    counted: Metrics = request.app.state.metrics
    return Response(*counted.exposition())


@router.get("/", include_in_schema=False)
async def get_page(request: Request) -> Response:
    """The page for people."""
    return await page.get_response("index.html", request.scope)
