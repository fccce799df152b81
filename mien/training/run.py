"""A training run: a network, what teaches it, and how far it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mien import __version__, machine
from mien.errors import BadInput, BadModel, RunStopped
from mien.evaluation.protocol import Verification, verify
from mien.evaluation.verification_set import VerificationSet
from mien.recognition.model import model_file, shipped
from mien.training import distributed, from_pth, targets
from mien.training.backbones import BACKBONES
from mien.training.batch_norm import fold_batch_norm, is_folded, recalibrate
from mien.training.checkpoint import Checkpoint
from mien.training.config import TrainConfig
from mien.training.data.augment import parse
from mien.training.data.batches import Batch, Batches
from mien.training.data.shards import Shards
from mien.training.from_onnx import from_onnx
from mien.training.optim import (
    EMA,
    flat_state,
    head_optimizer,
    learning_rate,
    load_flat_state,
    network_optimizer,
)
from mien.training.precision import DTYPES, Precision, fastest, hold_memory, precisions
from mien.training.refit import refit_head
from mien.training.run_folder import Saved
from mien.training.student import (
    Distiller,
    Student,
    block_losses,
    embedding_losses,
    feature_losses,
    feature_weight,
    margin_and_scale,
    margin_head,
    mixing,
    normalize,
    sample,
    spread,
    target_losses,
)
from mien.types import Crops, Embeddings

CALIBRATING = 256  # crops that batch norm is recalibrated by
REFITTING = 3072  # crops that the last layer is fitted to, where targets are learned


class Run:
    """A network, what teaches it, and how far it is.

    Args:
        config: what to do.
        pictures: the data set.
        device: where to compute.
        saved: where the run was left; None begins it.

    Attributes:
        steps_done: how many steps have been made.
        weights_taken: how many tensors of `config.weights` fit, and how many the network has; None
            without such weights, or where the run goes on.

    Raises:
        BadInput: the configuration cannot be used, or what was saved is of other data.
        BadModel: the teacher, the initial weights or what was saved cannot be used.
    """

    def __init__(
        self,
        config: TrainConfig,
        pictures: Shards,
        device: torch.device,
        saved: Saved | None = None,
    ) -> None:
        config.check()
        config.check_shares(distributed.world_size())
        self.config, self.pictures, self.device = config, pictures, device
        self.augment = parse(config.augment)
        self.total = config.total_steps(len(pictures))
        self.teacher_digest = _digest(config.teacher)
        hold_memory()
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        network, self.weights_taken = _network(config, pictures, fresh=saved is None)
        self.network = network.to(device)
        self.distiller = None
        if config.teacher is not None:
            self.distiller = Distiller.of(config, self.network, sample(pictures, 128), device)
        self.targets = _targets(config).to(device) if config.targets else None
        self.steps_done, self.seconds = 0, 0.0
        self.precision = _precision(config, self.network, device, saved)
        if distributed.world_size() > 1:  # makes new parameters: before anything holds the old
            distributed.share_batch_norm(self.network)
        if saved and saved.checkpoint.folded:
            fold_batch_norm(self.network)
        self.head = self.head_optimizer = None
        if config.loss != "none":
            self.head = margin_head(config, len(pictures.names)).to(device)
            self.head_optimizer = head_optimizer(config, self.head)
        self.network_optimizer = network_optimizer(config, self.network, 0)
        self.scaler = torch.amp.GradScaler(
            device.type, enabled=self.precision.dtype == torch.float16
        )
        self.ema = EMA(self.network) if config.ema else None
        if saved:
            self._load(saved)
        self.student = self._student()

    def _student(self) -> Any:
        """The network as it is trained."""
        self.precision.apply(self.network)
        student: nn.Module = Student(self.network)
        if distributed.world_size() > 1:
            student = DistributedDataParallel(student)
        student.train()
        return torch.compile(student) if self.config.compile else student

    def _refit(self, targets: Tensor) -> None:
        """Begins to learn targets, with the last layer that fits them best."""
        count = min(REFITTING, len(self.pictures))
        memory = self.precision.memory_format
        x = normalize(sample(self.pictures, count), self.device, memory)
        if self.config.block_steps:  # whose statistics are of the teacher's features
            recalibrate(self.network, list(torch.split(x, 64)))
        refit_head(self.network, x, targets[spread(self.pictures, count)])
        self.network.train()
        if self.ema:
            self.ema = EMA(self.network)

    def _fold(self) -> None:
        """Goes on without batch norm, from what the network computes in evaluation."""
        if self.ema:
            average = deepcopy(self.network)
            average.load_state_dict(self.ema.weights)
            self.ema = EMA(fold_batch_norm(average))
        fold_batch_norm(self.network)
        self.network_optimizer = network_optimizer(self.config, self.network, self.steps_done)
        self.student = self._student()

    def _load(self, saved: Saved) -> None:
        before = saved.checkpoint
        for what, name in (("data", "data"), ("teacher", "teacher_sha256")):
            if before.trained.get(name) != self.facts().get(name):
                raise BadInput(
                    f"{saved.folder} holds a run with different {what} than "
                    f"{getattr(self.config, what)}; choose another folder"
                )
        self.steps_done, self.seconds = saved.step, before.trained["seconds"]
        if self.steps_done > self.total:
            raise BadInput(
                f"{saved.folder} has already done {self.steps_done} steps, more than "
                f"{self.total}; give more --steps"
            )
        try:
            if self.ema:
                self.ema.load(before.weights)
                self.network.load_state_dict(_part(before.state, "network."))
            else:
                self.network.load_state_dict(before.weights)
        except (RuntimeError, KeyError) as error:
            raise BadModel(
                f"{saved.path} belongs to another network; choose another folder"
            ) from error
        if self.steps_done >= self.config.block_steps:
            self.network_optimizer = network_optimizer(self.config, self.network, self.steps_done)
        if self.steps_done != self.config.block_steps:  # else its optimizer starts afresh
            load_flat_state(self.network_optimizer, _part(before.state, "network_optimizer."))
        if scaler := _part(before.state, "scaler."):
            self.scaler.load_state_dict({name: figure.item() for name, figure in scaler.items()})
        if self.head and self.head_optimizer:
            stored = saved.classes(self.head.first, self.head.end, self.head.classes)
            with torch.no_grad():
                self.head.weight.copy_(stored.pop("weight"))
            load_flat_state(self.head_optimizer, stored)
            if self.head.stateful:
                self.head.stateful.load_state_dict(_part(before.state, "loss."))

    def batches(self) -> Iterator[Batch]:
        """The parts of this step and of those that follow."""
        config = self.config
        parts = Batches(self.pictures, config.batch // config.accumulate, self.augment, config.seed)
        return parts.load(
            self.steps_done * config.accumulate,
            self.total * config.accumulate,
            workers=config.workers,
        )

    def step(self, parts: list[Batch], lr: float | None = None) -> dict[str, Tensor]:
        """Makes one step of the optimizers, and returns the losses by name.

        Args:
            parts: of the step's batch.
            lr: in place of the schedule's learning rate.

        Raises:
            RunStopped: a loss is not finite; the network is as it was before.
        """
        config = self.config
        if self.targets is not None and self.steps_done == config.block_steps:
            self._refit(self.targets)
        if self.steps_done == config.block_steps:  # another objective: the old momentum misleads
            self.network_optimizer = network_optimizer(config, self.network, self.steps_done)
        if self.steps_done == config.fold_after and not is_folded(self.network):
            self._fold()
        optimizers = [self.network_optimizer, *filter(None, [self.head_optimizer])]
        torch.manual_seed(config.seed + (self.steps_done << 16) + distributed.rank())  # of dropout
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = lr or learning_rate(config, self.steps_done, len(self.pictures))
        losses: dict[str, Tensor] = {}
        for part in parts:
            with self.precision.autocast(self.device):
                found = self._losses(part)
            whole = torch.stack(list(found.values())).sum() / len(parts)
            self.scaler.scale(whole).backward()  # type: ignore[no-untyped-call]
            for name, loss in found.items():
                losses[name] = losses.get(name, 0) + loss.detach() / len(parts)
        self._require_finite(losses)
        if self.scaler.is_enabled():
            self._overflow_together(optimizers)
        for optimizer in optimizers:
            self.scaler.unscale_(optimizer)
        if config.clip:
            self._clip(config.clip)
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        self.steps_done += 1
        if self.ema:
            self.ema.update(self.network, config.ema, self.steps_done)
        return losses

    def _losses(self, part: Batch) -> dict[str, Tensor]:
        """The losses by name; their sum is differentiated."""
        config, memory = self.config, self.precision.memory_format
        x = normalize(part.seen, self.device, memory)
        step, taught = self.steps_done, None
        if config.mixup:
            kept, order = mixing(config, len(x), step)
            embeddings = self.student(kept * x + (1 - kept) * x[order])[-1]
            sides = [
                self._taught(part.labels[which], part.indices[which], embeddings)
                for which in (np.arange(len(x)), order)
            ]
            return {
                name: kept * loss + (1 - kept) * sides[1][name] for name, loss in sides[0].items()
            }
        if self.distiller and (self.targets is None or feature_weight(config, step)):
            taught = self.distiller.teach(part.clean, self.device, memory)
        if self.distiller and taught and step < config.block_steps:
            return block_losses(self.distiller, taught, self.student(x, taught.features))
        *features, embeddings = self.student(x)
        found = self._taught(part.labels, part.indices, embeddings)
        if self.distiller and taught:
            if self.targets is None:
                found |= embedding_losses(config, self.distiller, taught.embeddings, embeddings)
            found |= feature_losses(config, self.distiller, taught, features, step)
        return found

    def _taught(
        self, labels: NDArray[np.int64], indices: NDArray[np.int64], embeddings: Tensor
    ) -> dict[str, Tensor]:
        """The losses of what labels and targets say of pictures, by name."""
        found: dict[str, Tensor] = {}
        if self.head:
            truth = torch.from_numpy(labels).to(self.device)
            found[self.config.loss] = self.head(embeddings, truth, self.steps_done)
        if self.targets is not None:
            found |= target_losses(self.config, self.targets, indices, embeddings, self.steps_done)
        return found

    def _require_finite(self, losses: dict[str, Tensor]) -> None:
        wrong = not all(loss.isfinite() for loss in losses.values())
        if distributed.any_rank(wrong, self.device):
            values = ", ".join(f"{name} {loss.item():.3g}" for name, loss in losses.items())
            raise RunStopped(
                f"the loss is not finite at step {self.steps_done + 1} ({values}): start another "
                "run with a lower --lr or with --clip, from the last checkpoint if there is one "
                "(--weights)"
            )

    def _overflow_together(self, optimizers: list[torch.optim.Optimizer]) -> None:
        """Where a gradient is infinite, for any optimizer on any rank, makes all so.

        The scaler leaves out a step, and lowers its scale, by what one optimizer has on one rank:
        the others would go on with gradients that clipping has spoilt, or of another scale.
        """
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        found = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        finite = torch.stack([gradient.isfinite().all() for gradient in found]).all()
        if distributed.any_rank(not finite, self.device):
            for gradient in found:
                gradient.fill_(torch.inf)

    def _clip(self, longest: float) -> None:
        """Clips the norm of the gradient, of the network and of all ranks' classes together."""
        shared = [*self.network.parameters(), *(self.head.shared() if self.head else [])]
        gradients = [p.grad for p in shared if p.grad is not None]
        square = sum(
            (gradient.square().sum() for gradient in gradients),
            torch.zeros((), device=self.device),
        )
        if self.head and self.head.weight.grad is not None:
            square = square + distributed.all_reduce(self.head.weight.grad.square().sum())
            gradients.append(self.head.weight.grad)
        torch._foreach_mul_(gradients, (longest / (square.sqrt() + 1e-6)).clamp(max=1.0))

    def entry(self, losses: dict[str, Tensor]) -> dict[str, Any]:
        """A line of the log about the step that was just made."""
        parts = {
            name: (distributed.all_reduce(loss) / distributed.world_size()).item()
            for name, loss in losses.items()
        }
        return {
            "step": self.steps_done,
            "steps": self.total,
            "epoch": self.steps_done * self.config.batch / len(self.pictures),
            "stage": "blocks" if self.steps_done <= self.config.block_steps else "whole",
            "loss": sum(parts.values()),
            **parts,
            "lr": self.network_optimizer.param_groups[0]["lr"],
        }

    def verify(self, pairs: VerificationSet) -> Verification:
        """How well the network, or the average of its weights, tells people apart."""
        weights = self.ema.weights if self.ema else self.network.state_dict()

        def embed(crops: Crops) -> Embeddings:
            x = normalize(crops, self.device, self.precision.memory_format)
            found = torch.func.functional_call(self.network, weights, (x,))
            units: Embeddings = F.normalize(found.float()).cpu().numpy()
            return units

        self.network.eval()
        with torch.inference_mode(), self.precision.autocast(self.device):
            found = verify(embed, pairs)
        self.network.train()
        return found

    def facts(self) -> dict[str, Any]:
        """How far it is, and on what."""
        facts = {
            "step": self.steps_done,
            "seconds": round(self.seconds, 1),
            "pictures": len(self.pictures),
            "people": len(self.pictures.names),
            "data": self.pictures.digest,
            "precision": self.precision.to_json(),
        }
        return facts | ({"teacher_sha256": self.teacher_digest} if self.teacher_digest else {})

    def checkpoint(self) -> Checkpoint:
        """All that it takes to go on, but for the classes."""
        config, weights = self.config, self.network.state_dict()
        state = flat_state(self.network_optimizer, "network_optimizer.")
        for name, figure in self.scaler.state_dict().items():  # of fp16's gradients
            state[f"scaler.{name}"] = torch.tensor(figure)
        if self.head and self.head.stateful:
            loss = self.head.stateful.state_dict()
            state |= {f"loss.{name}": value for name, value in loss.items()}
        if self.ema:  # is what others are to use; the weights themselves go on learning
            state |= {f"network.{name}": value for name, value in weights.items()}
            weights = self.ema.weights
        # Names but no paths: a model file is given to others, who need not know this machine.
        private = (
            "data",
            "device",
            "threads",
            "workers",
            "save_every",
            "keep",
            "validate",
            "track",
        )
        recipe = {name: value for name, value in config.to_dict().items() if name not in private}
        recipe |= {
            name: Path(recipe[name]).name for name in ("teacher", "weights") if name in recipe
        }
        recipe |= margin_and_scale(config)
        trained = {**self.facts(), "recipe": recipe, "mien": __version__}
        return Checkpoint(
            config.backbone,
            {"dim": config.dim},
            dict(weights),
            trained,
            state,
            is_folded(self.network),
        )

    def classes(self) -> dict[str, Tensor]:
        """This rank's class weights and their optimizer's state; empty without a loss."""
        if not (self.head and self.head_optimizer):
            return {}
        return {"weight": self.head.weight.detach(), **flat_state(self.head_optimizer)}


def device_of(config: TrainConfig) -> torch.device:
    """Where the run computes: what it names, else a GPU, else the processor.

    Raises:
        BadInput: there is no such device.
    """
    name = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("this torch is built without CUDA, or the machine has no GPU")
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", distributed.local_rank())
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"there is no device {name!r} here; use cpu, or leave it out") from error
    return device


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _digest(path: str | None) -> str | None:
    """SHA-256 of a file; None if there is none, which is reported when it is read."""
    if path is None or not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _targets(config: TrainConfig) -> Tensor:
    """(N, D) of unit length."""
    vectors = torch.from_numpy(targets.load(config.data).vectors)
    if vectors.shape[1] != config.dim:
        raise BadInput(
            f"the targets have {vectors.shape[1]} dimensions and the network {config.dim}: give "
            f"--dim {vectors.shape[1]}, or make others with mien targets --dim {config.dim}"
        )
    return vectors


def _network(
    config: TrainConfig, pictures: Shards, *, fresh: bool
) -> tuple[nn.Module, tuple[int, int] | None]:
    """The network, and how many of the tensors it has were taken from the initial weights."""
    network = BACKBONES[config.backbone](dim=config.dim)
    if config.weights is None or not fresh:
        return network, None
    before, folded = _weights(config, pictures)
    if folded:
        fold_batch_norm(network)
    now = network.state_dict()
    fitting = {
        name: value
        for name, value in before.items()
        if name in now and now[name].shape == value.shape
    }
    if not fitting or (2 * len(fitting) < len(now) and not config.partial_weights):
        raise BadInput(
            f"{len(fitting)} of the {len(now)} tensors of {config.backbone} are in "
            f"{config.weights}: give weights of a network like it"
            + (", or --partial-weights to start from these" if fitting else "")
        )
    network.load_state_dict(fitting, strict=False)
    return network, (len(fitting), len(now))


def _weights(config: TrainConfig, pictures: Shards) -> tuple[dict[str, Tensor], bool]:
    """Those of a checkpoint, of the original's file or of a model, and whether they are folded."""
    name = str(config.weights)
    if name not in shipped() and Path(name).suffix != ".onnx":
        given = from_pth.load(Path(name), config.backbone)
        return given.weights, given.folded
    x = normalize(sample(pictures, CALIBRATING), torch.device("cpu"), torch.contiguous_format)
    return from_onnx(model_file(name), x).state_dict(), False


def _precision(
    config: TrainConfig, network: nn.Module, device: torch.device, saved: Saved | None
) -> Precision:
    """What the run began with, or as configured; what is open is measured once for the machine."""
    if saved:
        return Precision.from_json(saved.checkpoint.trained["precision"])
    dtypes = list(dict.fromkeys(each.dtype for each in precisions(device)))
    if config.precision is not None:
        dtypes = [DTYPES[config.precision]]
    formats = (False, True) if config.channels_last is None else (config.channels_last,)
    among = [Precision(dtype, last) for dtype in dtypes for last in formats]
    share = min(32, config.batch // config.accumulate // distributed.world_size())
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    question = (
        f"precision of {config.backbone} in batches of {share} on {place} with "
        f"{torch.get_num_threads()} threads, of {', '.join(map(str, among))}"
    )
    return distributed.broadcast(
        lambda: Precision.from_json(
            machine.once(
                question, ("torch",), lambda: fastest(network, share, device, among=among).to_json()
            )
        )
    )
