"""Who is known: everyone, another name for someone, and to forget someone."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated

from fastapi import Query

from mien.errors import UnknownPerson
from mien.facebank.rows import Person, person_name, spelled
from mien.facebank.stores import Store
from mien.serve import schema
from mien.serve.api_keys import Role
from mien.serve.face_crops import KeptFaces
from mien.serve.problems import Conflict
from mien.serve.routes import Name, Sha256, TheService, api, role
from mien.serve.service import Service

router = api("people")


@router.get("/people", dependencies=role(Role.ENROLL))
async def list_people(
    service: TheService,
    limit: Annotated[int, Query(ge=1, le=1000, description="how many to list")] = 100,
    after: Annotated[
        str, Query(max_length=200, description="a name; who comes after it is listed")
    ] = "",
) -> schema.People:
    """Everyone in the facebank by name, page by page: `next` is the `after` of the next one."""

    def do(store: Store) -> schema.People:
        everyone = service.read_known(store).people
        rest = [person for person in everyone if person.name > after]
        page = [_entry(service, store, person) for person in rest[:limit]]
        return schema.People(
            model_id=service.model.model_id,
            total=len(everyone),
            people=page,
            next=page[-1].person if len(rest) > limit else None,
        )

    async with service.turn() as turn:
        return await turn.store(do)


@router.get("/people/{name}", dependencies=role(Role.ENROLL))
async def get_person(name: Name, service: TheService) -> schema.PersonEntry:
    """Someone in the facebank."""

    def do(store: Store) -> schema.PersonEntry:
        wanted = spelled(name)
        for person in service.read_known(store).people:
            if person.name == wanted:
                return _entry(service, store, person)
        raise UnknownPerson

    async with service.turn() as turn:
        return await turn.store(do)


@router.patch("/people/{name}", dependencies=role(Role.ALL))
async def rename_person(
    name: Name, wanted: schema.Rename, service: TheService
) -> schema.PersonEntry:
    """Give someone another name, make one person of two, or give some photos to another person."""

    new = person_name(wanted.person)

    def do(store: Store) -> schema.PersonEntry:
        known = service.read_known(store)
        old, person = store.photos(name)[0].person, known.spelling(new)
        if person == old or person not in [one.name for one in known.people]:
            person = new  # of nobody else
        elif not wanted.merge:
            raise Conflict(f"{person} is in the facebank already: choose another name, or merge")
        if wanted.photos:
            given = set(wanted.photos)
            moved = [one for one in store.photos(old) if one.sha256 in given]
            if not moved:
                raise UnknownPerson
            store.move([replace(one, person=person) for one in moved])
        else:
            store.rename(old, person, merge=wanted.merge)
        return _entry(service, store, Person(person, len(store.photos(person))))

    async with service.turn() as turn:
        return await turn.store(do)


@router.delete("/people/{name}", dependencies=role(Role.ALL))
async def delete_person(name: Name, service: TheService) -> schema.Deleted:
    """Forget someone: their vectors, and the faces that were kept."""
    async with service.turn() as turn:
        return await turn.store(lambda store: _delete(store, name, None, service.kept))


@router.delete("/people/{name}/photos/{sha256}", dependencies=role(Role.ALL))
async def delete_photo(name: Name, sha256: Sha256, service: TheService) -> schema.Deleted:
    """Forget one photo of someone; with the last one they are forgotten."""
    async with service.turn() as turn:
        return await turn.store(lambda store: _delete(store, name, sha256, service.kept))


def _entry(service: Service, store: Store, person: Person) -> schema.PersonEntry:
    """A person, and the best of their faces that may be shown."""
    covers = service.read_known(store).covers
    if person.name not in covers:
        shown = [photo for photo in store.photos(person.name) if service.may_show(photo)]
        best = max(shown, key=lambda photo: photo.confidence, default=None)
        covers[person.name] = best.sha256 if best else None
    return schema.PersonEntry(person=person.name, photos=person.photos, cover=covers[person.name])


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
