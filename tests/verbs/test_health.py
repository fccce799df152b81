"""A facebank's ills, each brought about on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import MeanColours, SquareFaces, save_photo

from mien import images
from mien.facebank.facebank import Facebank
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.recognition.quality import SMALL, sharpness
from mien.recognition.thresholds import Impostors
from mien.verbs.enroll import enroll
from mien.verbs.health import examine

ANNA, BERT, CLEO = 1, 2, 3  # seeds
STRANGERS = Impostors((0.5, 0.05, 0.01, 0.001), (0.0, 0.6, 0.8, 0.9), {1: 1.0})


@pytest.fixture
def model() -> Model:
    return Model(SquareFaces(), MeanColours(), Policy(0.9, STRANGERS, 0.01))


@pytest.fixture
def facebank(model: Model) -> Iterator[Facebank]:
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as bank:
        yield bank


def test_a_healthy_one(tmp_path: Path, facebank: Facebank, model: Model) -> None:
    for name, seed in (("Anna", ANNA), ("Bert", BERT)):
        for photo in range(3):
            save_photo(tmp_path / name / f"{photo}.png", seed, shade=5 * photo)
    enroll(tmp_path, facebank, model)
    found = examine(facebank, model)
    assert (found.people, found.photos, found.threshold) == (2, 6, 0.9)
    assert found.fpir == pytest.approx(0.002, rel=1e-2)
    assert not found.extrapolated
    assert (found.alike, found.doubtful, found.unseen, found.single) == ((), (), (), ())
    assert len(found.small) == 6  # 32 pixels
    assert found.small[0].size < SMALL


def test_one_person_with_two_names(tmp_path: Path, facebank: Facebank, model: Model) -> None:
    for name, seed in (("Anna", ANNA), ("Anne", ANNA), ("Bert", BERT)):
        save_photo(tmp_path / f"{name}/1.png", seed, shade=len(name) + ord(name[3]) % 7)
    enroll(tmp_path, facebank, model)
    found = examine(facebank, model)
    (pair,) = found.alike
    assert (pair.person, pair.other) == ("Anna", "Anne")
    assert pair.score > 0.9
    assert found.single == ("Anna", "Anne", "Bert")


def test_a_wrong_photo_in_a_folder(tmp_path: Path, facebank: Facebank, model: Model) -> None:
    for photo in range(4):
        save_photo(tmp_path / f"Anna/{photo}.png", ANNA, shade=5 * photo)
    save_photo(tmp_path / "Anna/wrong.png", BERT)
    save_photo(tmp_path / "Cleo/1.png", CLEO)
    save_photo(tmp_path / "Cleo/2.png", ANNA, shade=2)
    enroll(tmp_path, facebank, model)
    found = [one.photo.file for one in examine(facebank, model).doubtful]
    assert sorted(found) == ["Anna/wrong.png", "Cleo/1.png", "Cleo/2.png"]  # either of two


def test_photos_that_are_gone_or_changed(tmp_path: Path, facebank: Facebank, model: Model) -> None:
    gone, changed = (
        save_photo(tmp_path / f"Anna/{shade}.png", ANNA, shade=shade) for shade in (1, 2)
    )
    enroll(tmp_path, facebank, model)
    gone.unlink()
    save_photo(changed, BERT)
    assert [one.file for one in examine(facebank, model).unseen] == ["Anna/1.png", "Anna/2.png"]
    assert examine(facebank, model, look=False).unseen == ()


def test_a_facebank_that_is_too_large_for_its_threshold(
    tmp_path: Path, facebank: Facebank, model: Model
) -> None:
    save_photo(tmp_path / "Anna/1.png", ANNA)
    enroll(tmp_path, facebank, model)
    strict = Policy(0.95, STRANGERS)
    found = examine(facebank, model, policy=strict)
    assert found.extrapolated
    assert found.fpir is not None
    assert 0 < found.fpir < 0.001


def test_blur_is_what_makes_a_face_less_sharp(face_photos: list[Path]) -> None:
    crops = np.stack([images.read(path)[69:181, 69:181] for path in face_photos[:20]])
    blurred = np.stack([cv2.GaussianBlur(crop, (0, 0), 2) for crop in crops])
    assert (sharpness(blurred) < sharpness(crops)).all()
    dim = (crops * 0.5).astype(np.uint8)
    assert (sharpness(blurred) < sharpness(dim)).all()  # little contrast is not blur


def test_a_folder_that_is_half_somebody_else(
    tmp_path: Path, facebank: Facebank, model: Model
) -> None:
    for photo in range(5):
        save_photo(tmp_path / f"Anna/{photo}.png", ANNA, shade=3 * photo)
    for photo in range(5, 9):
        save_photo(tmp_path / f"Anna/{photo}.png", BERT, shade=3 * photo)
    enroll(tmp_path, facebank, model)
    found = examine(facebank, model)
    (half,) = found.mixed
    assert half.person == "Anna"
    assert [photo.file for photo in half.photos] == [f"Anna/{photo}.png" for photo in range(5, 9)]
    assert half.score < 0.8
    assert found.doubtful == ()
