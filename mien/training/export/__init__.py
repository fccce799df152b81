"""From a checkpoint to a file that recognises: ours, in 8 bits, or another runtime's."""

from mien.training.export.adopt import adopt
from mien.training.export.file import export, export_random, graph, recalibrate
from mien.training.export.fold import fold
from mien.training.export.int8 import to_int8

__all__ = ["adopt", "export", "export_random", "fold", "graph", "recalibrate", "to_int8"]
