"""Lightweight face recognition that anyone can run, check and train."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.collection.album import album
    from mien.collection.fill import look, update
    from mien.collection.photo_index import PhotoIndex
    from mien.draw import annotate
    from mien.errors import (
        BadFacebank,
        BadInput,
        BadModel,
        CannotWrite,
        FacebankMismatch,
        MienError,
        MissingExtra,
        NoFace,
        UnknownPerson,
    )
    from mien.evaluation.calibrate import Calibration, calibrate
    from mien.evaluation.evaluate import evaluate
    from mien.evaluation.protocol import Evaluation, Identification, Verification, verify
    from mien.facebank.facebank import Facebank
    from mien.files import walk
    from mien.images import read, write
    from mien.recognition.model import Looked, Model, load
    from mien.recognition.policy import Policy
    from mien.recognition.thresholds import Impostors
    from mien.types import Face, Match, NamedFace, Near, Skipped
    from mien.verbs.cluster import Clusters, cluster
    from mien.verbs.compare import Comparison, compare
    from mien.verbs.enroll import Enrolment, enroll, enroll_person, rebuild
    from mien.verbs.health import Health, examine
    from mien.verbs.identify import Seen, identify
    from mien.verbs.review import Question, Review

# Else ONNX Runtime keeps an identifier of the machine in the cache and sends events to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Else NumPy's threads keep processors busy for 25 ms after each search, while photos are looked at;
# of so many doublings of a turn, 16 are a small part of a millisecond.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")

__version__ = "0.1.0"

__all__ = [
    "BadFacebank",
    "BadInput",
    "BadModel",
    "Calibration",
    "CannotWrite",
    "Clusters",
    "Comparison",
    "Enrolment",
    "Evaluation",
    "Face",
    "Facebank",
    "FacebankMismatch",
    "Health",
    "Identification",
    "Impostors",
    "Looked",
    "Match",
    "MienError",
    "MissingExtra",
    "Model",
    "NamedFace",
    "Near",
    "NoFace",
    "PhotoIndex",
    "Policy",
    "Question",
    "Review",
    "Seen",
    "Skipped",
    "UnknownPerson",
    "Verification",
    "album",
    "annotate",
    "calibrate",
    "cluster",
    "compare",
    "enroll",
    "enroll_person",
    "evaluate",
    "examine",
    "identify",
    "load",
    "look",
    "read",
    "rebuild",
    "update",
    "verify",
    "walk",
    "write",
]

_HOME = {  # where each name is; imported when it is first asked for
    name: module
    for module, names in {
        "mien.collection.fill": "look update",
        "mien.collection.photo_index": "PhotoIndex",
        "mien.draw": "annotate",
        "mien.errors": "BadFacebank BadInput BadModel CannotWrite FacebankMismatch "
        "MienError MissingExtra NoFace UnknownPerson",
        "mien.evaluation.calibrate": "Calibration calibrate",
        "mien.evaluation.evaluate": "evaluate",
        "mien.evaluation.protocol": "Evaluation Identification Verification verify",
        "mien.facebank.facebank": "Facebank",
        "mien.files": "walk",
        "mien.images": "read write",
        "mien.recognition.model": "Looked Model load",
        "mien.recognition.policy": "Policy",
        "mien.recognition.thresholds": "Impostors",
        "mien.types": "Face Match NamedFace Near Skipped",
        "mien.collection.album": "album",
        "mien.verbs.cluster": "Clusters cluster",
        "mien.verbs.compare": "Comparison compare",
        "mien.verbs.enroll": "Enrolment enroll enroll_person rebuild",
        "mien.verbs.health": "Health examine",
        "mien.verbs.identify": "Seen identify",
        "mien.verbs.review": "Question Review",
    }.items()
    for name in names.split()
}


if not TYPE_CHECKING:  # which would take every name for one that is there

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'mien' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
