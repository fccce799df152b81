"""Prepared data: labelled, aligned faces in shards, with random access.

A folder, or the same below a URL of object storage:

- `shard-00000.arrow` and on: Arrow's file format, one batch of rows `image` (JPEG or PNG), `label`,
  `source`, `side`.  A shard is written whole or not at all, and its metadata say what was left out
  of it, so making it can stop anywhere and go on;
- `index.arrow`: the labels and sides of all rows, so that nobody opens the shards to learn them;
- `people.json`: the names of the labels;
- `prepare.json`: counts, shards and hashes.  It comes last: without it the set is not finished.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import fs

from mien.errors import BadInput
from mien.files import write_atomically
from mien.types import Progress, silent

FORMAT = 1
NO_LABEL = -1
_OPEN_FILES = 512  # mapped shards that a process keeps; systems often allow 1024 files
_OPEN_URLS = 8  # the same where each takes its size in memory
_WINDOW = 4  # shards among which an order in windows shuffles; workers hold them all
_DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError, TypeError)
_COLUMNS = pa.schema(
    {"image": pa.large_binary(), "label": pa.int64(), "source": pa.string(), "side": pa.int16()}
)


@dataclass(frozen=True, slots=True)
class Record:
    """One face."""

    image: bytes  # JPEG or PNG, square
    label: int  # NO_LABEL where nobody knows whose
    source: str  # where it comes from, for people to read
    side: int  # of the picture, in pixels


@dataclass(frozen=True, slots=True)
class Skip:
    """A picture that did not become a record, and why."""

    path: str
    kind: str  # in a word or two, to be counted
    reason: str


class Shards:
    """A prepared data set, in a folder or at a URL that pyarrow knows (s3://, gs://, ...).

    An instance may be pickled and shared with forked processes: each opens the shards for itself,
    when it first needs them.

    Attributes:
        labels: (N,) whose face each is, NO_LABEL where nobody knows.
        sides: (N,) of the pictures, in pixels: 112, or 128 where there is a margin of 8.
        names: of the people, by label.
        digest: sha256 of all labels, pictures and names; the same content has the same one.
        report: what `prepare.json` holds.

    Raises:
        BadInput: there is no such set, it is not finished, or a file of it is missing or damaged.
    """

    labels: NDArray[np.int64]
    sides: NDArray[np.int16]
    names: tuple[str, ...]
    digest: str
    report: dict[str, Any]

    def __init__(self, folder: str | Path) -> None:
        self._root = str(folder)
        self.report = self._read_report()
        try:
            self.digest = self.report["digest"]
            entries = self.report["shards"]
            self._shards = tuple((e["file"], e["records"], e["sha256"]) for e in entries)
            self._bounds = np.cumsum([0, *(records for _, records, _ in self._shards)])
            self.names = tuple(_json(self._root, "people.json"))
            index = _rows(_open(self._root, "index.arrow"))
            self.labels = index["label"].to_numpy()
            self.sides = index["side"].to_numpy()
        except _DAMAGED as error:
            raise self._damaged(str(error)) from error
        if len(self.labels) != self._bounds[-1]:
            raise self._damaged("its index is of another length")

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> list[bytes]:
        """The encoded pictures of some rows, in the order asked.

        Raises:
            IndexError: a row that is not there.
            BadInput: a shard is missing or damaged.
        """
        rows = np.asarray(indices, np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        shards = np.searchsorted(self._bounds, rows, side="right") - 1
        places = rows - self._bounds[shards]
        return [
            self._pictures(shard)[place].as_py()
            for shard, place in zip(shards.tolist(), places.tolist(), strict=True)
        ]

    def sources(self) -> list[str]:
        """The source of each row's picture."""
        found = [self._rows(file)["source"].to_pylist() for file, *_ in self._shards]
        return [source for part in found for source in part]

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Every row once, (N,), shuffled for an epoch; the same for the same numbers.

        Any two rows may meet where shards are files.  Where they are fetched, shards come in any
        order, and rows are shuffled among a few shards, so that each is fetched once.
        """
        random = np.random.default_rng([seed, epoch])
        if not _is_url(self._root):
            return random.permutation(len(self))
        parts = [np.arange(a, b) for a, b in zip(self._bounds, self._bounds[1:], strict=False)]
        mixed = [parts[k] for k in random.permutation(len(parts))]
        windows = [mixed[k : k + _WINDOW] for k in range(0, len(mixed), _WINDOW)]
        return np.concatenate([random.permutation(np.concatenate(part)) for part in windows])

    def verify(self) -> None:
        """Read everything once.

        Raises:
            BadInput: anything is not as it was when the set was finished.
        """
        digest = Digest(self.names)
        for (file, records, sha256), start in zip(self._shards, self._bounds, strict=False):
            rows, part = self._rows(file), slice(start, start + records)
            same = all(
                np.array_equal(rows[name].to_numpy(), column[part])
                for name, column in (("label", self.labels), ("side", self.sides))
            )
            if not same or hash_of(rows) != sha256:
                raise self._damaged(f"{file} is not what was written")
            digest.add(rows)
        if digest.value() != self.digest:
            raise self._damaged("its hash is another")

    def _read_report(self) -> dict[str, Any]:
        try:
            report: dict[str, Any] = _json(self._root, "prepare.json")
            if report["format"] != FORMAT:
                raise BadInput(
                    f"{self._root} was prepared in format {report['format']}, and this version "
                    f"reads {FORMAT}: prepare it again"
                )
        except FileNotFoundError as error:
            if not _is_url(self._root) and not Path(self._root).is_dir():
                raise BadInput(
                    f"there is no folder {self._root}: give one that mien prepare made"
                ) from error
            raise BadInput(
                f"{self._root} holds no finished data set: run the same mien prepare again to "
                "finish it"
            ) from error
        except _DAMAGED as error:
            raise self._damaged(f"prepare.json cannot be read, {error}") from error
        return report

    def _pictures(self, shard: int) -> pa.LargeBinaryArray:
        file, *content = self._shards[shard]
        keep = _kept_url if _is_url(self._root) else _kept_file
        try:
            return keep(self._root, file, *content, os.getpid())
        except _DAMAGED as error:
            raise self._damaged(f"{file} cannot be read, {error}") from error

    def _rows(self, file: str) -> pa.RecordBatch:
        try:
            return _rows(_open(self._root, file))
        except _DAMAGED as error:
            raise self._damaged(f"{file} cannot be read, {error}") from error

    def _damaged(self, why: str) -> BadInput:
        return BadInput(
            f"{self._root} is damaged or out of reach ({why}): copy or prepare it again"
        )


class Digest:
    """The hash of a data set, whatever the shards into which it is divided."""

    def __init__(self, names: Sequence[str]) -> None:
        self._hash = hashlib.sha256(json.dumps(list(names)).encode())

    def add(self, rows: pa.RecordBatch) -> None:
        """Update with the next rows."""
        for record in _hashes(rows):
            self._hash.update(record)

    def value(self) -> str:
        """The digest so far, in hexadecimal."""
        return self._hash.hexdigest()


def hash_of(rows: pa.RecordBatch) -> str:
    """The hash of a shard's content."""
    content = hashlib.sha256(b"".join(_hashes(rows)))
    rest = [rows["source"].to_pylist(), rows["side"].to_pylist()]
    content.update(json.dumps(rest).encode())
    return content.hexdigest()


def _hashes(rows: pa.RecordBatch) -> Iterator[bytes]:
    for image, label in zip(rows["image"], rows["label"].to_numpy().tolist(), strict=True):
        yield hashlib.sha256(label.to_bytes(8, "little", signed=True) + image.as_py()).digest()


def shard_name(number: int) -> str:
    """The name of a shard's file."""
    return f"shard-{number:05d}.arrow"


def write_shard(
    folder: Path, number: int, records: Sequence[Record], skipped: Sequence[Skip]
) -> None:
    """Write a shard to a folder, atomically.

    Args:
        folder: the data set's.
        number: the shard's, from 0.
        records: its rows.
        skipped: what should have been rows.

    Raises:
        CannotWrite: the disk is full or read-only.
    """
    columns = [[getattr(record, name) for record in records] for name in _COLUMNS.names]
    arrays = [pa.array(c, field.type) for c, field in zip(columns, _COLUMNS, strict=True)]
    rows = pa.RecordBatch.from_arrays(arrays, schema=_COLUMNS)
    notes = {"sha256": hash_of(rows), "skipped": json.dumps([astuple(skip) for skip in skipped])}
    _write(folder / shard_name(number), rows.replace_schema_metadata(notes))


def has_shard(folder: Path, number: int) -> bool:
    """Whether a shard has been made."""
    return (folder / shard_name(number)).is_file()


def finish(
    folder: Path,
    shards: int,
    names: Sequence[str],
    report: Callable[[NDArray[np.int64], list[Skip]], dict[str, Any]],
    progress: Progress = silent,
) -> Shards:
    """Join all shards into a data set, reading each once to be sure.

    Args:
        folder: the data set's.
        shards: how many there are.
        names: of the people, by label.
        report: what else `prepare.json` shall tell, of the labels and what the shards skipped.
        progress: shows how far it is.

    Raises:
        BadInput: a shard is missing or damaged.
        CannotWrite: the disk is full or read-only.
    """
    digest = Digest(names)
    entries: list[dict[str, Any]] = []
    skipped: list[Skip] = []
    labels, sides = [np.empty(0, np.int64)], [np.empty(0, np.int16)]
    for number in progress(range(shards), "checking"):
        file = shard_name(number)
        try:
            rows = _rows(_open(str(folder), file))
            sha256 = rows.schema.metadata[b"sha256"].decode()
            skips = json.loads(rows.schema.metadata[b"skipped"])
            sound = hash_of(rows) == sha256
        except _DAMAGED as error:
            raise _bad_shard(folder / file) from error
        if not sound:
            raise _bad_shard(folder / file)
        digest.add(rows)
        entries.append({"file": file, "records": rows.num_rows, "sha256": sha256})
        labels.append(np.array(rows["label"]))
        sides.append(np.array(rows["side"]))
        skipped += [Skip(*skip) for skip in skips]
    label, side = np.concatenate(labels), np.concatenate(sides)
    index = pa.RecordBatch.from_pydict({"label": label, "side": side})
    _write(folder / "index.arrow", index)
    write_atomically(folder / "people.json", json.dumps(list(names), indent=0).encode())
    whole = {
        "format": FORMAT,
        "digest": digest.value(),
        "records": len(label),
        **report(label, skipped),
        "shards": entries,
    }
    write_atomically(folder / "prepare.json", json.dumps(whole, indent=1).encode())
    return Shards(folder)


def _bad_shard(path: Path) -> BadInput:
    return BadInput(f"{path} is damaged: delete it and prepare again")


def _write(path: Path, rows: pa.RecordBatch) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_batch(rows)
    write_atomically(path, sink.getvalue())


def _is_url(root: str) -> bool:
    return "://" in root


def _json(root: str, file: str) -> Any:
    return json.loads(_read(root, file).to_pybytes())


def _read(root: str, file: str) -> pa.Buffer:
    with _open(root, file) as opened:
        return opened.read_buffer()


def _open(root: str, file: str) -> pa.NativeFile:
    if not _is_url(root):
        return pa.memory_map(os.path.join(root, file))  # noqa: PTH118 - as URLs below
    system, folder = fs.FileSystem.from_uri(root)
    return system.open_input_file(f"{folder}/{file}")


def _rows(file: pa.NativeFile) -> pa.RecordBatch:
    """The one batch of a file; what a mapped file holds is not copied."""
    rows = pa.ipc.open_file(file).get_batch(0)
    rows.validate(full=True)  # offsets in damaged files may point anywhere
    return rows


# By process, because what one has opened is not for another that it forks; by hash, because a
# folder may be prepared again.
@lru_cache(_OPEN_FILES)
def _kept_file(
    root: str, file: str, records: int, sha256: str, process: int
) -> pa.LargeBinaryArray:
    return _images(root, file, records)


@lru_cache(_OPEN_URLS)
def _kept_url(root: str, file: str, records: int, sha256: str, process: int) -> pa.LargeBinaryArray:
    return _images(root, file, records)


def _images(root: str, file: str, records: int) -> pa.LargeBinaryArray:
    images = _rows(_open(root, file))["image"]
    if len(images) != records:
        raise ValueError(f"it has {len(images)} rows, not {records}")
    return images
