"""What a run leaves on the disk, so that it can go on after anything.

    config.toml             what the run is, as mien train --config takes it
    last.safetensors        the network, its optimizer, the step: all but the classes
    best.safetensors, step-000500.safetensors       weights that --keep asks for
    head-000500-0-of-1.safetensors      a rank's class weights at that step, and their optimizer
    log.jsonl               a line for every tenth step
    run.json                configuration, versions, data, results, for people and programs
    training.png            loss and learning rate over the steps
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from mien import __version__
from mien.errors import BadInput, BadModel, cannot_write
from mien.evaluation import plots
from mien.evaluation.metrics import roc
from mien.evaluation.protocol import Verification
from mien.files import write_atomically
from mien.images import decode
from mien.training import checkpoint, distributed
from mien.training.checkpoint import Checkpoint
from mien.training.config import FIXED, TrainConfig, flag, read_toml, settings
from mien.training.trackers import Tracker

LAST, BEST, CONFIG = "last.safetensors", "best.safetensors", "config.toml"
_HEAD = re.compile(r"head-(\d+)-(\d+)-of-(\d+)\.safetensors")


@dataclass(frozen=True, slots=True)
class Saved:
    """Where a run was left."""

    folder: Path
    checkpoint: Checkpoint

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.folder / LAST

    @property
    def step(self) -> int:
        """How many steps had been made."""
        return int(self.checkpoint.trained["step"])

    def classes(self, start: int, end: int, total: int) -> dict[str, Tensor]:
        """Some class weights and their optimizer's state, however many ranks have written them.

        Args:
            start, end: classes of this rank, end exclusive.
            total: classes of all ranks.

        Raises:
            BadModel: they are missing or damaged.
        """
        parts: dict[str, list[Tensor]] = {}
        before = 0
        try:
            for path in _heads(self.folder, self.step):
                with safe_open(path, "pt") as file:
                    rows = file.get_slice("weight").get_shape()[0]
                    first, last = max(0, start - before), min(rows, end - before)
                    before += rows
                    if first >= last:
                        continue
                    for name in file.keys():  # noqa: SIM118
                        part = file.get_slice(name)
                        whole = len(part.get_shape()) < 2  # the count of AdamW's steps
                        value = file.get_tensor(name) if whole else part[first:last]
                        parts.setdefault(name, []).append(value)
            if before != total:
                raise ValueError(f"{before} of {total} classes are there")
            return {
                name: values[0] if values[0].dim() < 2 else torch.cat(values)
                for name, values in parts.items()
            }
        except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise BadModel(
                f"the class weights of step {self.step} in {self.folder} are missing or damaged "
                f"({error}); start again in another folder with --weights from its {LAST}"
            ) from error


def read(folder: Path, config: TrainConfig) -> Saved | None:
    """Where the run of a folder was left, or None where it has saved nothing.

    Raises:
        BadInput: the folder holds a run of another configuration.
        BadModel: the checkpoint is damaged.
    """
    _require_same(folder, config)
    if not (folder / LAST).is_file():
        return None
    if not (folder / CONFIG).is_file():
        raise BadInput(
            f"{folder} holds a checkpoint but no {CONFIG}: choose another folder, and start from "
            "it with --weights"
        )
    return Saved(folder, checkpoint.load(folder / LAST))


@contextmanager
def claimed(folder: Path, config: TrainConfig, step: int) -> Iterator[None]:
    """Makes the folder this run's, for as long as no other process trains in it.

    Args:
        folder: the run's.
        config: which is what the folder then says.
        step: the one from which the run goes on; 0 begins it.

    Raises:
        BadInput: it holds a run of another configuration, or another process trains in it.
        CannotWrite: the disk is full, read-only or forbidden.
    """
    if distributed.rank():
        distributed.barrier()
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = (folder / "lock").open("w")
    except OSError as error:
        raise cannot_write(folder, error) from error
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(f"another process trains in {folder}; choose another folder") from error
        saved = read(folder, config)
        if (saved.step if saved else 0) != step:
            raise BadInput(f"another process has just trained in {folder}; start again")
        write_atomically(folder / CONFIG, tomli_w.dumps(config.to_dict()).encode())
        _forget_other_classes(folder, step)
        distributed.barrier()
        yield


def _require_same(folder: Path, config: TrainConfig) -> None:
    if not (folder / CONFIG).is_file():
        return
    before = TrainConfig(**read_toml(folder / CONFIG))
    for each, _, _ in settings():
        was, now = getattr(before, each.name), getattr(config, each.name)
        if was != now and each.metadata["setting"].resume == FIXED:
            raise BadInput(
                f"{folder} holds a run with {flag(each.name)} {was}, not {now}; "
                "choose another folder"
            )


def save(folder: Path, state: Checkpoint, classes: dict[str, Tensor], keep: int = 0) -> None:
    """Writes all that it takes to go on.

    Args:
        folder: the run's.
        state: what rank 0 writes for all.
        classes: this rank's class weights and their optimizer's state; empty without a loss.
        keep: the weights of how many steps stay, this one's among them.

    Raises:
        CannotWrite: the disk is full, read-only or forbidden; what was there before is intact.
    """
    step = state.trained["step"]
    if classes:
        name = f"head-{step:06d}-{distributed.rank()}-of-{distributed.world_size()}.safetensors"
        tensors = {key: value.cpu().contiguous() for key, value in classes.items()}
        write_atomically(folder / name, to_bytes(tensors))
    distributed.barrier()
    if distributed.rank() == 0:
        checkpoint.save(folder / LAST, state)
        _forget_other_classes(folder, step)
        if keep:
            save_weights(folder / f"step-{step:06d}.safetensors", state)
            for path in sorted(folder.glob("step-*.safetensors"))[:-keep]:
                path.unlink()
    distributed.barrier()


def save_weights(path: Path, state: Checkpoint) -> None:
    """Writes a checkpoint to export or to start from, but not to go on from."""
    checkpoint.save(path, replace(state, state={}))


def _forget_other_classes(folder: Path, step: int) -> None:
    """Leaves the classes of a step alone: what a kill has cut short may be of other ranks."""
    for path in folder.glob("head-*.safetensors"):
        if (found := _HEAD.fullmatch(path.name)) and int(found[1]) != step:
            path.unlink()


def _heads(folder: Path, step: int) -> list[Path]:
    """The files of a step's classes, by rank."""
    found = [(_HEAD.fullmatch(path.name), path) for path in folder.glob("head-*.safetensors")]
    ranks = {int(name[2]): path for name, path in found if name and int(name[1]) == step}
    return [ranks[rank] for rank in sorted(ranks)]


class Log:
    """The lines of `log.jsonl`, and TensorBoard's; those of steps that are done again go.

    Args:
        folder: the run's.
        start: the step from which it goes on.
        trackers: are given the figures too.
    """

    def __init__(self, folder: Path, start: int, trackers: Sequence[Tracker] = ()) -> None:
        self.trackers = trackers
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
        self._report({k: v for k, v in entry.items() if isinstance(v, float)}, entry["step"])

    def _report(self, figures: dict[str, float], step: int) -> None:
        for tracker in self.trackers:
            tracker.log(figures, step)
        if self._board:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)

    def validated(self, step: int, found: dict[str, Verification]) -> dict[str, float]:
        """Reports the figures of each set, and its ROC; returns the accuracies."""
        accuracies = {}
        for name, verification in found.items():
            folds = verification.by_fold
            assert folds is not None  # a set of pairs has folds
            accuracies[name] = folds.mean
            figures = {"accuracy": folds.mean, "threshold": folds.threshold}
            figures |= {"EER": verification.eer} | {
                f"TAR at FAR {far:g}": tar
                for far, tar in verification.tar.items()
                if tar is not None
            }
            self._report({f"{name}/{figure}": value for figure, value in figures.items()}, step)
            if not self._board:
                continue
            curve = roc(verification.scores, verification.same)
            drawn = decode(plots.roc({f"step {step}": curve}, name))
            self._board.add_image(f"{name}/ROC", drawn, step, dataformats="HWC")
        return accuracies

    def is_best(self) -> bool:
        """Whether the last validation's mean accuracy is the highest until now."""
        found = [
            list(entry["validation"].values()) for entry in self.entries if "validation" in entry
        ]
        means = [sum(each) / len(each) for each in found]
        return bool(means[-1] > max(means[:-1], default=-1.0))

    def close(self) -> None:
        """Ends the parts of TensorBoard and of the trackers."""
        for tracker in self.trackers:
            tracker.close()
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
        "config": config.to_dict(),
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
