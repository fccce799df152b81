"""Photos to a Parquet file of vectors, a million at a time: one process, several, or a cluster.

Photos go through in parts.  Each part becomes a file of its own, under a name that its photos
determine, and comes into its place whole; so whoever is killed, here or on another machine, a part
is there once or not at all, and the next run does what is missing.  At the end all parts become one
file.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien import files, formats, images
from mien.errors import BadInput, cannot_write, needs_extra
from mien.parallel import at_once, map_in_order, threads_each
from mien.recognition.model import Model, load
from mien.types import Progress, Skipped, silent

PART = 64  # photos that are lost when a worker is killed
NAMED = 5  # photos without a vector that are named; the file names all of them


@dataclass(frozen=True, slots=True)
class Embedded:
    """What is in the file now."""

    photos: int  # rows, one a photo
    new: int  # of them, looked at in this run
    faces: int  # rows with a vector
    errors: int  # rows that say why there is none
    first_errors: tuple[Skipped, ...]  # the photos of the first `NAMED` of them, and why
    unlisted: tuple[Skipped, ...]  # folders that cannot be looked into, names of no text, and why


@dataclass(frozen=True, slots=True)
class _Work:
    """What a worker needs, wherever it runs."""

    source: str
    parts: Path
    load: Callable[[], Model]


def embed_photos(
    source: str,
    out: str | Path,
    load_model: Callable[[int], Model],
    *,
    choice: files.Choice = files.EVERYTHING,
    workers: int = 1,
    cluster: str | None = None,
    progress: Progress = silent,
) -> Embedded:
    """Write a row for each photo: where it is, and the vector of the largest face in it.

    Photos that have a row already are left alone, unless it says that the photo could not be read
    at all, or that it is bad and what photos are read with has changed since.

    Args:
        source: a folder, a photo or a pattern; or the address of a bucket, as s3://bucket/photos.
        out: the Parquet file, whose columns are `columns`.
        load_model: makes a model of so many threads, in each worker.
        choice: which of the photos to look at.
        workers: processes; more than one need the extra `ray`, and take one photo at a time.
        cluster: address of a Ray cluster that shares the folder of `out`, for this machine's own
            processors by default.
        progress: shows how far it is.

    Raises:
        MissingExtra: pyarrow, or for several workers ray, is not installed.
        BadInput: there are no photos, or the file is something else or another model's.
        CannotWrite: the disk is full or read-only.
    """
    out = Path(out)
    pq = _parquet()
    together = at_once() if workers == 1 else 1
    model = load_model(threads_each(together) if workers == 1 else 1)
    parts = out.with_name(out.name + ".parts")
    paths, unlisted = _list(source, choice)
    done = _rows(pq, [out, *_there(parts)], model.model_id)
    todo = [path for path in paths if path not in done]
    chunks = [todo[i : i + PART] for i in range(0, len(todo), PART)]
    try:
        files.make_folder(parts, private=True)  # vectors tell who somebody is
        work = _Work(source, parts.absolute(), lambda: load_model(1))
        if workers == 1 and cluster is None:
            for chunk in progress(chunks, "embedding"):
                _embed(chunk, work, model, together)
        else:
            list(progress(_by_ray(chunks, work, workers, cluster), "embedding"))
        return replace(_join(pq, out, parts, model, len(todo)), unlisted=unlisted)
    except OSError as error:
        if error.errno:  # Arrow has words of its own
            error.strerror = os.strerror(error.errno)
        raise cannot_write(out, error) from error


def columns(dim: int, model_id: str) -> Any:
    """The schema of the file."""
    import pyarrow as pa

    return pa.schema(
        [
            ("path", pa.string()),
            ("sha256", pa.string()),  # of the photo's file, in hex
            ("faces", pa.int32()),  # that were found in it; the largest counts
            ("box", pa.list_(pa.float32(), 4)),  # x1, y1, x2, y2 in pixels
            ("confidence", pa.float32()),
            ("embedding", pa.list_(pa.float32(), dim)),
            ("error", pa.string()),  # why there is no embedding
        ],
        metadata={"model_id": model_id, "readers": images.readers()},
    )


def _embed(chunk: Sequence[str], work: _Work, model: Model, at_once: int = 1) -> int:
    """Write a part; how many photos are in it."""
    read = _reader(work.source)
    looked = map_in_order(lambda path: _look(path, read, model), chunk, at_once)
    rows: list[dict[str, Any]] = []
    try:
        rows += ({"path": path, **row()} for path, row in looked)
    finally:  # whatever ends it, as Ctrl-C
        if rows:
            _write(rows, work.parts, columns(model.dim, model.model_id))
    return len(rows)


def _write(rows: Sequence[dict[str, Any]], parts: Path, schema: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = hashlib.sha256("\n".join(row["path"] for row in rows).encode()).hexdigest()[:32]
    new = parts / f"{name}.{os.getpid()}.new"
    new.touch(0o600)
    pq.write_table(pa.Table.from_pylist(rows, schema), new)
    with new.open("r+b") as file:
        os.fsync(file.fileno())
    new.replace(parts / f"{name}.parquet")


def _look(path: str, read: Callable[[str], bytes], model: Model) -> dict[str, Any]:
    row: dict[str, Any] = {}
    try:
        data = read(path)
        row["sha256"] = hashlib.sha256(data).hexdigest()
        image = images.decode(data, path)
        looked = model.look(image, limit=1)
        row["faces"] = looked.found
        if not looked.faces:
            raise BadInput("no face was found in it")
        (face,) = looked.faces
        row |= {"box": face.box.tolist(), "confidence": face.confidence}
        return row | {"embedding": looked.vectors[0]}
    except BadInput as error:
        return row | {"error": str(error)}


def _by_ray(
    chunks: Sequence[Sequence[str]], work: _Work, workers: int, cluster: str | None
) -> _Counted:
    """The same by Ray, which starts a worker again that has died, with the part it had."""
    with needs_extra("more than one worker", "ray"):
        import ray
        import ray.data

    class Worker:
        def __init__(self) -> None:
            self.model = work.load()

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            return {"photos": _embed([str(path) for path in row["paths"]], work, self.model)}

    if not ray.is_initialized():
        ray.init(
            address=cluster,
            log_to_driver=False,
            include_dashboard=False if cluster is None else None,
            logging_level=logging.ERROR,
        )
    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.from_items(
        [{"paths": list(chunk)} for chunk in chunks], override_num_blocks=max(len(chunks), 1)
    )
    worker: Any = Worker  # Ray's own types know functions alone
    mapped = rows.map(worker, compute=ray.data.ActorPoolStrategy(size=workers))
    return _Counted(len(chunks), mapped.iter_rows if chunks else lambda: ())


@dataclass(frozen=True, slots=True)
class _Counted(Sequence[Any]):  # progress wants to know how many come
    length: int
    rows: Callable[[], Iterable[Any]]

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows())

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]


def _join(pq: Any, out: Path, parts: Path, model: Model, new: int) -> Embedded:
    """Make one file of all parts and of what there was, each photo once, the unread last."""
    seen: set[str] = set()
    faces = 0
    named: list[Skipped] = []
    target = out.with_name(out.name + ".new")
    target.touch(0o600)
    with pq.ParquetWriter(target, columns(model.dim, model.model_id)) as writer:
        older = [out] if out.is_file() else []
        for wanted, paths in ((True, [*older, *_there(parts)]), (False, [*_there(parts), *older])):
            for batch, settled in chain.from_iterable(_batches(pq, path) for path in paths):
                names = batch.column("path").to_pylist()
                fresh = [  # for whoever was killed after joining, some are in two files
                    is_settled == wanted and name not in seen
                    for name, is_settled in zip(names, settled, strict=True)
                ]
                seen.update(compress(names, fresh))
                kept = batch.filter(np.array(fresh))
                bad = kept.filter(kept.column("embedding").is_null())
                faces += len(kept) - len(bad)
                some = bad.slice(length=NAMED - len(named)).to_pylist()
                named += [Skipped(Path(row["path"]), row["error"]) for row in some]
                writer.write_batch(kept)
    with target.open("r+b") as file:
        os.fsync(file.fileno())
    target.replace(out)
    shutil.rmtree(parts)
    return Embedded(len(seen), new, faces, len(seen) - faces, tuple(named), ())


def _batches(
    pq: Any, path: Path, names: Sequence[str] | None = None
) -> Iterator[tuple[Any, NDArray[np.bool_]]]:
    """The rows of a file, and which of them no other look can change."""
    with pq.ParquetFile(path) as file:
        same = (file.schema_arrow.metadata or {}).get(b"readers") == images.readers().encode()
        for batch in file.iter_batches(columns=names):
            looked, read = (
                batch.column(name).is_valid().to_numpy(zero_copy_only=False)
                for name in ("faces", "sha256")
            )
            yield batch, looked | (read & same)


def _rows(pq: Any, files: Sequence[Path], model_id: str) -> set[str]:
    """The photos that have a row, which no other look can change."""
    found: set[str] = set()
    for path in files:
        if path.exists():
            try:
                metadata = pq.read_schema(path).metadata or {}
                rows = list(_batches(pq, path, ["path", "sha256", "faces"]))
            except (OSError, ValueError) as error:
                raise BadInput(
                    f"{path} is not a Parquet file written by mien: choose another name"
                ) from error
            made_by = metadata.get(b"model_id", b"").decode()
            if made_by != model_id:
                raise BadInput(
                    f"{path} was made with the model {made_by or 'unknown'}, not {model_id}: choose"
                    " another name"
                )
            for batch, settled in rows:
                found.update(compress(batch.column("path").to_pylist(), settled))
    return found


def _there(parts: Path) -> list[Path]:
    return sorted(parts.glob("*.parquet"))


def _list(source: str, choice: files.Choice) -> tuple[list[str], tuple[Skipped, ...]]:
    """The photos of a folder or a bucket, in order, and what could not be looked into."""
    unlisted: tuple[Skipped, ...] = ()
    if "://" not in source:
        walked = files.walk([source], choice=choice)
        paths, unlisted = [str(path) for path in walked], walked.skipped
    else:
        from pyarrow import fs

        try:
            bucket, root = fs.FileSystem.from_uri(source)
            found = bucket.get_file_info(fs.FileSelector(root, recursive=True))
        except (OSError, ValueError) as error:
            raise BadInput(f"{source} cannot be listed ({error}): check the address") from error
        paths = [one.path for one in found if one.is_file and _is_photo(one.path, root, choice)]
    if not paths:
        raise BadInput(f"there are no photos in {source}: name another folder or bucket")
    named = {path for path in paths if files.is_text(path)}
    unlisted += tuple(
        Skipped(Path(path), "its name is not UTF-8: rename it")
        for path in sorted(set(paths) - named)
    )
    return sorted(named), unlisted


def _is_photo(path: str, root: str, choice: files.Choice) -> bool:
    """Whether a bucket's file is a photo, as `mien.files.walk` has it for a folder's."""
    below = PurePosixPath(path).relative_to(root)
    hidden = any(map(files.is_left_out, below.parts))
    return bool(formats.named(below)) and not hidden and choice.takes(below)


def _reader(source: str) -> Callable[[str], bytes]:
    if "://" not in source:
        return images.read_bytes
    from pyarrow import fs

    bucket, _ = fs.FileSystem.from_uri(source)

    def read(path: str) -> bytes:
        try:
            with bucket.open_input_stream(path) as stream:
                return bytes(stream.read())
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error}): check who may read it") from error

    return read


def _parquet() -> Any:
    with needs_extra("writing Parquet", "embed"):
        import pyarrow.parquet as pq
    return pq


def loader(name: str | Path, detector: str) -> Callable[[int], Model]:
    """What `embed_photos` loads a shipped model or a file with, in any process."""

    return lambda threads: load(name, detector=detector, threads=threads)
