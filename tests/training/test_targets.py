"""Teachers are asked once, side by side, and what is common to a class is taken out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

import toy  # noqa: E402
from torch import Tensor  # noqa: E402
from toy import Toy  # noqa: E402

from mien.errors import BadInput, BadModel  # noqa: E402
from mien.evaluation.demographics import Labels  # noqa: E402
from mien.images import decode  # noqa: E402
from mien.recognition.input_form import FORMS  # noqa: E402
from mien.training import prepare, targets, train  # noqa: E402
from mien.training.backbones import BACKBONES  # noqa: E402
from mien.training.balance import Balance, unit  # noqa: E402
from mien.training.data.shards import Shards  # noqa: E402
from mien.training.export.to_onnx import to_onnx  # noqa: E402
from mien.training.student import Distiller, feature_weight  # noqa: E402
from mien.training.teacher import Teacher, TeacherOutput  # noqa: E402

PHOTOS = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops, prepared."""
    folder = tmp_path_factory.mktemp("crops")
    random = np.random.default_rng(0)
    for k in range(PHOTOS):
        small = random.integers(0, 256, (7, 7, 3), np.uint8)
        cv2.imwrite(str(folder / f"{k}.png"), cv2.resize(small, (112, 112)))
    prepare.prepare([folder], folder / "data", aligned=True, workers=1)
    return folder / "data"


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str]]:
    """Two networks of chance, of 8 and 12 numbers."""
    folder = tmp_path_factory.mktemp("teachers")
    made = []
    for seed, (dim, form) in enumerate([(8, "imagenet"), (12, "bgr")]):
        torch.manual_seed(seed)
        network = Toy(dim=dim).eval()
        path = folder / f"{form}.onnx"
        path.write_bytes(to_onnx(network, torch.zeros(2, 3, 112, 112)).SerializeToString())
        made.append((path, form))
    return made


def test_targets_are_the_teachers_side_by_side_plain_and_mirrored(
    data: Path, teachers: list[tuple[Path, str]]
) -> None:
    made = targets.make(data, teachers, dim=16)
    crops = np.stack([decode(image) for image in Shards(data).images(range(PHOTOS))])
    parts = []
    for path, form in teachers:
        teacher = Teacher(path, scaling=form, blocks=False)
        seen = [unit(teacher(view).embeddings.numpy()) for view in (crops, crops[:, :, ::-1])]
        parts.append(unit(seen[0] + seen[1]))
    joined = np.concatenate(parts, 1) / 2**0.5
    expected = joined @ joined.T
    found = made.vectors @ made.vectors.T
    assert np.abs(found - expected).max() < 0.1  # 4 of 20 directions are given up
    assert 0.9 < made.energy <= 1
    again = targets.load(data)
    np.testing.assert_allclose(again.vectors, made.vectors, atol=1e-3)
    assert again.teachers == ("imagenet.onnx", "bgr.onnx")


def test_what_was_asked_is_not_asked_again(
    data: Path, teachers: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    targets.make(data, teachers, dim=8)
    monkeypatch.setattr(Teacher, "__call__", lambda *_: pytest.fail("asked again"))
    assert targets.make(data, teachers, dim=12).vectors.shape == (PHOTOS, 12)


def test_targets_of_other_pictures_are_refused(
    data: Path, teachers: list[tuple[Path, str]], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="has no targets: make them with mien targets"):
        targets.load(tmp_path)
    targets.make(data, teachers, dim=8)
    about = data / "targets" / "targets.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"data": "other"}))
    with pytest.raises(BadInput, match="belong to other pictures"):
        targets.load(data)
    with pytest.raises(BadInput, match="128 dimensions"):
        targets.make(data, teachers)
    with pytest.raises(BadModel, match="not an ONNX file"):
        targets.make(data, [(about, "half")], dim=8)


def test_a_run_learns_its_targets(
    teachers: list[tuple[Path, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES, "toy", Toy)
    folder = toy.data(tmp_path / "data")
    settings: dict[str, Any] = {"data": str(folder), "loss": "none", "targets": True, "steps": 60}
    settings |= {"optimizer": "adamw", "lr": 1e-2, "augment": ""}
    with pytest.raises(BadInput, match="has no targets"):
        train(toy.config(**settings), tmp_path / "run")
    targets.make(folder, teachers, dim=8)
    found: list[float] = []
    train(toy.config(**settings), tmp_path / "run", lambda entry: found.append(entry["cosine"]))
    assert found[-1] < 0.9 * found[0]
    with pytest.raises(BadInput, match="targets have 8 dimensions and the network 16"):
        train(toy.config(**settings | {"dim": 16}), tmp_path / "other")


class Residual(Toy):
    """A teacher whose blocks can be told apart: each is a sum."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.head(x)
        return out


def test_features_are_taught_less_and_less_and_then_not_at_all(
    teachers: list[tuple[Path, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES, "toy", Toy)
    folder = toy.data(tmp_path / "data")
    targets.make(folder, teachers, dim=8)
    path = tmp_path / "residual.onnx"
    network = Residual().eval()
    path.write_bytes(to_onnx(network, torch.zeros(2, 3, 112, 112)).SerializeToString())
    asked: list[int] = []
    teach = Distiller.teach

    def count(self: Distiller, *given: Any) -> TeacherOutput:
        asked.append(1)
        return teach(self, *given)

    monkeypatch.setattr(Distiller, "teach", count)
    settings: dict[str, Any] = {"data": str(folder), "loss": "none", "targets": True, "steps": 6}
    settings |= {"teacher": str(path), "feature_steps": 4, "feature_weight": 2.0}
    seen: list[dict[str, Any]] = []
    train(toy.config(**settings), tmp_path / "run", seen.append)
    assert len(asked) == 4
    assert "features" not in seen[-1]
    config = toy.config(**settings)
    assert [feature_weight(config, step) for step in range(5)] == [2, 1.5, 1, 0.5, 0]


def test_an_input_form_orders_and_scales_colours() -> None:
    crops = np.zeros((1, 112, 112, 3), np.uint8)
    crops[..., 0] = 255  # red
    x = FORMS["bgr"](crops)
    assert x.shape == (1, 3, 112, 112)
    np.testing.assert_allclose(x[0, :, 0, 0], [-127 / 128, -127 / 128, 1.0])


def test_balance_takes_out_what_a_class_has_in_common() -> None:
    random = np.random.default_rng(0)
    count, dim = 600, 32
    labels = np.arange(count) % 2
    vectors = random.normal(size=(count, dim))
    vectors[labels == 1, 0] += 12  # all of one class look alike
    units = unit(vectors)
    files = [f"x/train/{k}.webp" for k in range(count)]
    said = {f"train/{k}.webp": {"age": "old" if labels[k] else "young"} for k in range(count)}
    of = Labels(["age"], said)

    def alike(found: np.ndarray) -> float:
        of_one = found[labels == 1]
        return float((of_one @ of_one.T)[np.triu_indices(len(of_one), 1)].mean())

    balance = Balance(of, ("age",)).fit(units, files)
    assert alike(units) > 0.6
    assert abs(alike(balance(units))) < 0.05
    np.testing.assert_allclose(np.linalg.norm(balance(units), axis=1), 1, atol=1e-5)
    assert balance.describe()["accuracy"] > 0.95
    with pytest.raises(BadInput, match="no column 'group'"):
        Balance(of)
    with pytest.raises(BadInput, match="classes have 30 pictures"):
        Balance(of, ("age",)).fit(units[:40], files[:40])
