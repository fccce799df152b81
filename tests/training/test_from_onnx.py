"""Networks to train on, of model files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import normalize  # noqa: E402

from mien.errors import BadModel  # noqa: E402
from mien.training.backbones import BACKBONES  # noqa: E402
from mien.training.checkpoint import Checkpoint  # noqa: E402
from mien.training.export import export  # noqa: E402
from mien.training.from_onnx import NORMS, from_onnx  # noqa: E402

Exported: TypeAlias = "Callable[[str], tuple[nn.Module, Path]]"


def photos(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x: Tensor = torch.rand(count, 3, 112, 112, generator=generator) * 2 - 1
    return x


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Networks whose batch norms have something to say, by name, and their files."""
    folder = tmp_path_factory.mktemp("exported")
    return cache(lambda name: (_export(name, folder / f"{name}.onnx"), folder / f"{name}.onnx"))


def _export(name: str, path: Path) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = BACKBONES[name](dim=8)
    for layer in network.modules():
        if isinstance(layer, NORMS):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
    network.train()(photos(1, 8))
    export(Checkpoint(name, {"dim": 8}, network.state_dict()), path, name="ours")
    return network.eval()


@pytest.mark.parametrize("name", ["seesaw_fast", "seesaw_tiny"])
def test_it_computes_what_the_exported_network_does(name: str, exported: Exported) -> None:
    network, file = exported(name)
    again = from_onnx(file, photos(2, 16))
    x = photos(3, 8)
    with torch.no_grad():
        expected = normalize(network(x))
        torch.testing.assert_close(normalize(again.eval()(x)), expected, rtol=0, atol=1e-5)
        learning = normalize(again.train()(x))  # its batch norms look at these pictures alone
    assert (learning * expected).sum(1).min() > 0.9


def test_all_of_it_can_learn(exported: Exported) -> None:
    network = from_onnx(exported("seesaw_tiny")[1], photos(2, 8)).train()
    network(photos(3, 8)).square().sum().backward()
    still = {
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.any()
    }
    # Behind a branch that adds nothing yet; what it is multiplied with learns first.
    assert all(".point.0." in name or name == "head.3.weight" for name in still), still


@pytest.mark.parametrize("name", ["mobileface", "seesaw_shuffle"])
def test_what_the_file_no_longer_holds_is_said(name: str, exported: Exported) -> None:
    file = exported(name)[1]  # of PReLU it keeps only what is computed with it
    with pytest.raises(BadModel, match=r"does not hold the weights .*: give a checkpoint"):
        from_onnx(file, photos(2, 2))
