"""What a facebank holds: people, their photos, and the checksums of both."""

from __future__ import annotations

import json
import re
import struct
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import BadInput, FacebankMismatch
from mien.types import Embeddings, Match, Near

COLUMNS = "id, person, sha256, folder, file, confidence, size, added, vector"  # of a photo
LOG_COLUMNS = "id, at, command, action, person, count"
MAX_DIM = 65536  # dimensions of a vector
MAX_NAME = 255  # bytes of UTF-8, as file systems have it
NOWHERE = "/nonexistent"  # the folder of what is in no file; enroll --rebuild asks for it
_NOT_IN_NAMES = ("Cc", "Cf", "Zl", "Zp")  # control, format, separators of lines
# Letters and marks without ink: of Hangul, Khmer and Mongolian, a joiner, a blank, variants.
_WITHOUT_INK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0]"
)
_JOINED = re.compile("(?<=[\u0600-\U0010ffff])[\u200c\u200d](?=.)")  # of scripts that need them
_ROUND_OFF = 1e-3  # how far from 1 the length of a unit vector may be


@dataclass(frozen=True, slots=True)
class Person:
    """A person in the facebank."""

    name: str
    photos: int  # how many


@dataclass(frozen=True, slots=True)
class Photo:
    """An enrolled photo: whose it is, where it was, how its face was found; never its pixels."""

    person: str
    sha256: str  # of the file, in hex; no photo is in a facebank twice
    folder: str  # absolute, the one that was enrolled
    file: str  # relative to it, with /
    confidence: float  # the detector's, in [0, 1]
    size: float  # the longer side of the face, in pixels
    added: str = field(default_factory=lambda: now())

    @property
    def path(self) -> Path:
        """Where the photo was."""
        return Path(self.folder, self.file)


def person_name(text: str) -> str:
    """A text as a name: composed Unicode (NFC), no space around it.

    A name can always be a folder's, looks like nobody else's by characters that cannot be seen,
    and is never taken for the answer that a face is nobody's.

    Raises:
        BadInput: it is empty, over 255 bytes, "unknown", "." or "..", or holds a slash, a
            backslash, a control character, a line break, a character of no width, one that turns
            the direction of the text, or bytes that are not UTF-8.
    """
    name = spelled(text)
    seen = _JOINED.sub("", name)
    strange = any(c in "/\\" or unicodedata.category(c) in _NOT_IN_NAMES for c in seen)
    if strange or _WITHOUT_INK.search(seen) or folded(name) in ("", ".", "..", "unknown"):
        raise _no_name(text)
    if (size := len(name.encode())) > MAX_NAME:
        raise BadInput(
            f"a text of {size} bytes cannot be a person's name: shorten it to {MAX_NAME}"
        )
    return name


def spelled(text: str) -> str:
    """A text as the names in a facebank are spelled: NFC, no space around it.

    Raises:
        BadInput: it is not UTF-8.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _no_name(text)
    return unicodedata.normalize("NFC", text).strip()


def _no_name(text: str) -> BadInput:
    return BadInput(
        f"{text!r} cannot be a person's name: choose another, without /, \\ or invisible letters"
    )


def folded(name: str) -> str:
    """What two names have in common that differ in case or in the width of letters alone."""
    return unicodedata.normalize("NFKC", name).casefold()


def named(photos: Sequence[Photo], vectors: Embeddings, dim: int) -> list[Photo]:
    """The photos with their people's names as they are kept.

    Raises:
        BadInput: as `person_name`.
        ValueError: the vectors are not one of unit length for each.
    """
    if vectors.shape != (len(photos), dim) or not are_unit(vectors):
        raise ValueError(
            f"vectors must be ({len(photos)}, {dim}) of unit length, not {vectors.shape}"
        )
    return [replace(photo, person=person_name(photo.person)) for photo in photos]


def new_rows(photos: Sequence[Photo], vectors: Embeddings, dim: int) -> list[tuple[Any, ...]]:
    """What follows the id in a row of `COLUMNS`; raises as `named`."""
    pairs = zip(named(photos, vectors, dim), vectors.astype("<f4"), strict=True)
    return [(*astuple(photo), vector.tobytes()) for photo, vector in pairs]


def require_model(path: str, made_by: str, model_id: str) -> None:
    """Raise FacebankMismatch unless the two are one model."""
    if made_by != model_id:
        raise FacebankMismatch(
            f"{path} was made with the model {made_by}, whose vectors do not compare with those of"
            f" {model_id}: use that model, or run mien enroll FOLDER --rebuild"
        )


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def photo_checksum(
    id: int,
    person: str,
    sha256: str,
    folder: str,
    file: str,
    confidence: float,
    size: float,
    added: str,
    vector: bytes,
) -> int:
    """The CRC-32 of a photo's row, as docs/facebank.md has it."""
    before = f"{id}\0{person}\0{sha256}\0{folder}\0{file}\0".encode()
    numbers = struct.pack("<dd", confidence, size)
    return zlib.crc32(b"".join((before, numbers, f"{added}\0".encode(), vector)))


def row_checksum(*values: str | int | None) -> int:
    """The CRC-32 of values as JSON, as docs/facebank.md has it."""
    return zlib.crc32(json.dumps(values, separators=(",", ":")).encode())


def is_sound(row: tuple[Any, ...]) -> bool:
    """Whether a photo's `COLUMNS` are those that its checksum, which follows them, was made of."""
    try:
        return bool(photo_checksum(*row[:-1]) == row[-1])
    except (TypeError, UnicodeEncodeError, struct.error):  # not even the types are right
        return False


def is_right(row: tuple[Any, ...]) -> bool:
    """Whether other values are those that the `row_checksum` after them was made of."""
    try:
        return bool(row_checksum(*row[:-1]) == row[-1])
    except TypeError:  # bytes, where there was text
        return False


def are_unit(vectors: Embeddings) -> bool:
    """Whether each row has a length of 1, but for round-off."""
    with np.errstate(all="ignore"):  # on damaged numbers
        return bool((abs(np.linalg.norm(vectors, axis=1) - 1) < _ROUND_OFF).all())  # NaN is not


def template(vectors: Embeddings) -> Embeddings:
    """The mean of someone's vectors, (N, D), scaled back to unit length, (D,)."""
    total = vectors.sum(axis=0)
    unit: Embeddings = (total / max(float(np.linalg.norm(total)), 1e-12)).astype("<f4")
    return unit


def best_of(nearest: Sequence[Match], threshold: float) -> Match:
    """The nearest person, if they reach the threshold; the nearest people come best first."""
    if not nearest:
        return Match(None, -1.0)
    near = tuple(Near(one.person, one.score) for one in nearest if one.person is not None)
    best = nearest[0]
    return Match(best.person if best.score >= threshold else None, best.score, near)


def as_embeddings(rows: Sequence[Sequence[float]] | Embeddings, dim: int) -> Embeddings:
    """Vectors that somebody else has made, (M, D).

    Raises:
        BadInput: one has not `dim` numbers, or not a length of 1.
    """
    if all(len(row) == dim for row in rows):
        with np.errstate(over="ignore"):  # what is too large is no unit vector
            vectors = np.array(rows, np.float32).reshape(-1, dim)
        if are_unit(vectors):
            return vectors
    raise BadInput(f"an embedding has {dim} dimensions and length 1: send what the network returns")
