"""Writes frames to a video file, with the sound of another."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from mien.errors import cannot_write
from mien.files import make_folder
from mien.types import Image
from mien.video import CONTAINERS
from mien.video.read import Video, opened

TICK = Fraction(1, 90_000)  # seconds: a time base that suits all common frame rates
CODEC = "libx264" if "libx264" in av.codec.codecs_available else "mpeg4"
QUALITY = {"crf": "20", "preset": "veryfast"}


class Writer:
    """Writes the frames of a video again, at their times, and copies its sound unchanged.

    The file gets its name when it is complete.

    Args:
        path: ends in one of `mien.video.CONTAINERS`.
        video: what the pictures come from.
        start: where in it they begin, in seconds.
        end: where they end; None: with the video.

    Raises:
        CannotWrite: the disk is full or read-only, or writing there is forbidden.
    """

    def __init__(
        self, path: Path, video: Video, *, start: float = 0, end: float | None = None
    ) -> None:
        self.path, self._start, self._end = path, start, end
        self.broken: str | None = None  # whether some of the sound could not be copied
        self._partial = path.parent / f".{secrets.token_hex(8)}.part"
        self._last = -1
        self._open = ExitStack()
        try:
            make_folder(path.parent, private=True)
            self._partial.touch(0o600, exist_ok=False)  # it shows faces
            layout = CONTAINERS[path.suffix.lower()]
            self._out = self._open.enter_context(av.open(str(self._partial), "w", format=layout))
            self._stream = self._out.add_stream(CODEC, rate=video.rate, options=QUALITY)
            self._stream.width, self._stream.height = video.width & ~1, video.height & ~1
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = TICK
            self._sound = self._copied(video)
            self._next = next(self._sound, None)
        except (OSError, av.FFmpegError) as error:
            self._tidy()
            raise cannot_write(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def write(self, time: float, image: Image) -> None:
        """Add the frame that is shown from `time` on, in seconds of the video."""
        pts = max(self._last + 1, round((time - self._start) / TICK))
        even = image[: image.shape[0] & ~1, : image.shape[1] & ~1]  # what the codec can hold
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        frame.pts, frame.time_base, self._last = pts, TICK, pts
        try:
            self._out.mux(self._stream.encode(frame))
            self._mux_sound(time)
        except (OSError, av.FFmpegError) as error:
            raise cannot_write(self.path, error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._tidy()

    def _finish(self) -> None:
        try:
            self._out.mux(self._stream.encode(None))
            self._mux_sound(self._end)
            self._open.close()
            self._partial.replace(self.path)
        except (OSError, av.FFmpegError) as error:
            raise cannot_write(self.path, error) from error

    def _tidy(self) -> None:
        with suppress(OSError, av.FFmpegError):  # as where the disk is full
            self._open.close()
        with suppress(OSError):
            self._partial.unlink()

    def _mux_sound(self, until: float | None) -> None:
        while self._next and (until is None or self._next[0] <= until):
            try:
                self._out.mux(self._next[1])
            except (OSError, av.FFmpegError):  # a full disk stops the next picture too
                self._lose_sound()
            self._next = next(self._sound, None)

    def _lose_sound(self) -> None:
        self.broken = f"some of the sound is damaged, and is not in {self.path}"

    def _copied(self, video: Video) -> Iterator[tuple[float, av.Packet]]:
        """The packets of the video's sound and when they are heard, in seconds of the video."""
        source = self._open.enter_context(opened(video.path))
        if not source.streams.audio:
            return iter(())
        stream, pictures = source.streams.audio[0], source.streams.video[0]
        if stream.codec_context is None or not stream.codec_context.sample_rate:
            self._lose_sound()
            return iter(())
        copy = self._out.add_stream_from_template(stream)
        zero = float((pictures.start_time or 0) * pictures.time_base)
        shift = round((zero + self._start) / stream.time_base)
        if self._start:
            with suppress(av.FFmpegError):  # where there is no way but from the beginning
                source.seek(shift, stream=stream)

        def packets() -> Iterator[tuple[float, av.Packet]]:
            try:
                for packet in source.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue
                    if self._start and packet.pts < shift:
                        continue
                    time = float(packet.pts * stream.time_base) - zero
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    packet.stream = copy
                    yield time, packet
            except av.FFmpegError:
                self._lose_sound()

        return packets()
