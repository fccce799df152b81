"""The precision that a network trains fastest in is found without a trace on the network."""

from __future__ import annotations

import time

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402

from mien.training.precision import Precision, fastest, precisions, step_seconds  # noqa: E402

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
