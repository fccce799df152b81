"""Photos of nobody knows whom to groups of one person each, to look at and to name.

The result is a folder: `clusters.json`, a contact sheet for each group and a page that shows them
all.  Naming a group cuts its faces out of the photos into `people/NAME/` there, which is then
enrolled as any folder of people: a photo of several people can so teach each of them.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, count
from pathlib import Path
from typing import Any

import numpy as np

from mien import files, formats, images
from mien.collection.corrections import Names, Said, said
from mien.collection.fill import THUMB, look
from mien.collection.photo_index import PhotoIndex
from mien.collection.rows import IndexedFace
from mien.errors import BadInput, CannotWrite
from mien.facebank.rows import person_name
from mien.facebank.stores import Store
from mien.recognition import align
from mien.recognition.clustering import POOR, founding_threshold, group
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.types import Embeddings, Image, Progress, Skipped, silent
from mien.web_page import web_page

FILE = "clusters.json"
_PAGE, _PEOPLE = "index.html", "people"
_COLUMNS, _ROWS = 10, 6  # of a contact sheet, in faces


@dataclass(frozen=True, slots=True, eq=False)
class Stranger:
    """A face that was grouped."""

    path: Path
    sha256: str  # of the photo
    seen: IndexedFace


@dataclass(frozen=True, slots=True)
class Clusters:
    """Groups of faces: those of an earlier run by number, then the new ones, the largest first."""

    model_id: str
    threshold: float  # the least cosine at which two faces founded a group
    groups: Mapping[int, tuple[Stranger, ...]] = field(repr=False)  # by number
    alone: int  # faces that are like no other, or like too few
    known: int  # faces of people in the facebank, left out
    skipped: tuple[Skipped, ...]  # photos that cannot be read, and why


def cluster(
    paths: str | Path | Iterable[str | Path],
    model: Model,
    *,
    index: PhotoIndex | None = None,
    facebank: Store | None = None,
    policy: Policy | None = None,
    threshold: float | None = None,
    earlier: Mapping[tuple[str, tuple[int, ...]], int] | None = None,
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
        index: has faces that were found before, and keeps those that are found now.
        facebank: whoever it knows is left out.
        policy: whom that is; by default the model's own.
        threshold: the cosine that makes one group of two, however many faces there are; found
            from the policy and the faces by default.
        earlier: the groups of an earlier run, see `earlier_groups`: they keep their numbers and
            faces, and new faces join them.
        smallest: how many faces a group must have.
        limit, min_face: see `Model.look`.
        at_once: how many photos to process at a time, in threads.
        progress: is given the photos.

    Raises:
        FacebankMismatch: the facebank's vectors are another model's.
    """
    policy = policy or model.policy()
    told, names = said(index) if index else Said(), None
    if facebank:
        facebank.require(model.model_id)
        known_from = policy.threshold_among(person.photos for person in facebank.people())
        names = Names(facebank, known_from, told)
    found: list[Stranger] = []
    photos: list[int] = []  # the number of each face's photo
    parts: list[Embeddings] = [np.zeros((0, model.dim), np.float32)]
    skipped, known = [], 0

    todo = progress([Path(path) for path in files.several(paths)], "looking")
    for number, seen in enumerate(look(todo, model, index, at_once=at_once)):
        if isinstance(seen, Skipped):
            skipped.append(seen)
            continue
        photo = seen.largest(limit, min_face)
        if not photo.faces:
            continue
        keys = [one.key for one in photo.faces]
        strange = np.ones(len(keys), bool)
        if names:
            strange = np.array([one.person is None for one in names.match(keys, photo.vectors)])
        known += int((~strange).sum())
        strange &= [key not in told.nobody for key in keys]
        strangers = list(compress(photo.faces, strange))
        found += [Stranger(photo.path, photo.sha256, one) for one in strangers]
        photos += [number] * len(strangers)
        parts.append(photo.vectors[strange])
    before = [(earlier or {}).get(_key(one.sha256, one.seen.face.box), -1) for one in found]
    labels = group(
        np.concatenate(parts),
        policy,
        threshold=threshold,
        photos=photos,
        poor=np.array([one.seen.worth < POOR for one in found], bool),
        earlier=before,
        same=_rows(told.same, found),
        apart=_rows(told.apart, found),
    )
    members: dict[int, list[int]] = {}
    for place, label in enumerate(labels.tolist()):
        members.setdefault(label, []).append(place)
    large = [members[label] for label in sorted(members) if len(members[label]) >= smallest]
    numbers = count(max((earlier or {}).values(), default=0) + 1)
    numbered = {
        old if (old := max(before[place] for place in places)) >= 0 else next(numbers): tuple(
            found[place] for place in places
        )
        for places in large
    }
    return Clusters(
        model_id=model.model_id,
        threshold=founding_threshold(policy, len(found)) if threshold is None else threshold,
        groups=dict(sorted(numbered.items())),
        alone=len(found) - sum(map(len, large)),
        known=known,
        skipped=tuple(skipped),
    )


def _rows(pairs: Iterable[tuple[str, str]], found: Sequence[Stranger]) -> list[tuple[int, int]]:
    """Pairs of faces that were found, by their places."""
    place = {one.seen.key: number for number, one in enumerate(found)}
    return [(place[one], place[other]) for one, other in pairs if {one, other} <= place.keys()]


def earlier_groups(out: str | Path, model_id: str) -> dict[tuple[str, tuple[int, ...]], int]:
    """The groups that an earlier run has left in a folder: the number of each face's.

    Raises:
        BadInput: there are none, or they were made with another model.
    """
    made_by, groups = _read(Path(out))
    if made_by != model_id:
        raise BadInput(f"{out} was made with the model {made_by}, not {model_id}: leave out --add")
    return {
        _key(face["sha256"], face["box"]): number
        for number, faces in groups.items()
        for face in faces
    }


def _key(sha256: str, box: Iterable[float]) -> tuple[str, tuple[int, ...]]:
    """What a face is known by in another run."""
    return sha256, tuple(round(float(edge)) for edge in box)


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
    for number, members in clusters.groups.items():
        sheet = images.encode(_sheet(members), ".png")
        leave(_sheet_name(number), formats.marked(sheet, "sheet"))
    leave(_PAGE, _page(clusters))
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
                        "box": one.seen.face.box.astype(float).round(1).tolist(),
                        "confidence": round(one.seen.face.confidence, 6),
                    }
                    for one in members
                ],
            }
            for number, members in clusters.groups.items()
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
    _, there = _read(folder)
    if missing := [number for number, _ in named if number not in there]:
        raise BadInput(f"{folder} has no group {missing[0]}: see {_PAGE} there")
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
            file = people / name / f"{face['sha256'][:16]}-{left}-{top}.png"
            images.write(file, piece, made="cut-out")
        except (BadInput, CannotWrite) as error:
            skipped.append(Skipped(path, str(error)))
    return people, tuple(skipped)


def _read(folder: Path) -> tuple[str, dict[int, list[dict[str, Any]]]]:
    """The model that made groups, and their faces by number."""
    file = folder / FILE
    if not file.is_file():
        raise BadInput(f"{folder} holds no {FILE}: make it with mien cluster PHOTOS --out {folder}")
    try:
        content = json.loads(images.read_bytes(file))
        model_id = str(content["model_id"])
        groups = {int(one["group"]): list(one["faces"]) for one in content["groups"]}
        for face in (face for faces in groups.values() for face in faces):
            x1, y1, x2, y2 = map(float, face["box"])
            inside = -1e6 < x1 < x2 < 1e6 and -1e6 < y1 < y2 < 1e6
            if not (inside and isinstance(face["path"], str) and isinstance(face["sha256"], str)):
                raise ValueError("a face without a place")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{file} is damaged: run mien cluster again") from error
    return model_id, groups


def _sheet_name(number: int) -> str:
    return f"group-{number:04d}.png"


def _sheet(members: Sequence[Stranger]) -> Image:
    """Up to 60 faces in rows of ten, evenly chosen from all."""
    count = min(len(members), _COLUMNS * _ROWS)
    shown = [members[i] for i in np.linspace(0, len(members) - 1, count).round().astype(int)]
    columns = min(count, _COLUMNS)
    sheet = np.full((-(-count // columns) * THUMB, columns * THUMB, 3), 255, np.uint8)
    for place, one in enumerate(shown):
        y, x = (THUMB * part for part in divmod(place, columns))
        sheet[y : y + THUMB, x : x + THUMB] = images.decode(one.seen.thumb)
    return sheet


def _page(clusters: Clusters) -> bytes:
    """A page that asks for nothing but the sheets beside it."""
    sections = []
    for number, members in clusters.groups.items():
        photos = len({one.path for one in members})
        first = html.escape(str(members[0].path).encode(errors="replace").decode())
        sections.append(
            f"<section><h2>{number}</h2>"
            f"<p>{len(members)} faces in {photos} photos, such as {first}</p>"
            f'<img src="{_sheet_name(number)}" alt="group {number}" loading="lazy"></section>'
        )
    body = (
        f"<p>{clusters.alone} faces are like too few others, {clusters.known} are known. To name a "
        'group: <code>mien enroll FOLDER --cluster NUMBER --as "NAME"</code>, '
        "with this folder.</p>\n"
    )
    return web_page(f"{len(clusters.groups)} groups of faces", body + "\n".join(sections))
