"""InsightFace's training data, `train.rec` and `train.idx`, read without mxnet.

A record is one or more parts, each: the magic, a word of 3 bits of kind and 29 of length, the
bytes, zeros up to a multiple of 4.  Where the content itself holds the magic at a multiple of 4,
its writer cuts it out and starts a new part, so a magic at such a place always begins a part, and
a reader that is lost finds its way again.  The content is a header of 24 bytes, more labels where
the header says so, and an encoded picture; a record of two labels without a picture is a range of
other records.  The layout is that of dmlc-core's recordio.h and of mxnet's recordio.pack.
"""

from __future__ import annotations

import mmap
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadInput

MAGIC = struct.pack("<I", 0xCED7230A)
WHOLE, FIRST, MIDDLE, LAST = range(4)  # the kinds of parts
_LENGTH = (1 << 29) - 1
_PART = struct.Struct("<4sI")  # magic, kind and length
_IMAGE = struct.Struct("<IfQQ")  # how many more labels, the label where there are none, two ids
_LABEL = struct.Struct("<f")
_WINDOW = 1 << 24  # bytes that a stream reads before it gives their memory back


@dataclass(frozen=True, slots=True)
class Entry:
    """One photo: the number of its record, whose it is, and the file as it was packed."""

    number: int
    label: int  # identity, 0 and up
    image: bytes  # JPEG or PNG


@dataclass(frozen=True, slots=True)
class Span:
    """A record that points at others: record 0 at all identities, an identity at its photos."""

    number: int
    start: int
    end: int  # exclusive


@dataclass(frozen=True, slots=True)
class Damaged:
    """A record that cannot be read, and why."""

    number: int
    reason: str


class Records:
    """The records of a file in any order, by number; iteration gives each photo or its damage.

    Args:
        rec: the records, `train.rec`.
        idx: their index, lines of number and first byte; if None, the file beside `rec` that ends
            in `.idx`, and where there is none the records are found by going through `rec`.

    Attributes:
        images: (N,) the numbers of the photos' records, ascending.
        identities: (M,) the numbers of the identities' records; none where record 0 does not tell.

    Raises:
        BadInput: a file cannot be read, `idx` is not an index, or no record is a photo.
    """

    images: NDArray[np.int64]
    identities: NDArray[np.int64]

    def __init__(self, rec: str | Path, idx: str | Path | None = None) -> None:
        self._data = _map(Path(rec))
        beside = Path(rec).with_suffix(".idx")
        if idx is not None or beside.is_file():
            self._numbers, self._starts = _index(Path(idx or beside))
        else:
            self._starts = np.fromiter(_starts(self._data), np.int64)
            self._numbers = np.arange(len(self._starts))
        # A record ends where the next begins, wherever that stands in the index.
        bounds = np.append(np.unique(self._starts), len(self._data))
        ends = bounds[np.searchsorted(bounds[:-1], self._starts, side="right")]
        self._ends = np.minimum(ends, len(self._data))
        self.images, self.identities = self._layout()
        if not len(self.images):
            raise BadInput(
                f"{rec} holds no photo; its record 0 or its index belongs to another file"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Entry | Damaged]:
        for record in map(self.read, self.images.tolist()):
            if not isinstance(record, Span):
                yield record

    def read(self, number: int) -> Entry | Span | Damaged:
        """What one record holds.

        Raises:
            KeyError: no record has this number.
        """
        at = number  # in most indexes, so most need no search
        if not 0 <= at < len(self._numbers) or self._numbers[at] != number:
            at = int(self._numbers.searchsorted(number))
        if at == len(self._numbers) or self._numbers[at] != number:
            raise KeyError(number)
        return _read(self._data, number, int(self._starts[at]), int(self._ends[at]))

    def _layout(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers of the photos and of the identities."""
        numbers = self._numbers
        every = self.read(0) if numbers[0] == 0 else None
        if not isinstance(every, Span):
            return numbers, numbers[:0]
        # float32 rounds above 2 ** 24, and damage moves rebuilt numbers: the border is looked at.
        border = int(numbers.searchsorted(every.start))
        while border < len(numbers) and isinstance(self.read(int(numbers[border])), Entry):
            border += 1
        while border > 1 and isinstance(self.read(int(numbers[border - 1])), Span):
            border -= 1
        return numbers[1:border], numbers[border:]


def stream(rec: str | Path) -> Iterator[Entry | Damaged]:
    """Every photo of a file of records in its order, without an index and in flat memory.

    A record's number is its place in the file; where the border between two damaged records is
    gone, they count as one.

    Raises:
        BadInput: the file cannot be read or is empty.
    """
    data = _map(Path(rec))
    done = 0
    for number, (start, end) in enumerate(pairwise(chain(_starts(data), [len(data)]))):
        record = _read(data, number, start, end)
        if not isinstance(record, Span):
            yield record
        if end - done > _WINDOW:
            data.madvise(mmap.MADV_DONTNEED, 0, end)
            done = end


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(f"{path} is empty; download it again") from error


def _index(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of all records, ascending, and the first byte of each."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an empty file and 1.5 are only warned of
            table = np.loadtxt(path, np.int64, comments=None, ndmin=2)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    except (ValueError, UserWarning, DeprecationWarning) as error:
        raise BadInput(f"{path} is not an index of records: {error}") from error
    if table.shape[1] != 2 or table.min() < 0:
        raise BadInput(f"{path} is not an index of records: its lines must be number and place")
    numbers, starts = table[table[:, 0].argsort(kind="stable")].T
    if len(twice := numbers[1:][numbers[1:] == numbers[:-1]]):
        raise BadInput(f"{path} lists record {twice[0]} twice; rebuild the index")
    return np.ascontiguousarray(numbers), np.ascontiguousarray(starts)


def _starts(data: mmap.mmap) -> Iterator[int]:
    """Where each record begins, damaged ones too."""
    at = 0
    while at < len(data):
        yield at
        try:
            end = _parts(data, at, len(data))[-1][1]
        except BadInput:
            at = _next(data, at, len(data))
        else:
            after = end + -end % 4
            # If only the next magic is broken, the length behind it still leads to a record.
            known = _begins(data, after) or _begins(data, _hop(data, after))
            at = _next(data, at, after if known else len(data))  # earlier if it swallowed one


def _begins(data: mmap.mmap, at: int) -> bool:
    """Whether a record begins here, be it cut off by the end of the file, or the file ends."""
    magic, kind = data[at : at + 4], data[at + 7 : at + 8]
    whole = not kind or kind[0] >> 5 in (WHOLE, FIRST)
    return at <= len(data) and MAGIC.startswith(magic) and whole


def _hop(data: mmap.mmap, at: int) -> int:
    """Where a part ends; its magic is not looked at."""
    length = int.from_bytes(data[at + 4 : at + 8], "little") & _LENGTH
    return at + _PART.size + length + -length % 4


def _next(data: mmap.mmap, at: int, limit: int) -> int:
    """Where the first record after a place begins, or the limit."""
    while (at := data.find(MAGIC, at + 1, limit)) >= 0:
        if at % 4 == 0 and _begins(data, at):
            return at
    return limit


def _parts(data: mmap.mmap, at: int, limit: int) -> list[tuple[int, int]]:
    """First byte and end of the content of each part of a record.

    Raises:
        BadInput: this is no record, or it does not end before `limit`.
    """
    parts = []
    allowed = (WHOLE, FIRST)
    while True:
        if at + _PART.size > limit:
            raise BadInput(f"byte {at} is at or past the end, {limit}: the file is truncated")
        magic, word = _PART.unpack_from(data, at)
        kind, length = word >> 29, word & _LENGTH
        if magic != MAGIC:
            raise BadInput(f"byte {at} does not begin a record: {magic.hex()} is not the magic")
        if kind not in allowed:
            raise BadInput(f"byte {at} begins a part of kind {kind}, not one of {allowed}")
        start = at + _PART.size
        at = start + length + -length % 4
        if at > limit:
            raise BadInput(f"its length of {length} bytes at {start} runs past its end, {limit}")
        parts.append((start, start + length))
        if kind in (WHOLE, LAST):
            return parts
        allowed = (MIDDLE, LAST)


def _read(data: mmap.mmap, number: int, start: int, end: int) -> Entry | Span | Damaged:
    try:
        parts = _parts(data, start, end)
        after = parts[-1][1] + -parts[-1][1] % 4
        if after < end and not _begins(data, after):
            raise BadInput(f"it is followed at byte {after} by what is not a record")
        if len(parts) == 1:
            return _decode(number, data, *parts[0])
        content = MAGIC.join(data[first:last] for first, last in parts)
        return _decode(number, content, 0, len(content))
    except BadInput as error:
        return Damaged(number, str(error))


def _decode(number: int, data: mmap.mmap | bytes, start: int, end: int) -> Entry | Span:
    """What the content of a record, `data[start:end]`, says."""
    if end - start < _IMAGE.size:
        raise BadInput(f"its {end - start} bytes are less than a header of {_IMAGE.size}")
    more, label, _, _ = _IMAGE.unpack_from(data, start)
    start += _IMAGE.size
    image = start + 4 * more
    if image > end:
        raise BadInput(f"its header announces {more} labels, more than {end - start} bytes hold")
    if more:
        label = _LABEL.unpack_from(data, start)[0]
    if image < end:
        return Entry(number, _whole(label), data[image:end])
    if more != 2:
        raise BadInput("it holds no picture")
    return Span(number, _whole(label), _whole(_LABEL.unpack_from(data, start + 4)[0]))


def _whole(label: float) -> int:
    if not label.is_integer() or not 0 <= label < 1 << 31:
        raise BadInput(f"its label {label} is not a whole number from 0")
    return int(label)
