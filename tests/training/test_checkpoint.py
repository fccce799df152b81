"""A checkpoint comes back as it was, and a file that is none says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

from safetensors.torch import save_file  # noqa: E402

from mien.errors import BadInput, BadModel  # noqa: E402
from mien.training import checkpoint  # noqa: E402
from mien.training.backbones import BACKBONES  # noqa: E402
from mien.training.checkpoint import Checkpoint  # noqa: E402


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Checkpoint]:
    network = BACKBONES["seesaw_shuffle"](dim=64)
    written = Checkpoint(
        "seesaw_shuffle",
        {"dim": 64},
        network.state_dict(),
        {"step": 3},
        {"0.step": torch.tensor(3.0)},
    )
    path = tmp_path_factory.mktemp("run") / "last.safetensors"
    checkpoint.save(path, written)
    return path, written


def test_round_trip(saved: tuple[Path, Checkpoint]) -> None:
    path, written = saved
    again = checkpoint.load(path)
    assert (again.backbone, again.args, again.trained) == (
        "seesaw_shuffle",
        {"dim": 64},
        {"step": 3},
    )
    assert again.state["0.step"] == 3
    for name, tensor in written.weights.items():
        assert torch.equal(again.weights[name], tensor), name
    assert again.build().dim == 64


def test_an_average(saved: tuple[Path, Checkpoint]) -> None:
    _, last = saved
    other = replace(last, weights={name: value + 1 for name, value in last.weights.items()})
    found = checkpoint.average([other, last])
    assert found.trained == {"step": 3, "averaged": [3, 3]} and not found.state
    for name, value in last.weights.items():
        expected = value + 0.5 if value.is_floating_point() else value
        torch.testing.assert_close(found.weights[name], expected)
    with pytest.raises(BadInput, match="checkpoints of different networks"):
        checkpoint.average([replace(last, args={}), last])


def test_weights_of_another_network(saved: tuple[Path, Checkpoint]) -> None:
    _, written = saved
    with pytest.raises(BadModel, match=r"not those of seesaw_shuffle with \{'dim': 128\}"):
        Checkpoint("seesaw_shuffle", {"dim": 128}, written.weights).build()


@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_truncated(saved: tuple[Path, Checkpoint], tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(saved[0].read_bytes()[:keep])
    with pytest.raises(BadModel, match="not a checkpoint of mien train, or is damaged"):
        checkpoint.load(path)


def test_missing_and_foreign(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="nowhere"):
        checkpoint.load(tmp_path / "nowhere.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(BadModel, match="not a checkpoint of mien train"):
        checkpoint.load(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize(("format", "name"), [(2, "seesaw_shuffle"), (1, "other")])
def test_of_another_version(tmp_path: Path, format: int, name: str) -> None:
    about = {"format": format, "backbone": {"name": name, "args": {}}, "trained": {}}
    save_file({"weights.a": torch.zeros(1)}, tmp_path / "x", {"mien": json.dumps(about)})
    with pytest.raises(BadModel, match="another version"):
        checkpoint.load(tmp_path / "x")
