"""What the index keeps of a photo and of each face in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.recognition.model import Model
from mien.recognition.quality import largest
from mien.types import Embeddings, Face, Skipped

PATH = "\ufffc"  # stands for a photo in a reason that is kept
FACE = "key, box, points, confidence, turned, sharpness, worth, vector"  # columns


class Way(NamedTuple):
    """A way to look at a photo, which decides what is found in it."""

    detector: str
    mirror: bool
    model_id: str
    dim: int  # of a vector

    @classmethod
    def of(cls, model: Model, *, mirror: bool = False) -> Way:
        """The way in which a model looks; `mirror` as in `Model.look`."""
        return cls(model.detector_id, mirror, model.model_id, model.dim)


@dataclass(frozen=True, slots=True, eq=False)
class IndexedFace:
    """A face in a photo, and what it is worth."""

    key: str  # a SHA-256, in hex, of the photo's and the box: the same wherever the photo lies
    face: Face
    sharpness: float  # see `mien.recognition.quality`
    worth: float  # likewise, in [0, 1]
    thumb: bytes = field(default=b"", repr=False)  # a JPEG of 96 x 96, where it was asked for


@dataclass(frozen=True, slots=True, eq=False)
class IndexedPhoto:
    """A photo and its faces, best confidence first."""

    path: Path
    sha256: str
    width: int  # in pixels, upright
    height: int
    orientation: int  # how the file is stored; see `mien.images.orientation`
    faces: tuple[IndexedFace, ...]
    vectors: Embeddings = field(repr=False)  # (N, D): one of unit length for each face

    def largest(self, limit: int | None = None, min_face: float = 0) -> IndexedPhoto:
        """The photo with its largest faces alone; see `mien.recognition.quality.largest`."""
        kept = {id(face) for face in largest([one.face for one in self.faces], limit, min_face)}
        stay = [id(one.face) in kept for one in self.faces]
        faces = tuple(one for one, stays in zip(self.faces, stay, strict=True) if stays)
        about = self.path, self.sha256, self.width, self.height, self.orientation
        return IndexedPhoto(*about, faces, self.vectors[np.array(stay, bool)])


class NoPhoto(NamedTuple):
    """A file that is no photo, or a damaged one."""

    path: Path
    sha256: str
    reason: str  # with `PATH` for the path

    @property
    def skipped(self) -> Skipped:
        """What to say of it."""
        return Skipped(self.path, self.reason.replace(PATH, str(self.path)))


class State(NamedTuple):
    """What is kept of a file."""

    size: int
    modified: int  # nanoseconds
    device: int | None  # where it was when it was last seen
    sha256: str
    usable: bool  # looked at in a way, or found to be bad by what reads photos today

    def is_of(self, status: os.stat_result | None) -> bool:
        """Whether a file has not changed."""
        return (self.size, self.modified) == state_of(status)[:2]


def state_of(status: os.stat_result | None) -> tuple[int, int, int | None]:
    """Size and time of a file, by which a change shows, and its disk."""
    return (status.st_size, status.st_mtime_ns, status.st_dev) if status else (0, 0, None)


def face_key(sha256: str, box: NDArray[Any]) -> str:
    """What a face is known by, whatever model looks at it."""
    left, top, right, bottom = np.asarray(box, float).round().astype(int).tolist()
    fragment = f"xywh={left},{top},{right - left},{bottom - top}"  # of W3C's Media Fragments
    return hashlib.sha256(f"{sha256}#{fragment}".encode()).hexdigest()


def to_row(one: IndexedFace, vector: Embeddings) -> tuple[Any, ...]:
    """The columns of `FACE`."""
    face = one.face
    numbers = (face.confidence, face.turned, one.sharpness, one.worth)
    return (one.key, _blob(face.box), _blob(face.points), *numbers, _blob(vector))


def from_row(row: Sequence[Any]) -> IndexedFace:
    """A face of the columns of `FACE`, and its thumb where that follows them."""
    key, box, points, confidence, turned, sharpness, worth, _, *thumb = row
    corners = np.frombuffer(points, "<f4").reshape(5, 2)
    face = Face(np.frombuffer(box, "<f4"), corners, confidence, turned)
    return IndexedFace(key, face, sharpness, worth, *thumb)


def vectors_of(rows: Sequence[Sequence[Any]], dim: int) -> Embeddings:
    """The vectors in rows of `FACE`, (N, D)."""
    return np.frombuffer(b"".join(row[7] for row in rows), "<f4").reshape(len(rows), dim)


def _blob(numbers: NDArray[Any]) -> bytes:
    return numbers.astype("<f4").tobytes()
