"""Training: a prepared data set in, a checkpoint out.  The only folder that imports torch.

`config.py` holds a run's settings, `run.py` the run and `loop.py` its loop, `student.py` the losses
from labels and a teacher, `optim.py` optimizers and schedules, `run_folder.py` the files on disk;
`lr_finder.py` finds a learning rate and a batch size beforehand.
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
