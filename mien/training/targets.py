"""Targets: what teachers say of every picture of a data set, computed once and kept beside it.

A teacher sees each picture plain and mirrored, and what it says of both is averaged; a student may
then see any other view of the picture at no cost. Several teachers stand side by side: their unit
vectors are joined and projected to the student's size.

    targets/4e0c…-000000.npy    a teacher's vectors of 2,048 pictures, plain and mirrored, float16
    targets/targets.npy         (N, D) of unit length, float16, in the data set's order
    targets/targets.json        what they were made of
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadInput
from mien.files import write_atomically
from mien.images import decode
from mien.training.balance import Balance, unit
from mien.training.data.augment import middle
from mien.training.data.shards import Shards
from mien.training.teacher import Teacher
from mien.types import Embeddings, Progress, silent

FOLDER = "targets"
_CHUNK, _BATCH = 2048, 32


@dataclass(frozen=True, slots=True)
class Targets:
    """What a student is to say of every picture."""

    vectors: Embeddings  # (N, D) of unit length
    teachers: tuple[str, ...]  # files' names
    energy: float  # share of the teachers' squared length that the projection keeps
    balance: dict[str, Any] | None  # what was subtracted, see `Balance.describe`


def make(
    data: Path,
    teachers: Sequence[tuple[Path, str]],
    *,
    dim: int = 128,
    balance: Balance | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Targets:
    """Asks the teachers and writes the targets; what was asked before a crash is not asked again.

    Args:
        data: a folder that `mien prepare` has made.
        teachers: ONNX files and their input forms; see `input_form`.
        dim: numbers in a target.
        balance: what to subtract; None leaves the targets as they are.

    Raises:
        BadInput: the data set cannot be used, or is too small.
        BadModel: a teacher cannot be used.
        CannotWrite: the disk is full, read-only or forbidden.
    """
    pictures, folder = Shards(data), data / FOLDER
    if len(pictures) < dim:
        raise BadInput(
            f"{data} has {len(pictures)} pictures, fewer than a target's {dim} dimensions: give a"
            " smaller --dim"
        )
    folder.mkdir(exist_ok=True)
    parts = []
    for path, form in teachers:
        asked = _asked(pictures, folder, path, form, threads, progress)
        parts.append(unit(unit(asked[:, 0]) + unit(asked[:, 1])))
    joined = unit(np.concatenate(parts, 1))
    if balance is not None:
        joined = balance.fit(joined, pictures.sources())(joined)
    basis, energy = projection(joined, dim)
    targets = Targets(
        unit(joined @ basis),
        tuple(path.name for path, _ in teachers),
        energy,
        balance.describe() if balance else None,
    )
    about = asdict(targets) | {"vectors": None, "data": pictures.digest}
    _write(folder / "targets.npy", targets.vectors.astype(np.float16))
    write_atomically(folder / "targets.json", json.dumps(about, indent=2).encode())
    return targets


def load(data: Path | str) -> Targets:
    """The targets of a data set.

    Raises:
        BadInput: there are none, or they were made of other pictures.
    """
    folder, missing = Path(data) / FOLDER, f"{data} has no targets: make them with mien targets"
    try:
        about = json.loads((folder / "targets.json").read_text())
        vectors = unit(np.load(folder / "targets.npy").astype(np.float32))
    except (OSError, ValueError) as error:
        raise BadInput(missing) from error
    if about.pop("data") != Shards(data).digest:
        raise BadInput(f"the targets in {folder} belong to other pictures: run mien targets again")
    return Targets(**{**about, "vectors": vectors, "teachers": tuple(about["teachers"])})


def projection(vectors: Embeddings, dim: int) -> tuple[NDArray[np.float32], float]:
    """The directions that keep most of the vectors' squared length, not centred.

    Returns:
        (D, dim) with orthonormal columns, and the share kept, in [0, 1].
    """
    moments = vectors.astype(np.float64).T @ vectors / len(vectors)
    lengths, directions = np.linalg.eigh(moments)  # ascending
    kept = directions[:, ::-1][:, :dim]
    kept = kept * np.sign(kept[np.abs(kept).argmax(0), np.arange(dim)])  # one of two signs, always
    return kept.astype(np.float32), float(lengths[::-1][:dim].sum() / lengths.sum())


def _asked(
    pictures: Shards, folder: Path, path: Path, form: str, threads: int | None, progress: Progress
) -> NDArray[np.float32]:
    """A teacher's vectors, (N, 2, D): of each picture plain and mirrored."""
    teacher = Teacher(path, scaling=form, threads=threads or 1, blocks=False)
    key = hashlib.sha256(path.read_bytes() + form.encode() + pictures.digest.encode())
    found = []
    for first in progress(range(0, len(pictures), _CHUNK), f"asking {path.name}"):
        file = folder / f"{key.hexdigest()[:12]}-{first:07d}.npy"
        if not file.is_file():
            rows = np.arange(first, min(first + _CHUNK, len(pictures)))
            crops = np.stack([middle(decode(content)) for content in pictures.images(rows)])
            views = [
                np.concatenate(
                    [
                        teacher(view[k : k + _BATCH]).embeddings.numpy()
                        for k in range(0, len(view), _BATCH)
                    ]
                )
                for view in (crops, crops[:, :, ::-1])
            ]
            _write(file, np.stack(views, 1).astype(np.float16))
        found.append(np.load(file))
    return np.concatenate(found).astype(np.float32)


def _write(path: Path, array: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomically(path, buffer.getvalue())
