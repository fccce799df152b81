"""Who is in photos, and whether two show one person."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Form
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from mien.errors import BadInput, MienError
from mien.facebank.rows import as_embeddings, template
from mien.facebank.stores.common import CANDIDATES
from mien.serve import jobs, schema
from mien.serve.api_keys import Role
from mien.serve.problems import sentence_of
from mien.serve.routes import BINARY, Name, TheService, Upload, Uploads, api, content, role
from mien.serve.service import Turn

# Defaults are made by functions: of a field with a `default`, openapi-typescript says that it must
# be sent.
Top = Annotated[
    int,
    Form(
        default_factory=int,
        ge=0,
        le=CANDIDATES,
        description="nearest people to list as each face's `candidates`; by default none",
    ),
]
Limit = Annotated[int | None, Form(ge=1, description="faces to answer for, the largest")]
MinScore = Annotated[
    float | None, Form(ge=-1, le=1, description="a threshold in place of the service's own")
]
WithVectors = Annotated[
    bool, Form(default_factory=bool, description="whether to send each face's `vector` too")
]
WithThumbs = Annotated[
    bool,
    Form(
        default_factory=bool,
        description="whether to send a picture of each face too, as `thumb`, and if it is `poor`",
    ),
]
NDJSON = "application/x-ndjson"

router = api("recognise")


@router.post("/identify", dependencies=role(Role.IDENTIFY), response_model_exclude_unset=True)
async def identify(
    photo: Upload,
    service: TheService,
    top: Top,
    vectors: WithVectors,
    thumbs: WithThumbs,
    limit: Limit = None,
    min_score: MinScore = None,
) -> schema.Identified:
    """Who is in a photo."""
    data = await content(photo)
    async with service.turn() as turn:
        return await _identify(turn, data, top, vectors, thumbs, limit, min_score)


@router.post(
    "/identify/batch",
    dependencies=role(Role.IDENTIFY),
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {NDJSON: BINARY},
            "description": "A line of JSON for each photo, in the order in which they are done:"
            " what POST /identify answers, or an error, with `photo`, the photo's place from 0.",
        }
    },
)
async def identify_batch(
    photos: Uploads,
    service: TheService,
    top: Top,
    vectors: WithVectors,
    thumbs: WithThumbs,
    limit: Limit = None,
    min_score: MinScore = None,
) -> StreamingResponse:
    """Who is in each of many photos, each told as soon as it is known."""
    uploads = [await content(photo) for photo in photos]
    free = asyncio.Semaphore(service.photos_at_once)  # others' photos come in between

    async def line(number: int) -> str:
        answer: BaseModel
        try:
            async with free, service.turn() as turn:
                photo, uploads[number] = uploads[number], b""  # which is large, and done with then
                answer = await _identify(turn, photo, top, vectors, thumbs, limit, min_score)
        except MienError as error:
            code, sentence = sentence_of(error)
            answer = schema.Problem(error=sentence, code=code)
        told = answer.model_dump_json(exclude_unset=True)
        return f'{{"photo":{number},{told[1:]}\n'

    async def lines() -> AsyncIterator[str]:
        tasks = [asyncio.create_task(line(number)) for number in range(len(uploads))]
        try:
            for done in asyncio.as_completed(tasks):
                yield await done
        finally:  # who has asked may be gone
            for task in tasks:
                task.cancel()

    return StreamingResponse(lines(), media_type=NDJSON)


@router.post("/match", dependencies=role(Role.IDENTIFY))
async def match_vectors(made: schema.Vectors, service: TheService) -> schema.Matched:
    """Who has these faces, which were found and embedded elsewhere."""
    faces = service.limits.faces
    service.require_model(made.model_id)
    if len(made.vectors) > faces:
        raise BadInput(f"there are more than {faces} faces: send the largest")
    async with service.turn() as turn:
        vectors = as_embeddings(made.vectors, service.model.dim)
        matches, known = await turn.search(vectors)
        nearest = await turn.nearest(vectors, made.top) if made.top else []
    return schema.Matched(
        threshold=known.threshold,
        fpir=known.fpir,
        matches=list(map(schema.Name.of, matches)),
        candidates=[list(map(schema.Name.of, one)) for one in nearest],
    )


@router.post("/compare", dependencies=role(Role.IDENTIFY))
async def compare(first: Upload, second: Upload, service: TheService) -> schema.Compared:
    """Whether the largest faces of two photos are of one person."""
    photos = await content(first), await content(second)
    async with service.turn() as turn:
        done = await turn.work(jobs.compare, *photos, service.limits.pixels, service.policy)
    return schema.Compared(
        same=done.same,
        score=round(done.score, 6),
        threshold=done.threshold,
        faces=list(done.faces),
    )


@router.post("/people/{name}/compare", dependencies=role(Role.IDENTIFY))
async def compare_with_person(
    name: Name, photo: Upload, service: TheService
) -> schema.ComparedWithPerson:
    """Whether the largest face of a photo is somebody's (1:1 verification)."""
    data = await content(photo)
    async with service.turn() as turn:
        own, vectors = await turn.store(lambda store: store.contents(name))
        found = await turn.work(jobs.largest_face, data, service.limits.pixels)
    score = float((found.vectors[0] @ template(vectors)).clip(-1, 1))  # round-off
    threshold = service.policy.threshold_among([len(own)])
    return schema.ComparedWithPerson(
        person=own[0].person,
        same=score >= threshold,
        score=round(score, 6),
        threshold=threshold,
        found=found.found,
    )


async def _identify(
    turn: Turn,
    photo: bytes,
    top: int,
    vectors: bool,
    thumbs: bool,
    limit: int | None,
    min_score: float | None,
) -> schema.Identified:
    looked = await turn.look(photo, limit=limit, thumbs=thumbs)
    matches, known = await turn.search(looked.vectors, min_score)
    faces = list(map(schema.Face.of, looked.faces, matches))
    if top:
        for face, nearest in zip(faces, await turn.nearest(looked.vectors, top), strict=True):
            face.candidates = list(map(schema.Name.of, nearest))
    if vectors:
        for face, vector in zip(faces, looked.vectors, strict=True):
            face.vector = vector.astype(float).round(6).tolist()
    if thumbs:
        for face, thumb, poor in zip(faces, looked.thumbs, looked.poor, strict=True):
            face.thumb = f"data:image/jpeg;base64,{base64.b64encode(thumb).decode()}"
            face.poor = poor
    return schema.Identified(
        width=looked.width,
        height=looked.height,
        threshold=known.threshold,
        fpir=known.fpir,
        found=looked.found,
        faces=faces,
    )
