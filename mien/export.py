"""From a checkpoint to the one file that recognises: ONNX with its recipe inside.

The graph takes crops as they are, (N, 112, 112, 3) uint8 RGB, and gives unit vectors, (N, D)
float32.  Batch norm is folded into the convolution before it, and each split 1x1 becomes one
dense 1x1, so that a runtime sees plain convolutions only.  What is written is run on the same
crops as the network, and refused where they differ.
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from mien.backbones.blocks import DepthwiseBranches, SplitConv
from mien.checkpoint import Checkpoint
from mien.embed import Card, canary_crop
from mien.errors import BadInput, BadModel
from mien.images import write_atomically
from mien.runtime import session

TOLERANCE = 1e-4  # largest difference of any coordinate between the network and its file


class _Deployed(nn.Module):
    """uint8 crops in, unit vectors out, around a network that takes [-1, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> Tensor:
        x = (crops.permute(0, 3, 1, 2).float() - 127.5) / 127.5  # (N, 3, 112, 112)
        return F.normalize(self.network(x))


def fold(module: nn.Module) -> nn.Module:
    """Turns every linear run of layers into one convolution or linear layer, in place."""
    if isinstance(module, DepthwiseBranches):
        return module.folded()
    for name, child in module.named_children():
        setattr(module, name, fold(child))
    if isinstance(module, SplitConv):
        return _dense_conv(module)
    if isinstance(module, nn.Sequential):
        layers: list[nn.Module] = []
        for layer in module:
            before = layers[-1] if layers else None
            if isinstance(before, nn.Conv2d) and isinstance(layer, nn.BatchNorm2d):
                layers[-1] = fuse_conv_bn_eval(before, layer)
            elif isinstance(before, nn.Linear) and isinstance(layer, nn.BatchNorm1d):
                layers[-1] = fuse_linear_bn_eval(before, layer)
            elif not isinstance(layer, nn.Identity):
                layers.append(layer)
        return nn.Sequential(*layers)
    return module


def _dense_conv(split: SplitConv) -> nn.Conv2d:
    weight = split.dense().detach()[:, :, None, None]
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
    conv.weight = nn.Parameter(weight)
    return conv.eval()


def graph(network: nn.Module) -> bytes:
    """An ONNX file of what a network computes, without a card; the network is folded by it."""
    content: bytes = _graph(network).SerializeToString()
    return content


def export(
    checkpoint: Checkpoint,
    path: Path,
    *,
    name: str,
    threshold: float | None = None,
    calibration: dict[str, Any] | None = None,
) -> Card:
    """Writes a model file and returns what it says of itself.

    Args:
        checkpoint: the trained network.
        path: where to write; ends with .onnx.
        name: the model's name, the first part of its identity.
        threshold: the cosine from which two faces are taken for one person.
        calibration: where that threshold comes from, as `Calibration.to_json` gives it.

    Raises:
        BadInput: the calibration is another model's.
        BadModel: the file does not compute what the network does.
        CannotWrite: the disk is full, read-only or forbidden.
    """
    network = checkpoint.build()
    crops = _crops_to_compare()
    with torch.inference_mode():
        expected = _Deployed(network)(torch.from_numpy(crops)).numpy()
    digest = hashlib.sha256()
    for key, tensor in sorted(checkpoint.weights.items()):
        digest.update(key.encode() + tensor.contiguous().numpy().tobytes())
    model_id = f"{name}-{digest.hexdigest()[:12]}"
    if calibration and calibration["model_id"] != model_id:
        raise BadInput(
            f"the calibration is of {calibration['model_id']}, and this is {model_id}; "
            "run mien calibrate with this one"
        )
    card = Card(
        name=name,
        model_id=model_id,
        dim=expected.shape[1],
        threshold=threshold,
        calibration=calibration or {},
        trained={"backbone": checkpoint.backbone, "args": checkpoint.args, **checkpoint.trained},
        canary=[round(float(value), 6) for value in expected[0]],
    )
    proto = _graph(network)
    proto.metadata_props.add(key="mien", value=json.dumps(asdict(card)))
    content = proto.SerializeToString()
    exported = session(content, otherwise=f"{path} would not run; use another version of torch")
    difference = float(np.abs(exported.run(None, {"crops": crops})[0] - expected).max())
    if difference > TOLERANCE:
        raise BadModel(
            f"{path} would differ from its network by {difference:.2g}, over {TOLERANCE:g}; "
            "use another version of torch or onnxscript"
        )
    write_atomically(path, content)
    return card


def _graph(network: nn.Module) -> onnx.ModelProto:
    crops = torch.from_numpy(_crops_to_compare())
    return _to_onnx(_Deployed(fold(network)).eval(), crops)


def _to_onnx(network: nn.Module, crops: Tensor) -> onnx.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, we do not
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, to torch
        program = torch.onnx.export(
            network,
            (crops,),
            input_names=["crops"],
            output_names=["embeddings"],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    del proto.metadata_props[:]
    for node in proto.graph.node:  # stack traces of the machine that exported
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]
    return proto


def _crops_to_compare() -> np.ndarray[Any, np.dtype[np.uint8]]:
    noise = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8)
    return np.concatenate([canary_crop(), noise])
