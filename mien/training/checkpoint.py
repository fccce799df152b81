"""A training checkpoint: weights in safetensors, everything else in JSON, written atomically.

`NAME.safetensors` holds the tensors, and under the metadata key `mien` one JSON object: format,
backbone {name, args, folded}, trained {...}.  Nothing in it is code, and nothing in it is executed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn, stack

from mien.errors import BadInput, BadModel
from mien.files import write_atomically
from mien.training.backbones import BACKBONES
from mien.training.batch_norm import fold_batch_norm

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network's weights and what is needed to rebuild it."""

    backbone: str  # a name in mien.training.backbones.BACKBONES
    args: dict[str, Any]  # its keyword arguments
    weights: dict[str, Tensor]
    trained: dict[str, Any] = field(default_factory=dict)  # configuration, data, steps, results
    state: dict[str, Tensor] = field(default_factory=dict)  # the optimizer's state, to resume
    folded: bool = False  # whether its batch norms were folded, see mien.training.batch_norm

    def build(self) -> nn.Module:
        """The network with these weights, ready to embed.

        Raises:
            BadModel: the weights do not fit the network.
        """
        network: nn.Module = BACKBONES[self.backbone](**self.args)
        if self.folded:
            network = fold_batch_norm(network.eval())
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            raise BadModel(
                f"the weights are not those of {self.backbone} with {self.args}; "
                "build it with the arguments that it was trained with"
            ) from error
        return network.eval()


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint atomically.

    Raises:
        CannotWrite: the disk is full, read-only or forbidden.
    """
    about = {
        "format": FORMAT,
        "backbone": {
            "name": checkpoint.backbone,
            "args": checkpoint.args,
            "folded": checkpoint.folded,
        },
        "trained": checkpoint.trained,
    }
    tensors = {
        f"weights.{name}": tensor.contiguous() for name, tensor in checkpoint.weights.items()
    }
    tensors |= {f"state.{name}": tensor.contiguous() for name, tensor in checkpoint.state.items()}
    write_atomically(path, to_bytes(tensors, {"mien": json.dumps(about)}))


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        BadModel: missing, damaged, not one of ours, or of a later version.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["mien"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BadModel(f"{path} is not a checkpoint of mien train, or is damaged") from error
    if about["format"] != FORMAT or about["backbone"]["name"] not in BACKBONES:
        raise BadModel(f"{path} was written by another version of mien; use that one to read it")

    def part(prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }

    return Checkpoint(
        about["backbone"]["name"],
        about["backbone"]["args"],
        part("weights."),
        about["trained"],
        part("state."),
        about["backbone"].get("folded", False),
    )


def average(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """A network with the mean of several checkpoints' weights, as late steps of one run have them.

    Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima", arXiv 1803.05407; statistics of
    batch norm are averaged too, which is near enough where the checkpoints are near each other.

    Args:
        checkpoints: the last one gives what is said of the training.

    Raises:
        BadInput: they are of different networks.
    """
    *others, last = checkpoints
    form = (last.backbone, last.args, last.folded)
    if any((one.backbone, one.args, one.folded) != form for one in others):
        raise BadInput("checkpoints of different networks, or some folded, have no average")
    weights = {
        name: stack([one.weights[name] for one in checkpoints]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in last.weights.items()
    }
    trained = last.trained | {"averaged": [one.trained.get("step") for one in checkpoints]}
    return replace(last, weights=weights, trained=trained, state={})
