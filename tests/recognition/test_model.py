"""The shipped model: what it is, what it refuses, and that it embeds as it should."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.errors import BadInput, BadModel
from mien.recognition import model as models
from mien.recognition.align import TEMPLATE
from mien.recognition.detect.whole_image import WholeImage
from mien.recognition.embedder import OnnxEmbedder, canary_crop
from mien.recognition.onnx.protobuf import field
from mien.recognition.policy import Policy
from mien.types import Face, Match


@pytest.fixture(scope="module")
def small() -> models.Model:
    return models.load("mien-small", detector="whole")


def test_what_ships(small: models.Model) -> None:
    assert models.shipped() == ["mien-small", "mien-tiny"]
    assert small.dim == 128
    assert small.model_id.startswith("mien-small-")
    assert isinstance(small.detector, WholeImage)


def test_the_weights_fit_the_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "wheel.zip", "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in models.WEIGHTS.glob("*.onnx"):
            wheel.write(path)
    assert (tmp_path / "wheel.zip").stat().st_size < 8_000_000


@pytest.mark.parametrize(
    ("name", "network"), [("mien-small", "seesaw_dense"), ("mien-tiny", "seesaw_tiny")]
)
def test_the_card_says_where_the_threshold_comes_from(name: str, network: str) -> None:
    card = OnnxEmbedder(models.model_file(name)).card
    assert card.calibration["chosen"]["fmr"] == 1e-3
    assert card.calibration["chosen"]["threshold"] == card.threshold
    assert card.calibration["impostor_pairs"] > 100_000
    assert card.trained["backbone"] == network
    assert "/" not in json.dumps([card.calibration, card.trained])  # no path of who made it


def test_red_is_not_blue(small: models.Model) -> None:
    crop = canary_crop()
    swapped = np.ascontiguousarray(crop[..., ::-1])
    assert (small.embedder(crop) @ small.embedder(swapped).T).item() < 0.995


@pytest.mark.parametrize(
    ("picture", "error"),
    [
        ("party.jpg", TypeError),
        (None, TypeError),
        (np.zeros((112, 112, 3)), TypeError),  # shares
        (np.zeros((112, 112), np.uint8), ValueError),
        (np.zeros((112, 112, 4), np.uint8), ValueError),
        (np.zeros((0, 112, 3), np.uint8), ValueError),
    ],
)
def test_what_is_no_picture(small: models.Model, picture: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="a picture "):
        small.detect(picture)
    with pytest.raises(error, match="a picture "):
        small.embed(picture, [])


def test_faces_are_embedded_as_their_crops(small: models.Model) -> None:
    image = canary_crop()[0]
    face = Face(np.array([0, 0, 112, 112], np.float32), TEMPLATE.astype(np.float32), 1.0)
    vectors = small.embed(image, [face, face])
    np.testing.assert_allclose(vectors[0], small.embedder(image[None])[0], atol=0.02)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert small.embed(image, []).shape == (0, 128)


def test_a_mirrored_face_is_the_same_with_mirror_averaging(small: models.Model) -> None:
    image = np.ascontiguousarray(canary_crop()[0])
    points = TEMPLATE.astype(np.float32)
    flipped = np.array([112, 0], np.float32) + points[[1, 0, 2, 4, 3]] * np.array([-1, 1], "f4")
    box = np.array([0, 0, 112, 112], np.float32)

    def similar(mirror: bool) -> float:
        a = small.embed(image, [Face(box, points, 1.0)], mirror=mirror)
        turned = np.ascontiguousarray(image[:, ::-1])
        b = small.embed(turned, [Face(box, flipped, 1.0)], mirror=mirror)
        return float((a @ b.T).item())

    assert similar(mirror=True) > 0.95
    assert similar(mirror=True) > similar(mirror=False)


def test_a_threshold_may_be_the_next_float_above_1() -> None:
    beyond = float(np.nextafter(np.float32(1), np.float32(2)))  # where strangers score 1
    assert Policy(beyond).threshold == beyond


@pytest.mark.parametrize("threshold", [1.5, float("nan")])
def test_what_is_no_threshold(small: models.Model, threshold: float) -> None:
    with pytest.raises(BadInput, match=rf"a cosine in \[-1, 1\], not {threshold}"):
        small.policy(threshold=threshold)


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"no model 'mien-huge'.*mien-small"):
        models.load("mien-huge")
    with pytest.raises(BadInput, match="no detector 'magic'; use one of mien, mtcnn, whole"):
        models.load(detector="magic")
    damaged = bytearray(models.model_file("mien-small").read_bytes())
    damaged[1_000_000:1_001_000] = b"\x5a" * 1000  # huge numbers
    (tmp_path / "damaged.onnx").write_bytes(damaged)
    with pytest.raises(BadModel, match="damaged"):
        models.load(tmp_path / "damaged.onnx")


@pytest.mark.parametrize("change", [{"precision": "int4"}, {"canary": [0.1]}, {"dim": 64}])
def test_a_card_of_nonsense_is_refused(
    model_file: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    content = model_file.read_bytes()
    card = json.dumps(asdict(OnnxEmbedder(model_file).card) | change).encode()
    path = tmp_path / "model.onnx"  # of two cards the last counts
    path.write_bytes(content + field(14, field(1, "mien") + field(2, card)))
    with pytest.raises(BadModel, match="damaged"):
        OnnxEmbedder(path)


def test_only_the_network_that_runs_is_given_away(model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model_file.read_bytes())
    embed = OnnxEmbedder(path)
    assert embed.network() == model_file.read_bytes()
    for other in (models.WEIGHTS / "mien-small.onnx").read_bytes(), b"damaged":
        path.write_bytes(other)
        with pytest.raises(BadModel, match="has changed"):
            embed.network()
    path.unlink()
    with pytest.raises(BadModel, match="has changed"):
        embed.network()


def test_a_pickle_opens_its_files_again() -> None:
    model = models.load("mien-tiny", detector="whole", fpir=0.001, threads=1)
    data = pickle.dumps(model)
    assert len(data) < 2000  # no weights
    again = pickle.loads(data)
    assert (again.model_id, again.own) == (model.model_id, model.own)
    assert again.own.fpir == 0.001
    image = np.full((112, 112, 3), 90, np.uint8)
    np.testing.assert_array_equal(again.look(image).vectors, model.look(image).vectors)
    other = data.replace(model.model_id.encode(), model.model_id.replace("tiny", "tidy").encode())
    with pytest.raises(BadModel, match="as when it was pickled"):
        pickle.loads(other)


def test_the_model_that_a_facebank_names() -> None:
    assert models.shipped_as("mien-tiny-0123456789ab") == "mien-tiny"
    assert models.shipped_as("another-0123456789ab") is None


def test_what_is_printed_fits_a_line(small: models.Model) -> None:
    looked = small.look(np.full((112, 112, 3), 90, np.uint8))
    for thing in (small, looked, looked.faces[0], small.own, Match("Ann", 0.5)):
        assert len(repr(thing)) <= 100
