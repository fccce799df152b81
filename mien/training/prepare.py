"""The verb that makes a data set for training: photos or InsightFace's files in, shards out.

Each shard is made by itself from a fixed part of the sources, by any worker, and written whole or
not at all.  So what was made before a crash stays, and the next run makes only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mien import defaults
from mien.errors import BadInput, MienError, NoFace
from mien.evaluation import verification_set
from mien.files import EVERYTHING, Choice, write_atomically
from mien.images import decode, encode, read_bytes
from mien.parallel import workers as most
from mien.recognition import detect
from mien.recognition.align import SIZE, read_face
from mien.training.data import shards, sources
from mien.training.data.recordio import Damaged, Entry
from mien.training.data.shards import NO_LABEL, Record, Shards, Skip, write_shard
from mien.training.data.sources import Source
from mien.types import Detector, Image, Progress, silent

MARGIN = 8  # pixels around a crop that is made here, in which training can shift it
SIDES = (SIZE, SIZE + 2 * MARGIN)
_COPIED, _DETECTED = 8192, 512  # pictures of a shard: what one crash may cost
_JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]

Made: TypeAlias = Iterator[Record | Skip]
Part: TypeAlias = Callable[[], Made]  # makes what belongs into one shard

# Photos to learn from are often crops of faces already, and small.
default_detector: Callable[[], Detector] = partial(
    detect.named, defaults.DETECTOR, threads=1, min_face=30
)


def prepare(
    paths: Sequence[str | Path],
    out: Path,
    *,
    aligned: bool = False,
    resize: bool = False,
    people: frozenset[str] | None = None,
    choice: Choice = EVERYTHING,
    detector: Callable[[], Detector] = default_detector,
    workers: int | None = None,
    progress: Progress = silent,
) -> Shards:
    """The data set of some sources, made, or finished, or only checked where it is finished.

    Args:
        paths: InsightFace's folders, folders of people, photos, in any mixture; people of two
            sources are never one person.
        out: the data set's folder.
        aligned: photos are crops of 112 x 112, or 128 x 128 with the margin, and are kept as they
            are; else the largest face of each is found and aligned.
        resize: square crops of another size, in records or aligned photos, are resized to 112 x 112
            and kept as PNG; else they are skipped.
        people: the names of the folders to take from folders of people; all by default.
        choice: which photos to take.
        detector: makes what finds the faces, once for each shard; workers must be able to unpickle
            it.
        workers: processes, as many as there are processors by default; 1 is this one alone.
        progress: shows how far it is.

    Raises:
        BadInput: a source cannot be used, no picture can, or `out` holds another data set.
        CannotWrite: the disk is full or read-only.
    """
    found = [sources.find(path, people, choice) for path in paths]
    if len({os.path.realpath(source.path) for source in found}) < len(found):
        raise BadInput("a source is given twice: give each once")
    _claim(out, found, {"aligned": aligned} | ({"resize": True} if resize else {}))
    if (out / "prepare.json").is_file():
        return check(out)
    parts = list(_parts(found, None if aligned else detector, resize))
    todo = [(k, part) for k, part in enumerate(parts) if not shards.has_shard(out, k)]
    _make(out, todo, workers or most(), progress)
    sets, refused = _carry(found, out)
    names = _names(found)

    def report(labels: NDArray[np.int64], skipped: list[Skip]) -> dict[str, Any]:
        if not len(labels):
            why = f": {skipped[0].reason}" if skipped else ""
            raise BadInput(f"none of the pictures can be used{why}")
        skipped = [*(skip for source in found for skip in source.skipped), *refused, *skipped]
        photos = np.bincount(labels[labels != NO_LABEL], minlength=len(names))
        return {
            "people": len(names),
            "empty": [names[k] for k in np.flatnonzero(photos == 0)],
            "single": int((photos == 1).sum()),
            "sources": [{"path": str(s.path), "kind": s.kind, "pictures": len(s)} for s in found],
            "sets": sets,
            "reasons": [
                {"kind": kind, "count": count}
                for kind, count in Counter(skip.kind for skip in skipped).most_common()
            ],
            "skipped": [{"path": skip.path, "reason": skip.reason} for skip in skipped],
        }

    return shards.finish(out, len(parts), names, report, progress)


def check(folder: Path) -> Shards:
    """A finished data set of which everything has been read and is as it was written.

    Raises:
        BadInput: it is not finished, or damaged.
    """
    prepared = Shards(folder)
    prepared.verify()
    for entry in prepared.report["sets"]:
        file = folder / f"{entry['name']}.bin"
        if hashlib.sha256(read_bytes(file)).hexdigest() != entry["sha256"]:
            raise BadInput(f"{file} is damaged: copy it from its source again")
    return prepared


def write_original_layout(prepared: Shards, folder: Path, progress: Progress = silent) -> None:
    """The same as single files: `imgs/LABEL/ROW.jpg`, `lfw/PLACE.jpg`, `lfw_list.npy` and so on.

    What is there already is not written again.

    Raises:
        BadInput: a picture has no label.
        CannotWrite: the disk is full or read-only.
    """
    if (prepared.labels == NO_LABEL).any():
        raise BadInput("the original layout has a folder for each person: give folders of people")
    for start in progress(range(0, len(prepared), 1024), "writing"):
        rows = range(start, min(start + 1024, len(prepared)))
        for row, image in zip(rows, prepared.images(rows), strict=True):
            _leave(folder / "imgs" / str(prepared.labels[row]), str(row), image)
    for entry in prepared.report["sets"]:
        content = verification_set.read(folder / f"{entry['name']}.bin")
        for place, image in enumerate(content.images):
            _leave(folder / entry["name"], f"{place:05d}", image)
        np.save(folder / f"{entry['name']}_list.npy", content.same)


def _leave(folder: Path, stem: str, image: bytes) -> None:
    path = folder / (stem + (".png" if image.startswith(b"\x89PNG") else ".jpg"))
    if not path.is_file() or path.stat().st_size != len(image):
        write_atomically(path, image)


def _claim(out: Path, found: Sequence[Source], options: dict[str, bool]) -> None:
    """Makes the data set's folder, or checks that it is this one's."""
    path = out / "plan.json"
    plan = {**options, "sources": [source.fingerprint() for source in found]}
    text = json.dumps(plan)
    if not path.is_file():
        if (out / "prepare.json").is_file() or shards.has_shard(out, 0):
            raise BadInput(f"{out} holds another data set; choose another folder")
        write_atomically(path, text.encode())
    elif path.read_text() != text:
        raise BadInput(
            f"{out} holds a data set of other pictures or options; choose another folder"
        )


def _names(found: Sequence[Source]) -> list[str]:
    """Of all people; with their source where there are several."""
    labelled = [source for source in found if source.names]
    if len(labelled) == 1:
        return list(labelled[0].names)
    return [f"{source.path}/{name}" for source in labelled for name in source.names]


def _parts(
    found: Sequence[Source], detector: Callable[[], Detector] | None, resize: bool
) -> Iterator[Part]:
    first = 0  # label of a source's first person
    for source in found:
        people = len(source.names)
        if source.kind == "insightface":
            for start in range(0, len(source), _COPIED):
                numbers = source.numbers[start : start + _COPIED]
                yield partial(_from_records, source.rec, numbers, first, people, resize)
        else:
            size = _DETECTED if detector else _COPIED
            labels = np.where(source.labels == NO_LABEL, NO_LABEL, source.labels + first)
            for start in range(0, len(source), size):
                photos, whose = source.photos[start : start + size], labels[start : start + size]
                yield partial(_from_photos, photos, whose, detector, resize)
        first += people


def _make(out: Path, todo: Sequence[tuple[int, Part]], workers: int, progress: Progress) -> None:
    """Writes the shards that are missing."""
    if workers <= 1 or len(todo) <= 1:
        for number, part in progress(todo, "preparing"):
            _write(out, number, part)
        return
    # Not forked: the caller may have threads, and ours load OpenCV and ONNX Runtime.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin_worker)
    try:
        futures = [pool.submit(_write, out, number, part) for number, part in todo]
        for future in progress(futures, "preparing"):
            future.result()
    except BrokenProcessPool as error:
        raise BadInput(
            "a worker has died, perhaps for lack of memory: run it again with fewer workers, "
            "what is done is kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's workers would wait for ever for one that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _write(out: Path, number: int, part: Part) -> None:
    made = list(part())
    records = [one for one in made if isinstance(one, Record)]
    skipped = [one for one in made if isinstance(one, Skip)]
    write_shard(out, number, records, skipped)


def _from_records(
    rec: Path, numbers: NDArray[np.int64], first: int, people: int, resize: bool
) -> Made:
    """The pictures of a file of records, byte for byte; labels count from `first`."""
    opened = sources.records(rec)
    for number in numbers.tolist():
        name, record = f"{rec} record {number}", opened.read(number)
        if isinstance(record, Damaged):
            yield Skip(name, "damaged", f"{name} is damaged: {record.reason}")
        elif isinstance(record, Entry) and record.label >= people:
            why = f"{name} has label {record.label}, and there are {people} people"
            yield Skip(name, "label", why)
        elif isinstance(record, Entry):
            yield _kept(record.image, first + record.label, str(number), name, resize)


def _from_photos(
    photos: Sequence[Path],
    labels: NDArray[np.int64],
    detector: Callable[[], Detector] | None,
    resize: bool,
) -> Made:
    detect = detector() if detector else None
    for path, label in zip(photos, labels.tolist(), strict=True):
        name = f"{path.parent.name}/{path.name}"
        try:
            if detect:
                yield Record(
                    _encoded(read_face(path, detect, margin=MARGIN)), label, name, SIDES[1]
                )
            else:
                yield _kept(read_bytes(path), label, name, str(path), resize)
        except NoFace as error:
            yield Skip(str(path), "no face", str(error))
        except MienError as error:
            yield Skip(str(path), "damaged", str(error))


def _kept(image: bytes, label: int, source: str, name: str, resize: bool) -> Record | Skip:
    """A crop as it is; one that is resized, or no JPEG or PNG, becomes PNG."""
    try:
        pixels = decode(image, name)
    except BadInput as error:
        return Skip(name, "damaged", str(error))
    height, width, _ = pixels.shape
    if resize and height == width and height not in SIDES:
        way = cv2.INTER_AREA if height > SIZE else cv2.INTER_CUBIC
        small = np.asarray(cv2.resize(pixels, (SIZE, SIZE), interpolation=way), np.uint8)
        return Record(encode(small, ".png"), label, source, SIZE)
    if height != width or height not in SIDES:
        sizes = " or ".join(f"{side} x {side}" for side in SIDES)
        why = f"{name} is {width} x {height}, not {sizes}"
        if height == width:
            why += ": --resize takes it"
        return Skip(name, "size", why)
    if not image.startswith((b"\xff\xd8", b"\x89PNG")):
        image = encode(pixels, ".png")
    return Record(image, label, source, height)


def _encoded(image: Image) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _JPEG)[1].tobytes()


def _carry(found: Iterable[Source], out: Path) -> tuple[list[dict[str, Any]], list[Skip]]:
    """Copies the verification sets that can be read; of two with one name, the first."""
    carried: dict[str, dict[str, Any]] = {}
    skipped = []
    for path in (path for source in found for path in source.sets):
        try:
            content = verification_set.read(path)
            for place, image in enumerate(content.images):
                decode(image, f"{path} picture {place}")
        except BadInput as error:
            skipped.append(Skip(str(path), "verification set", str(error)))
            continue
        data = read_bytes(path)
        entry = {
            "name": path.stem,
            "pairs": len(content.same),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        if carried.setdefault(path.stem, entry) is entry:
            write_atomically(out / path.name, data)
        elif carried[path.stem] != entry:
            why = f"{path} differs from the set of that name in an earlier source"
            skipped.append(Skip(str(path), "verification set", why))
    return list(carried.values()), skipped
