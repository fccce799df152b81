"""Every network of the table: its shape, its size against the paper, its gradient, its function."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from mien.training.backbones import BACKBONES  # noqa: E402
from mien.training.backbones.blocks import ACTIVATIONS, SplitConv  # noqa: E402
from mien.training.backbones.count import multiply_adds, parameters, sizes  # noqa: E402
from mien.training.backbones.mobileface import mobileface  # noqa: E402
from mien.training.backbones.seesaw import SeesawBlock, SeesawFaceNet  # noqa: E402
from mien.training.backbones.slim import OPTIONS, SlimModule, SlimNet, slim_seesaw  # noqa: E402
from mien.training.zoo import NETWORKS  # noqa: E402

# Of the IRs, which take seconds, the one that has every part; all of them are counted.
QUICK = [name for name in BACKBONES if not name.startswith("ir_") or name == "ir_se_50"]


def test_the_table_is_covered() -> None:
    assert set(NETWORKS) == set(BACKBONES)


# Of these the papers say: MobileFaceNet 1.0 M and 221 M, seesaw (1908.09124) 1.3 M and 146 M, its
# (mobi) 2.8 M and 154 M, its DW 4.2 M and 526 M at 512, IR-100 (1801.07698) 65 M and 12.1 G at 512.
@pytest.mark.parametrize("name", BACKBONES)
def test_size(name: str) -> None:
    learned, macs = sizes(BACKBONES[name])
    with torch.device("meta"):
        learned_512 = parameters(BACKBONES[name](dim=512))
    entry = NETWORKS[name]
    assert (learned, learned_512, macs) == (entry.parameters, entry.parameters_512, entry.macs)


def test_size_of_mobileface_with_silu() -> None:
    with torch.device("meta"):
        assert parameters(mobileface(activation="silu")) == 995_584
        assert parameters(mobileface(activation="silu", dim=512)) == 1_192_960


# Parameters at 512, and thousands of multiply-adds.
SLIM_SIZES = {
    "A1": (1_431_232, 332_911),
    "A2": (1_414_784, 320_066),
    "A3": (1_349_568, 297_153),
    "A4": (1_376_192, 203_156),
    "A5": (1_376_192, 181_179),
    "A6": (1_414_784, 276_112),
    "A7": (1_376_192, 144_375),
    "A8": (1_414_784, 173_602),
    "A9": (1_376_896, 144_826),
    "A10": (1_361_504, 148_163),
    "A11": (1_394_656, 158_236),
    "C1": (1_376_192, 156_417),
    "C2": (1_361_504, 145_416),
    "C3": (1_314_944, 129_598),
    "C4": (1_353_536, 158_826),
    "D1": (1_384_256, 174_280),
    "D2": (1_384_256, 148_653),
    "D3": (1_384_960, 148_766),
    "E1": (1_392_448, 156_280),
    "E2": (1_362_912, 150_619),
    "E3": (1_336_448, 145_561),
    "F1": (1_249_472, 149_244),
    "F2": (1_249_472, 140_128),
    "F3": (1_398_336, 147_294),
    "F4": (1_250_880, 140_185),
    "G1": (1_392_448, 148_367),
    "G2": (1_314_752, 146_215),
    "G3": (1_336_448, 145_688),
}


def test_the_slim_options_are_covered() -> None:
    assert set(SLIM_SIZES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_size_of_slim_seesaws(option: str) -> None:
    count, thousands = SLIM_SIZES[option]
    learned, macs = sizes(partial(slim_seesaw, dim=512, **OPTIONS[option]))
    assert learned == count
    assert macs == pytest.approx(1000 * thousands, abs=1000)


def test_size_of_slimnet() -> None:
    with torch.device("meta"):
        network = SlimNet()
        assert parameters(network) == 571_304
        assert parameters(SlimModule(64, 64, filters=32)) == 65_024
    assert multiply_adds(network, (218, 178)) == pytest.approx(244_350_000, abs=10_000)


def assert_every_parameter_learns(network: nn.Module, output: Tensor) -> None:
    torch.autograd.backward(output.square().sum())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("name", QUICK)
def test_every_parameter_learns(name: str) -> None:
    network = BACKBONES[name]()
    output = network(torch.randn(2, 3, 112, 112))
    assert output.shape == (2, network.dim)
    assert_every_parameter_learns(network, output)


def test_slimnet_learns() -> None:
    network = SlimNet(attributes=5)
    output = network(torch.randn(2, 3, 218, 178))
    assert output.shape == (2, 5)
    assert_every_parameter_learns(network, output)


@pytest.mark.parametrize("name", QUICK)
def test_one_crop_is_embedded_as_in_a_batch(name: str) -> None:
    network = BACKBONES[name]().eval()
    x = torch.randn(2, 3, 112, 112)
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
    return x + out if x.shape == out.shape else out


@pytest.mark.parametrize("mixing", ["share", "shuffle"])
@pytest.mark.parametrize(("channels", "stride"), [(64, 1), (64, 2), (128, 2)])
def test_seesaw_block_is_the_published_one(mixing: str, channels: int, stride: int) -> None:
    block = SeesawBlock(
        64, channels, 128, stride, mixing=mixing, activation="silu", squeeze_excite=True
    )
    x = torch.randn(2, 64, 14, 14)
    torch.testing.assert_close(block(x), published_block(block, x, mixing), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shortcut", ["conv", "pool"])
def test_shortcuts_of_stride_2(shortcut: str) -> None:
    block = SeesawBlock(
        8, 16, 16, 2, mixing="shuffle", activation="silu", squeeze_excite=True, shortcut=shortcut
    ).eval()
    x = torch.randn(2, 8, 14, 14)
    seen = (
        x[..., ::2, ::2] if shortcut == "conv" else x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    )
    shortcut_modules = block.get_submodule("shortcut").modules()
    (conv,) = (module for module in shortcut_modules if isinstance(module, nn.Conv2d))
    scale = (1 + nn.BatchNorm2d(16).eps) ** -0.5
    expected = F.silu(torch.einsum("oi,nihw->nohw", conv.weight[:, :, 0, 0], seen) * scale)
    with torch.inference_mode():
        without = published_block(block, x, "shuffle")
        torch.testing.assert_close(block(x) - without, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"mixing": "turn"}, {"shortcut": "long"}])
def test_no_such_seesaw_block(wrong: dict[str, str]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be .*, not '{wrong[name]}'"):
        SeesawFaceNet(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"downsample": "average"}, "downsample must be one of pool, .*, not 'average'"),
        ({"downsample": "none"}, "downsample must be another where .* halve the map, not 'none'"),
        ({"block": 1}, "downsample must be none where .* keep the map, not 'conv'"),
        ({"block": 15, "downsample": "none"}, "no 1 blocks from 15 on"),
        ({"block": -1, "downsample": "none"}, "no 1 blocks from -1 on"),
        ({"blocks": 6}, "no 6 blocks from 0 on in two stages"),
        ({"block": 5, "downsample": "pool", "residual": True}, "residual must be False"),
    ],
)
def test_no_such_slim_seesaw(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        slim_seesaw(**wrong)


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
