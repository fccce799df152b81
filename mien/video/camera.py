"""Live frames from a camera, a stream or a file played at its own speed.

A thread reads continuously and keeps only the newest frame: a slow consumer sees fewer frames, and
never old ones.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
import cv2

from mien.errors import BadInput, without_password
from mien.video.read import Frame, Video, decoded, opened, pixel_shape, shown_size

PAUSES = (0.5, 1, 2, 4, 8, 8, 8)  # seconds before each attempt to reconnect; then it gives up
SILENCE = (10.0, 5.0)  # seconds to open a stream, and between frames; twice as long for RTSP
OPTIONS = {"rtsp_flags": "prefer_tcp"}  # over UDP, frames get lost and decode to grey
ASKED = 0.1  # seconds between checks whether frames are still wanted
LEAVE = 0.5  # seconds to wait for the reader to end


class Camera:
    """A source of frames that is read at its own speed.

    Args:
        source: the number of a camera, such as 0, or its device, such as /dev/video0; the address
            of an RTSP or HTTP stream; or a file.
        note: is called when a stream has stopped and is tried again.

    Raises:
        BadInput: a camera or a file cannot be opened.
    """

    def __init__(self, source: str, *, note: Callable[[str], None] = lambda text: None) -> None:
        self.broken: str | None = None  # why there are no more frames, if it failed
        self._name = without_password(source)
        self._note = note
        self._newest: av.VideoFrame | None = None
        self._shape = Fraction(1)  # of its pixels
        self._ended = False
        self._changed = threading.Condition()
        if device := re.fullmatch(r"(?:/dev/video)?([0-9]+)", source):
            reading = self._device(int(device[1]))
        elif "://" in source:
            reading = self._stream(source)
        else:
            reading = self._file(Video(source))
        self._thread = threading.Thread(target=self._read, args=(reading,), daemon=True)

    def stills(self, wanted: Callable[[], bool] = lambda: True) -> Iterator[Frame]:
        """Yields the newest frame, each once; time counts from the first.

        Where a stream has stopped and cannot be opened again, or a camera is gone, they end, and
        `broken` says so.

        Args:
            wanted: says whether to go on; asked before each picture, and often while none comes.

        Raises:
            BadInput: no picture has come at all, as where a stream cannot be opened.
        """
        self._thread.start()
        start, number = None, 0
        try:
            for frame in self._frames(wanted):
                now = time.monotonic()
                start = now if start is None else start
                yield Frame(number, now - start, *shown_size(frame, self._shape), frame)
                number += 1
        finally:
            self.stop()
            self._thread.join(LEAVE)  # where nothing comes, it ends later
        if self.broken and not number:
            raise BadInput(self.broken)

    def stop(self) -> None:
        """End `stills` with the picture that it is at."""
        with self._changed:
            self._ended, self._newest = True, None
            self._changed.notify_all()

    def _frames(self, wanted: Callable[[], bool]) -> Iterator[av.VideoFrame]:
        while wanted():
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._ended, ASKED)
                frame, self._newest = self._newest, None
                over = self._ended
            if frame is not None:
                yield frame
            elif over:
                return

    def _read(self, reading: Iterator[av.VideoFrame]) -> None:
        try:
            for frame in reading:
                with self._changed:
                    if self._ended:
                        return
                    self._newest = frame
                    self._changed.notify_all()
        except BadInput as error:
            self.broken = str(error)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

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
        self._shape = video.pixel_shape
        for still in video.stills():
            time.sleep(max(0, start + still.time - time.monotonic()))
            yield still.frame
        self.broken = video.broken

    def _stream(self, address: str) -> Iterator[av.VideoFrame]:
        container = _connect(address, self._name)
        while container:
            with container:
                self._shape = pixel_shape(container.streams.video[0])
                for frame in decoded(container, container.streams.video[0]):
                    if not isinstance(frame, str):  # what is damaged is soon followed by more
                        yield frame
            container = self._again(address)

    def _again(self, address: str) -> Any:
        """The stream, opened again; None where it is no longer wanted."""
        if not self._ended:
            self._note(f"{self._name} has stopped: trying again")
        for pause in PAUSES:
            with self._changed:
                if self._changed.wait_for(lambda: self._ended, pause):
                    return None
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
