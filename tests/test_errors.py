"""What messages may show."""

from __future__ import annotations

import errno
import os
import pickle
import sys
from collections.abc import Iterator

import pytest

import mien.serve.service  # noqa: F401 - has errors of its own
from mien.errors import MienError, MissingExtra, cannot_write, needs_extra, without_password


def subclasses(kind: type[MienError]) -> Iterator[type[MienError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


@pytest.mark.parametrize("kind", [*subclasses(MienError)])
def test_an_error_crosses_processes(kind: type[MienError]) -> None:
    error = kind("drawing", "evaluate") if kind is MissingExtra else kind("a.jpg is empty")
    error.add_note("where it was")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.__notes__) == (kind, str(error), ["where it was"])


def test_what_an_extra_lacks_is_said_by_name() -> None:
    assert str(MissingExtra("it", "coreml")).startswith("it needs optional packages: pip install '")
    for package in ("pyarrow>=", "torch>=", "coremltools>="):  # those of the extras in it, too
        assert f"'{package}" in str(MissingExtra("it", "coreml"))


def test_without_the_installed_metadata_the_source_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert str(MissingExtra("it", "ray")).endswith(
        "pip install '.[ray]' in the folder of mien's source"
    )


def test_only_other_packages_are_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    with pytest.raises(MissingExtra, match="it needs"), needs_extra("it", "ray"):
        import sqlite3  # noqa: F401
    with pytest.raises(ModuleNotFoundError), needs_extra("it", "ray"):
        import mien.nowhere  # type: ignore[import-not-found]  # noqa: F401


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
