"""Strangers by group, with a model whose answers are known by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from mien import images
from mien.errors import BadInput
from mien.evaluation import demographics
from mien.evaluation.demographics import differentials, read_labels
from mien.recognition.detect.whole_image import WholeImage
from mien.recognition.model import Model
from mien.types import Crops, Embeddings

COUNT = 40


class Colours:
    """Takes the mean colour of a face for who it is."""

    dim = 3
    model_id = "colours-000000000000"

    def __call__(self, crops: Crops) -> Embeddings:
        """(N, 3), one vector a crop."""
        means = crops.mean((1, 2)) - 127.5
        return np.array(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


def paint(path: Path, colour: ArrayLike) -> None:
    images.write(path, np.full((40, 40, 3), colour, np.uint8))


@pytest.fixture
def model() -> Model:
    return Model(WholeImage(), Colours())


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """Half are nearly one red, half are of any colour; of one nothing is said."""
    random = np.random.default_rng(0)
    lines = ["file,age,group"]
    for k in range(COUNT):
        young = k % 2
        colour = (250, int(random.integers(0, 60)), 20) if young else random.integers(0, 256, 3)
        paint(tmp_path / "val" / f"{k}.png", colour)
        lines.append(f"val/{k}.png,{'young' if young else 'old'},all")
    paint(tmp_path / "val" / "unlabelled.png", (9, 9, 9))
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def test_a_group_that_looks_alike_stands_out(strangers: Path, model: Model) -> None:
    people = {"anna": (0, 250, 0), "bert": (0, 0, 250)}
    for name, colour in people.items():
        for k in range(2):
            paint(strangers / "people" / name / f"{k}.png", colour)
    (found,) = differentials(
        [model], strangers / "val", strangers / "labels.csv", people=strangers / "people"
    )
    assert found.photos == COUNT
    by_name = {(one.label, one.group): one for one in found.groups}
    young, old = by_name["age", "young"], by_name["age", "old"]
    assert young.photos == old.photos == COUNT // 2
    assert young.pairs == 20 * 19 // 2
    assert young.ratios[0] is None or young.ratios[0] > 2
    assert old.fmr[0] is None  # too few pairs to tell
    assert by_name["group", "all"].photos == COUNT
    assert found.true_matches is not None
    assert found.true_matches[0] == 1
    assert list(found.thresholds) == sorted(found.thresholds)


def test_rates_are_counted(strangers: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demographics, "RATES", (0.2,))
    (found,) = differentials([model], strangers / "val", strangers / "labels.csv")
    by_name = {one.group: one for one in found.groups}
    (young,), (everybody,) = by_name["young"].ratios, by_name["all"].ratios
    assert everybody == pytest.approx(1, abs=0.05)
    assert young is not None
    assert young > 3


def test_labels_that_fit_no_photo_are_said(strangers: Path, model: Model) -> None:
    labels = strangers / "other.csv"
    labels.write_text("file,age\ntrain/1.webp,3-9\n")
    with pytest.raises(BadInput, match="names 0 usable photos"):
        differentials([model], strangers / "val", labels)
    labels.write_text("photo,age\n1,2\n")
    with pytest.raises(BadInput, match="names its columns: file"):
        read_labels(labels)
    with pytest.raises(BadInput, match="cannot be read as CSV"):
        read_labels(strangers / "nothing.csv")
