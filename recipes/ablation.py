"""Prints the table of recipes/ablation.sh: `python recipes/ablation.py RUNS`."""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

COLUMNS = (
    "start",
    "network",
    "loss",
    "numbers",
    "seeds",
    "LFW View 1 accuracy, %",
    "celebs TAR at FAR 1e-2, %",
    "celebs EER, %",
    "celebs rank 1, %",
    "training, photos a second",
    "ms a face",
)
Figures = tuple[float | None, ...]


def figures(runs: Path, run: Path) -> Figures:
    """What was measured of a run, None where nothing was."""
    seed = run.name.rpartition("-")[2]
    lfw = found(runs / f"lfw-{seed}.json", "evaluations", "model_id", run.name)
    celebs = found(runs / f"celebs-{seed}.json", "evaluations", "model_id", run.name)
    # One file of each network is timed.
    network = "-".join(["scratch", *run.name.split("-")[1:-1], "0"])
    timed = found(runs / "embed.json", "speeds", "model", network)
    tar = celebs["tar"]["0.01"] if celebs else None
    return (
        100 * lfw["accuracy"] if lfw else None,
        100 * tar if tar is not None else None,
        100 * celebs["eer"] if celebs else None,
        100 * celebs["identification"]["rank"]["1"] if celebs else None,
        speed(run),
        timed["milliseconds"] if timed else None,
    )


def found(path: Path, things: str, key: str, name: str) -> dict[str, Any] | None:
    """The entry of a document that is about a run."""
    if not path.is_file() or not path.stat().st_size:  # it is being written
        return None
    entries: list[dict[str, Any]] = json.loads(path.read_text())[things]
    return next((one for one in entries if one[key].startswith(name)), None)


def speed(run: Path) -> float:
    """Photos a second: the median over the lines of the log, of which a pause slows few."""
    lines = (json.loads(line) for line in (run / "log.jsonl").open())
    speeds: list[float] = [entry["photos_per_second"] for entry in lines]
    return statistics.median(speeds)


def shown(values: list[float | None]) -> str:
    """Mean and deviation over the seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    spread = f" ± {statistics.stdev(known):.1f}" if len(set(known)) > 1 else ""
    return f"{statistics.mean(known):.1f}{spread}"


def main() -> None:
    """Prints a row for each kind of training, in the order in which they were begun."""
    runs = Path(sys.argv[1])
    rows: dict[tuple[str, ...], list[Figures]] = defaultdict(list)
    done = [path.parent for path in runs.glob("*/run.json")]
    for run in sorted(done, key=lambda run: (run / "config.toml").stat().st_mtime):
        rows[tuple(run.name.split("-")[:-1])].append(figures(runs, run))
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    for kind, seeds in rows.items():
        means = [shown(list(values)) for values in zip(*seeds, strict=True)]
        print("| " + " | ".join([*kind, str(len(seeds)), *means]) + " |")


if __name__ == "__main__":
    main()
