"""Errors as answers: a status, a code and one sentence, which names no file of the server's."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from mien.errors import (
    BadFacebank,
    BadInput,
    CannotWrite,
    MienError,
    MissingExtra,
    NoFace,
    UnknownPerson,
)
from mien.serve import schema
from mien.serve.workers import Overloaded, WorkerLost

_LOG = logging.getLogger("uvicorn.error")


class Conflict(BadInput):
    """The name or the face is somebody else's."""


ERRORS: dict[str, tuple[int, str]] = {  # all that there are: code, status and meaning
    "unreadable": (400, "the request is no HTTP, no form or no JSON"),
    "unauthorized": (401, "the token is missing or wrong"),
    "forbidden": (403, "the token is not good for this; or a page of another site asks"),
    "not_found": (404, "nobody, or nothing, of that name"),
    "method_not_allowed": (405, "the address takes other methods, which `Allow` lists"),
    "timeout": (408, "the request took too long to arrive"),
    "conflict": (409, "the name or the face is somebody else's, or the vectors another model's"),
    "too_large": (413, "the request has too many bytes"),
    "unsupported": (415, "the body is of another kind than the address takes"),
    "invalid": (422, "a field is missing, unknown or out of its range, or a photo is no photo"),
    "no_face": (422, "the photo shows no face, or several where one is needed"),
    "rate_limited": (429, "too many requests: wait as long as `Retry-After` says"),
    "failed": (500, "a fault of the service, which its log describes"),
    "not_installed": (501, "the service lacks an optional package"),
    "busy": (503, "too many requests, or this one took too long: try again later"),
    "worker_lost": (503, "the photo has ended the process that looked at it"),
    "facebank": (503, "the facebank cannot be used"),
    "cannot_write": (507, "the service cannot write to its disk"),
}
_CODE: dict[type[MienError], str] = {  # of all others `invalid`
    Overloaded: "busy",
    WorkerLost: "worker_lost",
    UnknownPerson: "not_found",
    CannotWrite: "cannot_write",
    BadFacebank: "facebank",
    MissingExtra: "not_installed",
    Conflict: "conflict",
    NoFace: "no_face",
}
_IN_WORDS: dict[type[MienError], str] = {  # the library's sentences are for a terminal; these not
    WorkerLost: "what looked at the photo has ended, perhaps out of memory: try a smaller one",
    UnknownPerson: "the facebank has nobody of that name: GET /api/v1/people lists all",
    CannotWrite: "the service cannot write: nothing has changed; its log says why",
    BadFacebank: "the facebank cannot be used: the service's log says why",
    MissingExtra: "the service lacks an optional package: its log says which",
}
_STARLETTE = {  # its words
    "Not Found": "there is nothing at this address: GET /openapi.json lists what there is",
    "Method Not Allowed": "this address takes other methods: see the header Allow",
    "There was an error parsing the body": "the body cannot be read: send what its type says",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": schema.Problem, "description": "The request cannot be answered, and why."},
    "5XX": {"model": schema.Problem, "description": "The service cannot answer, and why."},
}


def problem(
    status: int, sentence: str, headers: Mapping[str, str] | None = None, code: str | None = None
) -> JSONResponse:
    """An answer that says what is wrong; by default with the first code of its status."""
    code = code or next(code for code, (number, _) in ERRORS.items() if number == status)
    return JSONResponse({"error": sentence, "code": code}, status, headers)


def sentence_of(error: MienError) -> tuple[str, str]:
    """The code of an error, and what the sender is told."""
    kind = next((kind for kind in _CODE if isinstance(error, kind)), MienError)
    return _CODE.get(kind, "invalid"), _IN_WORDS.get(kind, str(error))


def answer_with_problems(app: FastAPI) -> None:
    """Have an application answer errors with `schema.Problem`."""

    @app.exception_handler(MienError)
    async def known(request: Request, error: MienError) -> JSONResponse:
        code, sentence = sentence_of(error)
        status = ERRORS[code][0]
        if status >= 500:
            _LOG.error("%s (request %s)", error, request.scope["mien.id"])
        return problem(status, sentence, {"Retry-After": "1"} if status == 503 else None, code)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        unreadable = first["type"] == "json_invalid"
        return problem(400 if unreadable else 422, _in_words(first))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(request) or ("HEAD", "GET"))  # of a file
        sentence = _STARLETTE.get(error.detail, error.detail)
        return problem(error.status_code, sentence, headers)

    @app.exception_handler(Exception)
    async def unknown(_: Request, error: Exception) -> JSONResponse:
        return problem(500, "the service failed: its log says why")


def _in_words(error: Mapping[str, Any]) -> str:
    """What pydantic says, without its Python."""
    where, kind = " ".join(map(str, error["loc"][1:])) or "the body", error["type"]
    if kind == "missing":
        return f"{where} is missing: send it"
    if kind == "json_invalid":
        return f"the body is not JSON, from character {error['loc'][-1]} on"
    if kind == "extra_forbidden":
        return f"there is no field {where!r} here: leave it out"
    if "UploadFile" in error["msg"]:
        return f"{where} is a text, and must be a file: send it with a file name"
    message = re.sub("^Value error, ", "", error["msg"])
    return f"{where}: {message[:1].lower()}{message[1:]}"


def _methods(request: Request) -> list[str]:
    """What the address takes."""

    def takes(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(one.matches(scope)[0] is Match.FULL for one in request.app.router.routes)

    taken = [name for name in ("GET", "POST", "PUT", "PATCH", "DELETE") if takes(name)]
    return ["HEAD", *taken] if "GET" in taken else taken
