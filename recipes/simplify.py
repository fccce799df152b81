"""Makes a faster network's first weights of a trained one's: it has no need to begin anew.

    python recipes/simplify.py TRAINED.safetensors DATA OUT.safetensors

TRAINED is a seesaw_shuffle; OUT a seesaw_fast, with ReLU in place of SiLU and no squeeze-excite.
Its weights are taken over.  What squeeze-excite multiplies each channel with, on average over some
pictures of DATA, goes into the weights behind it, and batch norm gives every channel the mean and
the deviation that it had.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.training import checkpoint
from mien.training.backbones import BACKBONES
from mien.training.backbones.blocks import SqueezeExcite
from mien.training.data.shards import Shards
from mien.training.from_onnx import NORMS
from mien.training.student import normalize, sample

PICTURES = 384


def simplify(trained: nn.Module, simple: nn.Module, x: Tensor) -> None:
    """Sets the weights of `simple` to those of `trained`, in place.

    Args:
        trained, simple: seesaw networks that shuffle, alike but for activation and squeeze-excite.
        x: pictures, (N, 3, 112, 112) in [-1, 1].
    """
    simple.load_state_dict(trained.state_dict(), strict=False)
    gates, moments = watched(trained.eval(), x)
    layers: dict[str, Any] = dict(simple.named_modules())
    with torch.no_grad():
        for name, (mean, deviation) in moments.items():
            layers[name].weight.copy_(deviation)
            layers[name].bias.copy_(mean)
            layers[name].momentum = None  # the plain mean of what comes
            layers[name].reset_running_stats()
        for name, gate in gates.items():
            split = layers[name.replace("attention", "down.0")]
            split.quarter *= gate[: len(gate) // 4]
            split.rest *= gate[len(gate) // 4 :]
        simple.train()(x)
    simple.eval()


def watched(network: nn.Module, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What squeeze-excite multiplies each channel with, and each norm's mean and deviation.

    Returns:
        By name of the layer, (C,) and (2, C).
    """
    gates: dict[str, Tensor] = {}
    moments: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def seen(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            axes = [axis for axis in range(output.dim()) if axis != 1]
            if isinstance(layer, NORMS):
                moments[name] = torch.stack([output.mean(axes), output.std(axes)])
            else:  # the least squares
                gates[name] = (inputs[0] * output).sum(axes) / inputs[0].square().sum(axes)

        return seen

    for name, layer in network.named_modules():
        if isinstance(layer, (*NORMS, SqueezeExcite)):
            layer.register_forward_hook(watch(name))
    with torch.inference_mode():
        network(x)
    return gates, moments


def main() -> None:
    """Reads the trained network and some of the pictures, and writes the other."""
    trained, data, out = (Path(argument) for argument in sys.argv[1:])
    before, crops = checkpoint.load(trained), sample(Shards(data), PICTURES)
    simple = BACKBONES["seesaw_fast"](**before.args)
    x = normalize(crops, torch.device("cpu"), torch.contiguous_format)
    simplify(before.build(), simple, x)
    checkpoint.save(out, checkpoint.Checkpoint("seesaw_fast", before.args, simple.state_dict()))


if __name__ == "__main__":
    main()
