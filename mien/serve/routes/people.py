"""Who is known: everyone, another name for someone, and to forget someone."""

from __future__ import annotations

import os

from fastapi import APIRouter

from mien.errors import UnknownPerson
from mien.facebank.rows import person_name
from mien.facebank.stores import Store
from mien.serve import schema
from mien.serve.kept import KeptFaces
from mien.serve.problems import Conflict
from mien.serve.routes import Name, Sha256, TheService

router = APIRouter()


@router.get("/people")
async def people(service: TheService) -> schema.People:
    """Everyone in the facebank."""
    async with service.turn() as turn:
        known = await turn.known()
    return schema.People(
        model_id=service.model.model_id,
        people=[schema.PersonEntry(person=one.name, photos=one.photos) for one in known.people],
    )


@router.patch("/people/{name}")
async def rename(name: Name, wanted: schema.Rename, service: TheService) -> schema.PersonEntry:
    """Give someone another name, or make one person of two."""

    new = person_name(wanted.person)

    def do(store: Store) -> schema.PersonEntry:
        known = service.read_known(store)
        old, person = store.photos(name)[0].person, known.spelling(new)
        if person == old or person not in [one.name for one in known.people]:
            person = new  # of nobody else
        elif not wanted.merge:
            raise Conflict(f"{person} is in the facebank already: choose another name, or merge")
        store.rename(old, person, merge=wanted.merge)
        return schema.PersonEntry(person=person, photos=len(store.photos(person)))

    async with service.turn() as turn:
        return await turn.store(do)


@router.delete("/people/{name}")
async def delete(name: Name, service: TheService) -> schema.Deleted:
    """Forget someone: their vectors, and the faces that were kept."""
    async with service.turn() as turn:
        return await turn.store(lambda store: _delete(store, name, None, service.kept))


@router.delete("/people/{name}/photos/{sha256}")
async def delete_photo(name: Name, sha256: Sha256, service: TheService) -> schema.Deleted:
    """Forget one photo of someone; with the last one they are forgotten."""
    async with service.turn() as turn:
        return await turn.store(lambda store: _delete(store, name, sha256, service.kept))


def _delete(store: Store, name: str, sha256: str | None, kept: KeptFaces | None) -> schema.Deleted:
    """Files go first: a kill then leaves a photo to delete again, and no face that stays."""
    own = store.photos(name)
    doomed = [photo for photo in own if sha256 in (None, photo.sha256)]
    elsewhere = 0
    for photo in doomed:
        if kept and kept.owns(photo):
            kept.remove(photo)
        else:
            elsewhere += os.access(photo.path, os.F_OK)
    deleted = store.delete_photos(photo.sha256 for photo in doomed)
    if not deleted:
        raise UnknownPerson
    return schema.Deleted(
        person=own[0].person, deleted=deleted, photos=len(own) - deleted, elsewhere=elsewhere
    )
