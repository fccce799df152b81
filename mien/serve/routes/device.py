"""What it takes to recognise faces elsewhere as this service does, such as in a browser."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from mien.recognition.detect.mien_detector import MienDetector
from mien.recognition.detect.mtcnn import MTCNN
from mien.recognition.embedder import OnnxEmbedder
from mien.recognition.model import Model
from mien.serve import schema
from mien.serve.api_keys import Role
from mien.serve.routes import BINARY, TheService, api, role
from mien.types import Detector

# ONNX Runtime Web, where it was fetched
RUNTIME = Path(__file__).parents[1] / "page" / "ort" / "ort-wasm-simd-threaded.wasm"

router = api("device")


@router.get("/device", dependencies=role(Role.IDENTIFY))
async def get_device(service: TheService) -> schema.Device:
    """How this service finds faces, for those who do it themselves."""
    return schema.Device(
        model_id=service.model.model_id,
        missing=_missing(service.model),
        faces=service.limits.faces,
        detector=_detector(service.model.detector),
    )


def _detector(detector: Detector) -> schema.OwnDetector | schema.Cascade | None:
    """How a detector is set that browsers can run."""
    if isinstance(detector, MienDetector):
        return schema.OwnDetector(
            networks=list(detector.networks),
            min_face=detector.min_face,
            threshold=detector.threshold,
        )
    if isinstance(detector, MTCNN):
        return schema.Cascade(
            networks=list(detector.networks),
            min_face=detector.min_face,
            factor=detector.factor,
            thresholds=list(detector.thresholds),
        )
    return None


@router.get(
    "/networks/{name}",
    dependencies=role(Role.IDENTIFY),
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": BINARY}}},
)
async def get_network(
    name: Literal["finder", "points", "propose", "refine", "confirm", "embed"],
    request: Request,
    service: TheService,
) -> Response:
    """One of the networks that this service runs, as an ONNX file."""
    part = service.model.embedder if name == "embed" else service.model.detector
    if isinstance(part, OnnxEmbedder):
        content, etag = await run_in_threadpool(_tagged, part.network)
    elif isinstance(part, MienDetector | MTCNN) and name in part.networks:
        content, etag = await run_in_threadpool(_tagged, partial(part.network, name))
    else:
        raise HTTPException(404, f"this service has no network to {name}: see GET /api/v1/device")
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/octet-stream")


def _tagged(read: Callable[[], bytes]) -> tuple[bytes, str]:
    content = read()
    return content, f'"{hashlib.sha256(content).hexdigest()}"'


def _missing(model: Model) -> str | None:
    """Why a browser cannot do this service's work; None: it can."""
    if not (_detector(model.detector) and isinstance(model.embedder, OnnxEmbedder)):
        return "this service was started with a detector that browsers cannot run"
    if not RUNTIME.is_file():
        return "this service has no ONNX Runtime for browsers: make page gets it"
    return None
