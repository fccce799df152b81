"""Someone's photos: which there are, another one, and the face that each shows."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated

from fastapi import Form, Query, Request, Response
from starlette.exceptions import HTTPException

from mien.errors import BadInput
from mien.facebank.rows import NOWHERE, Photo, as_embeddings, person_name
from mien.facebank.stores import Store
from mien.serve import jobs, schema
from mien.serve.api_keys import Role
from mien.serve.problems import Conflict
from mien.serve.routes import BINARY, Name, Sha256, TheService, Upload, api, content, role

router = api("photos")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@router.get("/people/{name}/photos", dependencies=role(Role.ENROLL))
async def list_photos(name: Name, service: TheService) -> schema.Photos:
    """Someone's photos."""

    def do(store: Store) -> schema.Photos:
        found = store.photos(name)
        entries = [
            schema.PhotoEntry(
                sha256=photo.sha256,
                confidence=round(photo.confidence, 6),
                size=round(photo.size, 1),
                added=photo.added,
                shown=service.may_show(photo),
            )
            for photo in found
        ]
        return schema.Photos(person=found[0].person, photos=entries)

    async with service.turn() as turn:
        return await turn.store(do)


@router.post(
    "/people/{name}/photos",
    dependencies=role(Role.ENROLL),
    status_code=201,
    responses={200: {"model": schema.Enrolled, "description": "It was there already."}},
)
async def enroll(
    name: Name,
    photo: Upload,
    service: TheService,
    response: Response,
    largest: Annotated[
        bool, Form(default_factory=bool, description="of several faces, take the largest")
    ],
    x: Annotated[float | None, Form(description="a point within the face")] = None,
    y: Annotated[float | None, Form(description="in pixels of the upright photo")] = None,
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

        enrolled = await turn.store(add)
        response.status_code = 201 if enrolled.added else 200
        return enrolled


@router.post(
    "/people/{name}/faces",
    dependencies=role(Role.ENROLL),
    status_code=201,
    responses={200: {"model": schema.EnrolledFaces, "description": "All were there already."}},
)
async def enroll_faces(
    name: Name, given: schema.NewFaces, service: TheService, request: Request, response: Response
) -> schema.EnrolledFaces:
    """Enrol faces that were found and embedded before; once this is answered, they are on disk."""
    new, faces = person_name(name), given.faces
    service.require_model(given.model_id)
    if given.move and request.scope["mien.role"] < Role.ALL:
        raise HTTPException(403, "this token is not good for that: moving a face takes one for all")
    if len(faces) > service.limits.faces:
        raise BadInput(f"there are more than {service.limits.faces} faces: send fewer at a time")
    vectors = as_embeddings([face.vector for face in faces], service.model.dim)
    async with service.turn() as turn:
        pngs = await turn.work(jobs.pngs, [face.picture for face in faces])

        def add(store: Store) -> schema.EnrolledFaces:
            person = service.read_known(store).spelling(new)
            shas = [sha256(png or row.tobytes()) for png, row in zip(pngs, vectors, strict=True)]
            known = [store.photo(sha) for sha in shas]
            others = [one for one in known if one and one.person != person]
            if others and not given.move:
                raise Conflict(f"this face is {others[0].person}'s already: send move as well")
            if others:
                store.move([replace(one, person=person) for one in others])
            rows = []
            for face, sha, png, same in zip(faces, shas, pngs, known, strict=True):
                folder = str(service.kept.folder) if service.kept and png else NOWHERE
                row = Photo(person, sha, folder, f"{sha}.png", face.confidence, face.size)
                if service.kept and png and not same:
                    service.kept.write(row, png)
                rows.append(row)
            store.add(rows, vectors)
            had = {one.sha256 for one in known if one and one.person == person}
            added = [sha for sha in dict.fromkeys(shas) if sha not in had]
            photos = len(store.photos(person))
            return schema.EnrolledFaces(person=person, sha256=shas, added=added, photos=photos)

        enrolled = await turn.store(add)
    response.status_code = 201 if enrolled.added else 200
    return enrolled


@router.get(
    "/photos/{sha256}",
    dependencies=role(Role.ENROLL),
    response_class=Response,
    responses={200: {"content": {"image/png": BINARY, "image/jpeg": BINARY}}},
)
async def get_face(
    sha256: Sha256,
    request: Request,
    service: TheService,
    size: Annotated[
        int | None,
        Query(ge=16, le=1024, description="of the longer side in pixels, at most; then as JPEG"),
    ] = None,
) -> Response:
    """The face of a photo, if there still is a picture of it that may be shown."""
    missing = HTTPException(404, "there is no picture of this face that may be shown")
    # What a browser keeps it asks for again each time, so that it shows nobody who was forgotten,
    # and nothing to those without a token.
    etag = f'"{sha256}-{size}"' if size else f'"{sha256}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}

    def do(store: Store) -> Photo | bytes:
        photo = store.photo(sha256)
        if not (photo and service.may_show(photo)):
            raise missing
        if request.headers.get("if-none-match") == etag:
            return b""
        return service.kept.read(photo) if service.kept and service.kept.owns(photo) else photo

    async with service.turn() as turn:
        try:
            png = await turn.store(do)
            if png == b"":
                return Response(status_code=304, headers=headers)
            if isinstance(png, Photo):
                png = await turn.work(jobs.shown, png.path, sha256, service.limits.pixels)
            if size:
                jpeg = await turn.work(jobs.scaled, png, size)
                return Response(jpeg, headers=headers, media_type="image/jpeg")
        except BadInput as error:  # whose sentence names the file
            raise missing from error
    return Response(png, headers=headers, media_type="image/png")
