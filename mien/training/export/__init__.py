"""From a checkpoint to a file that recognises: ours, in 8 bits, or another runtime's."""

from mien.training.export.file import export, export_random, graph
from mien.training.export.fold import fold
from mien.training.export.int8 import to_int8

__all__ = ["export", "export_random", "fold", "graph", "to_int8"]
