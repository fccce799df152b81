"""The verb that trains: a prepared data set in, a checkpoint out.

`config.py` says what a run is, `engine.py` is its loop, `student.py` what it learns from labels and
from a teacher, `schedule.py` how fast, `folder.py` what it leaves on the disk, `search.py` finds a
good rate and batch before it.
"""

from mien.training.config import TrainConfig
from mien.training.loop import train
from mien.training.lr_finder import find_batch, find_rate

__all__ = ["TrainConfig", "find_batch", "find_rate", "train"]
