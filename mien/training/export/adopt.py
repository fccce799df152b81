"""Another project's network as a model of ours: measured, calibrated and used by every command.

Nearly all face recognisers in ONNX take aligned crops of 112 x 112 as floats, (N, 3, 112, 112), and
give vectors of any length.  Around such a network this writes what ours have: crops as they are,
vectors of unit length, and a card.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from mien.errors import BadInput, BadModel
from mien.files import write_atomically
from mien.recognition.embed import Card
from mien.recognition.onnx.session import load_network, runtime_errors
from mien.training.export.file import TOLERANCE, crops_to_compare, make_card
from mien.training.teacher import INPUTS


def adopt(
    network: Path,
    path: Path,
    *,
    scaling: str,
    name: str,
    threshold: float | None = None,
    calibration: dict[str, Any] | None = None,
) -> Card:
    """Writes a model file around another's network, and returns what it says of itself.

    Args:
        network: ONNX; float32 (N, 3, 112, 112) RGB in, (N, D) or (N, D, 1, 1) out.
        path: where to write; ends with .onnx.
        scaling: a key of `INPUTS`: how the network wants its pixels.
        name, threshold, calibration: see `export`.

    Raises:
        BadInput: the scaling is unknown, or the calibration another model's.
        BadModel: it is not such a network, or computes something else for a batch.
        CannotWrite: the disk is full, read-only or forbidden.
    """
    if scaling not in INPUTS:
        raise BadInput(f"there is no scaling {scaling!r}: use one of {', '.join(INPUTS)}")
    strange = f"{network} does not take faces of 112 x 112 and return vectors: give another"
    try:
        content = network.read_bytes()
        proto = onnx.load_from_string(content)
        _surround(proto, scaling)
    except (OSError, DecodeError, IndexError, ValueError) as error:
        raise BadModel(strange) from error
    run = load_network(proto.SerializeToString(), runtime="onnxruntime", otherwise=strange)
    crops = crops_to_compare()
    try:
        together, alone = run(crops), np.concatenate([run(one[None]) for one in crops])
    except runtime_errors() as error:
        raise BadModel(strange) from error
    if together.shape != alone.shape or not np.abs(together - alone).max() < TOLERANCE:
        raise BadModel(f"{network} takes only one face at a time: give another")
    digest = hashlib.sha256(content + scaling.encode()).hexdigest()
    trained = {"network": network.name, "scaling": scaling}
    card = make_card(name, digest, alone[0], trained, threshold, calibration)
    proto.metadata_props.add(key="mien", value=json.dumps(asdict(card)))
    write_atomically(path, proto.SerializeToString())
    return card


def _surround(proto: onnx.ModelProto, scaling: str) -> None:
    """Puts the scaling before a network, and the vectors' normalisation behind it.

    Raises:
        ValueError: it does not take such crops.
    """
    graph = proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    (entry,) = (value for value in graph.input if value.name not in weights)
    sides = [size.dim_value for size in entry.type.tensor_type.shape.dim]
    if sides[1:] != [3, 112, 112]:
        raise ValueError(f"it takes {sides}")
    for node in graph.node:  # some reshape to the one vector that they were exported with
        if node.output[0] == graph.output[0].name and node.op_type == "Reshape":
            node.CopyFrom(helper.make_node("Flatten", node.input[:1], node.output))
    form = INPUTS[scaling]
    for name, constant in (
        ("mien.mean", np.array(form.mean, np.float32)),
        ("mien.deviation", np.array(form.deviation, np.float32)),
        ("mien.colours", np.array([2, 1, 0] if form.bgr else [0, 1, 2])),
    ):
        graph.initializer.append(numpy_helper.from_array(constant, name))
    before = [
        helper.make_node("Cast", ["crops"], ["mien.floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["mien.floats", "mien.mean"], ["mien.centred"]),
        helper.make_node("Div", ["mien.centred", "mien.deviation"], ["mien.scaled"]),
        helper.make_node("Gather", ["mien.scaled", "mien.colours"], ["mien.ordered"], axis=3),
        helper.make_node("Transpose", ["mien.ordered"], [entry.name], perm=[0, 3, 1, 2]),
    ]
    after = [
        helper.make_node("Flatten", [graph.output[0].name], ["mien.vectors"]),
        helper.make_node("LpNormalization", ["mien.vectors"], ["embeddings"], axis=1),
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.value_info[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    crops = helper.make_tensor_value_info("crops", TensorProto.UINT8, ["N", 112, 112, 3])
    vectors = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", None])
    graph.input.append(crops)
    graph.output.append(vectors)
    del proto.metadata_props[:]
