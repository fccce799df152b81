"""What the recipes do beside calling mien."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

RECIPES = Path(__file__).parents[1] / "recipes"


def test_a_simplified_network_has_the_weights_and_the_moments_of_the_trained_one() -> None:
    from mien.training.backbones import BACKBONES

    recipe = runpy.run_path(str(RECIPES / "simplify.py"))
    torch.manual_seed(0)
    trained: Any = BACKBONES["seesaw_shuffle"](dim=8)
    simple: Any = BACKBONES["seesaw_fast"](dim=8)
    trained.blocks[0].attention.excite.bias.data.fill_(-2)  # a gate that is far from one
    x = torch.rand(6, 3, 112, 112) * 2 - 1
    trained.train()(x)  # moments that are not those of chance

    recipe["simplify"](trained, simple, x)

    assert torch.equal(simple.blocks[1].up[0].quarter, trained.blocks[1].up[0].quarter)
    gate = simple.blocks[0].down[0].rest / trained.blocks[0].down[0].rest
    assert gate.min() > 0.08 and gate.max() < 0.2  # about sigmoid(-2), 0.12
    (_, before), (_, after) = (
        recipe["watched"](network, x) for network in (trained.eval(), simple)
    )
    assert before.keys() == after.keys()
    for name, moments in before.items():
        torch.testing.assert_close(after[name], moments, rtol=0.15, atol=0.02, msg=name)
