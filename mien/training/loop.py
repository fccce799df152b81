"""The loop of a training run, in one process or in many.

`mien train` alone, or under torchrun on as many machines as there are.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from mien import defaults
from mien.errors import BadInput, RunStopped
from mien.evaluation.evaluate import aligned_pairs
from mien.evaluation.verification_set import VerificationSet, find, read
from mien.recognition import detect
from mien.training import distributed, run_folder
from mien.training.config import TrainConfig
from mien.training.data.shards import Shards
from mien.training.plots import draw_training
from mien.training.run import Run, device_of
from mien.training.run_folder import LAST
from mien.training.trackers import TRACKERS

Report = Callable[[dict[str, Any]], None]


def train(
    config: TrainConfig,
    out: Path,
    report: Report = lambda entry: None,
    begun: Callable[[Run], None] = lambda run: None,
) -> Path:
    """Trains, or resumes, and returns the path of the checkpoint.

    SIGINT (Ctrl-C) and SIGTERM save the step that is done, and then raise KeyboardInterrupt, or
    SystemExit(143) where it was SIGTERM.

    Args:
        config: the settings; `mien.training.config` says which may change when a run resumes.
        out: the run's folder.
        report: is given each line of the log: step, steps, stage, loss and its parts, lr;
            photos_per_second over the last hundred steps, and seconds_left at that speed.
        begun: is given the run right before the first step.

    Raises:
        BadInput: the configuration cannot be used, or the folder holds another run.
        BadModel: the teacher or a checkpoint cannot be used.
        RunStopped: the loss is not finite, or a process of the run has died.
        CannotWrite: the disk is full or read-only.
    """
    config.check()
    device = device_of(config)
    with distributed.process_group(device), _in_words(out):
        pictures, sets = Shards(config.data), _sets(config)
        run = Run(config, pictures, device, run_folder.read(out, config))
        with run_folder.claimed(out, config, run.steps_done):
            return _go(run, sets, out, report, begun)


def _sets(config: TrainConfig) -> list[VerificationSet]:
    """What is measured during the run."""
    found = []
    for path in map(Path, config.validate):
        if path.suffix == ".txt":
            found.append(
                aligned_pairs(path, detect.named(defaults.DETECTOR, threads=config.threads))
            )
        elif sets := find(path):
            found += [read(one) for one in sets]
        else:
            raise BadInput(
                f"{path} is not a set of pairs: give one of InsightFace's .bin files, a folder of "
                "them, or a list of pairs"
            )
    return found


def _go(
    run: Run,
    sets: list[VerificationSet],
    out: Path,
    report: Report,
    begun: Callable[[Run], None],
) -> Path:
    began, before = time.monotonic(), run.seconds
    speed = Speed(run.steps_done, run.seconds)
    every = max(1, round(run.config.validate_every * len(run.pictures) / run.config.batch))
    batches = run.batches()
    main = distributed.rank() == 0
    with (
        closing(_log(run, out)) if main else nullcontext() as log,
        _stop_asked() as asked,
    ):
        if log:
            begun(run)
        while run.steps_done < run.total:
            losses = run.step([next(batches) for _ in range(run.config.accumulate)])
            run.seconds = before + time.monotonic() - began
            done = run.steps_done == run.total
            checked = bool(sets) and (done or run.steps_done % every == 0)
            if run.steps_done % 10 == 0 or done or checked:
                steps_per_second = speed.at(run.steps_done, run.seconds)
                entry = run.entry(losses) | {
                    "photos_per_second": steps_per_second * run.config.batch,
                    "seconds_left": (run.total - run.steps_done) / steps_per_second,
                }
                if log:
                    if checked:
                        found = {pairs.name: run.verify(pairs) for pairs in sets}
                        entry["validation"] = log.validated(run.steps_done, found)
                    log.add(entry)
                    report(entry)
                    if checked and run.config.keeps_best and log.is_best():
                        run_folder.save_weights(out / run_folder.BEST, run.checkpoint())
            stop = distributed.any_rank(bool(asked()), run.device)
            if done or stop or run.steps_done % run.config.save_every == 0:
                run_folder.save(out, run.checkpoint(), run.classes(), run.config.keeps_checkpoints)
            if stop and not done:
                _end(asked())
        if log:
            run_folder.write_record(out, run.config, run.facts(), log.entries[-1])
            draw_training(log.entries, out / "training.png")
    return out / LAST


def _log(run: Run, out: Path) -> run_folder.Log:
    config = run.config
    trackers = [TRACKERS[name](out, config.to_dict()) for name in config.track]
    return run_folder.Log(out, run.steps_done, trackers)


class Speed:
    """Steps per second over the last ten lines of the log, so that a pause soon drops out."""

    def __init__(self, step: int, seconds: float) -> None:
        self._marks = deque([(step, seconds)], maxlen=11)

    def at(self, step: int, seconds: float) -> float:
        """The speed at a line of the log."""
        self._marks.append((step, seconds))
        first, then = self._marks[0]
        return (step - first) / (seconds - then)


@contextmanager
def _stop_asked() -> Iterator[Callable[[], int]]:
    """Tells which of SIGINT and SIGTERM has come, 0 for none; they do nothing else meanwhile.

    A second one ends the run at once.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            _end(number)
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: seen[0] if seen else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int) -> NoReturn:
    if number == signal.SIGTERM:
        raise SystemExit(128 + number)
    raise KeyboardInterrupt


@contextmanager
def _in_words(out: Path) -> Iterator[None]:
    """Turns the death of a loader or another rank into RunStopped."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        again = f"give the same command again to go on from {out}"
        if "DataLoader worker" in text:
            raise RunStopped(
                f"a process that loads pictures has died, perhaps for lack of memory; {again}"
            ) from error
        if distributed.world_size() > 1 and any(
            word in text for word in ("peer", "onnection", "imed out")
        ):
            raise RunStopped(f"another process of the run has died; {again}") from error
        raise
