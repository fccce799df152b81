"""Batch norm folded away: the same function, no batch statistics, and the way back into a file."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402

from mien.recognition.embedder import OnnxEmbedder  # noqa: E402
from mien.training import checkpoint  # noqa: E402
from mien.training.backbones import BACKBONES  # noqa: E402
from mien.training.batch_norm import fold_batch_norm, is_folded, recalibrate  # noqa: E402
from mien.training.checkpoint import Checkpoint  # noqa: E402
from mien.training.export.to_onnx import export  # noqa: E402

NAMES = ["seesaw_dense", "seesaw_fast", "seesaw_share", "seesaw_tiny", "mobileface", "ir_se_50"]


def lived_in(name: str) -> nn.Module:
    """A network whose batch norms have seen something."""
    torch.manual_seed(0)
    network: nn.Module = BACKBONES[name](dim=8)
    recalibrate(network, [photos(4), photos(4)])
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
    return network.eval()


def photos(count: int) -> Tensor:
    values: Tensor = torch.rand(count, 3, 112, 112)
    return values * 2 - 1


@pytest.mark.parametrize("name", NAMES)
def test_a_folded_network_computes_the_same(name: str) -> None:
    network, x = lived_in(name), photos(2)
    with torch.inference_mode():
        expected = network(x)
    folded = fold_batch_norm(network)
    with torch.inference_mode():
        found = folded(x)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert is_folded(folded)


@pytest.mark.parametrize("name", ["seesaw_dense", "seesaw_fast", "seesaw_tiny"])
def test_a_folded_network_goes_on_learning_and_no_photo_changes_anothers_vector(name: str) -> None:
    folded, x = fold_batch_norm(lived_in(name)).train(), photos(3)
    folded(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in folded.parameters())
    with torch.no_grad():
        torch.testing.assert_close(folded(x)[:1], folded(x[:1]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["seesaw_dense", "seesaw_fast", "seesaw_tiny"])
def test_a_folded_checkpoint_comes_back_and_is_exported(name: str, tmp_path: Path) -> None:
    folded = fold_batch_norm(lived_in(name))
    before = Checkpoint(name, {"dim": 8}, folded.state_dict(), folded=True)
    checkpoint.save(tmp_path / "a.safetensors", before)
    again = checkpoint.load(tmp_path / "a.safetensors")
    assert again.folded and is_folded(again.build())
    export(again, tmp_path / "a.onnx", name="a")  # which refuses what computes anything else
    OnnxEmbedder(tmp_path / "a.onnx", threads=1)
