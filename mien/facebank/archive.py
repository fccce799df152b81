"""People as JSON Lines, to copy from one facebank to another.

docs/facebank.md describes it.  The last line is a checksum of all before it, so a file that was
cut short or changed is refused as a whole.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mien.errors import BadInput, CannotWrite, FacebankMismatch
from mien.facebank.rows import MAX_DIM, Photo, are_unit, person_name
from mien.facebank.stores import Store
from mien.files import contents
from mien.types import Embeddings

FORMAT = 1

_TYPES = {field.name: str for field in fields(Photo)} | {"confidence": float, "size": float}


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """What a file holds."""

    model_id: str
    photos: list[Photo]
    vectors: Embeddings  # (N, D), of unit length


@dataclass(frozen=True, slots=True)
class Imported:
    """What happened to an archive's photos."""

    added: int
    duplicates: tuple[Photo, ...]  # in the facebank already, and left there as they were


def save(facebank: Store, path: str | Path) -> int:
    """Write everyone in a facebank to a new file, for its owner only; returns how many photos.

    Raises:
        CannotWrite: the file exists already, or cannot be written.
    """
    path = Path(path)
    photos, vectors = facebank.contents()
    data = dump(Archive(facebank.model_id, photos, vectors))
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if not isinstance(error, FileExistsError):
            with suppress(OSError):
                path.unlink()
        raise CannotWrite(f"{path} cannot be created ({error.strerror}): choose another") from error
    return len(photos)


def dump(archive: Archive) -> bytes:
    """An archive as the bytes of its file."""
    lines = [{"mien": FORMAT, "model_id": archive.model_id, "dim": archive.vectors.shape[1]}]
    lines += [
        {name: getattr(photo, name) for name in _TYPES}
        | {"vector": base64.b64encode(vector.tobytes()).decode()}
        for photo, vector in zip(archive.photos, archive.vectors, strict=True)
    ]
    return sealed("".join(json.dumps(line) + "\n" for line in lines).encode())


def sealed(lines: bytes) -> bytes:
    """Lines, followed by their checksum."""
    return lines + (json.dumps({"sha256": hashlib.sha256(lines).hexdigest()}) + "\n").encode()


def read(path: str | Path) -> Archive:
    """Read a file that `save` wrote.

    Raises:
        BadInput: there is none, or it is anything else, damaged, or of a newer format.
    """
    try:
        data = contents(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): name another") from error
    return parse(data, str(path))


def parse(data: bytes, path: str) -> Archive:
    """Parse the bytes of such a file; see `read`."""
    end = data.rfind(b"\n", 0, -1) + 1
    last = _object(data[end:], path, data.count(b"\n"))
    if last != {"sha256": hashlib.sha256(data[:end]).hexdigest()}:
        raise BadInput(f"{path} was truncated or changed since it was exported: export it again")
    head, *rows = (
        (_object(line, path, number) for number, line in enumerate(data[:end].splitlines(), 1))
        if end
        else [{}]
    )
    if isinstance(head.get("mien"), int) and head["mien"] > FORMAT:
        raise BadInput(f"{path} has format {head['mien']}, newer than {FORMAT}: upgrade mien")
    model_id, dim = head.get("model_id"), head.get("dim")
    if head.get("mien") != FORMAT or not isinstance(model_id, str) or not isinstance(dim, int):
        _refuse(path, 1)
    if not 1 <= dim <= MAX_DIM:
        _refuse(path, 1)
    photos = [_photo(row, path, number) for number, row in enumerate(rows, 2)]
    return Archive(model_id, photos, _vectors(rows, dim, path))


def bring(archive: Archive, facebank: Store) -> Imported:
    """Add what an archive holds to a facebank, in one step.

    Raises:
        FacebankMismatch: its vectors are another model's.
        BadFacebank, CannotWrite: see `Facebank`.
    """
    facebank.require(archive.model_id)
    if archive.vectors.shape[1] != facebank.dim:
        raise FacebankMismatch(
            f"these vectors have {archive.vectors.shape[1]} dimensions and those of {facebank.path}"
            f" {facebank.dim}: export them again"
        )
    there = {photo.sha256 for photo in facebank.photos()}
    duplicates = tuple(photo for photo in archive.photos if photo.sha256 in there)
    return Imported(facebank.add(archive.photos, archive.vectors), duplicates)


def _object(line: bytes, path: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        _refuse(path, number)
    if not isinstance(value, dict):
        _refuse(path, number)
    return value


def _photo(row: dict[str, Any], path: str, number: int) -> Photo:
    values: dict[str, Any] = {name: row.get(name) for name in _TYPES}
    if any(not isinstance(values[name], kind) for name, kind in _TYPES.items()):
        _refuse(path, number)
    if not re.fullmatch("[0-9a-f]{64}", values["sha256"]) or not all(
        map(math.isfinite, (values["confidence"], values["size"]))
    ):
        _refuse(path, number)
    if any("\0" in text or not _is_utf8(text) for text in map(str, values.values())):
        _refuse(path, number)
    return Photo(**values | {"person": person_name(values["person"])})


def _vectors(rows: Iterable[dict[str, Any]], dim: int, path: str) -> Embeddings:
    blobs = []
    for number, row in enumerate(rows, 2):
        try:
            blobs.append(base64.b64decode(row.get("vector", ""), validate=True))
        except (ValueError, TypeError):
            _refuse(path, number)
        if len(blobs[-1]) != 4 * dim or not are_unit(np.frombuffer(blobs[-1], "<f4")[None]):
            _refuse(path, number)
    return np.frombuffer(b"".join(blobs), "<f4").reshape(-1, dim)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _refuse(path: str, number: int) -> NoReturn:
    raise BadInput(f"line {number} of {path} is not what an export writes: export it again")
