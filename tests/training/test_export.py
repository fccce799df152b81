"""An exported file computes what its network does, and says what it is."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from unittest.mock import Mock, patch

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

import onnx  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from toy import Toy  # noqa: E402

from mien.cli.export import export as command  # noqa: E402
from mien.errors import BadInput, BadModel, MissingExtra  # noqa: E402
from mien.recognition.embedder import Card, OnnxEmbedder  # noqa: E402
from mien.recognition.onnx.session import load_network  # noqa: E402
from mien.training.backbones import BACKBONES  # noqa: E402
from mien.training.checkpoint import Checkpoint, average, save  # noqa: E402
from mien.training.export import export, fuse, other_runtimes, to_int8  # noqa: E402
from mien.training.export.fine_tune import fine_tune  # noqa: E402
from mien.training.export.fuse import QuickPReLU, as_published  # noqa: E402
from mien.training.export.int8 import quantised  # noqa: E402
from mien.training.export.other_runtimes import TARGETS, to  # noqa: E402
from mien.types import silent  # noqa: E402


def trained(name: str, seed: int = 0, crops: int = 8) -> Checkpoint:
    """A network whose batch norms are not the identity, as after training."""
    torch.manual_seed(seed)
    network = BACKBONES[name]()
    with torch.inference_mode():
        for _ in range(2):
            network(torch.randn(crops, 3, 112, 112))
    return Checkpoint(name, {}, network.state_dict(), {"step": 1})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Card, Checkpoint]:
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    checkpoint = trained("seesaw_shuffle")
    return path, export(checkpoint, path, name="small"), checkpoint


# The IRs take seconds; one of them stands for all.
@pytest.mark.parametrize(
    "name", [name for name in BACKBONES if not name.startswith("ir_") or name == "ir_se_50"]
)
def test_folding_keeps_the_function(name: str) -> None:
    checkpoint = trained(name, crops=2)
    x = torch.randn(2, 3, 112, 112)
    with torch.inference_mode():
        before = checkpoint.build()(x)
        folded = fuse(checkpoint.build())
        torch.testing.assert_close(folded(x), before, atol=1e-4, rtol=1e-4)
    norms = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
    left = sum(isinstance(module, norms) for module in folded.modules())
    assert left == (25 if name == "ir_se_50" else 0)  # those before a padded convolution or dropout


def test_the_file_is_the_network(exported: tuple[Path, Card, Checkpoint]) -> None:
    path, _, checkpoint = exported
    crops = np.random.default_rng(1).integers(0, 256, (5, 112, 112, 3), np.uint8)
    x = torch.from_numpy((crops.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5)
    with torch.inference_mode():
        expected = F.normalize(checkpoint.build()(x)).numpy()
    vectors = OnnxEmbedder(path)(crops)
    np.testing.assert_allclose(vectors, expected, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_any_number_of_crops(exported: tuple[Path, Card, Checkpoint]) -> None:
    embed = OnnxEmbedder(exported[0])
    crops = np.random.default_rng(3).integers(0, 256, (35, 112, 112, 3), np.uint8)
    assert embed(crops[:0]).shape == (0, 128)
    np.testing.assert_allclose(embed(crops)[33:34], embed(crops[33:34]), atol=1e-5)


def test_the_card(exported: tuple[Path, Card, Checkpoint]) -> None:
    path, card, _ = exported
    assert OnnxEmbedder(path).card == card
    assert card.threshold is None
    assert card.dim == 128
    assert card.trained["backbone"] == "seesaw_shuffle"
    name, _, digest = card.model_id.partition("-")
    assert name == "small"
    assert len(digest) == 12


def test_the_file_knows_nothing_of_where_it_was_made(
    exported: tuple[Path, Card, Checkpoint],
) -> None:
    content = exported[0].read_bytes()
    assert b".py" not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_other_weights_are_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "toy", Toy)
    one, again, other = (
        export(trained("toy", seed), tmp_path / "toy.onnx", name="toy").model_id
        for seed in (0, 0, 1)
    )
    assert one == again != other


def test_checkpoints_that_were_kept_are_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES, "toy", Toy)
    kept = [trained("toy", seed) for seed in (0, 1)]
    for step, one in enumerate(kept):
        save(tmp_path / f"step-{step:06}.safetensors", one)
        if not step:
            with pytest.raises(
                BadInput, match=r"1 checkpoints lie beside .*, and an average takes"
            ):
                command(tmp_path / "last.safetensors", tmp_path / "x.onnx", average=True)
    command(tmp_path / "last.safetensors", tmp_path / "mean.onnx", average=True)
    crops = np.random.default_rng(7).integers(0, 256, (2, 112, 112, 3), np.uint8)
    x = torch.from_numpy((crops.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5)
    with torch.inference_mode():
        expected = F.normalize(average(kept).build()(x)).numpy()
    np.testing.assert_allclose(OnnxEmbedder(tmp_path / "mean.onnx")(crops), expected, atol=1e-4)


def test_weights_that_changed_on_the_disk_are_noticed(
    exported: tuple[Path, Card, Checkpoint], tmp_path: Path
) -> None:
    proto = onnx.load(exported[0])
    largest = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    damaged = bytearray(largest.raw_data)
    damaged[len(damaged) // 2 + 3 : len(damaged) // 2 + 403 : 4] = b"\x7f" * 100  # exponents
    largest.raw_data = bytes(damaged)
    path = tmp_path / "damaged.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(BadModel, match="no longer computes"):
        OnnxEmbedder(path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a" * 50])
def test_not_a_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(BadModel, match="is not a mien model or is damaged"):
        OnnxEmbedder(path)


def test_truncated(exported: tuple[Path, Card, Checkpoint], tmp_path: Path) -> None:
    content = exported[0].read_bytes()
    for keep in (100, len(content) // 2, len(content) - 1):
        path = tmp_path / f"{keep}.onnx"
        path.write_bytes(content[:keep])
        with pytest.raises(BadModel):
            OnnxEmbedder(path)


@pytest.mark.parametrize("name", ["seesaw_shuffle", "seesaw_share"])
def test_the_published_form_computes_the_same(name: str) -> None:
    checkpoint = trained(name)
    x = torch.randn(2, 3, 112, 112)
    with torch.inference_mode():
        published = as_published(checkpoint.build())
        torch.testing.assert_close(published(x), checkpoint.build()(x), atol=1e-4, rtol=1e-4)


def test_no_prelu_is_left() -> None:
    folded = fuse(trained("mobileface").build())
    assert not any(isinstance(module, torch.nn.PReLU) for module in folded.modules())


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3, 3)])
def test_quick_prelu_is_prelu(shape: tuple[int, ...]) -> None:
    layer, x = torch.nn.PReLU(6), torch.randn(shape)
    layer.weight.data = torch.linspace(-1, 1.5, 6)
    torch.testing.assert_close(QuickPReLU(layer)(x), layer(x))


@pytest.fixture(scope="module")
def int8(exported: tuple[Path, Card, Checkpoint]) -> tuple[Path, Card]:
    path = exported[0].with_name("int8.onnx")
    smooth = np.random.default_rng(4).integers(0, 256, (32, 7, 7, 3), np.uint8)
    crops = smooth.repeat(16, axis=1).repeat(16, axis=2)
    return path, to_int8(exported[0], path, crops, steps=1)


def test_a_network_learns_in_8_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What noise in its weights has spoilt, in the very form that its file has."""
    monkeypatch.setitem(BACKBONES, "toy", Toy)
    plain = tmp_path / "toy.onnx"
    export(trained("toy"), plain, name="toy")
    crops = np.random.default_rng(6).integers(0, 256, (64, 7, 7, 3), np.uint8)
    crops = crops.repeat(16, axis=1).repeat(16, axis=2)
    vectors = OnnxEmbedder(plain)(crops)
    off = []
    for steps in (0, 80):
        proto, weights = quantised(plain.read_bytes(), crops)
        assert len(weights) == 4  # depthwise ones too
        torch.manual_seed(0)
        spoilt = {name: each * (1 + torch.randn_like(each) / 2) for name, each in weights.items()}
        fine_tune(proto, spoilt, crops, vectors, steps=steps, progress=silent)
        run = load_network(proto.SerializeToString(), runtime="onnxruntime", otherwise="damaged")
        off.append(1 - (vectors * run(crops)).sum(axis=1).mean())
        codes = [onnx.numpy_helper.to_array(one) for one in proto.graph.initializer]
        assert sum(one.dtype == np.int8 and 0 < np.abs(one).max() < 64 for one in codes) == 4
    assert off[1] < 0.7 * off[0]


def test_8_bits_are_smaller_and_much_alike(
    exported: tuple[Path, Card, Checkpoint], int8: tuple[Path, Card]
) -> None:
    path, card = int8
    assert path.stat().st_size < 0.3 * exported[0].stat().st_size
    crops = np.random.default_rng(5).integers(0, 256, (4, 7, 7, 3), np.uint8)
    crops = crops.repeat(16, axis=1).repeat(16, axis=2)
    vectors = OnnxEmbedder(path)(crops)
    assert (vectors * OnnxEmbedder(exported[0])(crops)).sum(axis=1).min() > 0.9
    assert card.precision == "int8"
    assert card.model_id == f"{exported[1].model_id}-int8"
    assert card.threshold is None
    assert logging.getLogger().level == logging.WARNING  # of the program, which is not silenced


def test_8_bits_want_some_faces(exported: tuple[Path, Card, Checkpoint], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="31 faces are too few"):
        to_int8(exported[0], tmp_path / "x.onnx", np.zeros((31, 112, 112, 3), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_for_other_runtimes(
    target: str,
    exported: tuple[Path, Card, Checkpoint],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The graph that some are made of is the exported one, which takes long to trace.
    monkeypatch.setattr(other_runtimes, "to_onnx", lambda network, crops: onnx.load(exported[0]))
    path = tmp_path / f"small{TARGETS[target][0]}"
    try:
        written = to(target, exported[2], path)
    except MissingExtra as error:
        assert target in str(error)
        pytest.skip(str(error))
    assert path.exists()
    assert written.like is None or written.like > 0.9999


def test_files_for_two_runtimes_have_no_name_in_common(tmp_path: Path) -> None:
    """ncnn's converter is seldom installed: what stands here for it leaves what it would."""
    pytest.importorskip("openvino")

    class Net(Mock):
        def load_model(self, path: str) -> None:
            assert Path(path).read_text() == "weights"
            raise ModuleNotFoundError(name="ncnn")  # far enough

    def convert(network: object, program: str, inputs: object) -> None:
        for end in ("param", "bin"):
            Path(program).with_name(f"network.ncnn.{end}").write_text("weights")

    checkpoint = trained("seesaw_tiny")
    openvino = to("openvino", checkpoint, tmp_path / "small.xml")
    before = (tmp_path / "small.bin").read_bytes()
    instead = patch.dict(sys.modules, ncnn=Mock(Net=Net), pnnx=Mock(export=convert))
    with instead, pytest.raises(MissingExtra):
        to("ncnn", checkpoint, tmp_path / "small.param")
    assert openvino.like is not None and (tmp_path / "small.bin").read_bytes() == before
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"small.xml", "small.bin", "small.param", "small.ncnn.bin"}


def test_the_name_of_another_target_is_refused(
    exported: tuple[Path, Card, Checkpoint], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=r"a file for ncnn ends in .param, unlike .*small.xml"):
        to("ncnn", exported[2], tmp_path / "small.xml")


def test_no_such_target(exported: tuple[Path, Card, Checkpoint], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'tensorrt' is not a target"):
        to("tensorrt", exported[2], tmp_path / "x")
