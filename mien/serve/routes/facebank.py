"""The facebank as a whole: its health, and copies of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import File, Response

from mien.errors import BadInput
from mien.facebank import archive
from mien.facebank.archive import Archive
from mien.facebank.rows import NOWHERE, Photo
from mien.facebank.stores import Store
from mien.serve import jobs, schema
from mien.serve.api_keys import Role
from mien.serve.problems import Conflict
from mien.serve.routes import BINARY, TheService, Upload, api, content, role

EXPORTED = 50_000  # photos of one answer, which is made in memory: 50 MB

_CURVE = [step / 50 for step in range(2, 46)]  # thresholds that a picture of them shows

router = api("facebank")


@router.get("/facebank", dependencies=role(Role.ALL))
async def get_facebank(service: TheService) -> schema.State:
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
        mixed=[
            schema.Mixed(
                person=one.person,
                photos=[photo.sha256 for photo in one.photos],
                score=round(one.score, 6),
            )
            for one in found.mixed
        ],
        doubtful=[_doubt(one.photo, one.score) for one in found.doubtful],
        small=[_doubt(photo, photo.size) for photo in found.small],
        single=list(found.single),
    )


@router.get(
    "/export",
    dependencies=role(Role.ALL),
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": BINARY}}},
)
async def export_people(service: TheService) -> Response:
    """Everyone and their vectors, as lines of JSON that POST /api/v1/import takes.

    Where photos were on this machine is not in it.
    """

    def do(store: Store) -> bytes:
        photos = sum(person.photos for person in service.read_known(store).people)
        if photos > EXPORTED:
            raise BadInput(f"{photos} photos are more than {EXPORTED}: export them on the server")
        own, vectors = store.contents()
        return archive.dump(Archive(store.model_id, list(map(_nowhere, own)), vectors))

    async with service.turn() as turn:
        data = await turn.store(do)
    headers = {"Content-Disposition": 'attachment; filename="people.jsonl"'}
    return Response(data, headers=headers, media_type="application/octet-stream")


@router.post(
    "/import",
    dependencies=role(Role.ALL),
    status_code=201,
    responses={200: {"model": schema.Imported, "description": "All were there already."}},
)
async def import_people(
    archive_: Annotated[Upload, File(alias="archive")], service: TheService, response: Response
) -> schema.Imported:
    """Add everyone of an export; when this is answered, it is on the disk."""
    data = await content(archive_)
    async with service.turn() as turn:
        brought = await turn.work(jobs.parsed, data)
        if brought.model_id != service.model.model_id:
            raise Conflict(
                f"these vectors are of {brought.model_id}, and this service's of"
                f" {service.model.model_id}: they do not compare"
            )

        def do(store: Store) -> schema.Imported:
            spell = service.read_known(store).spelling
            spelled = {name: spell(name) for name in {photo.person for photo in brought.photos}}
            photos = [
                _nowhere(replace(photo, person=spelled[photo.person])) for photo in brought.photos
            ]
            done = archive.bring(replace(brought, photos=photos), store)
            people = len(service.read_known(store).people)
            return schema.Imported(added=done.added, duplicates=len(done.duplicates), people=people)

        imported = await turn.store(do)
    response.status_code = 201 if imported.added else 200
    return imported


def _nowhere(photo: Photo) -> Photo:
    """A photo that has no file here: paths are not for others to know, or to choose."""
    return replace(photo, folder=NOWHERE, file=f"{photo.sha256}.png")


def _doubt(photo: Photo, value: float) -> schema.Doubt:
    return schema.Doubt(person=photo.person, sha256=photo.sha256, value=round(value, 6))
