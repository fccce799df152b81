"""Finds the input form of another project's network: the one that separates people best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mien.errors import BadInput
from mien.evaluation.scores import score_blocks
from mien.recognition.adopt import Recogniser
from mien.recognition.align import read_face
from mien.recognition.input_form import FORMS
from mien.recognition.onnx.session import load_network
from mien.types import Crops, Detector, Embeddings, Progress, silent

PHOTOS, EACH = 60, 4  # that are looked at, in all and of a person
LEAST = 10  # genuine pairs that suffice


def separations(
    recogniser: Recogniser,
    person_of: Mapping[Path, str],
    detector: Detector,
    progress: Progress = silent,
) -> dict[str, float]:
    """How well each of `FORMS` separates impostor from genuine pairs, best first.

    The distance between the means of their scores, in standard deviations (d', Daugman 2000).

    Args:
        recogniser: the network.
        person_of: photos, and whose they are.
        detector: finds the faces.
        progress: is given the photos, then the forms.

    Raises:
        BadInput: there are too few photos of people with two.
        BadModel: the network does not run.
    """
    crops, whose = [], []
    for path in progress(_some(person_of), "detecting"):
        try:
            crops.append(read_face(path, detector))
        except BadInput:  # as without a face
            continue
        whose.append(person_of[path])
    counts = Counter(whose)
    if sum(count * (count - 1) // 2 for count in counts.values()) < LEAST or len(counts) < 2:
        raise BadInput(
            "too few photos show one person twice to try input forms on: add folders of people "
            "with photos, or give --form"
        )
    faces = np.stack(crops)
    found = {
        form: _separation(_vectors(recogniser, form, faces), whose)
        for form in progress(list(FORMS), "trying input forms")
    }
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def _some(person_of: Mapping[Path, str]) -> list[Path]:
    """Photos of people who have more than one, some of each."""
    counts, taken = Counter(person_of.values()), Counter[str]()
    chosen: list[Path] = []
    for path, person in person_of.items():
        taken[person] += 1
        if counts[person] > 1 and taken[person] <= EACH and len(chosen) < PHOTOS:
            chosen.append(path)
    return chosen


def _vectors(recogniser: Recogniser, form: str, crops: Crops) -> Embeddings:
    network, batch = recogniser.network(FORMS[form])
    run = load_network(network, runtime="onnxruntime", otherwise="it would not run")
    parts = [run(crops[start : start + batch]) for start in range(0, len(crops), batch)]
    return np.concatenate(parts)


def _separation(vectors: Embeddings, whose: list[str]) -> float:
    """d' of genuine and impostor pairs; 0 where vectors are not finite."""
    if not np.isfinite(vectors).all():
        return 0.0
    one, two = (
        np.concatenate(list(score_blocks(vectors, whose, same=same))) for same in (True, False)
    )
    spread = np.sqrt((one.var() + two.var()) / 2)
    return float((one.mean() - two.mean()) / max(spread, 1e-6))
