"""Photos of nobody knows whom to groups of one person each, to look at and to name.

The result is a folder: `clusters.json`, a contact sheet for each group and a page that shows them
all.  Naming a group cuts its faces out of the photos into `people/NAME/` there, which is then
enrolled as any folder of people: a photo of several people can so teach each of them.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien import files, images
from mien.errors import BadInput, CannotWrite
from mien.facebank.rows import person_name
from mien.facebank.stores import Store
from mien.parallel import map_in_order
from mien.recognition import align
from mien.recognition.grouping import MOST, default_threshold, group
from mien.recognition.model import Looked, Model
from mien.recognition.policy import Policy
from mien.types import Embeddings, Face, Image, Progress, Skipped, silent

FILE = "clusters.json"
_PAGE, _PEOPLE = "index.html", "people"
_THUMB, _COLUMNS, _ROWS = 96, 10, 6  # of a contact sheet: pixels, faces


@dataclass(frozen=True, slots=True, eq=False)
class Stranger:
    """A face that was grouped."""

    path: Path
    sha256: str  # of the photo
    face: Face
    thumb: Image  # (96, 96, 3)


@dataclass(frozen=True, slots=True)
class Clusters:
    """Groups of faces, the largest first; group N is `groups[N - 1]`."""

    model_id: str
    threshold: float  # the mean cosine from which two groups were one
    groups: tuple[tuple[Stranger, ...], ...] = field(repr=False)
    alone: int  # faces that are like no other, or like too few
    known: int  # faces of people in the facebank, left out
    skipped: tuple[Skipped, ...]  # photos that cannot be read, and why


def cluster(
    paths: str | Path | Iterable[str | Path],
    model: Model,
    *,
    facebank: Store | None = None,
    policy: Policy | None = None,
    threshold: float | None = None,
    smallest: int = 2,
    limit: int | None = None,
    min_face: float = 0,
    at_once: int = 1,
    progress: Progress = silent,
) -> Clusters:
    """The faces in photos, grouped by person.

    Args:
        paths: files, one photo each.
        model: finds and embeds the faces.
        facebank: whoever it knows is left out.
        policy: whom that is; by default the model's own.
        threshold: the mean cosine that makes one group of two; the score that one in 400 pairs of
            strangers reaches by default.
        smallest: how many faces a group must have.
        limit, min_face: see `Model.look`.
        at_once: how many photos to process at a time, in threads.
        progress: is given the photos.

    Raises:
        BadInput: too many faces; see `mien.recognition.grouping.MOST`.
        FacebankMismatch: the facebank's vectors are another model's.
        MissingExtra: SciPy is not installed.
    """
    if facebank:
        facebank.require(model.model_id)
        policy = policy or model.policy()
        known_from = policy.threshold_among(person.photos for person in facebank.people())
    if threshold is None:
        threshold = default_threshold(policy or model.policy())
    found: list[Stranger] = []
    parts: list[Embeddings] = [np.zeros((0, model.dim), np.float32)]
    group(parts[0], threshold)  # what is not installed is said before the long part
    skipped, known = [], 0

    def look(path: Path) -> tuple[str, Image, Looked]:
        data = images.read_bytes(path)
        image = images.decode(data, str(path))
        looked = model.look(image, limit=limit, min_face=min_face)
        return hashlib.sha256(data).hexdigest(), image, looked

    todo = progress([Path(path) for path in files.several(paths)], "looking")
    for path, looking in map_in_order(look, todo, at_once):
        try:
            digest, image, looked = looking()
        except BadInput as error:
            skipped.append(Skipped(path, str(error)))
            continue
        faces, vectors = looked.faces, looked.vectors
        if facebank:
            strange = [match.person is None for match in facebank.search(vectors, known_from)]
            known += len(faces) - sum(strange)
            faces = [face for face, yes in zip(faces, strange, strict=True) if yes]
            vectors = vectors[np.array(strange, bool)]
        thumbs = [cv2.resize(crop, (_THUMB, _THUMB)) for crop in align.crops(image, faces)]
        found += [Stranger(path, digest, *pair) for pair in zip(faces, thumbs, strict=True)]
        parts.append(vectors)
        if len(found) > MOST:  # rather now than after hours
            raise BadInput(
                f"more than {MOST} faces are too many to group at once: take parts of the photos,"
                " or --min-face"
            )
    labels = group(np.concatenate(parts), threshold)
    members: dict[int, list[Stranger]] = {}
    for label, one in zip(labels.tolist(), found, strict=True):
        members.setdefault(label, []).append(one)
    groups = [tuple(members[label]) for label in sorted(members)]
    large = tuple(one for one in groups if len(one) >= smallest)
    return Clusters(
        model_id=model.model_id,
        threshold=threshold,
        groups=large,
        alone=len(found) - sum(map(len, large)),
        known=known,
        skipped=tuple(skipped),
    )


def require_own(out: str | Path) -> None:
    """Raise BadInput where a folder holds anything but groups of an earlier run."""
    out = Path(out)
    if out.exists() and not (out.is_dir() and all(map(_is_own, out.iterdir()))):
        raise BadInput(f"{out} holds something else: choose an empty folder or a new one")


def _is_own(path: Path) -> bool:
    ours = (FILE, _PAGE, _PEOPLE, files.NO_MEDIA)
    return path.name in ours or path.match("group-*.png") or path.match(".*.part")


def save(clusters: Clusters, out: str | Path) -> tuple[Skipped, ...]:
    """Leave groups in a folder: contact sheets, the page, then the file that `cut` reads.

    If it is stopped there is no such file: no group can be named by another run's sheet.

    Returns:
        What of these cannot be written, and why.

    Raises:
        BadInput: there is something else in the folder.
        CannotWrite: an older file cannot be removed.
    """
    out = Path(out)
    require_own(out)
    try:
        for old in (out / FILE, *out.glob("group-*.png")):
            old.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(f"{error.filename} cannot be removed ({error.strerror})") from error
    skipped: list[Skipped] = []

    def leave(name: str, data: bytes) -> None:
        try:
            files.write_atomically(out / name, data, private=True)
        except CannotWrite as error:
            skipped.append(Skipped(out / name, str(error)))

    leave(files.NO_MEDIA, b"")  # sheets are no photos
    for number, members in enumerate(clusters.groups, start=1):
        leave(_sheet_name(number), images.encode(_sheet([one.thumb for one in members]), ".png"))
    leave(_PAGE, _page(clusters).encode())
    leave(FILE, json.dumps(to_json(clusters), indent=1).encode())
    return tuple(skipped)


def to_json(clusters: Clusters) -> dict[str, Any]:
    """What `clusters.json` holds."""
    return {
        "model_id": clusters.model_id,
        "threshold": clusters.threshold,
        "alone": clusters.alone,
        "known": clusters.known,
        "groups": [
            {
                "group": number,
                "sheet": _sheet_name(number),
                "faces": [
                    {
                        "path": str(one.path.absolute()),
                        "sha256": one.sha256,
                        "box": one.face.box.astype(float).round(1).tolist(),
                        "confidence": round(one.face.confidence, 6),
                    }
                    for one in members
                ],
            }
            for number, members in enumerate(clusters.groups, start=1)
        ],
    }


def cut(folder: str | Path, groups: Sequence[tuple[int, str]]) -> tuple[Path, tuple[Skipped, ...]]:
    """Cut the faces of groups out of their photos, into a folder of people.

    Args:
        folder: what `save` has left.
        groups: their numbers, each with whose faces they are.

    Returns:
        The folder of people, to be enrolled, and the photos that could not be used and why.

    Raises:
        BadInput: no such folder or group, or the name cannot be one.
    """
    folder = Path(folder)
    named = [(number, person_name(name)) for number, name in groups]
    there = _read(folder)
    if missing := [number for number, _ in named if number not in there]:
        raise BadInput(
            f"{folder} has no group {missing[0]}: it has 1 to {len(there)}, see {_PAGE} there"
        )
    people, skipped = folder / _PEOPLE, []
    for name, face in ((name, face) for number, name in named for face in there[number]):
        path = Path(face["path"])
        try:
            data = images.read_bytes(path)
            if hashlib.sha256(data).hexdigest() != face["sha256"]:
                raise BadInput(f"{path} has changed: run mien cluster again")
            piece = align.cut_out(images.decode(data, str(path)), face["box"])
            if not piece.size:
                raise BadInput(f"{path} has no such face: run mien cluster again")
            left, top = map(round, face["box"][:2])
            images.write(people / name / f"{face['sha256'][:16]}-{left}-{top}.png", piece)
        except (BadInput, CannotWrite) as error:
            skipped.append(Skipped(path, str(error)))
    return people, tuple(skipped)


def _read(folder: Path) -> dict[int, list[dict[str, Any]]]:
    file = folder / FILE
    if not file.is_file():
        raise BadInput(f"{folder} holds no {FILE}: make it with mien cluster PHOTOS --out {folder}")
    try:
        content = json.loads(images.read_bytes(file))
        groups = {int(one["group"]): list(one["faces"]) for one in content["groups"]}
        for face in (face for faces in groups.values() for face in faces):
            x1, y1, x2, y2 = map(float, face["box"])
            inside = -1e6 < x1 < x2 < 1e6 and -1e6 < y1 < y2 < 1e6
            if not (inside and isinstance(face["path"], str) and isinstance(face["sha256"], str)):
                raise ValueError("a face without a place")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{file} is damaged: run mien cluster again") from error
    return groups


def _sheet_name(number: int) -> str:
    return f"group-{number:04d}.png"


def _sheet(thumbs: Sequence[Image]) -> Image:
    """Up to 60 faces in rows of ten, evenly chosen from all."""
    count = min(len(thumbs), _COLUMNS * _ROWS)
    shown = [thumbs[i] for i in np.linspace(0, len(thumbs) - 1, count).round().astype(int)]
    columns = min(count, _COLUMNS)
    sheet = np.full((-(-count // columns) * _THUMB, columns * _THUMB, 3), 255, np.uint8)
    for place, thumb in enumerate(shown):
        y, x = (_THUMB * part for part in divmod(place, columns))
        sheet[y : y + _THUMB, x : x + _THUMB] = thumb
    return sheet


def _page(clusters: Clusters) -> str:
    """A page that asks for nothing but the sheets beside it."""
    sections = []
    for number, members in enumerate(clusters.groups, start=1):
        photos = len({one.path for one in members})
        first = html.escape(str(members[0].path).encode(errors="replace").decode())
        sections.append(
            f"<section><h2>{number}</h2>"
            f"<p>{len(members)} faces in {photos} photos, such as {first}</p>"
            f'<img src="{_sheet_name(number)}" alt="group {number}" loading="lazy"></section>'
        )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>mien: groups of faces</title>'
        "<style>body{font:16px system-ui,sans-serif;margin:2em auto;max-width:62em;padding:0 1em}"
        "img{max-width:100%}p{color:#555;overflow-wrap:anywhere}</style>"
        f"<h1>{len(clusters.groups)} groups of faces</h1>"
        f"<p>{clusters.alone} faces are like too few others, {clusters.known} are known. To name a "
        'group: <code>mien enroll FOLDER --cluster NUMBER --as "NAME"</code>, '
        "with this folder.</p>\n" + "\n".join(sections) + "</html>\n"
    )
