"""The verb that trains: photos and a teacher in, a checkpoint out.

Two stages.  First every block of the network learns, each by itself and all at once, to do what
the teacher's block in its place does to the teacher's own features; every pixel is a lesson, so
few photos teach much.  Then the whole network learns to give the teacher's embedding, from
pictures worse than the teacher's.

A run is a folder: `config.json`, `crops/`, `last.safetensors`, `log.jsonl`.  Steps are drawn from
(seed, step), so a run that was killed goes on as if it had not been.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien import __version__, checkpoint
from mien.align import SIZE
from mien.backbones import BACKBONES
from mien.checkpoint import Checkpoint
from mien.data.augment import degrade, place, relight
from mien.data.crops import gather
from mien.errors import BadInput
from mien.images import write_atomically
from mien.losses.distil import (
    channel_variance,
    cosine_distance,
    feature_distance,
    relational_distance,
)
from mien.teacher import INPUTS, Lesson, Teacher
from mien.types import Crops, Detector, Progress

WARMUP = 50  # steps in which the rate rises


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """All that a run depends on."""

    photos: tuple[str, ...]  # files and folders
    teacher: str  # an ONNX file
    teacher_scaling: str = "imagenet"  # a key of mien.teacher.INPUTS
    backbone: str = "seesaw_shuffle"  # a name in mien.backbones.BACKBONES
    dim: int = 128  # numbers in an embedding; the teacher's
    block_steps: int = 600  # of the first stage
    steps: int = 4000  # of the second stage
    batch: int = 32  # crops per step
    block_rate: float = 3e-3  # peak learning rate of the first stage (AdamW)
    rate: float = 1e-3  # peak learning rate of the second stage
    weight_decay: float = 1e-4
    feature_weight: float = 0.3  # of the features against the embedding, in the second stage
    save_every: int = 50  # steps
    seed: int = 0
    threads: int = 2


Report = Callable[[dict[str, Any]], None]


def train(
    config: TrainConfig, out: Path, detector: Detector, progress: Progress, report: Report
) -> Path:
    """Trains, or goes on training, and returns the path of the checkpoint.

    Args:
        config: what to do; a run that is continued must have the same.
        out: the run's folder.
        detector: finds the faces in the photos.
        progress: shows how far the alignment is.
        report: is told of every tenth step: step, stage, loss, crops_per_second, ...

    Raises:
        BadInput: no such network or scaling, no usable photo, a teacher whose blocks do not fit,
            or the folder holds a run of another configuration.
        BadModel: the teacher or the checkpoint cannot be used.
        CannotWrite: the disk is full or read-only.
    """
    _require(config.backbone, BACKBONES, "network")
    _require(config.teacher_scaling, INPUTS, "scaling of a teacher's input")
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(1)  # its threads would fight with torch's
    torch.manual_seed(config.seed)
    teacher = Teacher(Path(config.teacher), scaling=config.teacher_scaling, threads=config.threads)
    _claim(out, config)
    crops = gather(config.photos, out / "crops", detector, progress)
    network = BACKBONES[config.backbone](dim=config.dim)
    sample = teacher(crops[np.linspace(0, len(crops) - 1, 128).astype(int), 8:-8, 8:-8])
    _require_fit(config, network, sample)
    variances = [channel_variance(feature) for feature in (*sample.features, sample.embeddings)]
    network.train()
    last = out / "last.safetensors"
    start, optimizer = 0, _optimizer(network, config)
    if last.is_file():
        start = _resume(last, network, optimizer, config)
    began = time.monotonic()
    for step in range(start, config.block_steps + config.steps):
        if step == config.block_steps:  # another objective: the old momentum misleads
            optimizer = _optimizer(network, config)
        for group in optimizer.param_groups:
            group["lr"] = _rate(config, step)
        clean, seen = _batch(config, crops, step)
        losses = _losses(config, network, teacher(clean), _tensor(seen), variances, step)
        optimizer.zero_grad()
        total = sum(losses.values(), torch.zeros(()))
        total.backward()  # type: ignore[no-untyped-call]
        if not total.isfinite():
            raise BadInput(
                f"the loss is no number at step {step}; the last good state is in {last}: "
                "go on from it with a lower rate"
            )
        optimizer.step()
        done = step + 1
        if done % 10 == 0:
            rate = (done - start) * config.batch / (time.monotonic() - began)
            entry = {
                "step": done,
                "stage": "blocks" if step < config.block_steps else "whole",
                "loss": total.item(),
                **{name: loss.item() for name, loss in losses.items()},
                "crops_per_second": rate,
            }
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(entry) + "\n")
            report(entry)
        if done % config.save_every == 0 or done == config.block_steps + config.steps:
            _save(last, network, optimizer, config, done, len(crops))
    return last


def _require(name: str, table: Iterable[str], what: str) -> None:
    if name not in table:
        raise BadInput(f"there is no {what} {name!r}; use one of: {', '.join(table)}")


def _claim(out: Path, config: TrainConfig) -> None:
    """Makes the run's folder, or checks that it is this run's."""
    path, text = out / "config.json", json.dumps(asdict(config), indent=2)
    if not path.is_file():
        write_atomically(path, text.encode())
    elif json.loads(path.read_text()) != json.loads(text):
        raise BadInput(f"{out} holds a run of another configuration; choose another folder")


def _optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW that leaves biases, batch norm and slopes undecayed, as all that has one axis."""
    matrices = [p for p in network.parameters() if p.dim() > 1]
    vectors = [p for p in network.parameters() if p.dim() <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
    )


def _rate(config: TrainConfig, step: int) -> float:
    """In each stage up over `WARMUP` steps, then down half a cosine; to a 20th in the first."""
    blocks = step < config.block_steps
    peak, total = (config.block_rate, config.block_steps) if blocks else (config.rate, config.steps)
    k = step if blocks else step - config.block_steps
    floor = 0.05 if blocks else 0.0
    fall = floor + (1 - floor) * (1 + math.cos(math.pi * k / total)) / 2
    return peak * min(1.0, (k + 1) / WARMUP) * fall


def _batch(config: TrainConfig, crops: Crops, step: int) -> tuple[Crops, Crops]:
    """What the teacher and what the student see at a step, each (N, 112, 112, 3)."""
    places = range(step * config.batch, (step + 1) * config.batch)
    picked = [_order(config.seed, k // len(crops), len(crops))[k % len(crops)] for k in places]
    random = np.random.default_rng([config.seed, step])
    clean = np.stack([relight(place(crops[k], SIZE, random), random) for k in picked])
    if step < config.block_steps:
        return clean, clean
    return clean, np.stack([degrade(image, random) for image in clean])


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order in which an epoch goes through the crops."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def _tensor(crops: Crops) -> Tensor:
    """(N, 112, 112, 3) uint8 -> (N, 3, 112, 112) in [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2))).float()
    return x.sub_(127.5).div_(127.5)


def _require_fit(config: TrainConfig, network: Any, lesson: Lesson) -> None:
    """Raises BadInput unless the network's blocks give what the teacher's do, shape by shape."""
    network.eval()
    with torch.inference_mode():
        features, embeddings = _outputs(network, torch.zeros(1, 3, SIZE, SIZE))
    ours = [tuple(y.shape[1:]) for y in (*features, embeddings)]
    theirs = [tuple(y.shape[1:]) for y in (*lesson.features, lesson.embeddings)]
    if ours != theirs:
        raise BadInput(
            f"{config.backbone} with {config.dim} numbers has other blocks than {config.teacher}; "
            "give a teacher whose blocks have the same shapes"
        )


def _outputs(network: Any, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """What each block gives, and the embeddings."""
    features, y = [], network.stem(x)
    for block in network.blocks:
        y = block(y)
        features.append(y)
    return features, network.head(y)


def _losses(
    config: TrainConfig,
    network: Any,
    lesson: Lesson,
    x: Tensor,
    variances: Sequence[Tensor],
    step: int,
) -> dict[str, Tensor]:
    if step < config.block_steps:
        return _block_losses(network, lesson, x, variances)
    features, embeddings = _outputs(network, x)
    distances = [
        feature_distance(student, teacher, variance)
        for student, teacher, variance in zip(
            features, lesson.features, variances[:-1], strict=True
        )
    ]
    return {
        "features": config.feature_weight * torch.stack(distances).mean(),
        "embedding": feature_distance(embeddings, lesson.embeddings, variances[-1]),
        "cosine": cosine_distance(embeddings, lesson.embeddings),
        "relations": 10 * relational_distance(embeddings, lesson.embeddings),
    }


def _block_losses(
    network: Any, lesson: Lesson, x: Tensor, variances: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Each block is given the teacher's features, so that none waits for those before it."""
    inputs = [network.stem(x), *lesson.features]
    layers = [*network.blocks, network.head]
    goals = [*lesson.features, lesson.embeddings]
    return {
        f"block_{k}": feature_distance(layer(entering), goal, variance)
        for k, (layer, entering, goal, variance) in enumerate(
            zip(layers, inputs, goals, variances, strict=True)
        )
    }


def _save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.AdamW,
    config: TrainConfig,
    step: int,
    crops: int,
) -> None:
    state = {
        f"{index}.{name}": value
        for index, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
    }
    # Names but no paths: a model file is given to others, who need not know this machine.
    recipe = {**asdict(config), "teacher": Path(config.teacher).name}
    del recipe["photos"]
    trained = {"step": step, "crops": crops, "recipe": recipe, "mien": __version__}
    checkpoint.save(
        path,
        Checkpoint(config.backbone, {"dim": config.dim}, network.state_dict(), trained, state),
    )


def _resume(
    path: Path, network: nn.Module, optimizer: torch.optim.AdamW, config: TrainConfig
) -> int:
    """Brings network and optimizer to where they were, and returns the next step."""
    before = checkpoint.load(path)
    network.load_state_dict(before.weights)
    step: int = before.trained["step"]
    if step == config.block_steps:  # the next stage starts with a new optimizer
        return step
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in before.state.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return step
