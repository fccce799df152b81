"""Faces that were embedded before, grouped by person."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form

from mien.recognition.clustering import founding_threshold
from mien.serve import schema
from mien.serve.api_keys import Role
from mien.serve.routes import TheService, Upload, api, content, role

router = api("groups")


@router.post("/groups", dependencies=role(Role.ENROLL))
async def group_faces(
    model_id: Annotated[str, Form(description="of the network that made the vectors")],
    vectors: Upload,
    photos: Upload,
    poor: Upload,
    service: TheService,
) -> schema.Groups:
    """Which faces are of one person.

    `vectors` holds N x D 32-bit floats of rows of length 1, `photos` N 32-bit integers, the photo
    of each, all little-endian; `poor` N bytes, 1 where a face may join a group and not begin one.
    """
    service.require_model(model_id)
    arrays = [await content(one) for one in (vectors, photos, poor)]
    async with service.turn() as turn:
        labels = await turn.group(*arrays)
    groups: dict[int, list[int]] = {}
    for face, label in enumerate(labels):
        groups.setdefault(label, []).append(face)
    return schema.Groups(
        threshold=founding_threshold(service.policy, len(labels)),
        groups=[groups[label] for label in sorted(groups) if len(groups[label]) > 1],
    )
