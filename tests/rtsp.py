"""A network camera that speaks RTSP over TCP to who knows the password, and soon stops."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer

import clips
from clips import av

PASSWORD = base64.b64encode(b"me:secret").decode()
ABOUT = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=live
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:track
""".replace("\n", "\r\n")


class Server(ThreadingTCPServer):
    """Counts how often it was asked to play."""

    daemon_threads = True
    plays = 0


@contextmanager
def served() -> Iterator[Server]:
    """Such a camera, at a free port."""
    with Server(("127.0.0.1", 0), _Dialogue) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


class _Dialogue(StreamRequestHandler):
    def handle(self) -> None:
        while method := self.rfile.readline().decode().partition(" ")[0]:
            lines = iter(lambda: self.rfile.readline().decode().strip(), "")
            head = dict(line.split(": ", 1) for line in lines)
            also, body = "", ""
            known = head.get("Authorization") == f"Basic {PASSWORD}"
            if method == "DESCRIBE" and known:
                also, body = "Content-Type: application/sdp\r\n", ABOUT
            elif method == "DESCRIBE":
                also = 'WWW-Authenticate: Basic realm="camera"\r\n'
            elif method == "SETUP":
                also = f"Transport: {head['Transport']}\r\nSession: 1\r\n"
            status = "401 Unauthorized" if method == "DESCRIBE" and not known else "200 OK"
            answer = f"RTSP/1.0 {status}\r\nCSeq: {head['CSeq']}\r\n{also}"
            self.wfile.write(f"{answer}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            if method == "PLAY":
                with suppress(OSError):  # who has seen enough goes
                    self._play()
                return

    def _play(self) -> None:
        assert isinstance(self.server, Server)
        self.server.plays += 1
        with av.open(_Interleaved(self), "w", format="rtp", options={"packetsize": "1400"}) as out:
            stream = out.add_stream("libx264", rate=clips.RATE, options={"tune": "zerolatency"})
            stream.width, stream.height, stream.pix_fmt = clips.WIDTH, clips.HEIGHT, "yuv420p"
            for number in range(clips.RATE):
                image = clips.picture((1, 20 + 5 * number, 40))
                out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))


class _Interleaved:
    """Puts RTP's packets, and RTCP's, into the connection that the dialogue is held on."""

    def __init__(self, dialogue: StreamRequestHandler) -> None:
        self._out = dialogue.wfile

    def write(self, packet: bytes) -> None:
        channel = 1 if 192 <= packet[1] <= 223 else 0
        self._out.write(b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet)
