"""False matches among strangers of one age, sex or group, beside those among all.

Every photo counts as another person, so that a person who is there twice raises the rates: they are
upper bounds, and what is compared is their ratios (NIST IR 8280 calls these demographic
differentials). The labels are those of whoever made the data set; those who are shown might not
give them to themselves.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mien import files
from mien.errors import BadInput
from mien.evaluation.people import embed_largest, embed_people
from mien.evaluation.scores import score_blocks, shares_at, thresholds_at_fmrs
from mien.recognition.model import Model
from mien.types import Embeddings, Progress, Scores, Skipped, silent

RATES = (1e-2, 1e-3, 1e-4)  # false-match rates among all strangers, at which groups are compared
LEAST = 10  # matching pairs that a rate must rest on


@dataclass(frozen=True, slots=True)
class GroupRates:
    """A group's false-match rates at the thresholds where all strangers match at `RATES`."""

    label: str  # the column that defines it
    group: str
    photos: int
    pairs: int
    fmr: tuple[float | None, ...]  # at each of the thresholds; None where too few pairs match

    @property
    def ratios(self) -> tuple[float | None, ...]:
        """The ratios to the rates of all."""
        return tuple(
            None if fmr is None else fmr / rate for fmr, rate in zip(self.fmr, RATES, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Differentials:
    """A model's false matches by group."""

    model_id: str
    photos: int
    thresholds: tuple[float, ...]  # at which all strangers match at `RATES`
    true_matches: tuple[float, ...] | None  # share of pairs of one person that reach them
    groups: tuple[GroupRates, ...]
    skipped: tuple[Skipped, ...]


def differentials(
    models: Sequence[Model],
    folder: Path,
    labels: Path,
    *,
    people: Path | None = None,
    choice: files.Choice = files.EVERYTHING,
    progress: Progress = silent,
) -> list[Differentials]:
    """The rates of each group of a folder of strangers, for each model.

    The first model's detector finds the faces, once; the largest of a photo counts.

    Args:
        models: what is measured.
        folder: photos, of which hardly two show one person.
        labels: a CSV file with a column `file`, the end of a photo's path, and one for each label.
        people: a folder `NAME/photo.jpg`, for the share of pairs of one person that reach each
            threshold.
        choice: which of the photos to use.
        progress: is given the photos to look at.

    Raises:
        BadInput: something cannot be read, or fewer than two labelled photos show a face.
    """
    labelled = read_labels(labels)
    strangers = files.walk([folder], choice=choice)
    row_of = {path: row for path in strangers if (row := labelled.get(path))}
    faces = embed_largest(models, list(row_of), progress, "measuring")
    rows = [row_of[path] for path in faces.photos]
    skipped = [*strangers.skipped, *faces.skipped]
    if len(rows) < 2:
        raise BadInput(
            f"{labels} names {len(rows)} usable photos of {folder} and at least two are needed: "
            "check that its column `file` holds the ends of their paths"
        )
    genuine: list[Embeddings] = []
    if people:
        others, names = embed_people(models, people, choice, progress, "measuring people")
        genuine, skipped = others.vectors, [*skipped, *others.skipped]
    found = []
    for number, (model, vectors) in enumerate(zip(models, faces.vectors, strict=True)):
        at = thresholds_at_fmrs(partial(_strangers, vectors), RATES)
        thresholds = tuple(at[rate] for rate in RATES)
        matches = None
        if people:
            pairs = score_blocks(genuine[number], names, same=True)
            matches = tuple(shares_at(pairs, thresholds)[1])
        groups = tuple(_groups(vectors, rows, thresholds))
        found.append(
            Differentials(model.model_id, len(vectors), thresholds, matches, groups, tuple(skipped))
        )
    return found


class Labels:
    """The labels of photos.

    Args:
        columns: the labels.
        rows: label to group, by the end of a photo's path.
    """

    def __init__(self, columns: Sequence[str], rows: dict[str, dict[str, str]]) -> None:
        self.columns, self._rows = tuple(columns), rows

    def get(self, path: Path) -> dict[str, str] | None:
        """The groups of a photo by label; None for an unlabelled one."""
        parts = path.parts
        ends = ("/".join(parts[k:]) for k in range(len(parts)))
        return next((self._rows[end] for end in ends if end in self._rows), None)


def read_labels(path: Path) -> Labels:
    """Read the labels of photos.

    Raises:
        BadInput: it cannot be read, has no column `file`, or no other.
    """
    try:
        text = files.contents(path).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read as CSV: {error}") from error
    if not rows or "file" not in rows[0] or len(rows[0]) < 2:
        raise BadInput(
            f"{path} must begin with a line that names its columns: file, and one for each label"
        )
    columns = [column for column in rows[0] if column != "file"]
    return Labels(columns, {row["file"]: {name: row[name] for name in columns} for row in rows})


def _strangers(vectors: Embeddings) -> Iterator[Scores]:
    return score_blocks(vectors, np.arange(len(vectors)), same=False)


def _groups(
    vectors: Embeddings, rows: Sequence[dict[str, str]], thresholds: Sequence[float]
) -> Iterator[GroupRates]:
    """Of each group with two photos; labels in their order, groups in that of their names."""
    for label in rows[0]:
        groups = np.array([row[label] or "" for row in rows])
        for group in sorted(set(groups.tolist()) - {""}):
            own = vectors[groups == group]
            if len(own) > 1:
                pairs, shares = shares_at(_strangers(own), thresholds)
                fmr = tuple(share if share * pairs > LEAST - 0.5 else None for share in shares)
                yield GroupRates(label, group, len(own), pairs, fmr)
