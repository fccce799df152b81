"""Every network of the table: its shape, its size against the paper, its gradient, its function."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from mien.backbones import BACKBONES  # noqa: E402
from mien.backbones.blocks import ACTIVATIONS, SplitConv  # noqa: E402
from mien.backbones.seesaw import SeesawBlock  # noqa: E402

# Parameters at 128 and at 512, and multiply-adds at 128; SeesawFaceNets (1908.09124) rounds them
# to 1.3 M and 146 M.
SIZES = {
    "seesaw_share": (1_172_800, 1_370_176, 145_566_000),
    "seesaw_shuffle": (1_172_800, 1_370_176, 145_566_000),
}


def multiply_adds(network: nn.Module) -> int:
    """Of convolutions and linear layers, counted as the network runs."""
    counts: list[int] = []

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        pixels = output[0, 0].numel() if output.dim() == 4 else 1
        if isinstance(module, SplitConv):
            counts.append((module.quarter.numel() + module.rest.numel()) * pixels)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            counts.append(module.weight.numel() * pixels)

    for module in network.modules():
        module.register_forward_hook(count)
    network.eval()(torch.zeros(1, 3, 112, 112))
    return sum(counts)


def test_the_table_is_covered() -> None:
    assert set(SIZES) == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
def test_size(name: str) -> None:
    small, large, macs = SIZES[name]
    assert sum(p.numel() for p in BACKBONES[name]().parameters()) == small
    assert sum(p.numel() for p in BACKBONES[name](dim=512).parameters()) == large
    assert multiply_adds(BACKBONES[name]()) == pytest.approx(macs, abs=1000)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_parameter_learns(name: str) -> None:
    network = BACKBONES[name]()
    output = network(torch.randn(2, 3, 112, 112))
    assert output.shape == (2, network.dim)
    output.square().sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize("name", BACKBONES)
def test_one_crop_is_embedded_as_in_a_batch(name: str) -> None:
    network = BACKBONES[name]().eval()
    x = torch.randn(3, 3, 112, 112)
    with torch.inference_mode():
        torch.testing.assert_close(network(x)[:1], network(x[:1]), atol=1e-4, rtol=1e-4)


def published_block(block: SeesawBlock, x: Tensor, mixing: str) -> Tensor:
    """The same function, written as the paper's code has it: slices, joins and a shuffle."""

    def split(layer: SplitConv, y: Tensor, quarter_first: bool) -> Tensor:
        cut = layer.quarter.shape[1] if quarter_first else layer.rest.shape[1]
        weights = (layer.quarter, layer.rest) if quarter_first else (layer.rest, layer.quarter)
        parts = zip((y[:, :cut], y[:, cut:]), weights, strict=True)
        joined: Tensor = torch.cat([F.conv2d(part, w[:, :, None, None]) for part, w in parts], 1)
        return joined

    up, up_norm, activation = block.up
    down, down_norm = block.down
    assert isinstance(up, SplitConv)
    assert isinstance(down, SplitConv)
    y = split(up, x, True)
    if mixing == "shuffle":
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
    y = block.attention(block.depthwise(activation(up_norm(y))))
    out: Tensor = down_norm(split(down, y, mixing == "shuffle"))
    return x + out if block.residual else out


@pytest.mark.parametrize("mixing", ["share", "shuffle"])
@pytest.mark.parametrize(("channels", "stride"), [(64, 1), (64, 2), (128, 2)])
def test_seesaw_block_is_the_published_one(mixing: str, channels: int, stride: int) -> None:
    block = SeesawBlock(
        64, channels, 128, stride, mixing=mixing, activation="silu", squeeze_excite=True
    )
    x = torch.randn(2, 64, 14, 14)
    torch.testing.assert_close(block(x), published_block(block, x, mixing), atol=1e-5, rtol=1e-5)


def test_the_two_parts_of_a_shuffle_meet() -> None:
    order = SplitConv(8, 8, shuffled=True).order.tolist()
    assert order == [0, 4, 1, 5, 2, 6, 3, 7]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    x = torch.tensor([[[[-4.0]], [[-1.0]], [[0.0]], [[2.0]]]])
    expected = {
        "silu": x * torch.sigmoid(x),
        "relu": x.clamp(min=0),
        "hard_swish": x * (x + 3).clamp(0, 6) / 6,
        "prelu": torch.where(x > 0, x, 0.25 * x),
        "linear": x,
    }[name]
    torch.testing.assert_close(ACTIVATIONS[name](4)(x.clone()), expected)


def test_channels_that_have_no_quarter() -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        SplitConv(6, 8)
