"""A short form of `make faults`."""

from __future__ import annotations

from pathlib import Path

import faults
import pytest


@pytest.mark.parametrize("seed", range(12))
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, seed: int) -> None:
    faults.kill_in_changes(tmp_path, seed)


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_in_a_migration_loses_nothing(tmp_path: Path, seed: int) -> None:
    faults.kill_in_migration(tmp_path, seed)


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_while_it_is_encrypted_leaves_the_old_or_the_new(tmp_path: Path, seed: int) -> None:
    pytest.importorskip("sqlcipher3", reason="needs mien[encryption]")
    faults.kill_in_encryption(tmp_path, seed)
