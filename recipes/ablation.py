"""Prints the table of recipes/ablation.sh: `python recipes/ablation.py RUNS`."""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from itertools import pairwise
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
    "photos a second, training",
)


def measured(run: Path, evaluations: dict[str, dict[str, Any]]) -> tuple[float | None, ...]:
    """The figures of a run, None where there are none."""
    lfw, celebs = (evaluations.get(f"{name}:{run.name}") for name in ("lfw", "celebs"))
    return (
        lfw and 100 * lfw["accuracy"],
        celebs and celebs["tar"]["0.01"] and 100 * celebs["tar"]["0.01"],
        celebs and 100 * celebs["eer"],
        celebs and 100 * celebs["identification"]["rank"]["1"],
        speed(run),
    )


def speed(run: Path) -> float:
    """Photos a second: the median over every ten steps, of which a pause slows few."""
    batch = json.loads((run / "run.json").read_text())["config"]["batch"]
    log = [json.loads(line) for line in (run / "log.jsonl").open()]
    photos = [0, *(batch * entry["step"] for entry in log)]
    seconds = [0, *(batch * entry["step"] / entry["photos_per_second"] for entry in log)]
    return statistics.median(
        (more - some) / (later - sooner)
        for (some, more), (sooner, later) in zip(pairwise(photos), pairwise(seconds), strict=True)
    )


def shown(values: list[float | None]) -> str:
    """Mean and deviation over the seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    spread = f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.1f}{spread}"


def main() -> None:
    """Prints a row for each training that has been measured."""
    runs = Path(sys.argv[1])
    evaluations = {
        f"{path.name.partition('-')[0]}:{entry['model_id'].rpartition('-')[0]}": entry
        for path in sorted(runs.glob("*-[0-9].json"))
        for entry in json.loads(path.read_text())["evaluations"]
    }
    rows: dict[tuple[str, ...], list[tuple[float | None, ...]]] = defaultdict(list)
    for record in sorted(runs.glob("*/run.json")):
        *kind, _ = record.parent.name.split("-")
        rows[tuple(kind)].append(measured(record.parent, evaluations))
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    for kind, seeds in rows.items():
        figures = [shown(list(values)) for values in zip(*seeds, strict=True)]
        print("| " + " | ".join([*kind, str(len(seeds)), *figures]) + " |")


if __name__ == "__main__":
    main()
