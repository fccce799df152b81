"""Who is in a photo, and whether two show one person."""

from __future__ import annotations

from fastapi import APIRouter, UploadFile

from mien.errors import BadInput
from mien.facebank.rows import as_embeddings
from mien.serve import jobs, schema
from mien.serve.routes import TheService, content

router = APIRouter()


@router.post("/identify")
async def identify(photo: UploadFile, service: TheService) -> schema.Identified:
    """Who is in a photo."""
    data = await content(photo)
    async with service.turn() as turn:
        looked = await turn.look(data)
        matches, known = await turn.search(looked.vectors)
    return schema.Identified(
        width=looked.width,
        height=looked.height,
        threshold=known.threshold,
        fpir=known.fpir,
        found=looked.found,
        faces=list(map(schema.Face.of, looked.faces, matches)),
    )


@router.post("/match")
async def match(made: schema.Vectors, service: TheService) -> schema.Matched:
    """Who has these faces, which were found and embedded elsewhere."""
    model, faces = service.model, service.limits.faces
    if made.model_id != model.model_id:
        raise BadInput(f"these vectors are not of {model.model_id}: see GET /device")
    if len(made.vectors) > faces:
        raise BadInput(f"there are more than {faces} faces: send the largest")
    async with service.turn() as turn:
        matches, known = await turn.search(as_embeddings(made.vectors, model.dim))
    return schema.Matched(
        threshold=known.threshold,
        fpir=known.fpir,
        matches=[schema.Name(person=one.person, score=round(one.score, 6)) for one in matches],
    )


@router.post("/compare")
async def compare(first: UploadFile, second: UploadFile, service: TheService) -> schema.Compared:
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
