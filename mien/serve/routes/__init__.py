"""The routes: each takes a request apart, has the work done, and puts the answer together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Path, Request, Security, UploadFile
from fastapi.security import HTTPBearer
from pydantic import WithJsonSchema
from starlette.exceptions import HTTPException

from mien.serve.api_keys import Role
from mien.serve.service import Service

PREFIX = "/api/v1"
BINARY = {"schema": {"type": "string", "format": "binary"}}  # what generators know as a file

_File = Annotated[UploadFile, WithJsonSchema(BINARY["schema"])]
Upload = Annotated[_File, File()]
Uploads = Annotated[list[_File], File()]
Name = Annotated[str, Path(max_length=200, description="Someone's name.")]
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="Of the face's picture.")]


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]


def api(tag: str) -> APIRouter:
    """A router below `PREFIX`, for what is about one thing."""
    return APIRouter(prefix=PREFIX, tags=[tag], dependencies=[TOKEN, Depends(_no_others)])


def role(least: Role) -> list[Any]:
    """The dependencies of a route that requires a role."""

    async def check(request: Request) -> None:
        if request.scope["mien.role"] < least:
            raise HTTPException(
                403, f"this token is not good for that: it takes one for {least.name.lower()}"
            )

    return [Depends(check)]


async def content(upload: UploadFile) -> bytes:
    """What was uploaded; from then on it is in memory once, and not twice."""
    data = await upload.read()
    await upload.close()
    return data


# What OpenAPI says of tokens; it is `AccessMiddleware` that asks for them.
TOKEN = Security(HTTPBearer(scheme_name="token", auto_error=False))


async def _no_others(request: Request) -> None:
    """Refuse fields that nobody reads: one that is misspelt would change nothing, in silence."""
    takes = request.scope["route"].dependant
    _refuse_others("query", request.query_params.multi_items(), takes.query_params)
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        _refuse_others("form", (await request.form()).multi_items(), takes.body_params)


def _refuse_others(kind: str, given: Sequence[tuple[str, Any]], takes: Sequence[Any]) -> None:
    known = {one.alias: "list" in str(one.field_info.annotation) for one in takes}
    for name, times in Counter(name for name, _ in given).items():
        if name not in known:
            fields = ", ".join(sorted(known)) or "none"
            raise HTTPException(422, f"there is no {kind} field {name[:50]!r}: it takes {fields}")
        if times > 1 and not known[name]:
            raise HTTPException(422, f"the {kind} field {name!r} was sent {times} times: send one")
