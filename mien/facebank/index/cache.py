"""A cached index on disk, memory-mapped; derived data that may be deleted at any time.

A file is a header line, padded to a page, and then plain arrays, each on a page boundary.  The
header is a CRC-32 and JSON: the stamp of the source, and the CRC-32 of every 16 MiB of the arrays.
A file with anything wrong in it, the stamp above all, is ignored.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mien.parallel import processors

try:
    import fcntl
except ImportError:  # on Windows, where a file that is mapped cannot be replaced: no cache there
    fcntl = None  # type: ignore[assignment]

MAGIC = "mien index 3"
SUFFIXES = (".cache", ".cache-new")  # of a file's cache, and of one that is being written
PAGE = 4096
CHUNK = 1 << 24  # bytes that are checked at a time
HEAD = 1 << 20  # bytes in which the line ends
DTYPES = ("<f4", "<i4", "|i1", "|u1")

Arrays = Mapping[str, NDArray[Any]]


def load(path: str, stamp: Mapping[str, Any]) -> dict[str, NDArray[Any]] | None:
    """The cached arrays of a file, mapped and verified; None unless their stamp is this one."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        mapped = np.memmap(path + SUFFIXES[0], np.uint8, mode="r")
        line = bytes(mapped[:HEAD]).partition(b"\n")[0]
        checksum, _, content = line.partition(b" ")
        if b"%08x" % zlib.crc32(content) != checksum:
            return None
        head = json.loads(content)
        if head["magic"] == MAGIC and head["stamp"] == dict(stamp):
            body = mapped[_padded(len(line) + 1) :]
            return {name: _array(body, **where) for name, where in head["arrays"].items()}
    return None


def save(path: str, stamp: Mapping[str, Any], arrays: Arrays, still: Callable[[], bool]) -> None:
    """Write the cache of a file, if no other process is writing it and there is room.

    Args:
        path: of the file.
        stamp: identifies its present content.
        arrays: what `load` returns.
        still: whether the file still has this stamp, called once the cache is in place; if not,
            the cache is deleted.
    """
    if fcntl is None:
        return
    new, place = Path(path + SUFFIXES[1]), Path(path + SUFFIXES[0])
    with suppress(OSError), open(new, "r+b", opener=_private) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError while another writes
        if os.fstat(file.fileno()).st_ino != new.stat().st_ino:  # another has just finished
            return
        try:
            file.truncate(0)
            _write(file, stamp, arrays)
            new.replace(place)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        if not still():
            forget(path)


def forget(path: str) -> None:
    """Remove the cache of a file."""
    for suffix in SUFFIXES:
        Path(path + suffix).unlink(missing_ok=True)


def _write(file: BinaryIO, stamp: Mapping[str, Any], arrays: Arrays) -> None:
    places, size = {}, 0
    for name, array in arrays.items():
        checksums = _checksums(array.reshape(-1).view(np.uint8))
        places[name] = {
            "dtype": array.dtype.str,
            "shape": array.shape,
            "start": size,
            "checksums": checksums,
        }
        size += _padded(array.nbytes)
    content = json.dumps({"magic": MAGIC, "stamp": dict(stamp), "arrays": places}).encode()
    content = content.ljust(_padded(len(content) + 10) - 10)  # with the checksum, a blank, an end
    file.write(b"%08x %b\n" % (zlib.crc32(content), content))
    for array in arrays.values():
        file.write(array.reshape(-1).view(np.uint8).data)
        file.write(bytes(_padded(array.nbytes) - array.nbytes))
    file.flush()
    os.fsync(file.fileno())


def _checksums(data: NDArray[np.uint8]) -> list[int]:
    """Of each chunk, by all processors."""

    def checksum(start: int) -> int:
        return zlib.crc32(data[start : start + CHUNK].data)

    with ThreadPoolExecutor(processors()) as pool:
        return list(pool.map(checksum, range(0, len(data), CHUNK)))


def _array(
    body: NDArray[np.uint8], dtype: str, shape: list[int], start: int, checksums: list[int]
) -> NDArray[Any]:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    part = body[start : start + size]
    if dtype not in DTYPES or min(*shape, start) < 0 or _checksums(part) != checksums:
        raise ValueError("the cache is damaged")
    array: NDArray[Any] = part.view(np.ndarray).view(dtype).reshape(shape)
    return array


def _padded(size: int) -> int:
    return math.ceil(size / PAGE) * PAGE


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)
