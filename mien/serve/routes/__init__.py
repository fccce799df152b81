"""The routes: each takes a request apart, has the work done, and puts the answer together."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request, UploadFile

from mien.serve.service import Service


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]
Name = Annotated[str, Path(max_length=200, description="Someone's name.")]
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


async def content(upload: UploadFile) -> bytes:
    """What was uploaded; from then on it is in memory once, and not twice."""
    data = await upload.read()
    await upload.close()
    return data
