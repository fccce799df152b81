"""What a network learns from: labels, a teacher, or both."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import BadInput
from mien.images import decode
from mien.recognition.align import SIZE
from mien.training import distributed
from mien.training.config import TrainConfig
from mien.training.data.augment import middle
from mien.training.data.shards import Shards
from mien.training.losses import LOSSES, make
from mien.training.losses.distil import (
    channel_variance,
    cosine_distance,
    feature_distance,
    relational_distance,
    similarity_divergence,
)
from mien.training.losses.margin import MarginHead
from mien.training.teacher import Teacher, TeacherOutput
from mien.types import Crops

OTHERS = 4096  # pictures whose targets an embedding is compared with


class Student(nn.Module):
    """A network that returns what each of its blocks gives."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, entering: Sequence[Tensor] | None = None) -> list[Tensor]:
        """What the blocks give and, last, the embeddings.

        Args:
            x: (N, 3, 112, 112) in [-1, 1].
            entering: what each block but the first, and the head, is given in place of what the
                one before it gives, so that none waits for those before it.
        """
        layers = [*self.network.blocks, self.network.head]
        y = self.network.stem(x)
        outputs: list[Tensor] = []
        for number, layer in enumerate(layers):
            if entering is not None and number:
                y = entering[number - 1]
            y = layer(y)
            outputs.append(y)
        return outputs


@dataclass(frozen=True, slots=True, eq=False)
class Distiller:
    """A teacher, matched to a student: which of its blocks goes with which."""

    teacher: Teacher
    matches: tuple[int, ...]  # the teacher's block for each of the student's, see `match_blocks`
    variances: tuple[Tensor, ...]  # of the channels of those blocks' output, and of the embedding
    same_dim: bool  # whether their embeddings have the same shape

    @classmethod
    def of(
        cls, config: TrainConfig, network: nn.Module, sample: Crops, device: torch.device
    ) -> Distiller:
        """The run's teacher.

        Args:
            config: which names the teacher.
            network: the student.
            sample: some crops, (N, 112, 112, 3), from which the variances are estimated.
            device: the student's.

        Raises:
            BadModel: not a teacher.
            BadInput: blocks are to be distilled from blocks of other shapes.
        """
        assert config.teacher is not None
        teacher = Teacher(
            Path(config.teacher),
            scaling=config.teacher_scaling,
            threads=config.threads or torch.get_num_threads(),
        )
        taught = teacher(sample)
        network.eval()
        with torch.inference_mode():
            *features, embeddings = Student(network)(torch.zeros(1, 3, SIZE, SIZE, device=device))
        matches = match_blocks(
            *([f.shape[1:] for f in each] for each in (features, taught.features))
        )
        same_dim = embeddings.shape[1:] == taught.embeddings.shape[1:]
        if config.block_steps and not (matches and same_dim):
            raise BadInput(
                f"{config.backbone} with {config.dim} dimensions has different blocks from "
                f"{config.teacher}; give a teacher whose blocks have the same shapes"
            )
        goals = [*(taught.features[block] for block in matches), taught.embeddings]
        variances = tuple(channel_variance(goal).to(device) for goal in goals)
        return cls(teacher, matches, variances, same_dim)

    def teach(
        self, crops: Crops, device: torch.device, memory: torch.memory_format
    ) -> TeacherOutput:
        """What the teacher gives for (N, 112, 112, 3); a feature for each student's block."""
        taught = self.teacher(crops)
        used = {
            block: taught.features[block].to(device).contiguous(memory_format=memory)
            for block in set(self.matches)
        }
        return TeacherOutput([used[block] for block in self.matches], taught.embeddings.to(device))


def match_blocks(
    ours: Sequence[tuple[int, ...]], theirs: Sequence[tuple[int, ...]]
) -> tuple[int, ...]:
    """The teacher's block that each of the student's is distilled from: same shape, as far on.

    Args:
        ours, theirs: shapes of what the blocks give, one after the other.

    Returns:
        Numbers of the teacher's blocks, or none at all where it has no block of some shape.
    """
    found = []
    for number, shape in enumerate(ours):
        alike = [block for block, other in enumerate(theirs) if other == shape]
        if not alike:
            return ()
        done, blocks = ours[: number + 1].count(shape), ours.count(shape)
        found.append(alike[math.ceil(done * len(alike) / blocks) - 1])
    return tuple(found)


def margin_head(config: TrainConfig, classes: int) -> MarginHead:
    """The run's classes.

    Raises:
        BadInput: there is no such loss, it takes no margin, or there are too few people.
    """
    if config.margin and not _defaults(config)["margin"]:
        raise BadInput(f"{config.loss} has no margin: leave out --margin, or give another --loss")
    if classes < 2:
        raise BadInput(
            f"{config.data} names {classes} people, and a loss needs two: prepare folders of "
            "people, or learn from a teacher alone"
        )
    try:
        return MarginHead(
            config.dim,
            classes,
            make(config.loss, **config.loss_settings()),
            negative_sample_rate=config.negative_sample_rate,
            label_smoothing=config.label_smoothing,
            seed=config.seed,
        )
    except ValueError as error:  # fewer classes than processes, or smoothing that it has not
        raise BadInput(str(error)) from error


def margin_and_scale(config: TrainConfig) -> dict[str, float]:
    """The margin and scale that hold, for the record; none without a loss."""
    return {} if config.loss == "none" else _defaults(config) | config.loss_settings()


def _defaults(config: TrainConfig) -> dict[str, float]:
    parameters = inspect.signature(LOSSES[config.loss]).parameters
    return {name: parameters[name].default for name in ("margin", "scale")}


def block_losses(
    distiller: Distiller, taught: TeacherOutput, outputs: list[Tensor]
) -> dict[str, Tensor]:
    """The distance of each block from the teacher's, each given the teacher's features."""
    wanted = [*taught.features, taught.embeddings]
    return {
        f"block_{number}": feature_distance(output, goal, variance)
        for number, (output, goal, variance) in enumerate(
            zip(outputs, wanted, distiller.variances, strict=True)
        )
    }


def embedding_losses(
    config: TrainConfig, distiller: Distiller, goal: Tensor, embeddings: Tensor
) -> dict[str, Tensor]:
    """The distances of the embeddings from the teacher's, weighted, by name."""
    weight = config.teacher_weight
    if not distiller.same_dim:
        return {"relations": 10 * weight * _relations(embeddings, goal)}
    distance = feature_distance(embeddings, goal, distiller.variances[-1])
    return {"embedding": weight * distance} | _same_dim_losses(config, goal, embeddings)


def target_losses(
    config: TrainConfig,
    targets: Tensor,
    indices: NDArray[np.int64],
    embeddings: Tensor,
    step: int,
) -> dict[str, Tensor]:
    """The distances of the embeddings from their pictures' targets, weighted, by name.

    Args:
        config: the weights.
        targets: of all pictures, (N, D) of unit length.
        indices: the pictures of the batch, (B,).
        embeddings: (B, D).
        step: chooses the other pictures whose similarities count.
    """
    found = _same_dim_losses(config, targets[indices], embeddings)
    if config.similarity_weight:
        random = torch.Generator().manual_seed(config.seed + step)
        others = targets[torch.randint(len(targets), (OTHERS,), generator=random)]
        distance = similarity_divergence(embeddings, targets[indices], others)
        found["similarity"] = config.teacher_weight * config.similarity_weight * distance
    return found


def mixing(config: TrainConfig, count: int, step: int) -> tuple[float, NDArray[np.int64]]:
    """The share that pictures keep of themselves, and the others that they are mixed with.

    Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412.

    Args:
        config: whose `mixup` is above 0.
        count: N, pictures of this part of the batch.
        step: which, with the seed, is all that chance depends on.

    Returns:
        In [0, 1], the same on every rank; and (N,).
    """
    random = np.random.default_rng([config.seed, step, 2])
    return float(random.beta(config.mixup, config.mixup)), random.permutation(count)


def _same_dim_losses(config: TrainConfig, goal: Tensor, embeddings: Tensor) -> dict[str, Tensor]:
    weight = config.teacher_weight
    return {
        "relations": 10 * weight * _relations(embeddings, goal),
        "cosine": weight * cosine_distance(embeddings, goal),
    }


def _relations(embeddings: Tensor, goal: Tensor) -> Tensor:
    return relational_distance(distributed.all_gather(embeddings), distributed.all_gather(goal))


def feature_losses(
    config: TrainConfig,
    distiller: Distiller,
    taught: TeacherOutput,
    features: list[Tensor],
    step: int,
) -> dict[str, Tensor]:
    """The distance of the blocks' features from the teacher's, weighted, where they match."""
    weight = feature_weight(config, step)
    if not (distiller.matches and weight):
        return {}
    distances = [
        feature_distance(ours, theirs, variance)
        for ours, theirs, variance in zip(
            features, taught.features, distiller.variances[:-1], strict=True
        )
    ]
    return {"features": weight * torch.stack(distances).mean()}


def feature_weight(config: TrainConfig, step: int) -> float:
    """What the distance of features weighs at a step."""
    weight = config.teacher_weight * config.feature_weight
    if config.feature_steps is None:
        return weight
    return weight * max(0.0, 1 - (step - config.block_steps) / config.feature_steps)


def sample(pictures: Shards, count: int) -> Crops:
    """Crops from all over a data set, without augmentation, (count, 112, 112, 3) uint8."""
    places = spread(pictures, count)
    return np.stack([middle(decode(content)) for content in pictures.images(places)])


def spread(pictures: Shards, count: int) -> NDArray[np.int64]:
    """Numbers of pictures from all over a data set, (count,)."""
    return np.linspace(0, len(pictures) - 1, count).astype(np.int64)


def normalize(crops: Crops, device: torch.device, memory: torch.memory_format) -> Tensor:
    """(N, 112, 112, 3) uint8 -> (N, 3, 112, 112) in [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(crops)).to(device).permute(0, 3, 1, 2).float()
    return x.sub_(127.5).div_(127.5).contiguous(memory_format=memory)
