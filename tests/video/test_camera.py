"""The newest picture of a file or stream, streams that stop, and photos taken of a person."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import clips
import cv2
import pytest
import rtsp
from clips import av

from mien.errors import BadInput
from mien.verbs.capture import portraits
from mien.video import camera as module
from mien.video.camera import Camera
from mien.video.read import Frame

ANNA, BERT = 1, 2
PICTURES = 12  # that the stream sends before it stops


class _Stream(BaseHTTPRequestHandler):
    """A network camera's motion JPEG, which stops after some pictures."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        if server.visits and server.refusing:
            self.send_error(503)
            return
        server.visits += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(PICTURES):
            image = clips.picture((ANNA, 20 + 5 * number, 40))
            data = cv2.imencode(".jpg", image)[1].tobytes()
            if number == server.damaged:
                data = data[:20]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")
            time.sleep(0.03)
        server.going.wait()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is its own."""


class _Server(ThreadingHTTPServer):
    visits = 0
    refusing = False  # to be visited again
    damaged = -1  # the number of a picture
    going: threading.Event  # is set where a visit ends, and not in silence


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Stream)
    server.going = threading.Event()
    server.going.set()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.going.set()
    server.shutdown()
    server.server_close()
    thread.join()


def address(server: _Server) -> str:
    return f"http://me:secret@127.0.0.1:{server.server_address[1]}/live?pwd=secret"


@pytest.mark.parametrize("silent", [False, True])
def test_a_stream_that_stops_is_opened_again(
    server: _Server, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.01,))
    if silent:
        monkeypatch.setattr(module, "SILENCE", (10.0, 0.2))
        server.going.clear()
    notes: list[str] = []
    times = []
    for still in (stills := Camera(address(server), note=notes.append).stills()):
        assert (still.width, still.height) == (clips.WIDTH, clips.HEIGHT)
        assert still.image().any()
        times.append(still.time)
        if server.visits == 3:
            break
    stills.close()  # type: ignore[attr-defined]
    assert times == sorted(times)
    assert len(times) > 3
    assert notes[0] == f"http://127.0.0.1:{server.server_address[1]}/live has stopped: trying again"


def test_a_damaged_picture_is_left_out(server: _Server) -> None:
    server.damaged = PICTURES - 6
    server.refusing = True
    notes: list[str] = []
    camera = Camera(address(server), note=notes.append)
    lefts = [int((still.grey()[60] > 50).argmax()) for still in camera.stills(lambda: not notes)]
    assert max(lefts) > 20 + 5 * server.damaged
    assert server.visits == 1


def test_a_stream_that_does_not_come_back_is_one_sentence(
    server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.01, 0.01))
    server.refusing = True
    camera = Camera(address(server))
    assert list(camera.stills())
    assert "cannot be opened again" in str(camera.broken)
    assert "secret" not in str(camera.broken)
    assert server.visits == 1


@pytest.mark.parametrize("opens", [False, True])
def test_silence_keeps_nobody(server: _Server, opens: bool) -> None:
    server.going.clear()
    seen: list[Frame] = []
    asked: list[None] = []

    def wanted() -> bool:
        asked.append(None)
        return len(asked) < 20 or (opens and not seen)

    with socket.create_server(("127.0.0.1", 0)) as mute:  # who says nothing at all
        there = address(server) if opens else f"rtsp://127.0.0.1:{mute.getsockname()[1]}/live"
        for still in Camera(there).stills(wanted):
            seen.append(still)
        assert len(asked) >= 20
        camera = Camera(there)
        threading.Timer(0.3, camera.stop).start()
        start = time.monotonic()
        list(camera.stills())
        assert time.monotonic() - start < 5


def test_rtsp_is_read_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.01,))
    notes: list[str] = []
    with rtsp.served() as server:
        there = f"//127.0.0.1:{server.server_address[1]}/live"
        for still in Camera(
            f"rtsp:{there.replace('//', '//me:secret@')}", note=notes.append
        ).stills(lambda: server.plays < 3):
            assert (still.width, still.height) == (clips.WIDTH, clips.HEIGHT)
            assert still.image().any()
        assert set(notes) == {f"rtsp:{there} has stopped: trying again"}
        with pytest.raises(BadInput, match="401") as refused:
            list(Camera(f"rtsp:{there.replace('//', '//me:wrong@')}").stills())
        assert "wrong" not in str(refused.value)


def test_who_is_slow_sees_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [av.VideoFrame(16, 16, "rgb24") for _ in range(28)]
    going, there = threading.Semaphore(0), threading.Semaphore(0)

    def reading(camera: Camera, number: int) -> Iterator[av.VideoFrame]:
        yield frames[0]
        for first in range(1, len(frames), 9):
            going.acquire()
            yield from frames[first : first + 9]
            there.release()  # the last of them is the newest now
        there.release()

    monkeypatch.setattr(Camera, "_device", reading)
    seen = []
    for still in Camera("0").stills():
        seen.append(still.frame)
        going.release()
        there.acquire()  # this one is looked at while nine pictures come
    assert seen == frames[::9]


def test_a_file_is_played_at_its_own_speed(tmp_path: Path) -> None:
    clip = clips.write_clip(tmp_path / "a.mp4", [clips.picture()] * 10)
    began = time.monotonic()
    assert list(Camera(str(clip)).stills())
    assert time.monotonic() - began >= 9 / clips.RATE


@pytest.mark.parametrize("source", ["97", "http://127.0.0.1:9/live", "gone.mp4"])
def test_what_is_not_there_is_one_sentence(source: str) -> None:
    with pytest.raises(BadInput, match=source):
        list(Camera(source).stills())


def test_photos_are_taken_when_all_has_been_good_for_a_while() -> None:
    empty, two = clips.picture(), clips.picture((ANNA, 0, 40), (BERT, 170, 40), side=120)
    small, good = clips.picture((ANNA, 90, 40)), clips.picture((ANNA, 90, 40), side=120)
    pictures = [empty, two, small, good, good, empty, *[good] * 9]
    frames = [av.VideoFrame.from_ndarray(image, format="rgb24") for image in pictures]
    stills = [
        Frame(number, number / 2, clips.WIDTH, clips.HEIGHT, frame)
        for number, frame in enumerate(frames)
    ]
    attempts = list(portraits(stills, clips.model(), photos=2, countdown=1.5))
    hints = [attempt.hint for attempt in attempts]
    assert "no face" in str(hints[0])
    assert "2 faces" in str(hints[1])
    assert "come closer" in str(hints[2])
    assert [attempt.left for attempt in attempts[3:]] == [1.5, 1, None] + [1.5, 1, 0.5, 0] * 2
    taken = [attempt.frame.number for attempt in attempts if attempt.photo is not None]
    assert taken == [9, 13]
