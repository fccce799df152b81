"""From a checkpoint to a file that recognises: ours, in 8 bits, or another runtime's."""

from mien.export.adopt import adopt
from mien.export.file import export, export_by_chance, graph
from mien.export.fold import fold
from mien.export.int8 import to_int8

__all__ = ["adopt", "export", "export_by_chance", "fold", "graph", "to_int8"]
