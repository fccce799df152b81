"""Losses.  A new one is a file here and a line in the table.

A package that is installed beside mien adds its own by an entry point of the group `mien.losses`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from torch import Tensor

from mien.training.losses.adaface import AdaFace
from mien.training.losses.arcface import arcface
from mien.training.losses.cosface import cosface
from mien.training.losses.curricularface import CurricularFace
from mien.training.losses.liarcface import liarcface
from mien.training.losses.magface import MagFace
from mien.training.losses.softmax import softmax
from mien.training.losses.uniface import UniFace
from mien.training.plugins import Table

Loss = Callable[..., Tensor]  # cosines and labels to logits: a function, or a StatefulLoss

LOSSES: Table[Callable[..., Any]] = Table(  # functions, and classes of those with a state
    "loss",
    "mien.losses",
    {
        "softmax": softmax,
        "cosface": cosface,
        "arcface": arcface,
        "liarcface": liarcface,
        "adaface": AdaFace,
        "curricularface": CurricularFace,
        "magface": MagFace,
        "uniface": UniFace,
    },
)


def make(name: str, **settings: float) -> Loss:
    """A loss of the table with a margin or scale of its own.

    Raises:
        BadInput: there is no such loss.
    """
    if inspect.isclass(LOSSES[name]):
        return cast("Loss", LOSSES[name](**settings))
    return partial(LOSSES[name], **settings)
