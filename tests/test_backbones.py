"""Every network of the table: its shape, its size against the paper, its gradient, its function."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from mien.backbones import BACKBONES  # noqa: E402
from mien.backbones.blocks import ACTIVATIONS, SplitConv  # noqa: E402
from mien.backbones.mobileface import mobileface  # noqa: E402
from mien.backbones.seesaw import SeesawBlock, SeesawFaceNet  # noqa: E402
from mien.backbones.slim import SlimModule, SlimNet, slim_seesaw  # noqa: E402

# Parameters at 128 and at 512, and multiply-adds at 128.  The papers round them: MobileFaceNet
# 1.0 M and 221 M, seesaw (1908.09124) 1.3 M and 146 M, its DW 4.2 M and 526 M at 512,
# IR-100 (1801.07698) 65 M and 12.1 G at 512.
SIZES = {
    "mobileface": (1_003_136, 1_200_512, 220_965_000),
    "seesaw_share": (1_172_800, 1_370_176, 145_566_000),
    "seesaw_shuffle": (1_172_800, 1_370_176, 145_566_000),
    "seesaw_dw_v1": (4_049_568, 4_246_944, 526_282_000),
    "seesaw_dw_v2": (4_049_568, 4_246_944, 526_282_000),
    "slim_seesaw": (1_233_856, 1_431_232, 332_714_000),
    "slim_seesaw_28": (1_179_520, 1_376_896, 144_629_000),
    "slim_seesaw_7": (1_052_096, 1_249_472, 139_931_000),
    "ir_50": (33_940_032, 43_574_976, 6_286_900_000),
    "ir_100": (55_494_848, 65_129_792, 12_067_200_000),
    "ir_152": (61_102_656, 70_737_600, 12_298_400_000),
    "ir_se_50": (34_162_752, 43_797_696, 6_287_100_000),
    "ir_se_100": (55_867_072, 65_502_016, 12_067_500_000),
    "ir_se_152": (61_513_792, 71_148_736, 12_298_800_000),
}
# Of the IRs, which take seconds, the one that has every part runs; all are counted.
QUICK = [name for name in BACKBONES if not name.startswith("ir_") or name == "ir_se_50"]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, height: int = 112, width: int = 112) -> int:
    """Of convolutions and linear layers, counted as a network of the meta device runs."""
    counts: list[int] = []

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        pixels = output[0, 0].numel() if output.dim() == 4 else 1
        if isinstance(module, SplitConv):
            counts.append((module.quarter.numel() + module.rest.numel()) * pixels)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            counts.append(module.weight.numel() * pixels)

    for module in network.modules():
        module.register_forward_hook(count)
    network.eval()(torch.zeros(1, 3, height, width, device="meta"))
    return sum(counts)


def test_the_table_is_covered() -> None:
    assert set(SIZES) == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
def test_size(name: str) -> None:
    small, large, macs = SIZES[name]
    with torch.device("meta"):
        network = BACKBONES[name]()
        assert parameters(network) == small
        assert parameters(BACKBONES[name](dim=512)) == large
    assert multiply_adds(network) == pytest.approx(macs, rel=1e-5)


def test_size_of_mobileface_with_silu() -> None:
    with torch.device("meta"):
        assert parameters(mobileface(activation="silu")) == 995_584
        assert parameters(mobileface(activation="silu", dim=512)) == 1_192_960


@pytest.mark.parametrize(
    ("place", "filters", "downsample", "count", "macs"),
    [
        (28, 32, "conv", 1_431_232, 332_911_000),
        (28, 16, "last", 1_376_192, 181_179_000),
        (28, 8, "last", 1_361_504, 148_163_000),
        (28, 16, "pool", 1_376_192, 144_375_000),
        (28, 16, "depthwise", 1_376_896, 144_826_000),
        (28, 24, "depthwise", 1_394_656, 158_236_000),
        (14, 32, "last", 1_384_256, 174_280_000),
        (14, 32, "pool", 1_384_256, 148_653_000),
        (14, 32, "depthwise", 1_384_960, 148_766_000),
        (7, 32, "last", 1_249_472, 149_244_000),
        (7, 32, "pool", 1_249_472, 140_128_000),
        (7, 32, "depthwise", 1_250_880, 140_185_000),
        (7, 64, "pool", 1_398_336, 147_294_000),
    ],
)
def test_size_of_slim_seesaws(
    place: int, filters: int, downsample: str, count: int, macs: int
) -> None:
    with torch.device("meta"):
        network = slim_seesaw(place=place, filters=filters, downsample=downsample, dim=512)
    assert parameters(network) == count
    assert multiply_adds(network) == pytest.approx(macs, abs=1000)


def test_size_of_slimnet() -> None:
    with torch.device("meta"):
        network = SlimNet()
        assert parameters(network) == 571_304
        assert parameters(SlimModule(64, 64, filters=32)) == 65_024
    assert multiply_adds(network, 218, 178) == pytest.approx(244_350_000, abs=10_000)


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


@pytest.mark.parametrize("wrong", [{"place": 56}, {"downsample": "average"}])
def test_no_such_slim_seesaw(wrong: dict[str, int | str]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be .*{wrong[name]}"):
        BACKBONES["slim_seesaw"](**wrong)


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
