"""How the service itself is, and the page for people."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from mien import __version__
from mien.serve import schema
from mien.serve.metrics import Metrics
from mien.serve.routes import TheService

PAGE = Path(__file__).parents[1] / "page"

router = APIRouter()


@router.get("/health")
async def health() -> schema.Status:
    """The service is alive: it answers this whatever else it does."""
    return schema.Status(status="alive", version=__version__)


@router.get("/ready")
async def ready(service: TheService) -> schema.Status:
    """Whether a photo sent now would be processed at once; 503 if it would have to wait."""
    if not service.ready:
        raise HTTPException(
            503, "the service has as many requests as it takes", {"Retry-After": "1"}
        )
    return schema.Status(status="ready", version=__version__)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Counts and times, as Prometheus reads them; no names."""
    counted: Metrics = request.app.state.metrics
    return Response(*counted.exposition())


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page for people."""
    return FileResponse(PAGE / "index.html")
