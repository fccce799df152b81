"""Training: a prepared data set in, a checkpoint out.  The only folder that imports torch.

`config.py` says what a run is, `run.py` is the run and `loop.py` its loop, `student.py` what it
learns from labels and from a teacher, `optim.py` how fast, `run_folder.py` what it leaves on the
disk; `lr_finder.py` finds a good learning rate and batch size before it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.training.config import TrainConfig
    from mien.training.loop import train
    from mien.training.lr_finder import find_batch, find_lr

__all__ = ["TrainConfig", "find_batch", "find_lr", "train"]

_HOME = {
    "TrainConfig": "config",
    "train": "loop",
    "find_batch": "lr_finder",
    "find_lr": "lr_finder",
}


def __getattr__(name: str) -> object:
    # Imported when first asked for: preparing data needs this folder and no torch.
    if name not in _HOME:
        raise AttributeError(f"module 'mien.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mien.training.{_HOME[name]}"), name)
