"""How good a model is at telling people apart: photos to accuracy and error rates.

Decides for each kind of data which face of a photo counts, and what happens if none is
found.  A list of pairs follows Labeled Faces in the Wild, View 2 (Huang et al., 2007).
The figures are those of `mien.evaluation.protocol`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from mien import files, images
from mien.errors import BadInput
from mien.evaluation import metrics, pairs, protocol, templates, verification_set
from mien.evaluation.pairs import Pairs
from mien.evaluation.people import batches, embed_largest
from mien.evaluation.protocol import BATCH, Evaluation, Identification, Verification
from mien.evaluation.verification_set import VerificationSet
from mien.recognition.align import crop
from mien.recognition.model import Model
from mien.types import Crops, Detector, Embeddings, Face, Image, Progress, Skipped, silent

MAX_PHOTOS = 10_000  # all their pairs are 50 million, and take 4 GB


def evaluate(
    models: Sequence[Model],
    on: str | Path,
    *,
    photos: str | Path | None = None,
    mirrors: Sequence[bool] = (False,),
    seed: int = 0,
    choice: files.Choice = files.EVERYTHING,
    progress: Progress = silent,
) -> list[Evaluation]:
    """How well models tell people apart.

    Each photo is read, searched for faces by the first model's detector, and aligned only once,
    however many models there are.

    Photos of a list of pairs count as the face nearest their centre, measured in that face's own
    size: the subject of a portrait is large and central.  A photo without a detected face is not
    left out, which would flatter the model: its face is taken to be where it is in the median of
    the others.  Photos in folders of people count as their largest face, and are skipped and named
    if they show none.

    Args:
        models: what is measured.
        on: a list as `mien.evaluation.pairs` reads; a set as `mien.evaluation.verification_set`
            reads, or a folder of such sets; a folder of IJB-B or IJB-C as
            `mien.evaluation.templates` reads; or a folder `NAME/photo.jpg` of people, all of whose
            pairs are compared.
        photos: folder of the photos on a list of pairs; by default the folder `images` beside the
            list, or the list's own where there is none.
        mirrors: average each embedding with that of the mirrored crop, or not, or both in turn.
        seed: of the draw of those who are enrolled, for people.
        choice: which of the photos in folders of people to use.
        progress: is given the photos to look at.

    Returns:
        One for each set, each model and each of `mirrors`, in this order.

    Raises:
        BadInput: something that cannot be read; no face in any photo; fewer than two pairs of each
            kind.
    """
    on = Path(on)
    if not on.exists():
        raise BadInput(
            f"{on} does not exist: give a list of pairs, a .bin or a folder to measure on"
        )
    if sets := verification_set.find(on):
        return [one for path in sets for one in _on_set(models, path, mirrors, progress)]
    if templates.is_protocol(on):
        return _on_templates(models, on, mirrors, progress)
    if on.is_dir():
        return _on_people(models, on, mirrors, seed, choice, progress)
    return _on_pairs(models, on, photos, mirrors, progress)


def _on_set(
    models: Sequence[Model], path: Path, mirrors: Sequence[bool], progress: Progress
) -> Iterator[Evaluation]:
    content = verification_set.read(path)
    protocol.require_pairs(content.same, str(path))  # before the long part
    batches = map(content.crops, progress(content.batches(BATCH), content.name))
    for model, mirror, rows in _embed(models, mirrors, batches):
        told = protocol.verification(rows[0::2], rows[1::2], content.same, name=str(path))
        yield _evaluation(content.name, model, mirror, len(rows), told)


def _on_pairs(
    models: Sequence[Model],
    path: Path,
    photos: str | Path | None,
    mirrors: Sequence[bool],
    progress: Progress,
) -> list[Evaluation]:
    listed = pairs.read(path)
    protocol.require_pairs(listed.same, str(path))  # before the long part
    folder = _photo_folder(path, photos)
    paths = [pairs.find(folder, photo) for photo in listed.photos]
    order: list[int] = []
    missed: list[int] = []
    aligned = _subjects(models[0].detector, paths, order, missed, progress)
    found = []
    for model, mirror, rows in _embed(models, mirrors, batches(aligned)):
        embeddings = rows[np.argsort(order)]
        told = _verification(embeddings, listed, path)
        names = tuple(listed.photos[i] for i in missed)
        found.append(_evaluation(path.name, model, mirror, len(paths), told, missed=names))
    return found


def aligned_pairs(
    path: Path,
    detector: Detector,
    *,
    photos: str | Path | None = None,
    progress: Progress = silent,
) -> VerificationSet:
    """The aligned crops of a list of pairs, to be evaluated repeatedly.

    Args:
        path, photos, progress: see `evaluate`, which treats the photos alike.
        detector: finds the faces.

    Raises:
        BadInput: as `evaluate`.
    """
    listed = pairs.read(path)
    protocol.require_pairs(listed.same, str(path))
    folder = _photo_folder(path, photos)
    paths = [pairs.find(folder, photo) for photo in listed.photos]
    order: list[int] = []
    crops = [
        images.encode(crop, ".png") for crop in _subjects(detector, paths, order, [], progress)
    ]
    by_photo = dict(zip(order, crops, strict=True))
    both = np.stack([listed.first, listed.second], axis=1).ravel().tolist()
    return VerificationSet(path.stem, [by_photo[photo] for photo in both], listed.same)


def _verification(embeddings: Embeddings, listed: Pairs, path: Path) -> Verification:
    folds = listed.folds if listed.folds.any() else None
    first, second = embeddings[listed.first], embeddings[listed.second]
    return protocol.verification(first, second, listed.same, folds, name=str(path))


def _photo_folder(pairs_file: Path, photos: str | Path | None) -> Path:
    if photos is not None:
        return Path(photos)
    beside = pairs_file.parent
    return beside / "images" if (beside / "images").is_dir() else beside


def _subjects(
    detector: Detector,
    paths: Sequence[Path],
    order: list[int],
    missed: list[int],
    progress: Progress,
) -> Iterator[Image]:
    """The aligned subject of each photo; photos without a detected face come last.

    Adds the number of each photo to `order`, and of those without a face to `missed`.
    """
    layouts = []
    for i, path in enumerate(progress(paths, "measuring")):
        image = images.read(path)
        faces = detector(image)
        if not faces:
            missed.append(i)
            continue
        face = central(faces, image)
        layouts.append(face.points / image.shape[1::-1])
        order.append(i)
        yield crop(image, face.points)
    if not layouts:
        raise BadInput(f"no face was found in any of {len(paths)} photos: check the photos' folder")
    typical = np.median(layouts, axis=0)  # fractions of the picture's width and height
    for i in missed:  # read again: kept, they could fill the memory
        image = images.read(paths[i])
        order.append(i)
        yield crop(image, typical * image.shape[1::-1])


def central(faces: Sequence[Face], image: Image) -> Face:
    """The face nearest the picture's centre, measured in its own size."""
    centre = np.array([image.shape[1], image.shape[0]]) / 2

    def offset(face: Face) -> float:
        return float(np.linalg.norm((face.box[:2] + face.box[2:]) / 2 - centre)) / face.size

    return min(faces, key=offset)


def _on_people(
    models: Sequence[Model],
    folder: Path,
    mirrors: Sequence[bool],
    seed: int,
    choice: files.Choice,
    progress: Progress,
) -> list[Evaluation]:
    person_of, loose = files.photos_of_people(folder, choice)
    _require_people(list(person_of.values()), folder)  # before the long part
    faces = embed_largest(models, list(person_of), progress, "measuring", mirrors)
    whose = [person_of[path] for path in faces.photos]
    _require_people(whose, folder)
    told = product(models, mirrors)
    return [
        _evaluation(
            Path(os.path.realpath(folder)).name,
            model,
            mirror,
            len(rows),
            protocol.all_pairs(rows, whose),
            skipped=(*loose, *faces.skipped),
            identification=protocol.identification(rows, whose, seed=seed),
        )
        for (model, mirror), rows in zip(told, faces.vectors, strict=True)
    ]


def _on_templates(
    models: Sequence[Model], folder: Path, mirrors: Sequence[bool], progress: Progress
) -> list[Evaluation]:
    listed = templates.read(folder)
    protocol.require_pairs(listed.same, str(folder))  # before the long part
    order: list[int] = []
    missed: list[int] = []
    if listed.points is None:
        aligned = _subjects(models[0].detector, listed.photos, order, missed, progress)
    else:
        order += range(len(listed.photos))
        aligned = (
            crop(images.read(path), points)
            for path, points in zip(
                progress(listed.photos, "measuring"), listed.points, strict=True
            )
        )
    found = []
    for model, mirror, rows in _embed(models, mirrors, batches(aligned)):
        names, vectors = templates.pooled(rows[np.argsort(order)], listed.template, listed.media)
        first, second = (vectors[np.searchsorted(names, side)] for side in listed.pairs.T)
        told = protocol.verification(first, second, listed.same, in_folds=False)
        who = templates.identification(names, vectors, listed) if listed.galleries else None
        lacking = tuple(listed.photos[i].name for i in missed)
        found.append(
            _evaluation(
                listed.name,
                model,
                mirror,
                len(rows),
                told,
                missed=lacking,
                identification=who,
            )
        )
    return found


def _require_people(whose: Sequence[str], folder: Path) -> None:
    names = set(whose)
    if len(names) < 2 or len(names) == len(whose):
        raise BadInput(
            f"{folder} has {len(whose)} usable photos of {len(names)} people: "
            "at least two people and two photos of one are needed"
        )
    if len(whose) > MAX_PHOTOS:
        raise BadInput(
            f"{folder} has {len(whose)} photos, which have too many pairs to compare: "
            f"take a part of at most {MAX_PHOTOS}"
        )


def _embed(
    models: Sequence[Model], mirrors: Sequence[bool], batches: Iterable[Crops]
) -> list[tuple[Model, bool, Embeddings]]:
    rows = protocol.embed_all([model.embedder for model in models], batches, mirrors)
    return [(*which, one) for which, one in zip(product(models, mirrors), rows, strict=True)]


def _evaluation(
    name: str,
    model: Model,
    mirror: bool,
    photos: int,
    told: Verification,
    *,
    missed: tuple[str, ...] = (),
    skipped: tuple[Skipped, ...] = (),
    identification: Identification | None = None,
) -> Evaluation:
    return Evaluation(
        set=name,
        model_id=model.model_id,
        mirror=mirror,
        photos=photos,
        missed=missed,
        skipped=skipped,
        verification=told,
        own=metrics.rates(told.scores, told.same, model.own.threshold) if model.own else None,
        identification=identification,
    )
