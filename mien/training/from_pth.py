"""The .pth files of SeesawFaceNet's code, and of InsightFace_Pytorch, from which it comes.

Each of their tensors has one place in a network of ours.  What differs: their split convolutions
have a batch norm for each part, before the channels are shuffled; the squeeze-excite of an IR-SE is
of 1x1 convolutions; DW's blocks of stride 1 hold a shortcut that is never used; and, as nothing in
their code turns OpenCV's BGR into RGB, their first convolution takes its channels in that order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from mien.errors import BadInput, BadModel
from mien.training import checkpoint
from mien.training.backbones import BACKBONES
from mien.training.backbones.seesaw import SeesawBlock
from mien.training.checkpoint import Checkpoint

SUFFIXES = (".pth", ".pt")
IR_DEPTHS = {24: 50, 49: 100, 50: 152}  # by the number of blocks
ALIKE = ("seesaw_shuffle", "seesaw_share")  # their files hold the same names and shapes
UNUSED = re.compile(r"conv_[345]\.model\.\d+\.mapping\..*|.*\.num_batches_tracked")


def load(path: Path, backbone: str | None = None, *, bgr: bool = True) -> Checkpoint:
    """A checkpoint of mien's or, by its suffix, a file of the original's.

    Args:
        path: .safetensors, .pth or .pt.
        backbone: the network that the original's file is of, where it may be of two.
        bgr: whether the original's network was trained on BGR, as by its own code.

    Raises:
        BadInput: it does not say of which network it is.
        BadModel: missing, damaged, or of no network that is known.
    """
    if path.suffix not in SUFFIXES:
        return checkpoint.load(path)
    strange = f"{path} holds no network of the original's code: give the .pth of its model"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        theirs = {name.removeprefix("module."): tensor.float() for name, tensor in content.items()}
    except (
        *(OSError, RuntimeError, UnpicklingError, EOFError),
        *(AttributeError, KeyError, TypeError, ValueError),
    ) as error:
        raise BadModel(strange) from error
    name, args = _which(path, theirs, backbone, strange)
    network: Any = BACKBONES[name](**args)
    take = _Taking(theirs)
    try:
        (_take_ir if name.startswith("ir_") else _take_mobile)(network, take)
    except (KeyError, RuntimeError) as error:
        raise BadModel(f"{path} does not fit {name}, or is truncated ({error})") from error
    if left := [name for name in take.left if not UNUSED.fullmatch(name)]:
        raise BadModel(f"{path} does not fit {name}: it also has {left[0]}")
    if bgr:
        stem = network.stem[0] if name.startswith("ir_") else network.stem[0][0]
        stem.weight.data = stem.weight.data.flip(1)
    facts = {"file": path.name, "colours": "bgr" if bgr else "rgb"}
    return Checkpoint(name, args, network.state_dict(), facts)


def _which(
    path: Path, theirs: dict[str, Tensor], given: str | None, strange: str
) -> tuple[str, dict[str, Any]]:
    """The network that a file is of, and its arguments."""
    if "output_layer.3.weight" in theirs:
        blocks = {int(name.split(".")[1]) for name in theirs if name.startswith("body.")}
        if len(blocks) not in IR_DEPTHS:
            raise BadModel(strange)
        attention = "se_" if "body.0.res_layer.5.fc1.weight" in theirs else ""
        dim = len(theirs["output_layer.3.weight"])
        return f"ir_{attention}{IR_DEPTHS[len(blocks)]}", {"dim": dim}
    if "linear.weight" not in theirs:
        raise BadModel(strange)
    args = {"dim": len(theirs["linear.weight"])}
    if "conv_23.conv.conv.weight" in theirs:
        prelu = "conv1.prelu.weight" in theirs
        return "mobileface", args if prelu else {**args, "activation": "silu"}
    if "conv_23.mapping.1.conv.weight" in theirs:
        return "seesaw_dw_v2", args
    if "conv_23.mapping.conv.weight" in theirs:
        return "seesaw_dw_v1", args
    if given not in ALIKE:
        raise BadInput(f"{path} may be of {' or of '.join(ALIKE)}: say which with --net")
    return given, args


class _Taking:
    """Copies tensors by their original names into our modules, and tracks which are left."""

    def __init__(self, theirs: dict[str, Tensor]) -> None:
        self.theirs, self.left = theirs, dict.fromkeys(theirs)

    @torch.no_grad()
    def into(self, ours: Tensor, *names: str, order: Tensor | None = None) -> None:
        """One tensor, or several that are joined and then put into another order."""
        whole = torch.cat([self.theirs[name] for name in names])
        ours.copy_((whole if order is None else whole[order]).view_as(ours))
        for name in names:
            self.left.pop(name, None)

    def layer(self, ours: nn.Module, *names: str, order: Tensor | None = None) -> None:
        """All of a layer, or of layers in a row, whose tensors have the same names there."""
        for key, tensor in ours.state_dict().items():
            if not key.endswith("num_batches_tracked"):  # files of old versions have none
                self.into(tensor, *(f"{name}.{key}" for name in names), order=order)

    def block(self, ours: Any, name: str) -> None:
        """A convolution, its batch norm and its activation."""
        for layer, inner in zip(ours, ("conv", "bn", "prelu"), strict=False):
            self.layer(layer, f"{name}.{inner}")


def _take_ir(network: Any, take: _Taking) -> None:
    take.layer(network.stem, "input_layer")
    take.layer(network.head, "output_layer")
    for number, block in enumerate(network.blocks):
        name = f"body.{number}"
        take.layer(block.shortcut, f"{name}.shortcut_layer")
        layers = [*block.layers[:3], *block.layers[3]]
        for place, layer in enumerate(layers):
            take.layer(layer, f"{name}.res_layer.{place}")
        if not isinstance(block.attention, nn.Identity):
            take.layer(block.attention.squeeze, f"{name}.res_layer.5.fc1")
            take.layer(block.attention.excite, f"{name}.res_layer.5.fc2")


def _take_mobile(network: Any, take: _Taking) -> None:
    for ours, name in (
        *zip(network.stem, ("conv1", "conv2_dw"), strict=True),
        *zip(network.head[:2], ("conv_6_sep", "conv_6_dw"), strict=True),
    ):
        take.block(ours, name)
    take.layer(network.head[3], "linear")
    take.layer(network.head[4], "bn")
    for block, name in zip(network.blocks, _block_names(take.theirs), strict=False):
        if isinstance(block, SeesawBlock):
            _take_seesaw(block, name, take)
        else:
            for ours, inner in zip(block.layers, ("conv", "conv_dw", "project"), strict=True):
                take.block(ours, f"{name}.{inner}")


def _take_seesaw(block: Any, name: str, take: _Taking) -> None:
    for (split, norm, *_), way in ((block.up, "conv"), (block.down, "project")):
        take.into(split.quarter, f"{name}.{way}_1.conv.weight")
        take.into(split.rest, f"{name}.{way}_3.conv.weight")
        parts = (1, 3) if split.quarter_first else (3, 1)
        take.layer(norm, *(f"{name}.{way}_{part}.bn" for part in parts), order=split.order)
    take.block(block.depthwise, f"{name}.conv_dw")
    attention = block.attention
    for place, layer in enumerate((attention.squeeze, attention.activation, attention.excite)):
        take.layer(layer, f"{name}.se.0.fc.{place}")
    if isinstance(block.shortcut, nn.Sequential):
        pooled = isinstance(block.shortcut[0], nn.MaxPool2d)
        ours, inner = (block.shortcut[1], ".1") if pooled else (block.shortcut, "")
        take.block(ours, f"{name}.mapping{inner}")


def _block_names(theirs: dict[str, Tensor]) -> Sequence[str]:
    """The blocks of a mobile network in their order: conv_23, conv_3.model.0, ..."""
    found: dict[str, None] = {}
    for name in theirs:
        if match := re.match(r"conv_(23|34|45)(?=\.)|conv_[345]\.model\.\d+", name):
            found[match[0]] = None
    stages = ("conv_23", "conv_3", "conv_34", "conv_4", "conv_45", "conv_5")

    def place(name: str) -> tuple[int, int]:
        stage, _, rest = name.partition(".model.")
        return stages.index(stage), int(rest or 0)

    return sorted(found, key=place)
