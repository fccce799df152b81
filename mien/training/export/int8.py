"""A model file in 8 bits: about a quarter of the size, and quicker where bytes are multiplied.

ONNX Runtime's static quantisation sets a scale for each output channel of the weights, and one for
each map, from faces that are run through the network first (Jacob et al. 2018, arXiv 1712.05877).
Every layer is in 8 bits, depthwise ones too: a map that goes back and forth between bytes and
floats costs more than the bytes save.  What that loses, the network learns to give back, see
`mien.training.export.fine_tune`.  Weights take 7 of the 8 bits: processors without VNNI add two
products in 16 bits, and would overflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from mien.errors import BadInput, BadModel
from mien.files import write_atomically
from mien.recognition.embedder import Card, OnnxEmbedder, canary_crop, with_card
from mien.recognition.onnx.runtime import PLAIN
from mien.recognition.onnx.session import load_network
from mien.training.export.fine_tune import fine_tune
from mien.training.export.to_onnx import quiet
from mien.types import Crops, Progress, silent

BATCH = 8  # crops that go through together
FEWEST = 32  # crops from which scales mean something
SCALING = 256  # crops at most that set them
STEPS = 300  # of training
LIKE = 0.9  # the least mean cosine between a face's vectors of both files


def to_int8(
    model: Path, out: Path, crops: Crops, *, steps: int = STEPS, progress: Progress = silent
) -> Card:
    """Writes the model once more, in 8 bits, and returns what it says of itself.

    Args:
        model: a file of `export`.
        out: where to write; ends with .onnx.
        crops: aligned faces of as many people and pictures as can be had, some thousands.
        steps: of training; 0 leaves the network as it was quantised.
        progress: is given the steps.

    Raises:
        BadInput: there are too few crops, or the network cannot be trained in 8 bits.
        BadModel: the model is none of ours, or the file does not compute what it does.
        CannotWrite: the disk is full, read-only or forbidden.
    """
    if len(crops) < FEWEST:
        raise BadInput(f"{len(crops)} faces are too few to set the scales: give at least {FEWEST}")
    card, content = OnnxEmbedder(model, runtime=PLAIN).card, model.read_bytes()
    card = replace(
        card,
        name=f"{card.name}-int8",
        model_id=f"{card.model_id}-int8",
        threshold=None,
        calibration={},
        precision="int8",
    )
    before = load_network(content, runtime=PLAIN, otherwise=f"{model} is no model")
    vectors = np.concatenate([before(crops[at : at + BATCH]) for at in range(0, len(crops), BATCH)])
    proto, weights = quantised(content, crops[:: -(-len(crops) // SCALING)])
    if steps:
        fine_tune(proto, weights, crops, vectors, steps=steps, progress=progress)
    written = _named_shortly(proto).SerializeToString()
    run = load_network(written, runtime=PLAIN, otherwise=f"{out} would not run")
    card = replace(card, canary=[round(float(value), 6) for value in run(canary_crop())[0]])
    like = float((vectors[:BATCH] * run(crops[:BATCH])).sum(axis=1).mean())
    if not like > LIKE:
        raise BadModel(
            f"{out} differs too much from its model: mean cosine {like:.3f}, under {LIKE}"
        )
    write_atomically(out, with_card(written, card))
    return card


def quantised(content: bytes, crops: Crops) -> tuple[onnx.ModelProto, dict[str, Tensor]]:
    """The network in 8 bits, and by the names of their codes the weights as they were."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches: Iterator[Crops] = iter(
                crops[start : start + BATCH] for start in range(0, len(crops), BATCH)
            )

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"crops": batch}

    with TemporaryDirectory() as folder, quiet():  # it advises what has been done
        plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        plain.write_bytes(content)
        quant_pre_process(str(plain), str(plain), skip_symbolic_shape=True)
        quantize_static(
            str(plain),
            str(quantised),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MatMul", "Add", "Relu"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"QuantizeBias": False},  # the runtime does so when it loads the file
        )
        held = {tensor.name: tensor for tensor in onnx.load(plain).graph.initializer}
        proto = onnx.load(quantised)
    end = "_quantized"  # of the names of codes
    weights = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(held[name]).copy())
        for tensor in proto.graph.initializer
        if (name := tensor.name.removesuffix(end)) in held and tensor.name.endswith(end)
    }
    return proto, weights


def _named_shortly(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with short names: a tenth of an 8-bit file is its names otherwise."""
    graph = proto.graph
    kept = {value.name for value in (*graph.input, *graph.output)} | {""}
    short: dict[str, str] = {}

    def rename(name: str) -> str:
        return name if name in kept else short.setdefault(name, np.base_repr(len(short), 36))

    for tensor in graph.initializer:
        tensor.name = rename(tensor.name)
    for node in graph.node:
        node.name = ""
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
    del graph.value_info[:]
    return proto
