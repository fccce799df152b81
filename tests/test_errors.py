"""What messages may show."""

from __future__ import annotations

import errno
import os

import pytest

from mien.errors import cannot_write, without_password


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://me:secret@10.0.0.5:554/a", "rtsp://10.0.0.5:554/a"),
        ("rtsp://me:se@c=ret@10.0.0.5/a", "rtsp://10.0.0.5/a"),
        ("http://10.0.0.5/video.cgi?user=me&pwd=se@cret", "http://..."),
        ("http://10.0.0.5/video.cgi?user=me&pwd=secret", "http://10.0.0.5/video.cgi"),
        ("rtsp://10.0.0.5/user=me&password=secret&channel=1", "rtsp://10.0.0.5/user"),
        ("rtsp://me:se/cret@10.0.0.5/a", "rtsp://..."),
        ("rtsp://me:se?cret@10.0.0.5/a", "rtsp://..."),
        ("rtsp://me:se#cret@10.0.0.5/a", "rtsp://..."),
        ("rtsp://[::1]:554/a", "rtsp://[::1]:554/a"),
        ("clip@home.mp4", "clip@home.mp4"),
        ("postgresql://ann:secret@host:5432/faces", "postgresql://host:5432/faces"),
        ("postgresql://host/faces?user=ann&password=secret", "postgresql://host/faces"),
        ("milvus://ann:secret@host", "milvus://host"),
        ("people.facebank", "people.facebank"),
    ],
)
def test_passwords_are_not_shown(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_only_a_full_disk_asks_for_space() -> None:
    full, gone = (
        str(cannot_write("a.png", OSError(number, os.strerror(number))))
        for number in (errno.ENOSPC, errno.ENOENT)
    )
    assert full.endswith("(No space left on device): free some space or choose another place")
    assert gone == "a.png cannot be written (No such file or directory): choose another place"
