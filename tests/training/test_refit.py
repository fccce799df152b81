"""The last layer that fits targets best is found at once."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

import torch.nn.functional as F  # noqa: E402
from toy import Toy  # noqa: E402

from mien.training.batch_norm import fold_batch_norm  # noqa: E402
from mien.training.refit import refit_head  # noqa: E402


@pytest.mark.parametrize("folded", [False, True])
def test_the_head_is_fitted_to_targets(folded: bool) -> None:
    torch.manual_seed(0)
    student, teacher = Toy(dim=8), Toy(dim=8).eval()
    teacher.stem, teacher.blocks = student.stem, student.blocks  # another head alone
    network = fold_batch_norm(student) if folded else student
    x = F.interpolate(torch.randn(200, 3, 7, 7), (112, 112))
    with torch.inference_mode():
        student.eval()
        teacher.eval()
        goal = F.normalize(teacher(x))
    network.train()
    before = F.cosine_similarity(network.eval()(x), goal).mean()
    network.train()
    held_out = refit_head(network, x, goal)
    assert network.training
    with torch.inference_mode():
        after = F.cosine_similarity(network.eval()(x), goal).mean()
    assert before < 0.7
    assert held_out > 0.9
    assert after > 0.9
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    assert refit_head(network, x, network(x).detach()) > 0.99  # which it fits already
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
