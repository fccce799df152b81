"""What identify and camera say of each photo, video and sighting; JSON has the same fields."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    from mien.types import Face, Match, Near, Skipped
    from mien.verbs.identify import Seen
    from mien.verbs.watch import Sighting

    Entry: TypeAlias = "PhotoEntry | SightingEntry | VideoEntry | Skipped"


@dataclass(frozen=True, slots=True)
class FaceEntry:
    """A face and who it is."""

    person: str | None
    score: float
    nearest: str | None
    confidence: float
    box: NDArray[np.float32]
    points: NDArray[np.float32]
    turned: int
    candidates: tuple[Near, ...] | None = None  # where several were asked for


@dataclass(frozen=True, slots=True)
class PhotoEntry:
    """A photo and who is in it."""

    path: Path
    width: int
    height: int
    faces: tuple[FaceEntry, ...]
    saved: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SightingEntry(FaceEntry):
    """Somebody who was in sight for a while, with their best face."""

    path: str | Path | None = None  # None inside a document, where the video's entry has it
    number: int
    start: float
    end: float
    stills: int
    time: float


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """A video that has been looked at to its end."""

    path: Path
    width: int
    height: int
    fps: float
    seconds: float | None
    stills: int
    sightings: int | list[SightingEntry]  # how many; in a document, the sightings themselves
    saved: Path | None = None
    broken: str | None = None


def photo_entry(seen: Seen, saved: Path | None) -> PhotoEntry:
    """What is said of a photo whose drawn copy, if any, is saved there."""
    faces = tuple(FaceEntry(**_face(one.face, one.match)) for one in seen.faces)
    return PhotoEntry(seen.path, seen.width, seen.height, faces, saved)


def sighting_entry(path: str | Path, one: Sighting) -> SightingEntry:
    """What is said of somebody who was in sight in a video."""
    return SightingEntry(
        path=path,
        number=one.number,
        start=one.start,
        end=one.end,
        stills=one.frames,
        time=one.time,
        **_face(one.face, one.match),
    )


def _face(face: Face, match: Match) -> dict[str, Any]:
    return {
        "person": match.person,
        "score": match.score,
        "nearest": match.nearest[0].person if match.nearest else None,
        "confidence": face.confidence,
        "box": face.box,
        "points": face.points,
        "turned": face.turned,
        "candidates": match.nearest if len(match.nearest) > 1 else None,
    }


def inside(sightings: Iterable[SightingEntry]) -> list[SightingEntry]:
    """Sightings as a document of their video holds them."""
    return [replace(one, path=None) for one in sightings]
