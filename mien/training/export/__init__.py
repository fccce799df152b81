"""Export: from a checkpoint to a model file, in 8 bits, or for another runtime."""

from mien.training.export.fuse import fuse
from mien.training.export.int8 import to_int8
from mien.training.export.to_onnx import export, export_random, graph

__all__ = ["export", "export_random", "fuse", "graph", "to_int8"]
