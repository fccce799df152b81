"""How good a model is at telling people apart: a list of pairs to accuracy and error rates.

Owns the protocol: which face of a photo counts, what happens where none is found, how thresholds
are chosen.  The protocol is that of Labeled Faces in the Wild, View 2 (Huang et al., 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien import images, metrics, plots
from mien.data import pairs as pair_lists
from mien.data.pairs import Pairs
from mien.errors import BadInput
from mien.types import Embeddings, Face, Image, Progress, silent

FARS = (1e-1, 1e-2, 1e-3)  # false-accept rates at which the true-accept rate is reported
DEALT_FOLDS = 10  # LFW's number


class Model(Protocol):
    """What is measured."""

    @property
    def model_id(self) -> str: ...

    @property
    def threshold(self) -> float: ...

    def detect(self, image: Image) -> list[Face]: ...

    def embed(self, image: Image, faces: list[Face], *, mirror: bool = ...) -> Embeddings: ...


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What a list of pairs says about a model.  Rates are fractions in [0, 1]."""

    model_id: str
    mirror: bool  # embeddings are the mean with the mirrored crop's
    photos: int  # distinct photos in the list
    missed: tuple[str, ...]  # photos without a detected face; they count all the same
    folds: int  # parts of the list; each is judged with the threshold best on the others
    dealt: bool  # the list has no folds: its pairs were dealt into folds in turn
    accuracy: float  # mean over folds
    accuracy_std: float  # sample standard deviation over folds
    best_threshold: float  # mean over folds
    tar: dict[float, float | None]  # true-accept rate at a false-accept rate; None: too few pairs
    eer: float  # equal error rate
    own: metrics.Rates  # at the threshold stored with the model
    scores: NDArray[np.float32]  # (N,) cosine of each pair, in the list's order
    same: NDArray[np.bool_]  # (N,) true where the pair is one person

    def to_json(self) -> dict[str, Any]:
        """What can be printed as JSON: the fields above, with `pairs` for the number of scores.

        The keys of `tar` are text, such as "0.001", and a rate that cannot be known is null.
        """
        return {
            "model_id": self.model_id,
            "mirror": self.mirror,
            "pairs": len(self.scores),
            "photos": self.photos,
            "missed": list(self.missed),
            "folds": self.folds,
            "dealt": self.dealt,
            "accuracy": self.accuracy,
            "accuracy_std": self.accuracy_std,
            "best_threshold": self.best_threshold,
            "tar": {f"{far:g}": rate for far, rate in self.tar.items()},
            "eer": self.eer,
            "own": asdict(self.own),
        }

    def draw_roc(self, path: str | Path) -> None:
        """Leave the ROC in a PNG or SVG file; errors as `mien.plots.draw_roc`."""
        title = f"{self.model_id}, {len(self.scores):,} pairs"
        plots.draw_roc(metrics.roc(self.scores, self.same), path, title=title)


def evaluate(
    model: Model,
    pairs_file: str | Path,
    *,
    photos: str | Path | None = None,
    mirror: bool = False,
    progress: Progress = silent,
) -> Report:
    """How well a model tells the pairs of a list apart.

    A photo counts as the face nearest its centre, measured in that face's own size: the subject of
    a portrait is large and central.  A photo without a detected face is not left out, which would
    flatter the model: its face is taken to be where it is in the median of the others.

    A list in one fold is dealt into ten: the pairs of each kind go to the folds in turn.

    Args:
        model: what finds and embeds faces.
        pairs_file: a list as `mien.data.pairs` reads.
        photos: folder of the listed photos; by default the folder `images` beside the list, or
            the list's own where there is none.
        mirror: average each embedding with that of the mirrored crop.
        progress: is given the photos to look at.

    Raises:
        BadInput: a list, or a photo on it, that cannot be read; no face in any photo; fewer than
            two pairs of each kind.
    """
    listed = pair_lists.read(pairs_file)
    folds, dealt = _folds(listed, pairs_file)
    folder = _photo_folder(pairs_file, photos)
    paths = [pair_lists.find(folder, photo) for photo in listed.photos]
    embeddings, found = _embed(model, paths, mirror, progress)
    scores = np.einsum("nd,nd->n", embeddings[listed.first], embeddings[listed.second])
    by_fold = metrics.accuracy_by_folds(scores, listed.same, folds)
    return Report(
        model_id=model.model_id,
        mirror=mirror,
        photos=len(paths),
        missed=tuple(photo for photo, seen in zip(listed.photos, found, strict=True) if not seen),
        folds=len(by_fold.accuracy),
        dealt=dealt,
        accuracy=by_fold.mean,
        accuracy_std=by_fold.std,
        best_threshold=by_fold.threshold,
        tar={far: metrics.tar_at_far(scores, listed.same, far) for far in FARS},
        eer=metrics.eer(scores, listed.same),
        own=metrics.rates(scores, listed.same, model.threshold),
        scores=scores,
        same=listed.same,
    )


def _folds(listed: Pairs, pairs_file: str | Path) -> tuple[NDArray[np.intp], bool]:
    """The list's folds, or those that it is dealt into, and whether it was."""
    if listed.folds.any():
        return listed.folds, False
    size = int(listed.same.sum())  # a list has as many pairs of two people
    if size < 2:
        raise BadInput(f"{pairs_file} has {size} pair of each kind: two are the least")
    return metrics.deal_folds(listed.same, min(DEALT_FOLDS, size)), True


def _photo_folder(pairs_file: str | Path, photos: str | Path | None) -> Path:
    if photos is not None:
        return Path(photos)
    beside = Path(pairs_file).parent
    return beside / "images" if (beside / "images").is_dir() else beside


def _embed(
    model: Model, paths: Sequence[Path], mirror: bool, progress: Progress
) -> tuple[Embeddings, NDArray[np.bool_]]:
    """One row for each photo, and whether a face was found in it.

    One crop at a time: on a processor, batches of 32 were no faster for a network of this size.
    """
    rows: list[NDArray[np.float32] | None] = []
    layouts = []
    for path in progress(paths, "measuring"):
        image = images.read(path)
        faces = model.detect(image)
        if faces:
            face = _central(faces, image)
            layouts.append(_layout(face, image))
            rows.append(model.embed(image, [face], mirror=mirror)[0])
        else:
            rows.append(None)
    if not layouts:
        raise BadInput(f"no face was found in any of {len(paths)} photos: check the photos' folder")

    found = np.array([row is not None for row in rows])
    typical = np.median(layouts, axis=0)
    for i in np.flatnonzero(~found).tolist():  # read again: kept, they could fill the memory
        image = images.read(paths[i])
        rows[i] = model.embed(image, [_face(typical, image)], mirror=mirror)[0]
    return np.array(rows, np.float32), found


def _central(faces: Sequence[Face], image: Image) -> Face:
    """The face nearest the picture's centre, measured in its own size."""
    centre = np.array([image.shape[1], image.shape[0]]) / 2

    def offset(face: Face) -> float:
        return float(np.linalg.norm((face.box[:2] + face.box[2:]) / 2 - centre)) / face.size

    return min(faces, key=offset)


def _layout(face: Face, image: Image) -> NDArray[np.float64]:
    """Box and points as (7, 2) fractions of the picture's width and height."""
    size = np.array([image.shape[1], image.shape[0]], np.float64)
    return np.vstack([face.box.reshape(2, 2), face.points]) / size


def _face(layout: NDArray[np.float64], image: Image) -> Face:
    pixels = (layout * (image.shape[1], image.shape[0])).astype(np.float32)
    return Face(box=pixels[:2].ravel(), points=pixels[2:], confidence=0.0)
