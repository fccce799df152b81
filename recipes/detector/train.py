"""What the two networks learn, and the loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.recognition.detect.mien_detector import GOAL
from recipes.detector.crops import Views
from recipes.detector.networks import STRIDES
from recipes.detector.scenes import Scene, Scenes

REACH = {8: (8.0, 38.0), 16: (25.0, 80.0)}  # pixels of the faces that a grid answers for
SILENT = {8: (6.5, 50.0), 16: (18.0, 110.0)}  # of those that it may also answer for
SCENES, VIEWS = 24, 96  # in a step
WARMUP = 200  # steps
AVERAGE = 0.998  # of the weights that are kept: an exponential moving average

Step = Callable[[nn.Module], tuple[Tensor, dict[str, float]]]


def finder_step(scenes: Scenes) -> Step:
    """A step of the finder: `finder_loss` of the next scenes."""

    def step(network: nn.Module) -> tuple[Tensor, dict[str, float]]:
        given = [scenes() for _ in range(SCENES)]
        with torch.autocast("cpu", torch.bfloat16):
            said = network(_as_input([scene.pixels for scene in given]))
        return finder_loss([grid.float() for grid in said], given)

    return step


def finder_loss(said: Sequence[Tensor], scenes: Sequence[Scene]) -> tuple[Tensor, dict[str, float]]:
    """What is wrong with the finder's two grids.

    The confidence of a place in the middle of a face should be the overlap of the box that is said
    with the face's (varifocal loss, Zhang et al. 2021, arXiv 2008.13367), that of any other 0; the
    box is judged by DIoU (Zheng et al. 2020, arXiv 1911.08287), the points in parts of its size.
    """
    number, sure = 0, torch.zeros(())
    boxes, points = torch.zeros(()), torch.zeros(())
    for grid, stride in zip(said, STRIDES, strict=True):
        owner, weight = (
            torch.stack(parts)
            for parts in zip(
                *(_targets(scene, stride, grid.shape[2:]) for scene in scenes), strict=True
            )
        )
        mine = owner >= 0
        goal = torch.zeros_like(weight)
        if mine.any():
            faces = [torch.from_numpy(scene.faces).float() for scene in scenes]
            starts = torch.tensor([0, *(len(one) for one in faces)]).cumsum(0)
            face = torch.cat(faces)[starts[mine.nonzero()[:, 0]] + owner[mine]]
            place = mine.nonzero()[:, 1:].flip(1)
            box, five = _decoded(grid.permute(0, 2, 3, 1)[mine], place, stride)
            size = ((face[:, 2] - face[:, 0]) * (face[:, 3] - face[:, 1])).sqrt()[:, None]
            iou, apart = _iou(box, face[:, :4])
            boxes = boxes + (1 - iou + apart).sum()
            off = F.smooth_l1_loss(five / size, face[:, 4:] / size, beta=0.05, reduction="none")
            points = points + off.mean(1).sum()
            goal[mine] = iou.detach().clamp(0.3, 1) ** 0.5
            number += len(face)
        logit = grid[:, 0]
        weight = torch.where(mine, 1.0, weight * 0.75 * torch.sigmoid(logit.detach()) ** 2)
        wrong = F.binary_cross_entropy_with_logits(logit, goal, reduction="none")
        sure = sure + (wrong * weight).sum()
    parts = {"sure": sure, "box": boxes, "points": points}
    parts = {name: part / max(number, 1) for name, part in parts.items()}
    loss = parts["sure"] + 1.5 * parts["box"] + 3 * parts["points"]
    return loss, {name: part.item() for name, part in parts.items()}


def _targets(scene: Scene, stride: int, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Which face a place answers for, or -1; and what it weighs if it should say 0."""
    y, x = torch.meshgrid(*((torch.arange(side) + 0.5) * stride for side in shape), indexing="ij")
    owner, weight = torch.full(tuple(shape), -1), torch.ones(tuple(shape))
    for x0, y0, x1, y1 in scene.doubts.tolist():
        weight[(x > x0) & (x < x1) & (y > y0) & (y < y1)] = 0
    nearest = torch.full(tuple(shape), math.inf)
    for i, (x0, y0, x1, y1) in enumerate(scene.faces[:, :4].tolist()):
        size = math.sqrt((x1 - x0) * (y1 - y0))
        away = torch.hypot(x - (x0 + x1) / 2, y - (y0 + y1) / 2)
        if REACH[stride][0] <= size <= REACH[stride][1]:
            radius = max(0.22 * size, 0.36 * stride)
            near = (away < radius) | (away <= away.min() + 1e-3)
            weight[(away < radius + 0.5 * stride) & ~near] = 0
            near &= away < nearest
            owner[near], nearest[near] = i, away[near]
        elif SILENT[stride][0] <= size <= SILENT[stride][1]:
            weight[away < 0.45 * size] = 0
    return owner, weight


def _decoded(said: Tensor, place: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """(N, 4) boxes and (N, 10) points of what was said, (N, 15), in places (N, 2) of a grid."""
    middle = (place + 0.5) * stride
    centre = middle + said[:, 1:3] * stride
    half = said[:, 3:5].clamp(-4, 4).exp() * (1.25 * stride)
    points = middle.repeat(1, 5) + said[:, 5:] * (2 * stride)
    return torch.cat([centre - half, centre + half], 1), points


def _iou(some: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) common areas in parts of the union; and distances, squared, in parts of both."""
    low, high = torch.maximum(some, others), torch.minimum(some, others)
    common = (high[:, 2:] - low[:, :2]).clamp(min=0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (some, others)]
    apart = ((some - others).reshape(-1, 2, 2).mean(1) ** 2).sum(1)
    around = ((low[:, 2:] - high[:, :2]) ** 2).sum(1)
    return common / (areas[0] + areas[1] - common + 1e-6), apart / (around + 1e-6)


def points_step(views: Views) -> Step:
    """A step of the second network: points by a wing-shaped loss (Feng et al. 2018, 1711.06753).

    The crop that a recogniser sees depends on what all five have in common, a shift, a turn and a
    growth: that part of what is wrong is counted once more.
    """
    common = torch.from_numpy(_common()).float()
    exact = torch.from_numpy(GOAL).float()

    def step(network: nn.Module) -> tuple[Tensor, dict[str, float]]:
        given = [views() for _ in range(VIEWS)]
        with torch.autocast("cpu", torch.bfloat16):
            said = network(_as_input([view.pixels for view in given])).float()
        goal = torch.from_numpy(np.stack([view.points for view in given])).float()
        trust = torch.tensor([view.trust for view in given])
        face = torch.tensor([float(view.face) for view in given])
        off = said[:, :10] - (goal - exact).flatten(1) / 8
        total = trust.sum().clamp(min=1)
        parts = {
            "points": (_wing(off) * trust).sum() / total,
            "crop": (_wing(off @ common) * trust).sum() / total,
            "sure": F.binary_cross_entropy_with_logits(said[:, 10], face),
        }
        pixels = 8 * (off.abs().mean(1) * trust).sum() / total
        loss = 4 * parts["points"] + 4 * parts["crop"] + parts["sure"]
        return loss, {name: part.item() for name, part in (*parts.items(), ("pixels", pixels))}

    return step


def _wing(off: Tensor) -> Tensor:
    """(N, 10) distances in cells of 8 pixels to (N,): as logarithms while they are small."""
    off = off.abs()
    small = 0.25 * torch.log1p(off / 0.05)
    return torch.where(off < 0.25, small, off + 0.25 * math.log1p(5) - 0.25).mean(1)


def _common() -> NDArray[np.float64]:
    """(10, 10): of what is added to five points, the part that a similarity may add."""
    x, y = (GOAL - GOAL.mean(0)).T
    one, nothing = np.ones(5), np.zeros(5)
    ways = np.stack([[one, nothing], [nothing, one], [x, y], [-y, x]]).transpose(0, 2, 1)
    ways = ways.reshape(4, 10)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    shared: NDArray[np.float64] = ways.T @ ways
    return shared


def _as_input(pictures: Sequence[np.ndarray]) -> Tensor:
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    return pixels.contiguous(memory_format=torch.channels_last)


def train(
    network: nn.Module, step: Step, steps: int, out: Path, *, rate: float = 3e-3, say: int = 100
) -> None:
    """Teach a network, and leave the average of its weights in a file.

    Args:
        network: with its first weights.
        step: the loss of the network on the next examples, and the parts of it.
        steps: how many, AdamW with a cosine schedule.
        out: where the weights go, now and then and at last.
        rate: the highest learning rate.
        say: steps between two lines of what the loss is.
    """
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = copy.deepcopy(network)
    flat = [one for one in network.parameters() if one.ndim <= 1]
    rest = [one for one in network.parameters() if one.ndim > 1]
    groups = [{"params": rest, "weight_decay": 0.02}, {"params": flat, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99))
    told: dict[str, float] = {}
    start = time.monotonic()
    for n in range(1, steps + 1):
        now = rate * min(1, n / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * n / steps)) + 2e-6
        for group in optimizer.param_groups:
            group["lr"] = now
        loss, parts = step(network)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        keep = min(AVERAGE, n / (n + 20))
        with torch.no_grad():
            for kept, new in zip(
                average.state_dict().values(), network.state_dict().values(), strict=True
            ):
                if kept.dtype.is_floating_point:
                    kept.lerp_(new, 1 - keep)
                else:
                    kept.copy_(new)
        told = {name: told.get(name, 0) + part / say for name, part in parts.items()}
        if n % say == 0:
            shown = " ".join(f"{name} {part:.4f}" for name, part in told.items())
            print(
                f"{n} of {steps}, {(time.monotonic() - start) / 60:.1f} minutes: {shown}",
                flush=True,
            )
            told = {}
            save(average, out)
    save(average, out)


def save(network: nn.Module, out: Path) -> None:
    """Leave the weights in a file, whole or not at all."""
    part = out.with_suffix(".part")
    torch.save(network.state_dict(), part)
    part.replace(out)
