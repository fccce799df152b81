"""Readers of files on the seeds that `make fuzz` starts from, and on what it once found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "fuzz"
SEEDS = sorted((FOLDER / "seeds").glob("*/*"))

sys.path.append(str(FOLDER))
import folders  # noqa: E402
import lines  # noqa: E402
import pictures  # noqa: E402
import targets  # noqa: E402


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_seed_is_read_or_refused(seed: Path) -> None:
    targets.run(seed.parent.name, seed.read_bytes())


def test_random_folders_are_as_a_model_says() -> None:
    assert folders.run(3)


def test_random_lines_end_as_they_should() -> None:
    assert lines.run(3)


def test_every_target_has_seeds() -> None:
    assert {path.parent.name for path in SEEDS} == set(targets.TARGETS)


def test_changed_pictures_are_read_or_refused() -> None:
    counts, found = pictures.run(8, seed=0)  # hundreds; a few where the machine is busy
    assert not found and counts
