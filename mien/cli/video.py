"""Videos on the command line: what identify says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

import typer

from mien.cli import console
from mien.cli.json_entries import SightingEntry, VideoEntry, inside, sighting_entry
from mien.errors import BadInput, CannotWrite, needs_extra

if TYPE_CHECKING:
    from mien.cli.json_entries import Entry
    from mien.facebank.stores import Store
    from mien.recognition.model import Model
    from mien.recognition.policy import Policy
    from mien.types import Image
    from mien.verbs.watch import Sighting
    from mien.video.write import Writer

VIDEOS = "Videos"


def _moment(text: str) -> float:
    """Seconds, from `90`, `1:30` or `0:01:30.5`."""
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = [-1.0]
    if len(numbers) > 3 or not all(0 <= number < float("inf") for number in numbers):
        raise BadInput(f"{text!r} is not a time: give seconds, 1:30 or 0:01:30")
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


def video_entries(
    paths: Sequence[Path],
    model: Model,
    facebank: Store,
    policy: Policy,
    part: Part,
    copies: dict[Path, Path],
    *,
    score: bool,
) -> Iterator[Entry]:
    """What is said of videos: of each sighting when it is over, and of the video when it is."""
    from mien.types import Skipped

    if part.end is not None and part.end <= part.start:
        raise BadInput(f"--end {part.end:g} must come after --start {part.start:g}")
    for path in paths:
        try:
            yield from _video(path, model, facebank, policy, part, copies.get(path), score=score)
        except (BadInput, CannotWrite) as error:
            yield Skipped(path, str(error))


def _video(
    path: Path,
    model: Model,
    facebank: Store,
    policy: Policy,
    part: Part,
    copy: Path | None,
    *,
    score: bool,
) -> Iterator[Entry]:
    from mien import draw
    from mien.types import Skipped

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
    drawn = _Copy(partial(Writer, copy, video, start=part.start, end=part.end) if copy else None)
    with drawn:
        for seen in console.progress_in_time(
            found,
            path.name,
            last and last - part.start,
            lambda seen: (seen.end if isinstance(seen, Sighting) else seen.frame.time) - part.start,
        ):
            if isinstance(seen, Sighting):
                sightings += 1
                yield sighting_entry(path, seen)
                continue
            stills += 1
            if drawn.writer:
                picture = draw.annotate(seen.frame.image(), seen.faces, score=score)
                drawn.write(seen.frame.time, picture)
        if not stills:
            raise BadInput(f"{path} has no picture between --start and --end: begin earlier")
    if broken := video.broken or drawn.broken:
        console.note(broken)
    if drawn.failed:
        yield Skipped(path, drawn.failed)
    yield VideoEntry(
        path,
        video.width,
        video.height,
        round(float(video.rate), 3),
        video.seconds and round(video.seconds, 3),
        stills,
        sightings,
        None if drawn.failed else copy,
        broken or None,
    )


class _Copy:
    """A drawn copy of a video; if it cannot be written, the video is looked at all the same.

    Args:
        make: the writer of the copy, if there is to be one.
    """

    def __init__(self, make: Callable[[], Writer] | None) -> None:
        self.writer: Writer | None = None
        self.broken: str | None = None
        self.failed: str | None = None  # why there is none
        with self._noted():
            self.writer = make() if make else None

    def write(self, time: float, image: Image) -> None:
        """Add a frame, as `Writer.write` does."""
        with self._noted():
            if self.writer:
                self.writer.write(time, image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        with self._noted():
            if self.writer:
                self.broken = self.writer.broken
                self.writer.__exit__(*error)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except CannotWrite as error:
            self.failed = str(error)
            if self.writer:
                self.writer.__exit__(CannotWrite, error, None)  # which leaves no part of it
            self.writer = None


def as_videos(entries: Sequence[Entry]) -> list[VideoEntry]:
    """The videos among the entries, each with its sightings in it."""
    sightings = [one for one in entries if isinstance(one, SightingEntry)]
    return [
        replace(video, sightings=inside(one for one in sightings if one.path == video.path))
        for video in entries
        if isinstance(video, VideoEntry)
    ]


def span(one: Sighting | SightingEntry) -> str:
    """When somebody was in sight, for people to read."""
    return f"{clock(one.start)} to {clock(one.end)}"


def clock(seconds: float) -> str:
    """A time as `1:02.5` or `1:00:02.5`."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
