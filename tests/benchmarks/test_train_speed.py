"""What training is measured beside is the same function, written as it was published."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

from torch import nn  # noqa: E402

from benchmarks.train import PEER, Rate, gains, loads, published, rates  # noqa: E402
from mien.training.backbones.blocks import SplitConv  # noqa: E402
from mien.training.backbones.seesaw import SeesawBlock, seesaw_shuffle  # noqa: E402


@pytest.mark.parametrize("stride", [1, 2])
def test_the_peer_is_the_same_block(stride: int) -> None:
    torch.manual_seed(0)
    block = SeesawBlock(
        16, 16, 32, stride, mixing="shuffle", activation="silu", squeeze_excite=True
    )
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):  # not all alike, so that their order is seen
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    peer = published(nn.Sequential(block))
    x, again = (torch.randn(4, 16, 14, 14).requires_grad_() for _ in range(2))
    again.data.copy_(x.data)
    ours, theirs = block(x), peer(again)
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
    (ours**2).sum().backward()
    (theirs**2).sum().backward()
    torch.testing.assert_close(again.grad, x.grad, atol=1e-4, rtol=1e-4)


def test_the_peer_is_the_same_network() -> None:
    torch.manual_seed(0)
    network = seesaw_shuffle().eval()
    peer = published(network)
    assert not any(isinstance(module, SplitConv | nn.SiLU) for module in peer.modules())
    x = torch.randn(2, 3, 112, 112)
    with torch.inference_mode():
        torch.testing.assert_close(peer(x), network(x), atol=1e-5, rtol=1e-5)


def test_rates_are_of_one_run() -> None:
    threads = torch.get_num_threads()
    try:
        found = rates(["mobileface"], batch=2, turns=1)
    finally:
        torch.set_num_threads(threads)
    assert {rate.network for rate in found} == {PEER, "mobileface", "mobileface, folded"}
    whole = [rate for rate in found if not rate.dtype.endswith(" mixed")]
    yardsticks = [rate for rate in whole if rate.network == PEER and not rate.channels_last]
    assert [rate.ratio for rate in yardsticks] == [1.0] * len({rate.dtype for rate in whole})
    assert gains(found)["mobileface"] > 0 and gains(found).keys() == {"mobileface"}
    for rate in found:
        assert 0 < rate.slowest <= rate.photos_per_second <= rate.fastest


def test_the_data_side_is_measured_alone() -> None:
    (found,) = loads(batch=4, workers=[1], turns=2)
    assert found.workers == 1 and found.photos_per_second > 0


def test_what_folding_and_mixing_gain() -> None:
    def rate(network: str, dtype: str, photos: float) -> Rate:
        return Rate(network, dtype, False, photos, photos, photos, 1)

    measured = [
        rate(PEER, "float32", 99),
        rate("a", "float32", 10),
        rate("a", "bfloat16", 5),
        rate("a", "bfloat16 mixed", 12),
        rate("a, folded", "bfloat16 mixed", 30),
    ]
    assert gains(measured) == {"a": 3}
