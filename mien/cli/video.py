"""Videos on the command line: what identify says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from mien.cli import console
from mien.errors import BadInput, CannotWrite, needs_extra

if TYPE_CHECKING:
    from mien.facebank.stores import Store
    from mien.recognition.model import Model
    from mien.recognition.policy import Policy
    from mien.types import Face, Match
    from mien.verbs.watch import Sighting

VIDEOS = "Videos"


def _moment(text: str) -> float:
    """Seconds, from `90`, `1:30` or `0:01:30.5`."""
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = [-1.0]
    if len(numbers) > 3 or not all(0 <= number < float("inf") for number in numbers):
        raise BadInput(f"{text!r} is no time: give seconds, or as in 1:30 or 0:01:30")
    seconds: float = sum(number * 60**power for power, number in enumerate(reversed(numbers)))
    return seconds


Start: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--start",
        metavar="TIME",
        parser=_moment,
        show_default="0",
        help="Videos: where to start, such as 90 or 1:30.",
        rich_help_panel=VIDEOS,
    ),
]
End: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--end",
        metavar="TIME",
        parser=_moment,
        help="Videos: where to stop.",
        rich_help_panel=VIDEOS,
    ),
]


@dataclass(frozen=True, slots=True)
class Part:
    """What of a video is looked at, and how: the options of `mien.verbs.watch.watch`."""

    stride: int | None
    start: float
    end: float | None
    longest: int | None
    mirror: bool
    limit: int | None
    min_face: float


def clip_entries(
    paths: Sequence[Path],
    model: Model,
    facebank: Store,
    policy: Policy,
    part: Part,
    copies: dict[Path, Path],
    *,
    score: bool,
) -> Iterator[dict[str, Any]]:
    """What is printed of videos: each sighting when it is over, and the video when it is."""
    from mien.types import Skipped

    if part.end is not None and part.end <= part.start:
        raise BadInput(f"--end {part.end:g} must come after --start {part.start:g}")
    for path in paths:
        try:
            yield from _clip(path, model, facebank, policy, part, copies.get(path), score=score)
        except (BadInput, CannotWrite) as error:
            console.note_skipped([Skipped(path, str(error))])
            yield {"path": str(path), "reason": str(error)}


def _clip(
    path: Path,
    model: Model,
    facebank: Store,
    policy: Policy,
    part: Part,
    copy: Path | None,
    *,
    score: bool,
) -> Iterator[dict[str, Any]]:
    from mien import draw

    with needs_extra("looking at videos", "video"):
        from mien.verbs.watch import Sighting, watch
        from mien.video.read import Video
        from mien.video.write import Writer

    video = Video(path, longest=part.longest)
    found = watch(
        video.stills(part.start, part.end),
        model,
        facebank,
        path=path,
        policy=policy,
        stride=part.stride,
        mirror=part.mirror,
        limit=part.limit,
        min_face=part.min_face,
    )
    last = min((time for time in (part.end, video.seconds) if time is not None), default=None)
    stills = sightings = 0
    with ExitStack() as stack:
        writer = (
            stack.enter_context(Writer(copy, video, start=part.start, end=part.end))
            if copy
            else None
        )
        for seen in console.progress_in_time(
            found,
            path.name,
            last and last - part.start,
            lambda seen: (seen.end if isinstance(seen, Sighting) else seen.frame.time) - part.start,
        ):
            if isinstance(seen, Sighting):
                sightings += 1
                yield {"path": str(path), **appearance_entry(seen)}
                continue
            stills += 1
            if writer:
                drawn = draw.annotate(seen.frame.image(), seen.faces, score=score)
                writer.write(seen.frame.time, drawn)
        if not stills:
            raise BadInput(f"{path} has no picture between --start and --end: begin earlier")
    entry = {
        "path": str(path),
        "width": video.width,
        "height": video.height,
        "fps": round(float(video.rate), 3),
        "seconds": video.seconds and round(video.seconds, 3),
        "stills": stills,
        "sightings": sightings,
    }
    if copy:
        entry["saved"] = str(copy)
    if broken := video.broken or (writer and writer.broken):
        console.note(broken)
        entry["broken"] = broken
    yield entry


def appearance_entry(one: Sighting) -> dict[str, Any]:
    """What is printed of somebody who was in sight."""
    return {
        "number": one.number,
        "start": one.start,
        "end": one.end,
        "stills": one.frames,
        "time": one.time,
        **face_entry(one.face, one.match),
    }


def face_entry(face: Face, match: Match) -> dict[str, Any]:
    """What is printed of a face and who it is."""
    return {
        "person": match.person,
        "score": match.score,
        "confidence": face.confidence,
        "box": face.box,
        "points": face.points,
    }


def as_videos(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a document says of videos: of those among the entries, with their sightings in them."""
    sightings: dict[str, list[dict[str, Any]]] = {}
    videos = []
    for entry in entries:
        if "box" in entry:
            inside = {name: value for name, value in entry.items() if name != "path"}
            sightings.setdefault(entry["path"], []).append(inside)
        elif "stills" in entry:
            videos.append({**entry, "sightings": sightings.get(entry["path"], [])})
    return videos


def span(entry: dict[str, Any]) -> str:
    """When somebody was in sight, for people to read."""
    return f"{clock(entry['start'])} to {clock(entry['end'])}"


def clock(seconds: float) -> str:
    """A time as `1:02.5` or `1:00:02.5`."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
