"""Frames of a video file or stream, with their times, as they are to be displayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mien.errors import BadInput
from mien.types import Image

SHORT = 1.0  # seconds by which a sound file may end before the time that it says it has

LUMA_FIRST = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "nv12")  # in 8 bits

WIDEST = 8  # times as wide as high, or as high as wide, that pixels may be

Grey = NDArray[np.uint8]  # (H, W), row 0 on top


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of a video, converted only on request."""

    number: int  # in the order of reading, from 0
    time: float  # seconds from the start of the video
    width: int  # in pixels, upright, as `image` has them
    height: int
    frame: av.VideoFrame

    def image(self) -> Image:
        """The frame in colour, (height, width, 3)."""
        return self._upright("rgb24")

    def grey(self) -> Grey:
        """The frame in grey, (height, width): cheap, and not to be changed."""
        turn = Turn.of(self.frame)
        width, height = turn.size(self.width, self.height)
        size = self.frame.width, self.frame.height
        if self.frame.format.name not in LUMA_FIRST or size != (width, height):
            return self._upright("gray")
        plane = self.frame.planes[0]
        pixels = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, :width]
        return turn.upright(pixels) if turn != Turn() else pixels

    def _upright(self, layout: str) -> NDArray[np.uint8]:
        turn = Turn.of(self.frame)
        width, height = turn.size(self.width, self.height)
        return turn.upright(self.frame.to_ndarray(format=layout, width=width, height=height))


@dataclass(frozen=True, slots=True)
class Turn:
    """The display transform of stored frames, in this order."""

    transpose: bool = False
    mirror: bool = False  # left to right
    flip: bool = False  # top to bottom

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Turn:
        """A frame's display matrix, to the nearest quarter turn."""
        told = frame.side_data.get("DISPLAYMATRIX")
        if told is None:
            return cls()
        a, b, _, c, d = np.frombuffer(told, np.int32)[:5].tolist()  # x' = ax + cy, y' = bx + dy
        if abs(a) >= abs(b):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The stored width and height for the displayed ones, or the reverse."""
        return (height, width) if self.transpose else (width, height)

    def upright(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A stored frame, (H, W) or (H, W, 3), as it is displayed."""
        if self.transpose:
            pixels = pixels.swapaxes(0, 1)
        return np.ascontiguousarray(pixels[:: -1 if self.flip else 1, :: -1 if self.mirror else 1])


def pixel_shape(stream: Any) -> Fraction:
    """A stream's pixel aspect ratio; 1 if it does not state one."""
    told = stream.sample_aspect_ratio or Fraction(1)
    return told if Fraction(1, WIDEST) <= told <= WIDEST else Fraction(1)


def shown_size(frame: av.VideoFrame, shape: Fraction) -> tuple[int, int]:
    """Width and height of a frame as it is shown, in square pixels, none of which is lost."""
    width = round(frame.width * max(shape, Fraction(1)))
    height = round(frame.height / min(shape, Fraction(1)))
    return Turn.of(frame).size(width, height)


class Video:
    """A video file.

    Args:
        path: of the file, in any container and codec that FFmpeg reads.
        longest: pixels that the longer side of a picture may have; larger ones are shrunk.

    Raises:
        BadInput: no such file, no video in it, or no picture of it can be read.
    """

    def __init__(self, path: str | Path, *, longest: int | None = None) -> None:
        self.path = Path(path)
        self.broken: str | None = None  # where it could not be read, known when it has been
        if not self.path.is_file():
            raise BadInput(f"{path} does not exist: check the path")
        with opened(self.path) as container:
            if not container.streams.video:
                raise BadInput(f"{path} holds no moving pictures: name a video")
            stream = container.streams.video[0]
            first = next(
                (frame for frame in decoded(container, stream) if not isinstance(frame, str)), None
            )
            if first is None:
                raise BadInput(
                    f"{path} is damaged, and no picture of it can be read: copy it again"
                )
            self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            self.seconds = _seconds(container, stream)  # None: it does not say
            self.pixel_shape = pixel_shape(stream)
        size = shown_size(first, self.pixel_shape)
        shrink = min(1, longest / max(size)) if longest else 1
        self.width, self.height = (max(1, round(side * shrink)) for side in size)

    def stills(self, start: float = 0, end: float | None = None) -> Iterator[Frame]:
        """The pictures from `start` to `end`, in seconds; all of them by default.

        What is damaged is left out, and `broken` says where that began.  Times always grow: where
        the file's jump back, as where two were joined, they go on from there.
        """
        self.broken = None
        time, jump, number = start, 0.0, 0
        with opened(self.path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            zero = stream.start_time or 0
            if start:  # to the last picture before it from which decoding can start
                with suppress(av.FFmpegError):  # where there is no way but from the beginning
                    container.seek(zero + int(start / stream.time_base), stream=stream)
            for frame in decoded(container, stream):
                if isinstance(frame, str):
                    self._break(time, frame)
                    continue
                after = time + float(1 / self.rate)
                if frame.pts is None:
                    time = after
                else:
                    told = float((frame.pts - zero) * stream.time_base) + jump
                    if number and told <= time:
                        jump += after - told
                    time = after if number and told <= time else told
                if end is not None and time > end:
                    return
                if frame.is_corrupt:
                    self._break(time, "pictures are damaged")
                if time >= start:
                    yield Frame(number, time, self.width, self.height, frame)
                    number += 1
        if self.seconds is not None and time < min(self.seconds, end or self.seconds) - SHORT:
            self._break(time, f"it should last {self.seconds:.1f} s")

    def _break(self, time: float, why: str) -> None:
        if self.broken is None:
            self.broken = f"{self.path} is damaged from {time:.1f} s on ({why}): copy it again"


def opened(path: Path | str, *, name: str = "", **options: Any) -> Any:
    """A container that is open for reading, called `name` in an error.

    Raises:
        BadInput: it is not one, or is too damaged to be opened.
    """
    try:
        return av.open(str(path), metadata_errors="replace", **options)
    except (av.FFmpegError, OSError) as error:
        raise BadInput(
            f"{name or path} cannot be opened as a video ({error.strerror}): check it"
        ) from error


def decoded(container: Any, stream: Any) -> Iterator[av.VideoFrame | str]:
    """All frames that can be decoded; and if some cannot, why."""
    packets = container.demux(stream)
    while True:
        try:
            frames = next(packets).decode()
        except StopIteration:
            return
        except av.FFmpegError as error:
            yield str(error.strerror)
        else:
            yield from frames


def _seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration / av.time_base)
    return None
