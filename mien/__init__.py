"""Lightweight face recognition that anyone can run, check and train."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.album import Album
    from mien.calibrate import Calibration, calibrate
    from mien.cluster import Clusters, cluster
    from mien.compare import Comparison, compare
    from mien.draw import annotate
    from mien.enroll import Enrolment, enroll, rebuild
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
    from mien.evaluate import evaluate
    from mien.facebank.bank import Facebank
    from mien.health import Health, examine
    from mien.identify import Seen, Skipped, identify
    from mien.images import read, walk, write
    from mien.impostors import Impostors
    from mien.model import Model, load
    from mien.protocol import Evaluation, Identification, Verification, verify
    from mien.types import Face, Frame, Match, Sighting

# Else ONNX Runtime keeps an identifier of the machine in the cache and sends events to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Else NumPy's threads keep processors busy for 25 ms after each search, while photos are looked at;
# of so many doublings of a turn, 16 are a small part of a millisecond.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")

__version__ = "0.1.0"

__all__ = [
    "Album",
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
    "Frame",
    "Health",
    "Identification",
    "Impostors",
    "Match",
    "MienError",
    "MissingExtra",
    "Model",
    "NoFace",
    "Seen",
    "Sighting",
    "Skipped",
    "UnknownPerson",
    "Verification",
    "annotate",
    "calibrate",
    "cluster",
    "compare",
    "enroll",
    "evaluate",
    "examine",
    "identify",
    "load",
    "read",
    "rebuild",
    "verify",
    "walk",
    "write",
]

_FILES = {  # where each name is; they are imported when they are first asked for
    "album": ("Album",),
    "calibrate": ("Calibration", "calibrate"),
    "cluster": ("Clusters", "cluster"),
    "compare": ("Comparison", "compare"),
    "draw": ("annotate",),
    "enroll": ("Enrolment", "enroll", "rebuild"),
    "errors": (
        "BadFacebank",
        "BadInput",
        "BadModel",
        "CannotWrite",
        "FacebankMismatch",
        "MienError",
        "MissingExtra",
        "NoFace",
        "UnknownPerson",
    ),
    "evaluate": ("evaluate",),
    "facebank.bank": ("Facebank",),
    "health": ("Health", "examine"),
    "identify": ("Seen", "Skipped", "identify"),
    "images": ("read", "walk", "write"),
    "impostors": ("Impostors",),
    "model": ("Model", "load"),
    "protocol": ("Evaluation", "Identification", "Verification", "verify"),
    "types": ("Face", "Frame", "Match", "Sighting"),
}
_FILE_OF = {name: file for file, names in _FILES.items() for name in names}


class _Package(ModuleType):
    """A package in which `compare` is the function, not the file of the same name."""

    def __getattr__(self, name: str) -> object:
        if name not in _FILE_OF:
            raise AttributeError(f"module 'mien' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"mien.{_FILE_OF[name]}"), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: object) -> None:
        if name in _FILE_OF and isinstance(value, ModuleType):  # Python has imported the file
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
