"""The precision that a network trains fastest in is found without a trace on the network."""

from __future__ import annotations

import time

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402

from mien.training import precision as module  # noqa: E402
from mien.training.precision import (  # noqa: E402
    Precision,
    fastest,
    kind,
    precisions,
    slow_kinds,
    step_seconds,
)

CPU = torch.device("cpu")


class SlowIn(nn.Module):
    """A convolution that waits where its input lies in that order."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())

    def forward(self, x: Tensor) -> Tensor:
        if x.is_contiguous(memory_format=torch.channels_last) == self.channels_last:
            time.sleep(0.05)
        y: Tensor = self.layers(x)
        return y


@pytest.mark.parametrize("slow", [False, True])
def test_the_fastest_is_chosen(slow: bool) -> None:
    among = [precision for precision in precisions(CPU) if precision.dtype == torch.float32]
    assert len(among) == 2
    assert fastest(SlowIn(slow), 2, CPU, among=among, size=(8, 8)).channels_last is not slow


def test_the_network_is_left_as_it_was() -> None:
    network = SlowIn(True).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    chance = torch.get_rng_state()
    fastest(network, 2, CPU, size=(8, 8))
    assert torch.equal(torch.get_rng_state(), chance)
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_one_choice_is_not_tried() -> None:
    only = Precision(torch.float32, channels_last=True)
    assert fastest(nn.Identity(), 10**9, CPU, among=[only]) == only
    assert str(only) == "float32, channels last"


def test_the_first_layout_is_the_plain_one() -> None:
    assert precisions(CPU)[0] == Precision() == Precision(torch.float32, channels_last=False)


def test_a_step_gives_gradients_in_its_layout() -> None:
    network = nn.Conv2d(3, 4, 3)
    step_seconds(network, torch.randn(2, 3, 8, 8), Precision(channels_last=True))
    assert network.weight.is_contiguous(memory_format=torch.channels_last)
    assert network.weight.grad is not None


def test_kinds_of_convolution_have_names() -> None:
    assert kind(nn.Conv2d(8, 16, 1)) == "1x1"
    assert kind(nn.Conv2d(8, 8, 3, stride=2, groups=8)) == "depthwise 3x3 of stride 2"


def test_a_kind_stays_in_float32_where_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.Conv2d(8, 4, 1)
    )
    bf16, x = Precision(torch.bfloat16, channels_last=True), torch.randn(2, 3, 8, 8)

    def seconds(layer: nn.Conv2d, x: Tensor, precision: Precision) -> float:
        return 2.0 if layer.groups > 1 and precision.dtype == torch.bfloat16 else 1.0

    monkeypatch.setattr(module, "_seconds", seconds)
    kinds = slow_kinds(network, x, bf16)
    assert kinds == ("depthwise 3x3 of stride 2",)
    assert slow_kinds(network, x, Precision()) == ()
    chosen = Precision(torch.bfloat16, True, kinds)
    assert str(chosen).endswith("channels last, but float32 in depthwise 3x3 of stride 2")
    assert Precision.from_json(chosen.to_json()) == chosen
    chosen.apply(network)
    with chosen.autocast(CPU):
        assert network[:2](x).dtype == torch.float32
        assert network(x).dtype == torch.bfloat16
    bf16.apply(network)
    with bf16.autocast(CPU):
        assert network[:2](x).dtype == torch.bfloat16
