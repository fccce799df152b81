"""Sources of a data set: InsightFace's folders, folders of people, photos."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadInput
from mien.files import EVERYTHING, Choice, Found, is_left_out, walk
from mien.images import read_bytes
from mien.training.data.recordio import Entry, Records, Span
from mien.training.data.shards import NO_LABEL, Skip

SETS = ("lfw", "cfp_ff", "cfp_fp", "agedb_30", "calfw", "cplfw", "vgg2_fp")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Pictures that belong together: photos, or the records of a file."""

    path: Path  # as it was given
    kind: str  # insightface, people or photos
    names: tuple[str, ...]  # of its people
    photos: Sequence[Path]  # empty where it is a file of records
    labels: NDArray[np.int64]  # of each photo: a place in names, or NO_LABEL
    numbers: NDArray[np.int64]  # of the records; empty where it is photos
    skipped: tuple[Skip, ...] = ()  # what is not listed

    def __len__(self) -> int:
        return len(self.photos) + len(self.numbers)

    @property
    def rec(self) -> Path:
        """The file of records."""
        return self.path / "train.rec"

    @property
    def sets(self) -> list[Path]:
        """The verification sets beside a file of records."""
        files = [self.path / f"{name}.bin" for name in SETS] if len(self.numbers) else []
        return [file for file in files if file.is_file()]

    def fingerprint(self) -> str:
        """A hash that changes if other pictures are listed, or files have another size."""
        digest = hashlib.sha256(json.dumps([self.kind, self.names, self.labels.tolist()]).encode())
        digest.update(self.numbers.tobytes())
        for file in self.photos or [self.rec, *self.sets]:
            size = file.stat().st_size if os.access(file, os.F_OK) else -1  # a link to nowhere
            digest.update(f"{os.path.relpath(file, self.path)} {size}\n".encode())
        return digest.hexdigest()


def find(
    path: str | Path, people: frozenset[str] | None = None, choice: Choice = EVERYTHING
) -> Source:
    """List a folder, photo or pattern.

    A folder with `train.rec` is InsightFace's; one with folders that hold photos is one of people;
    anything else is photos of nobody in particular.

    Args:
        path: where to look.
        people: whose folders to take; all by default.
        choice: which of the photos to take.

    Raises:
        BadInput: there is nothing of use, it cannot be read, or there are no folders to choose.
    """
    path = Path(path)
    if (path / "train.rec").is_file():
        source = _insightface(path)
    elif path.is_dir() and any(_folders(path)):
        return _people(path, people, choice)
    else:
        photos = walk([path], choice=choice, cut_outs=True)
        labels, skipped = np.full(len(photos), NO_LABEL), _skips(photos)
        source = Source(path, "photos", (), photos, labels, _none(), tuple(skipped))
    if people is not None:
        raise BadInput(f"{path} has no folders of people to choose from: leave out the choice")
    return source


@lru_cache(4)
def records(rec: Path) -> Records:
    """The records of a file, opened once in a process."""
    return Records(rec)


def _insightface(path: Path) -> Source:
    opened = records(path / "train.rec")
    count = _identities(path, opened)
    return Source(path, "insightface", tuple(map(str, range(count))), (), _none(), opened.images)


def _identities(path: Path, opened: Records) -> int:
    """How many people there are: by `property`, else by record 0, else by the greatest label."""
    file = path / "property"
    if file.is_file():
        text = read_bytes(file)[:100].decode("latin1").strip()
        if not re.fullmatch(r"[0-9]{1,9}\s*(,\s*[0-9]{1,5}\s*)*", text) or not int(
            text.split(",")[0]
        ):
            raise BadInput(f"{file} is {text[:40]!r}: it must be like 85742,112,112")
        return int(text.split(",")[0])
    first = opened.read(0) if len(opened.identities) else None
    if isinstance(first, Span):
        return first.end - first.start
    labels = [entry.label for entry in opened if isinstance(entry, Entry)]  # as im2rec leaves it
    people = max(labels, default=-1) + 1
    if people > len(labels):
        raise BadInput(
            f"{path} has a label {people - 1} in {len(labels)} records: write into a file "
            "`property` how many people there are, and the size of a picture, like 85742,112,112"
        )
    return people


def _people(path: Path, chosen: frozenset[str] | None, choice: Choice) -> Source:
    folders = [
        folder
        for folder in _folders(path)
        if (chosen is None or folder.name in chosen) and not choice.leaves(PurePath(folder.name))
    ]
    if missing := (chosen or frozenset()) - {folder.name for folder in folders}:
        raise BadInput(f"{path} has no folder {min(missing)!r}: correct the list of people")
    everything = walk([path], choice=choice, cut_outs=True)
    skipped = _skips(everything)
    of_person: dict[str, list[Path]] = {}
    for photo in everything:
        person, *rest = photo.relative_to(path).parts
        if rest:
            of_person.setdefault(person, []).append(photo)
        else:
            why = f"{photo} is not in a person's folder: move it into one"
            skipped.append(Skip(str(photo), "no person", why))
    names: list[str] = []
    photos: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        found = of_person.get(folder.name, [])
        if not found:
            unread = any(one.path.is_relative_to(folder) for one in everything.skipped)
            if not choice.include and not unread:
                skipped.append(Skip(str(folder), "empty person", f"{folder} holds no photos"))
            continue
        inside = {photo.parent for photo in found}
        if folder not in inside and len(inside) > 1:
            raise BadInput(
                f"{folder} holds no photos but folders of them: if those are people, give {folder}"
            )
        photos += found
        labels += [len(names)] * len(found)
        names.append(folder.name)
    if not photos:
        raise BadInput(f"{path} holds no photos of the people asked for: name another folder")
    return Source(path, "people", tuple(names), photos, np.array(labels), _none(), tuple(skipped))


def _folders(path: Path) -> list[Path]:
    try:
        inside = sorted(path.iterdir())
    except OSError as error:
        raise BadInput(f"{path} cannot be listed ({error.strerror}): check its rights") from error
    return [one for one in inside if os.path.isdir(one) and not is_left_out(one.name)]  # noqa: PTH112


def _skips(found: Found) -> list[Skip]:
    return [Skip(str(one.path), "not listed", one.reason) for one in found.skipped]


def _none() -> NDArray[np.int64]:
    return np.empty(0, np.int64)
