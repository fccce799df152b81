"""Exports to other runtimes; each file is run and compared with the network.

All take the same crops, uint8 RGB, and give the same unit vectors; a new one is a
function and a line in `TARGETS`.  Every converter is an optional package, an extra of its name.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from mien.errors import BadInput, BadModel, needs_extra
from mien.recognition.embedder import crops_to_compare
from mien.recognition.onnx.session import import_openvino
from mien.training.checkpoint import Checkpoint
from mien.training.export.fuse import fuse
from mien.training.export.to_onnx import Deployed, embed_all, to_onnx
from mien.types import Crops, Embeddings

LIKE = 0.9999  # lowest cosine allowed between the network's and the file's vectors

Run = Callable[[Crops], Embeddings]


@dataclass(frozen=True, slots=True)
class Written:
    """A file for another runtime."""

    path: Path
    target: str
    like: float | None  # lowest cosine to the network's vectors; None if it cannot run here


def to(target: str, checkpoint: Checkpoint, path: Path) -> Written:
    """Writes a network for another runtime.

    Args:
        target: a name in `TARGETS`.
        checkpoint: the trained network.
        path: where to write; ends as the target's files do.

    Raises:
        BadInput: there is no such target, or its files end in another way.
        BadModel: the file does not compute what the network does.
        MissingExtra: the converter is not installed.
    """
    if target not in TARGETS:
        raise BadInput(f"{target!r} is not a target: use one of {', '.join(sorted(TARGETS))}")
    suffix, write = TARGETS[target]
    if path.suffix != suffix:
        raise BadInput(f"a file for {target} ends in {suffix}, unlike {path}")
    network = Deployed(fuse(checkpoint.build()))
    network.eval()
    crops = crops_to_compare()
    expected = embed_all(network, crops)
    with needs_extra(f"exporting to {target}", target):
        run = write(network, path)
    if run is None:
        return Written(path, target, None)
    found = np.concatenate([run(crop[None]) for crop in crops])
    like = float((found * expected).sum(axis=1).min())
    if not like > LIKE:
        raise BadModel(f"{path} differs too much from its network: cosine {like:.5f}, under {LIKE}")
    return Written(path, target, like)


def _openvino(network: Deployed, path: Path) -> Run:
    """OpenVINO's .xml, and its .bin beside it."""
    openvino = import_openvino()
    content = to_onnx(network, torch.from_numpy(crops_to_compare())).SerializeToString()
    openvino.save_model(openvino.Core().read_model(content, b""), path, compress_to_fp16=False)
    # Compared in float32, so that a processor's bfloat16 is not taken for a bad conversion.
    loaded = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda crops: np.array(loaded(crops)[0])


def _tflite(network: Deployed, path: Path) -> Run:
    """LiteRT's .tflite, of one crop."""
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter

    litert_torch.convert(network, (_one_crop(),)).export(str(path))
    loaded = Interpreter(str(path))
    loaded.allocate_tensors()

    def run(crops: Crops) -> Embeddings:
        loaded.set_tensor(loaded.get_input_details()[0]["index"], crops)
        loaded.invoke()
        return np.array(loaded.get_tensor(loaded.get_output_details()[0]["index"]))

    return run


def _coreml(network: Deployed, path: Path) -> Run | None:
    """Core ML's .mlpackage, of one crop in float32, as Core ML has no bytes; runs on macOS only."""
    import coremltools

    example = _one_crop().float()
    with torch.inference_mode():
        program = torch.jit.trace(network, example)  # type: ignore[no-untyped-call]
    model = coremltools.convert(
        program,
        inputs=[coremltools.TensorType("crops", example.shape)],
        outputs=[coremltools.TensorType("embeddings")],
        convert_to="mlprogram",
        compute_precision=coremltools.precision.FLOAT32,
    )
    model.save(str(path))
    if sys.platform != "darwin":
        return None
    return lambda crops: np.array(model.predict({"crops": crops.astype(np.float32)})["embeddings"])


def _ncnn(network: Deployed, path: Path) -> Run:
    """ncnn's .param, and .ncnn.bin beside it: (3, 112, 112) floats of 0 to 255, RGB.

    The file ends before the vector is brought to unit length.  OpenVINO has taken the name .bin.
    """
    import ncnn
    import pnnx

    inner = _Planes(network).eval()
    with TemporaryDirectory() as folder:
        program = Path(folder) / "network.pt"
        pnnx.export(inner, str(program), (torch.zeros(1, 3, 112, 112),))
        weights = path.with_name(
            f"{path.name.removesuffix('.param').removesuffix('.ncnn')}.ncnn.bin"
        )
        shutil.copy(Path(folder) / "network.ncnn.param", path)
        shutil.copy(Path(folder) / "network.ncnn.bin", weights)
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.load_param(str(path))
    net.load_model(str(weights))

    def run(crops: Crops) -> Embeddings:
        planes = np.ascontiguousarray(crops[0].transpose(2, 0, 1).astype(np.float32))
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(planes).clone())  # ncnn keeps no hold of what it is lent
        _, out = extractor.extract("out0")
        vector = np.array(out)
        unit: Embeddings = (vector / np.linalg.norm(vector))[None].astype(np.float32)
        return unit

    return run


def _executorch(network: Deployed, path: Path) -> Run:
    """ExecuTorch's .pte for XNNPACK, of one crop."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    program = torch.export.export(network, (_one_crop(),))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)
    method = Runtime.get().load_program(path).load_method("forward")

    def run(crops: Crops) -> Embeddings:
        (vectors,) = method.execute([torch.from_numpy(crops)])
        found: Embeddings = vectors.numpy()
        return found

    return run


TARGETS: dict[str, tuple[str, Callable[[Deployed, Path], Run | None]]] = {
    "openvino": (".xml", _openvino),
    "tflite": (".tflite", _tflite),
    "coreml": (".mlpackage", _coreml),
    "ncnn": (".param", _ncnn),
    "executorch": (".pte", _executorch),
}


class _Planes(nn.Module):
    """(N, 3, 112, 112) floats of 0 to 255 to vectors of any length, around `Deployed`."""

    def __init__(self, deployed: Deployed) -> None:
        super().__init__()
        self.network = deployed.network

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.network((planes - 127.5) / 127.5)
        return out


def _one_crop() -> torch.Tensor:
    return torch.from_numpy(crops_to_compare()[:1])
