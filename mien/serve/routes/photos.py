"""Someone's photos: which there are, another one, and the face that each shows."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import APIRouter, Form, Response, UploadFile
from starlette.exceptions import HTTPException

from mien.errors import BadInput
from mien.facebank.rows import Photo, person_name
from mien.facebank.stores import Store
from mien.serve import jobs, schema
from mien.serve.problems import Conflict
from mien.serve.routes import Name, Sha256, TheService, content
from mien.serve.service import Service

NOWHERE = "/nonexistent"  # a face's folder where none is kept; enroll --rebuild asks for it

router = APIRouter()


@router.get("/people/{name}/photos")
async def photos(name: Name, service: TheService) -> schema.Photos:
    """Someone's photos."""

    def do(store: Store) -> schema.Photos:
        found = store.photos(name)
        entries = [
            schema.PhotoEntry(
                sha256=photo.sha256,
                confidence=round(photo.confidence, 6),
                size=round(photo.size, 1),
                added=photo.added,
                shown=_may_be_shown(photo, service),
            )
            for photo in found
        ]
        return schema.Photos(person=found[0].person, photos=entries)

    async with service.turn() as turn:
        return await turn.store(do)


@router.post("/people/{name}/photos", status_code=201)
async def enroll(
    name: Name,
    photo: UploadFile,
    service: TheService,
    x: Annotated[float | None, Form(description="a point within the face")] = None,
    y: Annotated[float | None, Form(description="in pixels of the upright photo")] = None,
    largest: Annotated[bool, Form(description="of several faces, take the largest")] = False,
) -> schema.Enrolled:
    """Enrol one face of a photo; once this is answered, it is on disk."""
    if (x is None) != (y is None):
        raise BadInput("a point takes both x and y: send both, or neither")
    given, data = person_name(name), await content(photo)
    at = (x, y) if x is not None and y is not None else None
    async with service.turn() as turn:
        found = await turn.enrollable(data, at, largest=largest)

        def add(store: Store) -> schema.Enrolled:
            person, sha256 = service.read_known(store).spelling(given), found.sha256
            same = store.photo(sha256)
            if same and same.person != person:
                raise Conflict(f"this face is {same.person}'s already: remove it there first")
            folder = str(service.kept.folder) if service.kept else NOWHERE
            face, file = found.face, f"{sha256}.png"
            new = Photo(person, sha256, folder, file, face.confidence, face.size)
            if service.kept and not same:
                service.kept.write(new, found.png)
            added = store.add([new], found.vector)
            photos = len(store.photos(person))
            return schema.Enrolled(person=person, sha256=sha256, added=bool(added), photos=photos)

        return await turn.store(add)


@router.get(
    "/photos/{sha256}",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
async def face(sha256: Sha256, service: TheService) -> Response:
    """The face of a photo, if there still is a picture of it that may be shown."""
    missing = HTTPException(404, "there is no picture of this face that may be shown")

    def do(store: Store) -> Photo | bytes:
        photo = store.photo(sha256)
        if not (photo and _may_be_shown(photo, service)):
            raise missing
        return service.kept.read(photo) if service.kept and service.kept.owns(photo) else photo

    async with service.turn() as turn:
        try:
            png = await turn.store(do)
            if isinstance(png, Photo):
                png = await turn.work(jobs.shown, png.path, sha256, service.limits.pixels)
        except BadInput as error:  # whose sentence names the file
            raise missing from error
    return Response(png, media_type="image/png")


def _may_be_shown(photo: Photo, service: Service) -> bool:
    kept = service.kept is not None and service.kept.owns(photo)
    return (kept or service.local) and os.access(photo.path, os.R_OK)
