"""Pair lists in the format of Labeled Faces in the Wild: which photos to compare, and the truth.

The first line is the number of folds and of pairs, `10 300`, or of pairs alone, `500`, in one fold.
Each fold has that many pairs of one person, `NAME 1 4`, then as many of two people,
`NAME 1 OTHER 2`.  Fields are separated by tabs, or by spaces in a line without one; blank lines are
ignored.  NAME 4 is the photo NAME/NAME_0004.jpg.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadInput
from mien.formats import EXTENSIONS
from mien.images import read_bytes

_NUMBER = re.compile(r"[0-9]{1,9}")
_ONE_PERSON = "a pair of one person, NAME 1 4"
_TWO_PEOPLE = "a pair of two people, NAME 1 OTHER 2"


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """A list of N pairs over M photos."""

    photos: tuple[str, ...]  # M, each once: NAME/NAME_0001.jpg
    first: NDArray[np.intp]  # (N,) row in photos
    second: NDArray[np.intp]  # (N,) row in photos
    same: NDArray[np.bool_]  # (N,) true where the pair is one person
    folds: NDArray[np.intp]  # (N,) from 0


def read(path: str | Path) -> Pairs:
    """The pairs of a file; see `parse`."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a list of pairs: it must be text in UTF-8") from error
    return parse(text, str(path))


def parse(text: str, name: str = "the list") -> Pairs:
    """The pairs that a text lists.

    Args:
        text: the whole list.
        name: what an error calls it.

    Raises:
        BadInput: a line that is not what belongs there, or too few lines.
    """
    lines = _lines(text)
    folds, size = _header(next(lines, None), name)
    rows: dict[str, int] = {}
    pairs: list[tuple[int, int, bool, int]] = []
    for fold in range(folds):
        for i in range(2 * size):
            line = next(lines, None)
            if line is None:
                raise BadInput(
                    f"{name} ends after {len(pairs)} of {2 * folds * size} pairs: "
                    "copy it again or correct its first line"
                )
            a, b = _pair(line, i < size, name)
            pairs.append(
                (rows.setdefault(a, len(rows)), rows.setdefault(b, len(rows)), i < size, fold)
            )
    if extra := next(lines, None):
        raise _wrong(name, extra, f"the end after {len(pairs)} pairs, as the first line says")
    first, second, same, fold_of = np.array(pairs, np.intp).T
    return Pairs(tuple(rows), first, second, same.astype(bool), fold_of)


def find(folder: Path, photo: str) -> Path:
    """The file of a listed photo, which may have any ending of a picture.

    Raises:
        BadInput: there is none.
    """
    path = folder / photo
    for candidate in (path, *(path.with_suffix(extension) for extension in EXTENSIONS)):
        if os.path.isfile(candidate):  # noqa: PTH113 - pathlib's fails on a name too long
            return candidate
    raise BadInput(f"{path} does not exist: the list of pairs names it")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def _header(line: tuple[int, str] | None, name: str) -> tuple[int, int]:
    if line is None:
        raise BadInput(f"{name} is empty: the first line must be two numbers, folds and pairs")
    numbers = [int(field) for field in line[1].split() if _NUMBER.fullmatch(field)]
    if len(numbers) != len(line[1].split()) or len(numbers) not in (1, 2) or 0 in numbers:
        raise _wrong(name, line, "folds and pairs in a fold, 10 300, or pairs alone, 500")
    return (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _pair(line: tuple[int, str], same: bool, name: str) -> tuple[str, str]:
    """The two photos of a line."""
    fields = [field.strip() for field in line[1].split("\t" if "\t" in line[1] else None)]
    expected = _ONE_PERSON if same else _TWO_PEOPLE
    if len(fields) != (3 if same else 4):
        raise _wrong(name, line, expected)
    person, other = fields[0], fields[0] if same else fields[2]
    number, other_number = fields[1], fields[-1]
    if not (_NUMBER.fullmatch(number) and _NUMBER.fullmatch(other_number)):
        raise _wrong(name, line, expected)
    if not all(_is_folder_name(folder) for folder in (person, other)):
        raise _wrong(name, line, "names that can be folders")
    if (person == other) != same or (same and int(number) == int(other_number)):
        raise _wrong(name, line, f"{expected}, of two different photos")
    return _photo(person, number), _photo(other, other_number)


def _is_folder_name(name: str) -> bool:
    return name not in ("", ".", "..") and not re.search(r"[/\\\0]", name)


def _photo(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}.jpg"


def _wrong(name: str, line: tuple[int, str], expected: str) -> BadInput:
    number, content = line
    shown = content if len(content) <= 60 else content[:57] + "..."
    return BadInput(f"{name} line {number} is {shown!r}: expected {expected}")
