"""The loop of a training run, in one process or in many.

`mien train` alone, or under torchrun on as many machines as there are: the same pictures, the same
loss and the same gradients at every step.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mien.errors import BadInput, RunStopped
from mien.evaluation.protocol import verify
from mien.evaluation.verification_set import VerificationSet, find, read
from mien.recognition.model import model_file, shipped
from mien.training import checkpoint, distributed, run_folder
from mien.training.backbones import BACKBONES
from mien.training.config import PRECISIONS, TrainConfig
from mien.training.data.augment import parse
from mien.training.data.batches import Batch, Batches
from mien.training.data.shards import Shards
from mien.training.from_onnx import unfold
from mien.training.optim import Average, body_optimizer, head_optimizer, rate
from mien.training.plots import draw_training
from mien.training.precision import Layout, fastest, hold_memory, layouts
from mien.training.run_folder import LAST
from mien.training.student import (
    Student,
    block_losses,
    margin_head,
    pixels,
    sample,
    teacher_losses,
    tutor,
)
from mien.types import Crops, Embeddings

SETTLED = 256  # pictures that a model's batch norms are settled by

Report = Callable[[dict[str, Any]], None]


def train(
    config: TrainConfig, out: Path, report: Report, begun: Callable[[], None] = lambda: None
) -> Path:
    """Trains, or goes on training, and returns the path of the checkpoint.

    SIGINT (Ctrl-C) and SIGTERM save the step that is done, and then raise KeyboardInterrupt.

    Args:
        config: what to do; a run that is continued must have the same.
        out: the run's folder.
        report: is told of every tenth step: step, steps, stage, loss and its parts, rate;
            photos_per_second since ten such steps before, and seconds_left at that speed.
        begun: is called before the first step, when nothing is left to refuse.

    Raises:
        BadInput: the configuration cannot be used, or the folder holds another run.
        BadModel: the teacher or a checkpoint cannot be used.
        RunStopped: the loss is no number, or a process of the run has died.
        CannotWrite: the disk is full or read-only.
    """
    device = device_of(config)
    with distributed.process_group(device), _in_words(out):
        run, sets = Run(config, device), _sets(config)
        with run_folder.claimed(out, config):
            return _go(run, sets, out, report, begun)


def _sets(config: TrainConfig) -> list[VerificationSet]:
    """What is measured meanwhile."""
    found = {path: find(path) for path in config.validate}
    for path, sets in found.items():
        if not sets:
            raise BadInput(f"{path} is no set of pairs: give a .bin of InsightFace's or its folder")
    return [read(one) for sets in found.values() for one in sets]


def _go(
    run: Run,
    sets: list[VerificationSet],
    out: Path,
    report: Report,
    begun: Callable[[], None],
) -> Path:
    run.begin(out)
    began, before = time.monotonic(), run.seconds
    marks = deque([(run.step, run.seconds)], maxlen=11)  # when the last lines of the log were due
    every = max(1, round(run.config.validate_every * len(run.pictures) / run.config.batch))
    batches = run.batches()
    with (
        closing(run_folder.Log(out, run.step)) if distributed.rank() == 0 else nullcontext() as log,
        _politely() as asked,
    ):
        if log:
            begun()
        while run.step < run.total:
            learned = run.learn([next(batches) for _ in range(run.config.accumulate)])
            run.seconds = before + time.monotonic() - began
            done = run.step == run.total
            checked = bool(sets) and (done or run.step % every == 0)
            if run.step % 10 == 0 or done or checked:
                marks.append((run.step, run.seconds))
                first, then = marks[0]
                a_second = (run.step - first) / (run.seconds - then)
                entry = run.entry(learned) | {
                    "photos_per_second": a_second * run.config.batch,
                    "seconds_left": (run.total - run.step) / a_second,
                }
                if log and checked:
                    entry["validation"] = {pairs.name: run.accuracy(pairs) for pairs in sets}
                if log:
                    log.add(entry)
                    report(entry)
            stop = distributed.any_rank(asked(), run.device)
            if done or stop or run.step % run.config.save_every == 0:
                run_folder.save(out, run)
            if stop and not done:
                raise KeyboardInterrupt
        if log:
            run_folder.write_record(out, run.config, run.facts(), log.entries[-1])
            draw_training(log.entries, out / "training.png")
    return out / LAST


class Run:
    """A network, what teaches it, and how far it is.

    Raises:
        BadInput: the configuration cannot be used.
        BadModel: the teacher or the first weights cannot be used.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        config.check()
        self.config, self.device = config, device
        hold_memory()
        if config.threads:
            torch.set_num_threads(config.threads)
        self.pictures = Shards(config.data)
        self.total = config.total_steps(len(self.pictures))
        torch.manual_seed(config.seed)
        self.network = _network(config, self.pictures).to(device)
        self.tutor = None
        if config.teacher is not None:
            self.tutor = tutor(config, self.network, sample(self.pictures, 128), device)
        self.head = self.classes = None
        if config.loss is not None:
            self.head = margin_head(config, len(self.pictures.names)).to(device)
            self.classes = head_optimizer(config, self.head)
        self.average = Average(self.network) if config.ema else None
        self.step, self.seconds = 0, 0.0

    def begin(self, out: Path | None = None) -> None:
        """Gets ready for the first step, or for the one after the last that a folder holds.

        Args:
            out: the run's folder.

        Raises:
            BadModel: what it holds is damaged, or of another network.
        """
        before = checkpoint.load(out / LAST) if out and (out / LAST).is_file() else None
        if before:
            self.step, self.seconds = before.trained["step"], before.trained["seconds"]
            kept = before.trained["layout"]
            self.layout = Layout(PRECISIONS[kept["precision"]], kept["channels_last"])
        else:
            self.layout = self._layout()
        if distributed.world_size() > 1:
            distributed.share_batch_norm(
                self.network
            )  # new parameters: before anything holds the old
        self.body = body_optimizer(self.config, self.network, self.step)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.layout.dtype == torch.float16
        )
        if out and before:
            run_folder.resume(out, self, before)
        if self.layout.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        student: nn.Module = Student(self.network)
        if distributed.world_size() > 1:
            student = DistributedDataParallel(student)
        student.train()
        self.student: Any = torch.compile(student) if self.config.compile else student

    def _layout(self) -> Layout:
        """As the configuration has it; what it leaves open is measured, for all ranks by one."""
        config = self.config
        dtypes = {layout.dtype for layout in layouts(self.device)}
        if config.precision is not None:
            dtypes = {PRECISIONS[config.precision]}
        orders = (False, True) if config.channels_last is None else (config.channels_last,)
        among = [Layout(dtype, last) for dtype in dtypes for last in orders]
        share = min(32, config.batch // config.accumulate // distributed.world_size())
        return distributed.broadcast(lambda: fastest(self.network, share, self.device, among=among))

    def batches(self) -> Iterator[Batch]:
        """The parts of this step and of those that follow."""
        config = self.config
        parts = Batches(
            self.pictures, config.batch // config.accumulate, parse(config.augment), config.seed
        )
        return parts.load(
            self.step * config.accumulate, self.total * config.accumulate, workers=config.workers
        )

    def learn(self, parts: list[Batch], at_rate: float | None = None) -> dict[str, Tensor]:
        """Makes a step, and returns what it made small, by name.

        Args:
            parts: of the step's batch.
            at_rate: of learning, in place of the schedule's.

        Raises:
            RunStopped: the loss is no number; the network is as it was before.
        """
        config = self.config
        if self.step == config.block_steps:  # another objective: the old momentum misleads
            self.body = body_optimizer(config, self.network, self.step)
        optimizers = [self.body, *([self.classes] if self.classes else [])]
        torch.manual_seed(config.seed + (self.step << 16) + distributed.rank())  # of dropout
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = at_rate or rate(config, self.step, len(self.pictures))
        learned: dict[str, Tensor] = {}
        for part in parts:
            with self.layout.autocast(self.device):
                found = self._losses(part)
            whole = torch.stack(list(found.values())).sum() / len(parts)
            self.scaler.scale(whole).backward()  # type: ignore[no-untyped-call]
            for name, loss in found.items():
                learned[name] = learned.get(name, 0) + loss.detach() / len(parts)
        self._require_numbers(learned)
        if self.scaler.is_enabled():
            self._overflow_together(optimizers)
        for optimizer in optimizers:
            self.scaler.unscale_(optimizer)
        if config.clip:
            self._clip(config.clip)
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        self.step += 1
        if self.average:
            self.average.update(self.network, config.ema, self.step)
        return learned

    def _losses(self, part: Batch) -> dict[str, Tensor]:
        """What is to become small, by name; their sum is differentiated."""
        config, memory = self.config, self.layout.memory_format
        x = pixels(part.seen, self.device, memory)
        lesson = self.tutor.teach(part.clean, self.device, memory) if self.tutor else None
        if self.tutor and lesson and self.step < config.block_steps:
            return block_losses(self.tutor, lesson, self.student(x, lesson.features))
        outputs = self.student(x)
        found: dict[str, Tensor] = {}
        if self.head:
            assert config.loss is not None
            labels = torch.from_numpy(part.labels).to(self.device)
            found[config.loss] = self.head(outputs[-1], labels, self.step)
        if self.tutor and lesson:
            found |= teacher_losses(config, self.tutor, lesson, outputs)
        return found

    def _require_numbers(self, learned: dict[str, Tensor]) -> None:
        wrong = not all(loss.isfinite() for loss in learned.values())
        if distributed.any_rank(wrong, self.device):
            values = ", ".join(f"{name} {loss.item():.3g}" for name, loss in learned.items())
            raise RunStopped(
                f"the loss is no number at step {self.step + 1} ({values}); what was saved before "
                "is good: go on from it with a lower rate, as --weights of another run"
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
        """Shortens the gradient, of the network and of all ranks' classes together."""
        body = [p.grad for p in self.network.parameters() if p.grad is not None]
        square = sum(
            (gradient.square().sum() for gradient in body), torch.zeros((), device=self.device)
        )
        if self.head and self.head.weight.grad is not None:
            square = square + distributed.all_reduce(self.head.weight.grad.square().sum())
            body.append(self.head.weight.grad)
        torch._foreach_mul_(body, (longest / (square.sqrt() + 1e-6)).clamp(max=1.0))

    def entry(self, learned: dict[str, Tensor]) -> dict[str, Any]:
        """A line of the log about the step that was just made."""
        parts = {
            name: (distributed.all_reduce(loss) / distributed.world_size()).item()
            for name, loss in learned.items()
        }
        return {
            "step": self.step,
            "steps": self.total,
            "epoch": self.step * self.config.batch / len(self.pictures),
            "stage": "blocks" if self.step <= self.config.block_steps else "whole",
            "loss": sum(parts.values()),
            **parts,
            "rate": self.body.param_groups[0]["lr"],
        }

    def accuracy(self, pairs: VerificationSet) -> float:
        """How often the network tells whether two faces are one person, over the set's folds."""
        weights = self.average.weights if self.average else self.network.state_dict()

        def embed(crops: Crops) -> Embeddings:
            x = pixels(crops, self.device, self.layout.memory_format)
            found = torch.func.functional_call(self.network, weights, (x,))
            units: Embeddings = F.normalize(found.float()).cpu().numpy()
            return units

        self.network.eval()
        with torch.inference_mode(), self.layout.autocast(self.device):
            found = verify(embed, pairs).by_fold
        self.network.train()
        assert found is not None  # a set of pairs has folds
        return found.mean

    def facts(self) -> dict[str, Any]:
        """How far it is, and on what."""
        return {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "pictures": len(self.pictures),
            "people": len(self.pictures.names),
            "data": self.pictures.digest,
            "layout": {
                "precision": next(k for k, v in PRECISIONS.items() if v == self.layout.dtype),
                "channels_last": self.layout.channels_last,
            },
        }


def _network(config: TrainConfig, pictures: Shards) -> nn.Module:
    network = BACKBONES[config.backbone](dim=config.dim)
    if config.weights is not None:
        before = _weights(config.weights, pictures)
        now = network.state_dict()
        fitting = {
            name: value
            for name, value in before.items()
            if name in now and now[name].shape == value.shape
        }
        if not fitting:
            raise BadInput(
                f"nothing in {config.weights} fits {config.backbone}; give a checkpoint of a "
                "network that is like it"
            )
        network.load_state_dict(fitting, strict=False)
    return network


def _weights(name: str, pictures: Shards) -> dict[str, Tensor]:
    """Those of a checkpoint, or of a model that recognises."""
    if name not in shipped() and Path(name).suffix != ".onnx":
        return checkpoint.load(Path(name)).weights
    x = pixels(sample(pictures, SETTLED), torch.device("cpu"), torch.contiguous_format)
    return unfold(model_file(name), x).state_dict()


def device_of(config: TrainConfig) -> torch.device:
    """Where the run computes: what it names, else a GPU, else the processor.

    Raises:
        BadInput: there is no such device.
    """
    name = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", distributed.local_rank())
            torch.cuda.set_device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"there is no device {name!r} here; use cpu, or leave it out") from error
    return device


@contextmanager
def _politely() -> Iterator[Callable[[], bool]]:
    """Tells whether SIGINT or SIGTERM has come, which do nothing else meanwhile.

    A second one ends the run at once.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _in_words(out: Path) -> Iterator[None]:
    """Says in words that a loader or another rank has died."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        again = f"give the same command again to go on from {out}"
        if "DataLoader worker" in text:
            raise RunStopped(
                f"a process that loads pictures has died, perhaps for want of memory; {again}"
            ) from error
        if distributed.world_size() > 1 and any(
            word in text for word in ("peer", "onnection", "imed out")
        ):
            raise RunStopped(f"another process of the run has died; {again}") from error
        raise
