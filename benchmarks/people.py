"""Folders of people as vectors and the truth, for what is measured on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import typer
from numpy.typing import NDArray

from mien import files
from mien.errors import BadInput
from mien.evaluation.people import embed_largest
from mien.recognition.model import Model
from mien.types import Embeddings, Progress, Skipped, silent


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """The largest face of each photo, and whose it is."""

    vectors: Embeddings  # (N, D)
    person: NDArray[np.intp]  # (N,) from 0 to P - 1
    people: int  # P
    skipped: tuple[Skipped, ...]  # photos that cannot be used, and why

    @property
    def photos_each(self) -> NDArray[np.intp]:
        """How many photos each person has, (P,)."""
        return np.bincount(self.person)


def embed(model: Model, folder: Path, progress: Progress = silent) -> Embedded:
    """The faces in `folder/NAME/photo.jpg`.

    Raises:
        BadInput: no photos there, or fewer than four people of whom one can be used.
    """
    person_of, skipped = files.photos_of_people(folder)
    faces = embed_largest([model], list(person_of), progress, "embedding")
    names = [person_of[path] for path in faces.photos]
    if len(set(names)) < 4:
        raise BadInput(f"{folder} has usable photos of {len(set(names))} people: four are needed")
    unique, person = np.unique(names, return_inverse=True)
    return Embedded(faces.vectors[0], person, len(unique), (*skipped, *faces.skipped))


Folder: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Holds a folder of photos for each person.")
]


def about(model: Model, faces: Embedded, seeds: int) -> dict[str, Any]:
    """What documents say of what was measured on."""
    return {
        "model_id": model.model_id,
        "people": faces.people,
        "photos": len(faces.vectors),
        "seeds": seeds,
        "skipped": faces.skipped,
    }
