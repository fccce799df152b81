"""Training learns, and goes on after a kill as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

from mien import checkpoint  # noqa: E402
from mien.data.augment import degrade, place, relight  # noqa: E402
from mien.data.crops import gather  # noqa: E402
from mien.detect.whole import WholeImage  # noqa: E402
from mien.errors import BadInput, BadModel  # noqa: E402
from mien.teacher import Teacher  # noqa: E402
from mien.train import TrainConfig, train  # noqa: E402
from mien.types import T, silent  # noqa: E402


@pytest.fixture(scope="module")
def config(data: Path) -> TrainConfig:
    return TrainConfig(
        photos=tuple(str(path) for path in sorted((data / "celebs").iterdir())[:2]),
        teacher=str(data / "teacher" / "mobilefacenet-ms1m.onnx"),
        block_steps=20,
        steps=10,
        batch=4,
        save_every=5,
    )


def run(config: TrainConfig, out: Path, stop_at: int | None = None) -> list[dict[str, Any]]:
    """The log of a run, which may be stopped as a kill stops it: between two saves."""

    class Killed(BaseException):
        pass

    log: list[dict[str, Any]] = []

    def report(entry: dict[str, Any]) -> None:
        log.append(entry)
        if entry["step"] == stop_at:
            raise Killed

    try:
        train(config, out, WholeImage(), silent, report)
    except Killed:
        assert stop_at is not None
    return log


def test_a_killed_run_goes_on_as_if_it_had_not_been(config: TrainConfig, tmp_path: Path) -> None:
    straight = run(config, tmp_path / "a")
    assert straight[1]["loss"] < straight[0]["loss"]
    assert {entry["stage"] for entry in straight} == {"blocks", "whole"}
    run(config, tmp_path / "b", stop_at=10)
    run(config, tmp_path / "b", stop_at=20)
    run(config, tmp_path / "b")
    resumed = {
        entry["step"]: entry["loss"]
        for entry in map(json.loads, (tmp_path / "b" / "log.jsonl").read_text().splitlines())
    }
    assert resumed == {entry["step"]: entry["loss"] for entry in straight}
    one, other = (checkpoint.load(tmp_path / name / "last.safetensors") for name in "ab")
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, other.weights[name]), name
    assert one.trained["step"] == 30
    assert str(tmp_path) not in json.dumps(one.trained)
    assert config.photos[0] not in json.dumps(one.trained)

    with pytest.raises(BadInput, match="another configuration"):
        run(replace(config, seed=1), tmp_path / "b")


def test_mistakes_claim_no_folder(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no network 'resnet'; use one of: mobileface"):
        run(replace(config, backbone="resnet"), tmp_path / "run")
    with pytest.raises(BadInput, match="'bgr'; use one of: imagenet, half"):
        run(replace(config, teacher_scaling="bgr"), tmp_path / "run")
    with pytest.raises(BadModel, match="not an ONNX file"):
        run(replace(config, teacher="gone.onnx"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_does_not_fit(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="seesaw_shuffle with 64 numbers has other blocks than"):
        run(replace(config, dim=64), tmp_path)
    other = Path(config.teacher).with_name("mobilefacenet-webface600k.onnx")
    with pytest.raises(BadInput, match="same shapes"):
        run(replace(config, teacher=str(other), dim=512), tmp_path / "other")


def test_the_teacher_shows_every_block(data: Path) -> None:
    teacher = Teacher(data / "teacher" / "mobilefacenet-ms1m.onnx")
    lesson = teacher(np.zeros((2, 112, 112, 3), np.uint8))
    shapes = [(64, 28, 28)] * 5 + [(128, 14, 14)] * 7 + [(128, 7, 7)] * 3
    assert [tuple(feature.shape[1:]) for feature in lesson.features] == shapes
    assert lesson.embeddings.shape == (2, 128)


def test_not_a_teacher(tmp_path: Path) -> None:
    path = tmp_path / "teacher.onnx"
    path.write_text("no network")
    with pytest.raises(BadModel, match="not an ONNX file"):
        Teacher(path)
    with pytest.raises(BadModel):
        Teacher(tmp_path / "missing.onnx")


def test_gathering_goes_on_where_it_was(data: Path, tmp_path: Path) -> None:
    people = [str(path) for path in sorted((data / "celebs").iterdir())[:2]]
    damaged = tmp_path / "photos" / "damaged.jpg"
    damaged.parent.mkdir()
    damaged.write_bytes(b"\xff\xd8 no picture")
    photos = [*people, str(damaged)]
    first = gather(photos, tmp_path / "crops", WholeImage(), silent)
    assert first.shape[1:] == (128, 128, 3)
    listing = json.loads((tmp_path / "crops" / "photos.json").read_text())
    assert list(listing["skipped"]) == [str(damaged)]

    def nothing_to_do(things: Sequence[T], doing: str, /) -> Iterable[T]:
        assert not things
        return things

    again = gather(photos, tmp_path / "crops", WholeImage(), nothing_to_do)
    np.testing.assert_array_equal(first, again)
    with pytest.raises(BadInput, match="other photos"):
        gather(people, tmp_path / "crops", WholeImage(), silent)


def test_augmentation_keeps_size_and_type_and_follows_its_seed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    seen = set()
    for seed in range(40):
        pair = []
        for _ in range(2):
            random = np.random.default_rng(seed)
            changed = degrade(relight(place(image, 112, random), random), random)
            assert changed.shape == (112, 112, 3)
            assert changed.dtype == np.uint8
            pair.append(changed.tobytes())
        assert pair[0] == pair[1]
        seen.add(pair[0])
    assert len(seen) == 40
