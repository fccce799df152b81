"""Aligned crops of a collection of photos, as arrays on disk, made once for a run.

A folder of shards `crops-0000.npy`, each (N, 128, 128, 3) uint8 RGB: the usual 112 x 112 crop with
a margin of 8, so that training can shift it.  Each shard is written whole or not at all, so what
was gathered before a crash stays, and gathering goes on after it.  `photos.json` lists every
shard's photos, and those that were left out and why.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mien.align import SIZE, crop
from mien.errors import BadInput, MienError, NoFace
from mien.images import read, walk, write_atomically
from mien.types import Crops, Detector, Image, Progress, largest_face

MARGIN = 8
SHARD = 1000  # photos


def gather(
    photos: Iterable[str | Path], folder: Path, detector: Detector, progress: Progress
) -> Crops:
    """The aligned largest face of every photo, (N, 128, 128, 3), kept in `folder`.

    Args:
        photos: files and folders.
        folder: where the shards are kept; what is there already is not made again.
        detector: finds the faces.
        progress: shows how far it is.

    Raises:
        BadInput: no photo, none with a face, or the folder holds crops of other photos.
    """
    paths = walk(photos)
    listing = folder / "photos.json"
    digest = hashlib.sha256("\n".join(map(str, paths)).encode()).hexdigest()
    skipped: dict[str, str] = {}
    if listing.is_file():
        known = json.loads(listing.read_text())
        if known["photos"] != digest:
            raise BadInput(f"{folder} holds crops of other photos; choose another folder")
        skipped = known["skipped"]
    parts = [paths[start : start + SHARD] for start in range(0, len(paths), SHARD)]
    todo = [part for k, part in enumerate(parts) if not _shard(folder, k).is_file()]
    seen = iter(progress([path for part in todo for path in part], "Aligning"))
    for k, part in enumerate(parts):
        if part not in todo:
            continue
        kept = []
        for _ in part:
            path = next(seen)
            try:
                kept.append(largest(path, detector, margin=MARGIN))
            except MienError as error:
                skipped[str(path)] = str(error)
        side = SIZE + 2 * MARGIN
        array = np.stack(kept) if kept else np.empty((0, side, side, 3), np.uint8)
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_atomically(listing, json.dumps({"photos": digest, "skipped": skipped}).encode())
        write_atomically(_shard(folder, k), buffer.getvalue())
    next(seen, None)  # lets the progress bar end
    crops = np.concatenate([np.load(_shard(folder, k)) for k in range(len(parts))])
    if not len(crops):
        raise BadInput("no face was found in any of the photos; give photos of people")
    return crops


def _shard(folder: Path, number: int) -> Path:
    return folder / f"crops-{number:04d}.npy"


def largest(path: Path, detector: Detector, *, margin: int = 0) -> Image:
    """The aligned largest face of a photo, with a margin in pixels.

    Raises:
        BadInput: the photo cannot be read, or shows no face.
    """
    image = read(path)
    faces = detector(image)
    if not faces:
        raise NoFace(f"{path} shows no face")
    return crop(image, largest_face(faces).points, margin=margin)
