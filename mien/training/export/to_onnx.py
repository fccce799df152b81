"""Exports a checkpoint as a model file: ONNX with a card inside.

The graph takes crops, (N, 112, 112, 3) uint8 RGB, and returns unit vectors, (N, D) float32.  The
file is run on the same crops as the network, and refused if they differ.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.errors import BadModel
from mien.files import write_atomically
from mien.recognition.embedder import Card, crops_to_compare, make_card, with_card
from mien.recognition.onnx.session import session
from mien.training.backbones import BACKBONES
from mien.training.checkpoint import Checkpoint
from mien.training.export.fuse import as_published, fuse
from mien.types import Crops, Embeddings

TOLERANCE = 1e-4  # largest difference of any coordinate between the network and its file


class Deployed(nn.Module):
    """uint8 crops in, unit vectors out, around a network that takes [-1, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> Tensor:
        x = (crops.permute(0, 3, 1, 2).float() - 127.5) / 127.5  # (N, 3, 112, 112)
        return F.normalize(self.network(x))


def graph(network: nn.Module) -> bytes:
    """An ONNX file of what a network computes, without a card; the network is folded by it."""
    proto = to_onnx(Deployed(fuse(network)).eval(), torch.from_numpy(crops_to_compare()))
    content: bytes = proto.SerializeToString()
    return content


def export(
    checkpoint: Checkpoint,
    path: Path,
    *,
    name: str,
    published: bool = False,
) -> Card:
    """Writes a model file and returns its card.

    Args:
        checkpoint: the trained network.
        path: where to write; ends with .onnx.
        name: the model's name, the first part of its identity.
        published: leave the network as its papers have it, slower, to compare with.

    Raises:
        BadModel: the file does not compute what the network does.
        CannotWrite: the disk is full, read-only or forbidden.
    """
    network = checkpoint.build()
    crops = crops_to_compare()
    expected = embed_all(Deployed(network), crops)
    digest = hashlib.sha256()
    for key, tensor in sorted(checkpoint.weights.items()):
        digest.update(key.encode() + tensor.contiguous().numpy().tobytes())
    trained = {"backbone": checkpoint.backbone, "args": checkpoint.args, **checkpoint.trained}
    card = make_card(name, digest.hexdigest(), expected[0], trained)
    form = as_published(network) if published else fuse(network)
    proto = to_onnx(Deployed(form).eval(), torch.from_numpy(crops))
    content = with_card(proto.SerializeToString(), card)
    exported = session(content, otherwise=f"{path} would not run; use another version of torch")
    difference = float(np.abs(exported.run(None, {"crops": crops})[0] - expected).max())
    if difference > TOLERANCE:
        raise BadModel(
            f"{path} would differ from its network by {difference:.2g}, over {TOLERANCE:g}; "
            "use another version of torch or onnxscript"
        )
    write_atomically(path, content)
    return card


def export_random(
    name: str, path: Path, *, activation: str | None = None, published: bool = False
) -> Card:
    """Writes a network with random weights, to be timed.

    Args:
        name: of the network in `mien.training.backbones`.
        path: where to write; ends with .onnx.
        activation: in place of the network's own.
        published: see `export`.

    Raises:
        KeyError: there is no such network or activation.
    """
    args = {} if activation is None else {"activation": activation}
    torch.manual_seed(0)
    network = BACKBONES[name](**args)
    with torch.inference_mode():
        network(torch.randn(4, 3, 112, 112))  # batch norms that are not the identity
    return export(
        Checkpoint(name, args, network.state_dict()), path, name=path.stem, published=published
    )


def embed_all(network: nn.Module, crops: Crops) -> Embeddings:
    """What a network gives for crops."""
    with torch.inference_mode():
        vectors: Embeddings = network(torch.from_numpy(crops)).numpy()
    return vectors


def to_onnx(network: nn.Module, crops: Tensor) -> onnx.ModelProto:
    """The network as ONNX, for any number of crops like these."""
    # It misses torchvision, which we do not need.
    with quiet("torch.onnx"), warnings.catch_warnings():
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


@contextmanager
def quiet(logger: str | None = None) -> Iterator[None]:
    """Suppresses the warnings of a logger, the root by default."""
    log = logging.getLogger(logger)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
