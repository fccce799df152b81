"""Files are written whole or not at all, and what is there stays the kind of thing that it is."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from mien import files
from mien.errors import CannotWrite


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_and_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a/b/c"
    files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) & 0o044 == 0o044 & ~_umask()


def test_what_is_private_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "a/b/c"
    files.write_atomically(path, b"faces", private=True)
    assert (mode(path), mode(path.parent), mode(path.parents[1])) == (0o600, 0o700, 0o700)
    path.chmod(0o664)
    files.write_atomically(path, b"more", private=True)
    assert (path.read_bytes(), mode(path)) == (b"more", 0o664)


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
def test_its_owner_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.write_bytes(b"old")
    os.chown(path, 65534, 65534)
    files.write_atomically(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    target, link, dangling = tmp_path / "in/real", tmp_path / "link", tmp_path / "dangling"
    target.parent.mkdir()
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "later")
    for path in (link, dangling):
        files.write_atomically(path, b"new")
        assert path.is_symlink() and path.read_bytes() == b"new"
    assert mode(target) == 0o640
    assert {one.name for one in tmp_path.rglob("*")} == {"in", "real", "link", "dangling", "later"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_into_a_pipe(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    files.write_atomically(pipe, b"through")
    reader.join(60)
    assert got == [b"through"] and pipe.is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_into_a_device() -> None:
    files.write_atomically("/dev/null", b"nowhere")
    with pytest.raises(CannotWrite, match=r"/dev/full .*free some space"):
        files.write_atomically("/dev/full", b"nowhere")
    assert all(Path(device).is_char_device() for device in ("/dev/null", "/dev/full"))


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file/below", tmp_path / ("n" * 300)):
        with pytest.raises(CannotWrite, match="cannot be written"):
            files.write_atomically(path, b"new")
    if hasattr(socket, "AF_UNIX"):
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / "s"))
            with pytest.raises(CannotWrite):
                files.write_atomically(tmp_path / "s", b"new")
    assert {one.name for one in tmp_path.iterdir()} <= {"file", "s"}
