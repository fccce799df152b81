"""The two networks as files that ONNX Runtime reads: pixels in, half-precision weights."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mien.recognition.detect.mien_detector import SIDE
from recipes.detector.networks import Dense, Finder, Points, Separable


class _OfPixels(nn.Module):
    """A network of (N, H, W, 3) uint8, with batch norm folded into the convolutions."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        for part in self.network.modules():
            if isinstance(part, Dense):
                part.conv, part.bn = _folded(part.conv, part.bn), nn.Identity()
            elif isinstance(part, Separable):
                part.pw, part.bn = _folded(part.pw, part.bn), nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, ...]:
        said: Tensor | tuple[Tensor, ...] = self.network(pixels.permute(0, 3, 1, 2).float())
        return said


def _folded(conv: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv, norm)


def export(finder: Finder, points: Points, folder: Path) -> None:
    """Leave finder.onnx and points.onnx in a folder."""
    _write(finder, folder / "finder.onnx", (1, 96, 128, 3), {1: "H", 2: "W"}, ["near", "far"])
    _write(points, folder / "points.onnx", (2, SIDE, SIDE, 3), {0: "N"}, ["said"])


def _write(
    network: nn.Module, path: Path, shape: tuple[int, ...], free: dict[int, str], gives: list[str]
) -> None:
    torch.onnx.export(
        _OfPixels(network).eval(),
        (torch.zeros(shape, dtype=torch.uint8),),
        str(path),
        input_names=["pixels"],
        output_names=gives,
        dynamic_axes={"pixels": free},
        dynamo=False,
        opset_version=17,
    )
    model = onnx.load(path)
    graph = model.graph
    weights, casts = [], []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size > 1:
            half = f"{tensor.name}.half"
            weights.append(numpy_helper.from_array(array.astype(np.float16), half))
            casts.append(helper.make_node("Cast", [half], [tensor.name], to=TensorProto.FLOAT))
        else:
            weights.append(tensor)
    nodes = [*casts, *graph.node]
    for node in nodes:
        node.ClearField("doc_string")  # paths of the machine
        node.ClearField("name")
    for field, content in ((graph.initializer, weights), (graph.node, nodes)):
        kept = [copy.copy(one) for one in content]
        del field[:]
        field.extend(kept)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
