"""A trained network as an ONNX file, whose answers another network learns to give."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper
from torch import Tensor

from mien.errors import BadModel
from mien.files import contents
from mien.recognition.input_form import input_form
from mien.recognition.onnx.session import session
from mien.types import Crops


@dataclass(frozen=True, slots=True, eq=False)
class TeacherOutput:
    """What a teacher gives for a batch of crops."""

    features: list[Tensor]  # its residual stream after every block, each (N, C, H, W)
    embeddings: Tensor  # (N, D), not normalised


class Teacher:
    """Runs a teacher and shows its residual stream, in whatever batch.

    Args:
        path: ONNX, float32 (N, 3, 112, 112) RGB in; the last convolution or linear layer gives
            the embedding.
        scaling: how it wants its pixels; see `input_form`.
        threads: processors to use.
        blocks: whether to show the residual stream too.

    Raises:
        BadInput: there is no such form.
        BadModel: not an ONNX file, or one without a residual stream that is to be shown.
    """

    def __init__(
        self, path: Path, *, scaling: str = "imagenet", threads: int = 1, blocks: bool = True
    ) -> None:
        try:
            proto = onnx.load_model_from_string(contents(path))
        except (OSError, DecodeError) as error:
            raise BadModel(f"{path} is not an ONNX file; give a teacher's ONNX file") from error
        graph = proto.graph
        used = Counter(name for node in graph.node for name in node.input)
        # A block's output is a sum, or a convolution that the next block both convolves and adds.
        stream = [
            node.output[0]
            for node in graph.node
            if blocks
            and (node.op_type == "Add" or (node.op_type == "Conv" and used[node.output[0]] > 1))
        ]
        last = [node.output[0] for node in graph.node if node.op_type in ("Conv", "Gemm")]
        if not last or (blocks and not stream):
            raise BadModel(f"{path} has no residual blocks to learn from; give another teacher")
        graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
        del graph.output[:], graph.value_info[:]
        graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in (*stream, last[-1])
        )
        self._session = session(
            proto.SerializeToString(), threads=threads, otherwise=f"{path} cannot be run"
        )
        self._input = graph.input[0].name
        self._form = input_form(scaling)

    def __call__(self, crops: Crops) -> TeacherOutput:
        outputs: list[Any] = self._session.run(None, {self._input: self._form(crops)})
        *features, embeddings = (torch.from_numpy(output) for output in outputs)
        return TeacherOutput(features, embeddings.flatten(1))
