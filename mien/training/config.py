"""What a training run is."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from mien.errors import BadInput
from mien.training import distributed
from mien.training.backbones import BACKBONES
from mien.training.data.augment import parse
from mien.training.losses import LOSSES
from mien.training.teacher import INPUTS

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("milestones", "cosine")
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """All that a run depends on.

    The defaults are the recipe of SeesawFaceNet's own code, with Li-ArcFace for its loss.
    """

    data: str  # a folder that mien prepare has made
    backbone: str = "seesaw_shuffle"  # a name in mien.training.backbones.BACKBONES
    dim: int = 128  # numbers in an embedding
    weights: str | None = None  # a checkpoint or a model to start from; what does not fit is new

    loss: str | None = (
        "liarcface"  # a name in mien.training.losses.LOSSES; None learns from a teacher only
    )
    margin: float | None = None  # None: the loss's own
    scale: float | None = None  # None: the loss's own
    negatives: float = 1.0  # share of the classes that a step looks at
    label_smoothing: float = 0.0  # share of the truth that is spread over all classes

    teacher: str | None = None  # an ONNX file
    teacher_scaling: str = "imagenet"  # a key of mien.training.teacher.INPUTS
    teacher_weight: float = 1.0  # of all that is learned from it, beside the loss
    feature_weight: float = 0.3  # of its features, beside its embeddings
    block_steps: int = 0  # steps before all others in which each block learns by itself
    block_rate: float = 3e-3  # peak learning rate of those (AdamW)

    optimizer: str = "sgd"  # one of OPTIMIZERS
    rate: float = 0.1  # learning rate, the highest
    momentum: float = 0.9  # of SGD
    weight_decay: float = 4e-5  # of all but the next, and of what has one axis, which has none
    last_decay: float = 4e-4  # of the embedding's linear layer and of the classes' directions
    schedule: str = "milestones"  # one of SCHEDULES
    milestones: tuple[float, ...] = (8, 12, 14)  # epochs at which the rate falls to a tenth
    warmup: int = 0  # steps in which the rate rises
    epochs: float = 16
    steps: int | None = None  # in place of epochs
    batch: int = 196  # pictures in a step, of all processes together
    accumulate: int = 1  # parts that a step is computed in
    clip: float | None = None  # greatest length of the gradient
    ema: float = 0.0  # decay of the weights' moving average, which is then what is kept; 0: none

    augment: str = "flip"  # see mien.training.data.augment.parse
    validate: tuple[str, ...] = ()  # InsightFace's sets: .bin files and folders, as mien evaluate
    validate_every: float = 1.0  # epochs

    device: str | None = None  # None: cuda where there is one, else cpu
    precision: str | None = None  # a key of PRECISIONS; None: the fastest, measured at the start
    channels_last: bool | None = None  # None: whichever is faster, measured at the start
    compile: bool = False  # whether torch.compile makes the network faster
    workers: int = 0  # processes that load pictures; 0: none but the run's own
    threads: int | None = None  # of torch; None: its own choice
    save_every: int = 200  # steps
    seed: int = 0

    def check(self) -> None:
        """Raises BadInput, in one sentence, unless the run can begin."""
        _require(self.backbone, BACKBONES, "network")
        _require(self.optimizer, OPTIMIZERS, "optimizer")
        _require(self.schedule, SCHEDULES, "schedule")
        _require(self.teacher_scaling, INPUTS, "scaling of a teacher's input")
        if self.precision is not None:
            _require(self.precision, PRECISIONS, "precision")
        if self.loss is not None:
            _require(self.loss, LOSSES, "loss")
        elif self.teacher is None:
            raise BadInput("without a loss and without a teacher there is nothing to learn from")
        if self.block_steps and self.teacher is None:
            raise BadInput("blocks learn from a teacher: give one, or no steps for them")
        shares = self.accumulate * distributed.world_size()
        if self.batch < 2 * shares or self.batch % shares:
            raise BadInput(
                f"a batch of {self.batch} cannot be cut into {shares} equal parts of at least 2; "
                f"give a multiple of {shares}"
            )
        parse(self.augment)

    def loss_settings(self) -> dict[str, Any]:
        """The margin and scale that were given; the others are the loss's own."""
        given = {"margin": self.margin, "scale": self.scale}
        return {name: value for name, value in given.items() if value is not None}

    def margin_and_scale(self) -> dict[str, float]:
        """The margin and scale that hold, for the record."""
        if self.loss is None:
            return {}
        parameters = inspect.signature(LOSSES[self.loss]).parameters
        usual = {name: parameters[name].default for name in ("margin", "scale")}
        return usual | self.loss_settings()

    def total_steps(self, pictures: int) -> int:
        """Steps of the run, those of the blocks among them."""
        whole = self.steps if self.steps is not None else round(self.epochs * pictures / self.batch)
        return self.block_steps + max(1, whole)


def _require(name: str, table: Iterable[str], what: str) -> None:
    if name not in table:
        raise BadInput(f"there is no {what} {name!r}; use one of: {', '.join(table)}")
