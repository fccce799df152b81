"""The health of the facebank."""

from __future__ import annotations

from fastapi import APIRouter

from mien.facebank.rows import Photo
from mien.serve import schema
from mien.serve.routes import TheService

_CURVE = [step / 50 for step in range(2, 46)]  # thresholds that a picture of them shows

router = APIRouter()


@router.get("/facebank")
async def facebank(service: TheService) -> schema.State:
    """How often strangers get a name, and who needs attention."""
    async with service.turn() as turn:
        found = await turn.health()
        photos = [person.photos for person in (await turn.known()).people]
    strangers = service.policy.impostors
    return schema.State(
        people=found.people,
        photos=found.photos,
        threshold=found.threshold,
        fpir=found.fpir,
        extrapolated=found.extrapolated,
        curve=[
            schema.Point(threshold=at, fmr=strangers.fmr(at), fpir=strangers.fpir(photos, at))
            for at in _CURVE
            if strangers
        ],
        alike=[
            schema.Pair(person=one.person, other=one.other, score=round(one.score, 6))
            for one in found.alike
        ],
        doubtful=[_doubt(one.photo, one.score) for one in found.doubtful],
        small=[_doubt(photo, photo.size) for photo in found.small],
        single=list(found.single),
    )


def _doubt(photo: Photo, value: float) -> schema.Doubt:
    return schema.Doubt(person=photo.person, sha256=photo.sha256, value=round(value, 6))
