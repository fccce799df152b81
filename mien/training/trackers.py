"""Where a run's figures are reported besides its folder: experiment trackers, which users install.

A tracker is called with the run's folder and its configuration, has `log(figures, step)` and
`close()`.  A package that is installed beside mien adds its own by an entry point of the group
`mien.trackers`.  Figures leave the machine only where the tracker is set up to send them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from mien.errors import BadInput
from mien.files import write_atomically
from mien.training.plugins import Table


class Tracker(Protocol):
    """Takes the figures of a run."""

    def log(self, figures: dict[str, float], step: int) -> None:
        """Report the figures of a step."""

    def close(self) -> None:
        """End the report."""


class MLflow:
    """MLflow's tracking, set up by its environment variables."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self._mlflow, known = _package("mlflow"), _known(folder / "mlflow.id")
        run = self._mlflow.start_run(run_id=known, run_name=None if known else folder.name)
        if not known:
            self._mlflow.log_params(config)
            write_atomically(folder / "mlflow.id", run.info.run_id.encode())

    def log(self, figures: dict[str, float], step: int) -> None:
        self._mlflow.log_metrics(figures, step=step)

    def close(self) -> None:
        self._mlflow.end_run()


class WandB:
    """Weights & Biases, set up by its environment variables."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        known = _known(folder / "wandb.id")
        self._run = _package("wandb").init(
            id=known, resume="allow", name=folder.name, config=config, dir=str(folder)
        )
        if not known:
            write_atomically(folder / "wandb.id", self._run.id.encode())

    def log(self, figures: dict[str, float], step: int) -> None:
        self._run.log(figures, step=step)

    def close(self) -> None:
        self._run.finish()


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BadInput(f"--track {name} needs its package: pip install {name}") from error


def _known(file: Path) -> str | None:
    """The tracker's name for a run that goes on."""
    return file.read_text() if file.is_file() else None


TRACKERS: Table[Callable[[Path, dict[str, Any]], Tracker]] = Table(
    "tracker", "mien.trackers", {"mlflow": MLflow, "wandb": WandB}
)
