"""What a run leaves on the disk, so that it can go on after anything.

    config.json             what the run is
    last.safetensors        the network, its optimizer, the step: all but the classes
    head-000500-0-of-1.safetensors      a rank's classes at that step, and their optimizer
    log.jsonl               a line for every tenth step
    run.json                configuration, versions, data, results, for people and programs
    training.png            loss and rate over the steps
    tensorboard/            the same for TensorBoard, where it is installed

The classes are written first and belong to the step that they name; `last.safetensors`, written
whole or not at all, makes them count.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from mien import __version__
from mien.errors import BadInput, BadModel
from mien.files import write_atomically
from mien.training import checkpoint, distributed
from mien.training.checkpoint import Checkpoint
from mien.training.config import TrainConfig
from mien.training.losses.margin import MarginHead
from mien.training.optim import by_index, restore

if TYPE_CHECKING:
    from mien.training.loop import Run

LAST = "last.safetensors"
_HEAD = re.compile(r"head-(\d+)-(\d+)-of-(\d+)\.safetensors")


@contextmanager
def claimed(folder: Path, config: TrainConfig) -> Iterator[None]:
    """Makes the folder this run's, for as long as no other process trains in it.

    Raises:
        BadInput: it holds a run of another configuration, or another process trains in it.
        CannotWrite: the disk is full, read-only or forbidden.
    """
    if distributed.rank():
        distributed.barrier()
        yield
        return
    path, text = folder / "config.json", json.dumps(asdict(config), indent=2)
    if not path.is_file():
        write_atomically(path, text.encode())
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(f"another process trains in {folder}; choose another folder") from error
        _require_same(folder, json.loads(path.read_text()), json.loads(text))
        distributed.barrier()
        yield


def _require_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    # How a run is computed may change while it is paused; what it computes may not.
    free = {"device", "threads", "workers", "save_every", "compile", "accumulate"}
    for name in before.keys() | now.keys():
        if name not in free and before.get(name) != now.get(name):
            raise BadInput(
                f"{folder} holds a run with {name} {before.get(name)!r}, not {now.get(name)!r}; "
                "choose another folder"
            )


def save(folder: Path, run: Run) -> None:
    """Writes all that it takes to go on.

    Raises:
        CannotWrite: the disk is full, read-only or forbidden; what was there before is intact.
    """
    config, step = run.config, run.step
    if run.head and run.classes:
        state = {f"moment.{name}": value for name, value in by_index(run.classes).items()}
        name = f"head-{step:06d}-{distributed.rank()}-of-{distributed.world_size()}.safetensors"
        tensors = {"weight": run.head.weight.detach().cpu().contiguous(), **_ready(state)}
        write_atomically(folder / name, to_bytes(tensors))
    distributed.barrier()
    if distributed.rank() == 0:
        weights = run.network.state_dict()
        state = {f"body.{name}": value for name, value in by_index(run.body).items()}
        for name, figure in run.scaler.state_dict().items():  # of fp16's gradients
            state[f"scaler.{name}"] = torch.tensor(figure)
        if run.average:  # is what others are to use; the weights themselves go on learning
            state |= {f"network.{name}": value for name, value in weights.items()}
            weights = run.average.weights
        # Names but no paths: a model file is given to others, who need not know this machine.
        recipe = {
            name: value
            for name, value in asdict(config).items()
            if name not in ("data", "device", "threads", "workers", "save_every", "validate")
        }
        for name in ("teacher", "weights"):
            recipe[name] = recipe[name] and Path(recipe[name]).name
        trained = {**run.facts(), "recipe": recipe | config.margin_and_scale(), "mien": __version__}
        checkpoint.save(
            folder / LAST,
            Checkpoint(
                config.backbone, {"dim": config.dim}, _ready(weights), trained, _ready(state)
            ),
        )
        _forget_other_classes(folder, step)
    distributed.barrier()


def _forget_other_classes(folder: Path, step: int) -> None:
    """Leaves the classes of a step alone: what a kill has cut short may be of other ranks."""
    for path in folder.glob("head-*.safetensors"):
        if (found := _HEAD.fullmatch(path.name)) and int(found[1]) != step:
            path.unlink()


def _ready(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def resume(folder: Path, run: Run, before: Checkpoint) -> None:
    """Brings a run to where it was left.

    Args:
        before: its `last.safetensors`.

    Raises:
        BadModel: the checkpoint or the classes are damaged, or of another network.
    """
    try:
        if run.average:
            run.average.weights = {
                name: value.to(run.average.weights[name].device)
                for name, value in before.weights.items()
            }
            run.network.load_state_dict(_part(before.state, "network."))
        else:
            run.network.load_state_dict(before.weights)
    except (RuntimeError, KeyError) as error:
        raise BadModel(f"{folder / LAST} is of another network; choose another folder") from error
    if run.step != run.config.block_steps:  # else its optimizer begins anew
        restore(run.body, _part(before.state, "body."))
    if scaler := _part(before.state, "scaler."):
        run.scaler.load_state_dict({name: figure.item() for name, figure in scaler.items()})
    if run.head and run.classes:
        _resume_head(folder, run.head, run.classes, run.step)
    if distributed.rank() == 0:
        _forget_other_classes(folder, run.step)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _resume_head(
    folder: Path, head: MarginHead, optimizer: torch.optim.Optimizer, step: int
) -> None:
    """Reads this rank's classes, by however many ranks they were written."""
    found = {
        int(name[2]): path
        for path in folder.glob("head-*.safetensors")
        if (name := _HEAD.fullmatch(path.name)) and int(name[1]) == step
    }
    parts: dict[str, list[Tensor]] = {}
    first = 0
    try:
        for number in sorted(found):
            with safe_open(found[number], "pt") as file:
                rows = file.get_slice("weight").get_shape()[0]
                start, end = max(0, head.first - first), min(rows, head.end - first)
                first += rows
                if start >= end:
                    continue
                for name in file.keys():  # noqa: SIM118
                    part = file.get_slice(name)
                    whole = len(part.get_shape()) < 2  # the count of AdamW's steps
                    value = file.get_tensor(name) if whole else part[start:end]
                    parts.setdefault(name, []).append(value)
        if first != head.classes:
            raise ValueError(f"{first} of {head.classes} classes are there")
        read = {
            name: values[0] if values[0].dim() < 2 else torch.cat(values)
            for name, values in parts.items()
        }
        with torch.no_grad():
            head.weight.copy_(read.pop("weight"))
        restore(optimizer, _part(read, "moment."))
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise BadModel(
            f"the classes of step {step} in {folder} are missing or damaged ({error}); "
            "start again in another folder with --weights from its last.safetensors"
        ) from error


class Log:
    """The lines of `log.jsonl`, and TensorBoard's; those of steps that are done again go."""

    def __init__(self, folder: Path, start: int) -> None:
        self.path = folder / "log.jsonl"
        self.entries = [entry for entry in _lines(self.path) if entry["step"] <= start]
        if self.path.is_file():
            text = "".join(json.dumps(entry) + "\n" for entry in self.entries)
            write_atomically(self.path, text.encode())
        self._board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def add(self, entry: dict[str, Any]) -> None:
        """One more line."""
        self.entries.append(entry)
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if self._board:
            for name, value in (entry | entry.get("validation", {})).items():
                if isinstance(value, float):
                    self._board.add_scalar(name, value, entry["step"])

    def close(self) -> None:
        """Ends TensorBoard's part."""
        if self._board:
            self._board.close()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the last one, of a run that was killed while writing it
            return


def write_record(
    folder: Path, config: TrainConfig, facts: dict[str, Any], results: dict[str, Any]
) -> None:
    """Writes `run.json`."""
    record = {
        "config": asdict(config),
        "versions": {
            "mien": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "machine": {"system": platform.platform(), "processors": os.cpu_count()},
        "trained": facts,
        "results": results,
    }
    write_atomically(folder / "run.json", json.dumps(record, indent=2).encode())
