"""Turns a model file back into a network to train: the inverse of `mien.training.export.fuse`.

In the file, batch norms are folded into the convolutions.  Here each gets one back, with statistics
recalibrated so that training starts from the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

from mien.errors import BadModel
from mien.recognition.embedder import OnnxEmbedder
from mien.recognition.onnx.runtime import PLAIN
from mien.training.backbones import BACKBONES
from mien.training.backbones.blocks import DepthwiseBranches, SplitConv, affine

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def from_onnx(path: Path, x: Tensor) -> nn.Module:
    """The network that a model file was exported from, with weights that compute the same.

    Of branches that were added up, one gets all the weights and the others start at zero.

    Args:
        path: a file of `mien export`.
        x: crops to recalibrate batch norm by, (N, 3, 112, 112) in [-1, 1]; some hundreds.

    Raises:
        BadModel: it is not such a file, was made of another project's network or in 8 bits, or its
            network has layers whose weights the file keeps only in combined form.
    """
    trained = OnnxEmbedder(path, threads=1, runtime=PLAIN).card.trained
    lost = f"{path} does not hold the weights of a network of mien's: give a checkpoint"
    if trained.get("backbone") not in BACKBONES:
        raise BadModel(lost)
    network = BACKBONES[trained["backbone"]](**trained["args"]).eval()
    try:
        held = onnx.load(path).graph.initializer
        found = {tensor.name.removeprefix("network."): tensor for tensor in held}

        def read(name: str, like: Tensor) -> Tensor:
            return torch.from_numpy(numpy_helper.to_array(found[name]).copy()).view_as(like)

        with torch.no_grad():
            for name, layer, norm in _layers(network):
                _fill(layer, norm, name, read)
    except (DecodeError, KeyError, RuntimeError) as error:
        raise BadModel(lost) from error
    recalibrate_batch_norm(network, x)
    return network


def _layers(
    module: nn.Module, place: str = "", norm: nn.Module | None = None
) -> Iterator[tuple[str, nn.Module, nn.Module | None]]:
    """Every layer with weights, its folded batch norm, and the name that `fuse` left."""
    if isinstance(module, nn.Sequential):
        kept = 0
        for layer, behind in zip(module, [*list(module)[1:], None], strict=True):
            if not isinstance(layer, NORMS):
                norm = behind if isinstance(behind, NORMS) else None
                yield from _layers(layer, f"{place}{kept}.", norm)
                kept += not isinstance(layer, nn.Identity)
    elif isinstance(module, (nn.Conv2d, nn.Linear, nn.PReLU, SplitConv, DepthwiseBranches)):
        yield place.removesuffix("."), module, norm
    else:
        for name, child in module.named_children():
            yield from _layers(child, f"{place}{name}.")


def _fill(layer: Any, norm: Any, name: str, read: Callable[[str, Tensor], Tensor]) -> None:
    """Sets a layer's weights, and lets its batch norm do no more than add what the file adds."""
    if isinstance(layer, DepthwiseBranches):
        _fill(layer.wide[0], layer.wide[1], name, read)
        others: list[Any] = [layer.point[1], layer.identity]
        for other in others:
            if other is not None:
                nn.init.zeros_(other.weight)
    elif isinstance(layer, SplitConv):
        matrix = read(f"{name}.weight", layer.dense())[layer.order.argsort()]
        first, second = layer.parts
        rows, columns = first.shape
        first.copy_(matrix[:rows, :columns])
        second.copy_(matrix[rows:, columns:])
    else:
        layer.weight.copy_(read(f"{name}.weight", layer.weight))
        if layer.bias is not None:
            layer.bias.copy_(read(f"{name}.bias", layer.bias))
    if norm is not None:
        norm.running_var.fill_(1 - norm.eps)
        norm.bias.copy_(read(f"{name}.bias", norm.bias))


def recalibrate_batch_norm(network: nn.Module, x: Tensor) -> None:
    """Recalibrates the mean and variance of batch norms on crops, in place.

    Scale and shift change with them, so that the network computes the same in evaluation, and
    nearly the same in training.

    Args:
        network: in evaluation.
        x: (N, 3, 112, 112) in [-1, 1].
    """

    def seen(norm: Any, inputs: tuple[Tensor]) -> None:
        axes = [axis for axis in range(inputs[0].dim()) if axis != 1]
        variance, mean = torch.var_mean(inputs[0], axes, correction=0)
        scale, shift = affine(norm)
        norm.bias.copy_(shift + mean * scale)
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    hooks = [
        layer.register_forward_pre_hook(seen)
        for layer in network.modules()
        if isinstance(layer, NORMS)
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
