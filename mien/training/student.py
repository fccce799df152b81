"""What a network learns from: labels, a teacher, or both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import BadInput
from mien.images import decode
from mien.recognition.align import SIZE
from mien.training import distributed
from mien.training.config import TrainConfig
from mien.training.data.augment import middle
from mien.training.data.shards import Shards
from mien.training.losses import LOSSES
from mien.training.losses.distil import (
    channel_variance,
    cosine_distance,
    feature_distance,
    relational_distance,
)
from mien.training.losses.margin import MarginHead
from mien.training.teacher import Lesson, Teacher
from mien.types import Crops


class Student(nn.Module):
    """A network that shows what each of its blocks gives."""

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
class Tutor:
    """A teacher, and how much its features and embeddings vary."""

    teacher: Teacher
    goals: tuple[int, ...]  # the teacher's block for each of the student's, as `goals` finds them
    variances: tuple[Tensor, ...]  # of the channels of what those give, and of the embeddings
    same_dim: bool  # whether their embeddings have the same shape

    def teach(self, crops: Crops, device: torch.device, layout: torch.memory_format) -> Lesson:
        """What the teacher makes of (N, 112, 112, 3), where the student can use it."""
        lesson = self.teacher(crops)
        used = {
            block: lesson.features[block].to(device).contiguous(memory_format=layout)
            for block in set(self.goals)
        }
        return Lesson([used[block] for block in self.goals], lesson.embeddings.to(device))


def tutor(config: TrainConfig, network: nn.Module, sample: Crops, device: torch.device) -> Tutor:
    """The run's teacher.

    Args:
        sample: some crops, (N, 112, 112, 3), to see how much it varies.

    Raises:
        BadModel: not a teacher.
        BadInput: blocks are to learn from blocks that do not fit.
    """
    assert config.teacher is not None
    teacher = Teacher(
        Path(config.teacher),
        scaling=config.teacher_scaling,
        threads=config.threads or torch.get_num_threads(),
    )
    lesson = teacher(sample)
    network.eval()
    with torch.inference_mode():
        *features, embeddings = Student(network)(torch.zeros(1, 3, SIZE, SIZE, device=device))
    of_blocks = goals(*([f.shape[1:] for f in each] for each in (features, lesson.features)))
    same_dim = embeddings.shape[1:] == lesson.embeddings.shape[1:]
    if config.block_steps and not (of_blocks and same_dim):
        raise BadInput(
            f"{config.backbone} with {config.dim} numbers has other blocks than {config.teacher}; "
            "give a teacher whose blocks have the same shapes"
        )
    taught = [lesson.features[block] for block in of_blocks]
    variances = tuple(
        channel_variance(feature).to(device) for feature in (*taught, lesson.embeddings)
    )
    return Tutor(teacher, of_blocks, variances, same_dim)


def goals(ours: Sequence[tuple[int, ...]], theirs: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The teacher's block that each of the student's is to be like: of the same shape, as far on.

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
        BadInput: there are none, or a share of the configuration is out of range.
    """
    assert config.loss is not None
    if classes < 2:
        raise BadInput(
            f"{config.data} names {classes} people, and a loss needs two: prepare folders of "
            "people, or learn from a teacher alone"
        )
    try:
        return MarginHead(
            config.dim,
            classes,
            partial(LOSSES[config.loss], **config.loss_settings()),
            negatives=config.negatives,
            label_smoothing=config.label_smoothing,
            seed=config.seed,
        )
    except ValueError as error:
        raise BadInput(str(error)) from error


def block_losses(tutor: Tutor, lesson: Lesson, outputs: list[Tensor]) -> dict[str, Tensor]:
    """How far each block is from the teacher's, each given the teacher's features."""
    wanted = [*lesson.features, lesson.embeddings]
    return {
        f"block_{number}": feature_distance(output, goal, variance)
        for number, (output, goal, variance) in enumerate(
            zip(outputs, wanted, tutor.variances, strict=True)
        )
    }


def teacher_losses(
    config: TrainConfig, tutor: Tutor, lesson: Lesson, outputs: list[Tensor]
) -> dict[str, Tensor]:
    """How far the network is from the teacher, by name and weighed."""
    *features, embeddings = outputs
    weight, goal = config.teacher_weight, lesson.embeddings
    relations = relational_distance(
        distributed.all_gather(embeddings), distributed.all_gather(goal)
    )
    found = {"relations": 10 * weight * relations}
    if tutor.same_dim:
        found |= {
            "embedding": weight * feature_distance(embeddings, goal, tutor.variances[-1]),
            "cosine": weight * cosine_distance(embeddings, goal),
        }
    if tutor.goals and config.feature_weight:
        distances = [
            feature_distance(ours, theirs, variance)
            for ours, theirs, variance in zip(
                features, lesson.features, tutor.variances[:-1], strict=True
            )
        ]
        found["features"] = weight * config.feature_weight * torch.stack(distances).mean()
    return found


def sample(pictures: Shards, count: int) -> Crops:
    """Crops from all over a data set, without augmentation, (count, 112, 112, 3) uint8."""
    places = np.linspace(0, len(pictures) - 1, count).astype(int)
    return np.stack([middle(decode(content)) for content in pictures.images(places)])


def pixels(crops: Crops, device: torch.device, layout: torch.memory_format) -> Tensor:
    """(N, 112, 112, 3) uint8 -> (N, 3, 112, 112) in [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(crops)).to(device).permute(0, 3, 1, 2).float()
    return x.sub_(127.5).div_(127.5).contiguous(memory_format=layout)
