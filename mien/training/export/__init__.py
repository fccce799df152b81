"""From a checkpoint to a file that recognises: ours, in 8 bits, or another runtime's."""

from mien.training.export.file import export, export_random, graph
from mien.training.export.fuse import fuse
from mien.training.export.int8 import to_int8

__all__ = ["export", "export_random", "fuse", "graph", "to_int8"]
