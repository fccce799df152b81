"""The vocabulary: every value that crosses a module's border, with its shape, unit and range.

Images are RGB and upright everywhere inside the package.  A score is a cosine in [-1, 1], higher
means more alike; there are no distances and no percentages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]  # (H, W, 3) RGB, row 0 on top
Crops: TypeAlias = NDArray[np.uint8]  # (N, 112, 112, 3) RGB, aligned to the five-point template
Embeddings: TypeAlias = NDArray[np.float32]  # (N, D), each row of unit length
Scores: TypeAlias = NDArray[np.float32]  # cosines in [-1, 1]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False, repr=False)  # eq: arrays do not compare to one bool
class Face:
    """One detected face, in the pixels of the picture it was found in."""

    box: NDArray[np.float32]  # (4,): x1, y1, x2, y2; x2 and y2 exclusive
    points: NDArray[np.float32]  # (5, 2) x, y: eye, eye, nose, mouth, mouth; picture-left first
    confidence: float  # the detector's, in [0, 1]
    turned: int = 0  # degrees clockwise that the picture lay turned when this was found in it

    def __repr__(self) -> str:
        box = ", ".join(f"{edge:.1f}" for edge in self.box)
        return f"Face(box=[{box}], confidence={self.confidence:.3f})"

    def __post_init__(self) -> None:
        if self.box.shape != (4,):
            raise ValueError(f"Face.box must have shape (4,), not {self.box.shape}")
        if self.points.shape != (5, 2):
            raise ValueError(f"Face.points must have shape (5, 2), not {self.points.shape}")

    @property
    def size(self) -> float:
        """The longer side of the box, in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


def require_picture(image: Image) -> None:
    """Do nothing for a picture, and refuse what a caller may take for one.

    Raises:
        TypeError: no array of uint8, such as a path, or shares in [0, 1].
        ValueError: not (H, W, 3) with pixels in it, such as grey or with transparency.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"a picture is an RGB array of uint8, not {kind}; mien.read makes one")
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"a picture has the shape (H, W, 3), not {image.shape}")


class Skipped(NamedTuple):
    """A photo or video that could not be used, and why."""

    path: Path
    reason: str


class Near(NamedTuple):
    """Somebody whom a face is more or less like."""

    person: str
    score: float  # cosine with their template, in [-1, 1]


@dataclass(frozen=True, slots=True)
class Match:
    """The person nearest to a face."""

    person: str | None  # None: nobody in the facebank reaches the threshold
    score: float  # cosine with the nearest person, in [-1, 1]
    nearest: tuple[Near, ...] = field(default=(), repr=False, compare=False)  # best first

    def __post_init__(self) -> None:
        if not -1.0 <= self.score <= 1.0:
            raise ValueError(f"Match.score must lie in [-1, 1], not {self.score}")


@dataclass(frozen=True, slots=True, eq=False)
class NamedFace:
    """One face in one picture, and who it is."""

    path: Path
    face: Face
    match: Match


class Detector(Protocol):
    """Finds faces: best confidence first, an empty list where there are none."""

    def __call__(self, image: Image) -> list[Face]: ...


class Embedder(Protocol):
    """Turns aligned crops into unit vectors."""

    @property
    def dim(self) -> int:
        """The dimensions of an embedding."""
        ...

    @property
    def model_id(self) -> str:
        """Name and fingerprint of the weights; vectors of different ids are not comparable."""
        ...

    def __call__(self, crops: Crops) -> Embeddings: ...


class Index(Protocol):
    """Nearest rows of a fixed matrix of unit vectors."""

    def __len__(self) -> int: ...

    def search(self, queries: Embeddings, k: int) -> tuple[Scores, NDArray[np.intp]]:
        """Scores and row numbers of the k best rows, both (M, k), best first."""
        ...


class Progress(Protocol):
    """Hands things on one by one and shows how far it is, as `rich.progress.track` does."""

    def __call__(self, things: Sequence[T], doing: str, /) -> Iterable[T]: ...


def silent(things: Sequence[T], doing: str, /) -> Iterable[T]:
    """The progress that shows nothing."""
    return things
