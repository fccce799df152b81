"""What a worker does with the bytes of a photo: nothing is decoded in the service's own process.

Each function is given the worker's model.  `pixels` is how many a photo may have.  All raise
BadInput where a photo is none, or too large.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mien import images
from mien.errors import BadInput, NoFace
from mien.facebank import archive
from mien.facebank.archive import Archive
from mien.facebank.rows import as_embeddings
from mien.recognition import align
from mien.recognition.clustering import POOR, group
from mien.recognition.model import Looked, Model
from mien.recognition.policy import Policy
from mien.recognition.quality import largest, sharpness, worth
from mien.types import Embeddings, Face
from mien.verbs import compare as verb
from mien.verbs.compare import Comparison

THUMB = 96  # pixels, the side of a thumbnail
PICTURE = 1 << 20  # pixels of a face's picture that a client sends
_MARGIN = 24  # pixels around an aligned face that is shown


@dataclass(frozen=True, slots=True, eq=False)
class LookedPhoto(Looked):
    """What a look at a photo gives."""

    width: int
    height: int
    thumbs: list[bytes]  # a JPEG of each face, where they were asked for
    poor: list[bool]  # likewise: which faces may join a group and not found one


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """One face of a photo, cut out."""

    face: Face
    vector: Embeddings  # (1, D)
    png: bytes  # the file of the cut-out, in which no other face is in the middle
    sha256: str  # of that file


def look(model: Model, data: bytes, pixels: int, limit: int, with_thumbs: bool) -> LookedPhoto:
    """The faces in a photo.

    Args:
        model: finds and embeds them.
        data: the photo.
        pixels: see above.
        limit: faces that are embedded, the largest.
        with_thumbs: whether to make thumbnails of them.
    """
    image = images.decode(data, "the photo", pixels=pixels)
    looked = model.look(image, limit=limit)
    crops = align.crops(image, looked.faces if with_thumbs else [])
    thumbs = [images.encode(cv2.resize(crop, (THUMB, THUMB)), ".jpg") for crop in crops]
    poor = [
        worth(*pair) < POOR for pair in zip(looked.faces, sharpness(crops).tolist(), strict=False)
    ]
    height, width, _ = image.shape
    return LookedPhoto(looked.faces, looked.vectors, looked.found, width, height, thumbs, poor)


def compare(model: Model, first: bytes, second: bytes, pixels: int, policy: Policy) -> Comparison:
    """Whether the largest faces of two photos are of one person; see `mien.compare`."""
    one = images.decode(first, "the first photo", pixels=pixels)
    other = images.decode(second, "the second photo", pixels=pixels)
    return verb.compare(one, other, model, policy=policy)


def largest_face(model: Model, data: bytes, pixels: int) -> Looked:
    """The largest face of a photo.

    Raises:
        NoFace: it shows none.
    """
    looked = model.look(images.decode(data, "the photo", pixels=pixels), limit=1)
    if not looked.found:
        raise NoFace("no face was found in it: use a photo that shows the face from the front")
    return looked


def portrait(
    model: Model, data: bytes, pixels: int, at: tuple[float, float] | None, biggest: bool
) -> Portrait:
    """The face of a photo that is to be enrolled.

    Args:
        model: finds and embeds it.
        data: the photo.
        pixels: see above.
        at: x and y of a point within the face, in pixels; without it there must be one face only.
        biggest: of several faces, take the largest.

    Raises:
        NoFace: there is none, or not there, or there are several.
    """
    image = images.decode(data, "the photo", pixels=pixels)
    faces = model.detect(image)
    if at is not None:
        face = _at(faces, *at)
    elif not faces:
        raise NoFace("no face was found in it: use a photo that shows the face from the front")
    elif len(faces) == 1 or biggest:
        (face,) = largest(faces)
    else:
        raise NoFace(
            f"{len(faces)} faces were found in it: give a point within one, or ask for the largest"
        )
    png = images.encode(align.cut_out(image, face.box.tolist()), ".png")
    return Portrait(face, model.embed(image, [face]), png, hashlib.sha256(png).hexdigest())


def parsed(_: Model, data: bytes) -> Archive:
    """What an export holds; see `mien.facebank.archive.parse`."""
    return archive.parse(data, "the archive")


def scaled(_: Model, png: bytes, side: int) -> bytes:
    """A picture as JPEG, its longer side no more than this many pixels."""
    image = images.decode(png, "the picture")
    height, width, _channels = image.shape
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return images.encode(np.asarray(small, np.uint8), ".jpg")


def shown(model: Model, path: Path, sha256: str, pixels: int) -> bytes:
    """The largest face of a photo in a file, upright, as PNG.

    Raises:
        BadInput: the file is another than the one of that SHA-256, or shows no face.
    """
    data = images.read_bytes(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadInput("it has changed since it was enrolled")
    image = images.decode(data, "the photo", pixels=pixels)
    faces = largest(model.detect(image))
    if not faces:
        raise NoFace("no face was found in it")
    return images.encode(align.crop(image, faces[0].points, margin=_MARGIN), ".png")


def pngs(_: Model, pictures: list[bytes]) -> list[bytes]:
    """Pictures of faces as PNG, of which nothing is left but the pixels; "" where there is none."""
    return [
        images.encode(images.decode(one, "the face's picture", pixels=PICTURE), ".png")
        if one
        else b""
        for one in pictures
    ]


def grouped(model: Model, vectors: bytes, policy: Policy, photos: bytes, poor: bytes) -> list[int]:
    """The group of each vector; see `mien.recognition.clustering.group`.

    Args:
        model: made the vectors.
        vectors: N of them, 32-bit floats, little-endian.
        policy: of that model.
        photos: the number of each one's photo, 32-bit integers, little-endian.
        poor: a byte for each, 1 where it may not begin a group.

    Raises:
        BadInput: they are not N vectors of unit length, N photos and N bytes.
    """
    count = len(poor)
    if len(vectors) != 4 * model.dim * count or len(photos) != 4 * count:
        raise BadInput(
            f"{count} faces have {4 * model.dim * count} bytes of vectors and {4 * count} of"
            f" photos, not {len(vectors)} and {len(photos)}: send as many of each"
        )
    rows = as_embeddings(np.frombuffer(vectors, "<f4").reshape(count, model.dim), model.dim)
    numbers: list[int] = np.frombuffer(photos, "<i4").tolist()
    labels = group(rows, policy, photos=numbers, poor=np.frombuffer(poor, np.uint8) > 0)
    found: list[int] = labels.tolist()
    return found


def _at(faces: list[Face], x: float, y: float) -> Face:
    """The face that holds a point nearest to its middle."""

    def holds(face: Face) -> bool:
        x1, y1, x2, y2 = face.box.tolist()
        return bool(x1 <= x < x2 and y1 <= y < y2)

    def distance(face: Face) -> float:
        x1, y1, x2, y2 = face.box.tolist()
        return float(np.hypot((x1 + x2) / 2 - x, (y1 + y2) / 2 - y) / face.size)

    holding = [face for face in faces if holds(face)]
    if not holding:
        raise NoFace(f"no face was found at {x:g}, {y:g}: give a point within one")
    return min(holding, key=distance)
