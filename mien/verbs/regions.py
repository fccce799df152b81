"""People whom other programs have named, to a folder of people that can be enrolled.

The regions that digiKam, Lightroom, Picasa and others keep are matched to the faces found, and the
best faces of each person are cut out, as those of a group of strangers are: a photo of several
people can so teach each of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from mien import files, images, sidecar
from mien.boxes import overlap
from mien.errors import BadInput, CannotWrite
from mien.facebank.rows import person_name
from mien.parallel import map_in_order
from mien.recognition import align
from mien.recognition.model import Model
from mien.recognition.quality import sharpness, worth
from mien.sidecar.picasa import Picasa, read_contacts
from mien.types import Face, Image, Progress, Skipped, silent

MOST = 30  # faces of a person: more hardly change their mean
_SIDE = 224  # pixels of a face that is cut out: twice what a network takes
# Programs draw their boxes tighter or wider than a detector does: around a face, or a whole head.
_IOU = 0.25
_INSIDE, _FAR = 0.75, 0.08  # or the smaller lies in the larger, which is not too large


@dataclass(frozen=True, slots=True)
class CutOut:
    """What `cut_regions` made of regions with names."""

    people: Path  # the folder to enrol
    photos: int  # that were looked at
    named: int  # regions with a name, each in one file
    matched: int  # faces that they name
    faces: int  # that were cut out
    skipped: tuple[Skipped, ...]  # photos and files that could not be used, regions without a face


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """A face with a name."""

    name: str
    path: Path
    sha256: str
    face: Face
    worth: float


def cut_regions(
    photos: str | Path,
    people: str | Path,
    model: Model,
    *,
    contacts: str | Path | None = None,
    most: int = MOST,
    choice: files.Choice = files.EVERYTHING,
    at_once: int = 1,
    progress: Progress = silent,
) -> CutOut:
    """Cut the faces that other programs have named out of their photos, into a folder of people.

    Args:
        photos: a folder, or one photo.
        people: where `NAME/` folders are made, readable by their owner only.
        model: finds the faces.
        contacts: Picasa's contacts.xml; by default one that lies in `photos`, if any.
        most: how many faces of each person, the best.
        choice: which of the folder's photos to look at.
        at_once: how many photos to process at a time, in threads.
        progress: is given the photos.

    Raises:
        BadInput: there are no photos, the contacts cannot be read, or nobody has a name.
    """
    inside = Path(photos) / "contacts.xml"
    file = contacts or (inside if inside.is_file() else None)
    picasa = Picasa(read_contacts(file) if file else None)
    paths = files.walk([photos], choice=choice)
    skipped = list(paths.skipped)
    named, found = 0, list[_Named]()

    def look(path: Path) -> tuple[int, list[_Named], list[Skipped]]:
        return _look(path, picasa, model)

    for path, looking in map_in_order(look, progress(paths, "looking"), at_once):
        try:
            regions, faces, left_out = looking()
        except BadInput as error:
            skipped.append(Skipped(path, str(error)))
            continue
        named += regions
        found += faces
        skipped += left_out
    if not found:
        why = f"; the first, {skipped[0].reason}" if skipped else ""
        raise BadInput(f"none of {len(paths)} photos has a face that a program has named{why}")
    cut = _cut(_best(found, most), Path(people), skipped)
    return CutOut(Path(people), len(paths), named, len(found), cut, tuple(skipped))


def _look(path: Path, picasa: Picasa, model: Model) -> tuple[int, list[_Named], list[Skipped]]:
    """How many regions of a photo have a name, the faces that they name, and what is left out."""
    data = images.read_bytes(path)
    held, skipped = sidecar.read(path, data, picasa)
    if not held:
        return 0, [], skipped
    image = images.decode(data, str(path))
    faces = model.detect(image)
    names: dict[int, dict[str, Path]] = {}  # by face: who, and which file says so
    for one in held:
        matched = _match(one, faces, image, images.orientation(data))
        for region, face in zip(one.regions, matched, strict=True):
            try:
                name = person_name(region.name)
            except BadInput as error:
                skipped.append(Skipped(path, f"{one.path}: {error}"))
                continue
            if face is None:
                skipped.append(Skipped(path, f"{one.path} names {name} where no face was found"))
            else:
                names.setdefault(face, {}).setdefault(name, one.path)
    digest = hashlib.sha256(data).hexdigest()
    found = []
    for place, said in names.items():
        if len(said) > 1:
            both = " and ".join(f"{name} in {where}" for name, where in said.items())
            skipped.append(Skipped(path, f"one face is {both}: correct one of them"))
            continue
        (name,) = said
        sharp = float(sharpness(align.crops(image, [faces[place]]))[0])
        value = worth(faces[place], sharp)
        found.append(_Named(name, path, digest, faces[place], value))
    return sum(len(one.regions) for one in held), found, skipped


def _match(
    held: sidecar.Held, faces: Sequence[Face], image: Image, turned: int
) -> list[int | None]:
    """The face of each region, each of another.

    Regions are of the picture as stored, says the Metadata Working Group; but programs differ, and
    so do their versions: what EXIF turns, and the sidecar of a raw file, is tried as stored by the
    photo, as stored by what XMP says, and upright.  Where most regions meet a face is right.
    """
    readings = []
    for orientation in dict.fromkeys((turned, held.orientation, 1)):
        boxes = [images.as_shown(region.box, orientation) for region in held.regions]
        readings.append(_pairs(boxes, faces, image))
    best = max(readings, key=len)
    return [best.get(number) for number in range(len(held.regions))]


def _pairs(
    shares: Sequence[tuple[float, float, float, float]], faces: Sequence[Face], image: Image
) -> dict[int, int]:
    """Which box is which face, by how much they overlap; the best pairs first."""
    if not faces:
        return {}
    height, width = image.shape[:2]
    boxes = np.array(shares) * (width, height, width, height)
    others = np.stack([face.box for face in faces]).astype(float)
    iou = overlap(boxes, others)
    inside = (overlap(boxes, others, "smaller") >= _INSIDE) & (iou >= _FAR)
    iou[(iou < _IOU) & ~inside] = 0
    pairs: dict[int, int] = {}
    for place in np.argsort(-iou, axis=None, kind="stable").tolist():
        box, face = divmod(place, len(faces))
        if iou[box, face] > 0 and box not in pairs and face not in pairs.values():
            pairs[box] = face
    return pairs


def _best(found: Sequence[_Named], most: int) -> dict[Path, list[_Named]]:
    """The faces of each person that are worth most, by photo."""
    of: dict[str, list[_Named]] = {}
    for one in found:
        of.setdefault(one.name, []).append(one)
    chosen: dict[Path, list[_Named]] = {}
    for faces in of.values():
        for one in nlargest(most, faces, key=lambda one: one.worth):
            chosen.setdefault(one.path, []).append(one)
    return chosen


def _cut(chosen: dict[Path, list[_Named]], people: Path, skipped: list[Skipped]) -> int:
    """Leave faces in their people's folders; how many."""
    cut = 0
    for path, faces in chosen.items():
        try:
            image = images.read(path)
            for one in faces:
                piece = align.cut_out(image, one.face.box.tolist())
                if (factor := _SIDE / one.face.size) < 1:
                    how: Any = {"fx": factor, "fy": factor, "interpolation": cv2.INTER_AREA}
                    piece = cast("Image", cv2.resize(piece, None, **how))
                left, top = map(round, one.face.box[:2].tolist())
                images.write(people / one.name / f"{one.sha256[:16]}-{left}-{top}.png", piece)
                cut += 1
        except (BadInput, CannotWrite) as error:
            skipped.append(Skipped(path, str(error)))
    return cut
