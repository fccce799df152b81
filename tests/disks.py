"""Disks as people have them: places that one may not look into, and no room left."""

from __future__ import annotations

import builtins
import ctypes
import io
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch


@contextmanager
def forbidden(folder: Path) -> Iterator[None]:
    """Nobody may look into or write to a folder, the administrator included."""
    before = folder.stat().st_mode
    root = os.geteuid() == 0
    try:
        folder.chmod(0)
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(before)


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """The same of this folder alone: an administrator is one who may look where others may.

    On Linux that is taken from this thread; what other threads do with files stays as it was.
    """
    root = os.geteuid() == 0
    before = folder.stat()
    try:
        folder.chmod(0)
        if root:
            os.chown(folder, 65534, 65534)
            rights = _take_rights()
        yield
    finally:
        if root:
            _set_rights(rights)
            os.chown(folder, before.st_uid, before.st_gid)
        folder.chmod(before.st_mode)


_HEADER = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
_PASSES = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


def _take_rights() -> ctypes.Array[ctypes.c_uint32]:
    rights = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert ctypes.CDLL(None, use_errno=True).capget(_HEADER, rights) == 0
    fewer = (ctypes.c_uint32 * 6)(*rights)
    fewer[0] &= ~_PASSES
    _set_rights(fewer)
    return rights


def _set_rights(rights: ctypes.Array[ctypes.c_uint32]) -> None:
    assert ctypes.CDLL(None, use_errno=True).capset(_HEADER, rights) == 0


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Writing fails once a file has so many bytes, as on a disk without space."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def happening(events: Mapping[str, int | Callable[[Path], object]]) -> Iterator[None]:
    """What happens when a file of one of these names is opened: an error, or anything else first.

    Other processes see nothing of it.
    """
    whole = io.open

    def opened(file: Any, *how: Any, **more: Any) -> Any:
        event = None if isinstance(file, int) else events.get(Path(os.fsdecode(file)).name)
        if isinstance(event, int):
            raise OSError(event, os.strerror(event), file)
        if event:
            event(Path(file))
        return whole(file, *how, **more)

    with patch.object(io, "open", opened), patch.object(builtins, "open", opened):
        yield


def make_deep(folder: Path, name: str) -> None:
    """Folders in folders, whose path is longer than a path may be."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(25):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
