"""Errors as answers: a status and one sentence, which names no file of the server's."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from mien.errors import (
    BadFacebank,
    BadInput,
    CannotWrite,
    MienError,
    MissingExtra,
    UnknownPerson,
)
from mien.serve import schema
from mien.serve.workers import Overloaded, WorkerLost

_LOG = logging.getLogger("uvicorn.error")


class Conflict(BadInput):
    """The name or the face is somebody else's."""


_STATUS: dict[type[MienError], int] = {  # of all others 422
    Overloaded: 503,
    WorkerLost: 503,
    UnknownPerson: 404,
    CannotWrite: 507,
    BadFacebank: 503,
    MissingExtra: 501,
    Conflict: 409,
}
_IN_WORDS: dict[type[MienError], str] = {  # the library's sentences name files; these do not
    WorkerLost: "what looked at the photo has ended, perhaps for want of memory: try a smaller one",
    UnknownPerson: "the facebank has nobody of that name: see GET /people",
    CannotWrite: "the server cannot write: nothing has changed; its log says why",
    BadFacebank: "the facebank cannot be used: the server's log says why",
}
_NO_ROUTE = {  # Starlette's words
    "Not Found": "there is nothing at this address: see GET /openapi.json",
    "Method Not Allowed": "this address takes no such request: see GET /openapi.json",
}
_MEANING = {
    400: "the request cannot be read",
    401: "the token is missing or wrong",
    403: "asked by another site, or under another name",
    404: "nobody, or nothing, of that name",
    408: "the request took too long to arrive",
    409: "the name or the face is somebody else's",
    413: "the request has too many bytes",
    422: "no usable photo, or a value out of its range",
    429: "too many requests",
    501: "an optional package is not installed",
    503: "too busy, or the facebank cannot be used",
    507: "the server cannot write",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": schema.Problem, "description": why} for status, why in _MEANING.items()
}


def answer_with_problems(app: FastAPI) -> None:
    """Have an application answer errors with `schema.Problem`."""

    @app.exception_handler(MienError)
    async def known(_: Request, error: MienError) -> JSONResponse:
        kind = next((kind for kind in _STATUS if isinstance(error, kind)), MienError)
        status, sentence = _STATUS.get(kind, 422), _IN_WORDS.get(kind, str(error))
        if status >= 500:
            _LOG.error("%s", error)
        headers = {"Retry-After": "1"} if status == 503 else None
        return JSONResponse({"error": sentence}, status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = " ".join(map(str, first["loc"][1:])) or "the request"
        return JSONResponse({"error": f"{where}: {first['msg']}"}, 422)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        sentence = _NO_ROUTE.get(error.detail, error.detail)
        return JSONResponse({"error": sentence}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unknown(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the server failed: its log says why"}, 500)
