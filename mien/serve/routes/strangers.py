"""The faces of nobody that is known, in many photos, grouped by person."""

from __future__ import annotations

import base64
from itertools import compress

import numpy as np

from mien.recognition.clustering import founding_threshold
from mien.serve import schema
from mien.serve.api_keys import Role
from mien.serve.routes import TheService, Uploads, api, content, role

router = api("strangers")


@router.post("/strangers", dependencies=role(Role.ENROLL))
async def group_strangers(photos: Uploads, service: TheService) -> schema.Strangers:
    """The faces that the facebank does not know, grouped by person."""
    uploads = [await content(photo) for photo in photos]
    async with service.turn() as turn:
        looked = await turn.look_at_all(uploads)
        vectors = [vector for one in looked if one for vector in one.vectors]
        matches, _ = await turn.search(np.array(vectors).reshape(-1, service.model.dim))
        strange = [match.person is None for match in matches]
        numbers = [number for number, one in enumerate(looked) if one for _ in one.faces]
        poor = [is_poor for one in looked if one for is_poor in one.poor]
        labels = await turn.group(
            np.compress(strange, vectors, axis=0),
            list(compress(numbers, strange)),
            list(compress(poor, strange)),
        )
    faces = [
        schema.Stranger(
            photo=number,
            box=face.box.astype(float).round(1).tolist(),
            thumb=f"data:image/jpeg;base64,{base64.b64encode(thumb).decode()}",
        )
        for number, one in enumerate(looked)
        if one
        for face, thumb in zip(one.faces, one.thumbs, strict=True)
    ]
    groups: dict[int, list[schema.Stranger]] = {}
    strangers = (face for face, yes in zip(faces, strange, strict=True) if yes)
    for label, face in zip(labels, strangers, strict=True):
        groups.setdefault(label, []).append(face)
    large = [groups[label] for label in sorted(groups) if len(groups[label]) > 1]
    return schema.Strangers(
        threshold=founding_threshold(service.policy, len(labels)),
        groups=large,
        alone=len(labels) - sum(map(len, large)),
        known=len(faces) - len(labels),
        skipped=[number for number, one in enumerate(looked) if one is None],
    )
