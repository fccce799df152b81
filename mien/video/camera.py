"""Pictures as they come, from a camera, a stream or a file played at its own speed.

A thread reads all the time and keeps the newest picture only: whoever is slower than the camera
sees fewer pictures, and never old ones.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import av
import cv2

from mien.errors import BadInput
from mien.video.read import Still, Video, opened, quarter_turns

PAUSES = (0.5, 1, 2, 4, 8, 8, 8)  # seconds before each new try to connect; then it is given up
SILENCE = (10.0, 10.0)  # seconds to wait for a stream to open, and to send something
OPTIONS = {"rtsp_transport": "tcp"}  # over UDP, pictures get lost and are drawn grey


class Camera:
    """A source of pictures that is read at its own speed.

    Args:
        source: the number of a camera, such as 0; the address of an RTSP or HTTP stream; or a file.
        note: is told when a stream has stopped and is tried again.

    Raises:
        BadInput: it cannot be opened.
    """

    def __init__(self, source: str, *, note: Callable[[str], None] = lambda text: None) -> None:
        self._name = without_password(source)
        self._note = note
        self._newest: av.VideoFrame | None = None
        self._error: BadInput | None = None
        self._ended = False
        self._changed = threading.Condition()
        if source.isdecimal():
            reading = self._device(int(source))
        elif "://" in source:
            reading = self._stream(source, _connect(source, self._name))
        else:
            reading = self._file(Video(source))
        self._thread = threading.Thread(target=self._read, args=(reading,), daemon=True)

    def stills(self) -> Iterator[Still]:
        """The newest picture, again and again, each once; time counts from the first.

        Raises:
            BadInput: a stream has stopped and could not be opened again, or a camera is gone.
        """
        self._thread.start()
        start, number = None, 0
        try:
            while (frame := self._take()) is not None:
                now = time.monotonic()
                start = now if start is None else start
                width, height = frame.width, frame.height
                if quarter_turns(frame) % 2:
                    width, height = height, width
                yield Still(number, now - start, width, height, frame)
                number += 1
        finally:
            self.stop()
        if self._error:
            raise self._error

    def stop(self) -> None:
        """End `stills` with the picture that it is at."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _take(self) -> av.VideoFrame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended)
            frame, self._newest = self._newest, None
            return frame

    def _read(self, reading: Iterator[av.VideoFrame]) -> None:
        try:
            for frame in reading:
                with self._changed:
                    self._newest = frame
                    self._changed.notify()
                if self._ended:
                    break
        except BadInput as error:
            self._error = error
        finally:
            self.stop()

    def _device(self, number: int) -> Iterator[av.VideoFrame]:
        cv2.utils.logging.setLogLevel(
            cv2.utils.logging.LOG_LEVEL_SILENT
        )  # what goes wrong is raised, not printed
        camera = cv2.VideoCapture(number)
        if not camera.isOpened():
            raise BadInput(
                f"camera {number} cannot be opened: check that it is plugged in and that no other"
                " program uses it, or give the address of a stream"
            )

        def frames() -> Iterator[av.VideoFrame]:
            while True:
                there, image = camera.read()
                if not there:
                    raise BadInput(f"camera {number} has stopped: check that it is plugged in")
                yield av.VideoFrame.from_ndarray(image, format="bgr24")

        return frames()

    def _file(self, video: Video) -> Iterator[av.VideoFrame]:
        start = time.monotonic()
        for still in video.stills():
            time.sleep(max(0, start + still.time - time.monotonic()))
            yield still.frame

    def _stream(self, address: str, container: Any) -> Iterator[av.VideoFrame]:
        while not self._ended:
            with suppress(av.FFmpegError), container:
                yield from container.decode(video=0)
            self._note(f"{self._name} has stopped: trying again")
            container = self._again(address)

    def _again(self, address: str) -> Any:
        for pause in PAUSES:
            time.sleep(pause)
            with suppress(BadInput):
                return _connect(address, self._name)
        raise BadInput(f"{self._name} has stopped and cannot be opened again: check the camera")


def _connect(address: str, name: str) -> Any:
    options = OPTIONS if address.startswith("rtsp") else {}
    container = opened(address, name=name, options=options, timeout=SILENCE)
    if not container.streams.video:
        container.close()
        raise BadInput(f"{name} sends no pictures: check the address")
    container.streams.video[0].thread_type = "SLICE"  # threads by picture would each hold one back
    return container


def without_password(address: str) -> str:
    """An address as it may be shown."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host)) if "://" in address else address
