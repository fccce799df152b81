"""Files of the original's code become networks that compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

import torch.nn.functional as F  # noqa: E402
from commands import Run  # noqa: E402
from torch import Tensor  # noqa: E402

from mien.errors import BadInput, BadModel  # noqa: E402
from mien.training.from_pth import load  # noqa: E402


class Original:
    """The original's networks as functions of tensors by their names, which it makes up at first.

    Args:
        kind: what its code calls the network.
        dim: of an embedding.
    """

    def __init__(self, kind: str, dim: int = 16) -> None:
        self.kind, self.dim = kind, dim
        self.weights: dict[str, Tensor] = {}
        self.random = torch.Generator().manual_seed(1)

    def get(self, name: str, *shape: int) -> Tensor:
        if name not in self.weights:
            spread = 1.5 / max(1, torch.Size(shape[1:]).numel()) ** 0.5 if len(shape) > 1 else 0.2
            made = spread * torch.randn(shape, generator=self.random)
            if name.endswith(("running_var", "bn.weight", "prelu.weight")):
                made = made.abs() + 0.5
            self.weights[name] = made
        return self.weights[name]

    def conv(self, x: Tensor, name: str, out: int, kernel: int = 1, **settings: Any) -> Tensor:
        groups = settings.get("groups", 1)
        return F.conv2d(x, self.get(name, out, x.shape[1] // groups, kernel, kernel), **settings)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            self.get(f"{name}.{key}", x.shape[1])
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, weight, bias)

    def prelu(self, x: Tensor, name: str) -> Tensor:
        return F.prelu(x, self.get(f"{name}.weight", x.shape[1]))

    def block(self, x: Tensor, name: str, out: int, kernel: int = 1, **settings: Any) -> Tensor:
        linear = settings.pop("linear", False)
        x = self.norm(self.conv(x, f"{name}.conv.weight", out, kernel, **settings), f"{name}.bn")
        if linear:
            return x
        return self.prelu(x, f"{name}.prelu") if self.kind == "mobilefacenet" else F.silu(x)

    def bottleneck(self, x: Tensor, name: str, out: int, wide: int, stride: int) -> Tensor:
        y = self.block(x, f"{name}.conv", wide)
        y = self.block(y, f"{name}.conv_dw", wide, 3, groups=wide, stride=stride, padding=1)
        y = self.block(y, f"{name}.project", out, linear=True)
        return y + x if stride == 1 else y

    def seesaw(self, x: Tensor, name: str, out: int, wide: int, stride: int) -> Tensor:
        quarter, rest = torch.split(x, [x.shape[1] // 4, 3 * x.shape[1] // 4], 1)
        y = torch.cat(
            [
                self.block(quarter, f"{name}.conv_1", wide // 4),
                self.block(rest, f"{name}.conv_3", 3 * wide // 4),
            ],
            1,
        )
        share = self.kind == "seesaw_share"
        if not share:
            y = y.view(len(y), 2, wide // 2, *y.shape[2:]).transpose(1, 2).reshape(y.shape)
        y = self.block(y, f"{name}.conv_dw", wide, 3, groups=wide, stride=stride, padding=1)
        z = F.linear(y.mean((2, 3)), *self.linear(f"{name}.se.0.fc.0", wide // 4, wide))
        z = self.prelu(z, f"{name}.se.0.fc.1")
        z = F.linear(z, *self.linear(f"{name}.se.0.fc.2", wide, wide // 4))
        y = y * z.sigmoid()[:, :, None, None]
        names = ("3", "1") if share else ("1", "3")
        sizes = {"1": (wide // 4, out // 4), "3": (3 * wide // 4, 3 * out // 4)}
        parts = torch.split(y, [sizes[part][0] for part in names], 1)
        y = torch.cat(
            [
                self.block(piece, f"{name}.project_{part}", sizes[part][1], linear=True)
                for part, piece in zip(names, parts, strict=True)
            ],
            1,
        )
        if self.kind == "seesaw_dw_v1":  # built in every block, called in some
            mapped = self.block(x, f"{name}.mapping", out, stride=2)
        elif self.kind == "seesaw_dw_v2":
            mapped = self.block(F.max_pool2d(x, 2), f"{name}.mapping.1", out)
        added = x if stride == 1 else mapped if "dw" in self.kind else torch.zeros(())
        total: Tensor = added + y
        return total

    def linear(self, name: str, out: int, into: int) -> tuple[Tensor, Tensor]:
        return self.get(f"{name}.weight", out, into), self.get(f"{name}.bias", out)

    def mobile(self, x: Tensor) -> Tensor:
        narrow, wide = (96, 192) if "dw" in self.kind else (64, 128)
        repeats = (8, 12, 4) if "dw" in self.kind else (4, 6, 2)
        block = self.bottleneck if self.kind == "mobilefacenet" else self.seesaw
        x = self.block(x, "conv1", narrow, 3, stride=2, padding=1)
        x = self.block(x, "conv2_dw", narrow, 3, groups=narrow, padding=1)
        stages = (
            (narrow, 2 * narrow, 2 * narrow),
            (wide, 2 * wide, 2 * wide),
            (wide, 4 * wide, 2 * wide),
        )
        names = (("conv_23", "conv_3"), ("conv_34", "conv_4"), ("conv_45", "conv_5"))
        for (out, first, others), (down, along), count in zip(stages, names, repeats, strict=True):
            x = block(x, down, out, first, 2)
            for number in range(count):
                x = block(x, f"{along}.model.{number}", out, others, 1)
        x = self.block(x, "conv_6_sep", 512)
        x = self.block(x, "conv_6_dw", 512, 7, groups=512, linear=True).flatten(1)
        return self.norm(F.linear(x, self.get("linear.weight", self.dim, 512)), "bn")

    def ir_se(self, x: Tensor) -> Tensor:
        x = self.conv(x, "input_layer.0.weight", 64, 3, padding=1)
        x = self.prelu(self.norm(x, "input_layer.1"), "input_layer.2")
        number = 0
        for out, count in ((64, 3), (128, 4), (256, 14), (512, 3)):
            for stride in (2, *[1] * (count - 1)):
                name = f"body.{number}"
                short = F.max_pool2d(x, 1, stride)
                if x.shape[1] != out:
                    short = self.conv(x, f"{name}.shortcut_layer.0.weight", out, stride=stride)
                    short = self.norm(short, f"{name}.shortcut_layer.1")
                y = self.norm(x, f"{name}.res_layer.0")
                y = self.conv(y, f"{name}.res_layer.1.weight", out, 3, padding=1)
                y = self.prelu(y, f"{name}.res_layer.2")
                y = self.conv(y, f"{name}.res_layer.3.weight", out, 3, padding=1, stride=stride)
                y = self.norm(y, f"{name}.res_layer.4")
                z = y.mean((2, 3), keepdim=True)
                z = self.conv(z, f"{name}.res_layer.5.fc1.weight", out // 16).relu()
                x = y * self.conv(z, f"{name}.res_layer.5.fc2.weight", out).sigmoid() + short
                number += 1
        x = self.norm(x, "output_layer.0").flatten(1)
        x = F.linear(x, *self.linear("output_layer.3", self.dim, 512 * 49))
        return self.norm(x, "output_layer.4")

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self.ir_se(x) if self.kind == "ir_se" else self.mobile(x)
        return found


def photos() -> Tensor:
    x: Tensor = 2 * torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(2)) - 1
    return x


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("mobilefacenet", "mobileface"),
        ("seesaw_shuffle", "seesaw_shuffle"),
        ("seesaw_share", "seesaw_share"),
        ("seesaw_dw_v1", "seesaw_dw_v1"),
        ("seesaw_dw_v2", "seesaw_dw_v2"),
        ("ir_se", "ir_se_50"),
    ],
)
def test_a_file_of_the_originals_computes_the_same(kind: str, name: str, tmp_path: Path) -> None:
    original, x = Original(kind), photos()
    with torch.inference_mode():
        original(x)
        bgr = F.normalize(original(x.flip(1)))
        rgb = F.normalize(original(x))
    path = tmp_path / "model_final.pth"
    torch.save({f"module.{key}": value.clone() for key, value in original.weights.items()}, path)
    found = load(path, name)
    assert (found.backbone, found.args["dim"]) == (name, 16)
    with torch.inference_mode():
        torch.testing.assert_close(F.normalize(found.build()(x)), bgr, rtol=0, atol=2e-5)
        again = load(path, name, bgr=False).build()(x)
        torch.testing.assert_close(F.normalize(again), rgb, rtol=0, atol=2e-5)
    assert (bgr - rgb).abs().max() > 1e-3


def test_what_is_not_of_the_original_is_said(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    for content in (b"", b"no file of torch's"):
        path.write_bytes(content)
        with pytest.raises(BadModel, match="holds no network of the original's code"):
            load(path)
    for strange in ({"a": torch.zeros(1)}, {"epoch": 3}, [1]):
        torch.save(strange, path)
        with pytest.raises(BadModel, match="holds no network of the original's code"):
            load(path)
    original = Original("seesaw_share")
    original(photos())
    torch.save(original.weights, path)
    with pytest.raises(BadInput, match="may be of seesaw_shuffle or of seesaw_share: say which"):
        load(path)
    torch.save(
        {k: v for k, v in original.weights.items() if k != "conv_4.model.5.conv_dw.conv.weight"},
        path,
    )
    with pytest.raises(BadModel, match=r"does not fit seesaw_share, or is truncated .*conv_dw"):
        load(path, "seesaw_share")
    torch.save({**original.weights, "conv_7.weight": torch.zeros(1)}, path)
    with pytest.raises(BadModel, match=r"does not fit seesaw_share: it also has conv_7\.weight"):
        load(path, "seesaw_share")


def test_a_pth_is_adopted(bare: Run, tmp_path: Path) -> None:
    original = Original("mobilefacenet")
    original(photos())
    torch.save(original.weights, tmp_path / "theirs.pth")
    ids = {
        bare("adopt", "theirs.pth", "ours.onnx", *form, "--json").document["model_id"]
        for form in ((), ("--form", "bgr"), ("--form", "half"))
    }
    assert len(ids) == 2
    assert "takes bgr, or half" in bare("adopt", "theirs.pth", "x.onnx", "--form", "unit").err
    assert "make a model of it with mien adopt" in bare("export", "theirs.pth", "x.onnx").err
