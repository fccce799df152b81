"""Other projects' networks as models of ours; `theirs` are made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.errors import BadInput, BadModel
from mien.recognition.adopt import Recogniser, Subtraction, adopt
from mien.recognition.embedder import OnnxEmbedder
from mien.recognition.input_form import FORMS, InputForm, input_form
from mien.recognition.onnx import graph
from mien.recognition.onnx.protobuf import with_metadata
from mien.recognition.onnx.session import session

CROPS = np.random.default_rng(7).integers(0, 256, (3, 112, 112, 3), np.uint8)


def theirs(
    path: Path,
    *,
    shape: tuple[int | str, ...] = (1, 3, 112, 112),
    last: str = "Flatten",
    seed: int = 6,
) -> Path:
    """A network that gives 40 numbers for one face, as many are exported, and their sum beside."""
    weights = np.random.default_rng(seed).standard_normal((40, 3, 9, 9)).astype(np.float32)
    nodes = [graph.node("Transpose", ["x"], ["planes"], perm=[0, 3, 1, 2])]
    if shape[1] == 3:
        nodes = [graph.node("Identity", ["x"], ["planes"])]
    nodes += [
        graph.node("Conv", ["planes", "weights"], ["maps"], strides=[9, 9]),
        graph.node("GlobalAveragePool", ["maps"], ["means"]),
        graph.node(last, ["means", "rows"] if last == "Reshape" else ["means"], ["y"]),
        graph.node("ReduceSum", ["y", "last"], ["sum"], keepdims=1),
    ]
    arrays = {"weights": weights, "rows": np.array([1, 40]), "last": np.array([1])}
    values = [graph.value_info("sum", graph.FLOAT, 1, 1), graph.value_info("y", graph.FLOAT, 1, 40)]
    path.write_bytes(
        graph.model(
            nodes,
            [graph.initializer(*one) for one in arrays.items()],
            [graph.value_info("x", graph.FLOAT, *shape)],
            values,
        )
    )
    return path


def expected(network: Path, batch: Any) -> Any:
    run = session(network, otherwise="")
    rows = np.concatenate([run.run(["y"], {"x": one[None]})[0].reshape(1, -1) for one in batch])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("last", ["Flatten", "Reshape"])
@pytest.mark.parametrize("form", [*FORMS, "127.5/128-bgr", "1,2,3/4,5,6"])
def test_a_network_of_others_becomes_a_model(tmp_path: Path, last: str, form: str) -> None:
    network = theirs(tmp_path / "theirs.onnx", last=last)
    card = adopt(Recogniser(network), tmp_path / "ours.onnx", form=form, name="ours")
    found = OnnxEmbedder(tmp_path / "ours.onnx")(CROPS)
    np.testing.assert_allclose(found, expected(network, input_form(form)(CROPS)), atol=1e-5)
    assert (card.dim, card.threshold, card.batch == 1) == (40, None, last == "Reshape")
    assert card.trained == {"network": "theirs.onnx", "form": form}
    theirs(network, seed=1)
    other = adopt(Recogniser(network), tmp_path / "other.onnx", form=form, name="ours")
    assert other.model_id != card.model_id


@pytest.mark.parametrize("shape", [(1, 3, 96, 80), (1, 112, 112, 3), ("N", 96, 96, 3)])
def test_other_sizes_and_colours_last(tmp_path: Path, shape: tuple[int | str, ...]) -> None:
    network = theirs(tmp_path / "theirs.onnx", shape=shape)
    adopt(Recogniser(network), tmp_path / "ours.onnx", form="half", name="ours")
    planes = shape[1] == 3
    height, width = shape[2:] if planes else shape[1:3]
    scaled = ((CROPS - np.float32(127.5)) / np.float32(127.5)).astype(np.float32)
    sized = np.stack([cv2.resize(one, (int(width), int(height))) for one in scaled])
    batch = np.ascontiguousarray(sized.transpose(0, 3, 1, 2)) if planes else sized
    found = OnnxEmbedder(tmp_path / "ours.onnx")(CROPS)
    np.testing.assert_allclose(found, expected(network, batch), atol=1e-5)


def test_what_is_subtracted_is_in_the_file(tmp_path: Path) -> None:
    network, rng = theirs(tmp_path / "theirs.onnx"), np.random.default_rng(3)
    weight, bias, means = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((40, 4), 4, (4, 40))
    )
    subtract = Subtraction(weight, bias, means)
    plain = adopt(Recogniser(network), tmp_path / "plain.onnx", form="half", name="a")
    card = adopt(Recogniser(network), tmp_path / "b.onnx", form="half", name="a", subtract=subtract)
    vectors = expected(network, FORMS["half"](CROPS))
    guess = np.exp(vectors @ weight + bias)
    left = vectors - guess / guess.sum(1, keepdims=True) @ means
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    np.testing.assert_allclose(OnnxEmbedder(tmp_path / "b.onnx")(CROPS), left, atol=1e-5)
    assert card.model_id != plain.model_id


def test_the_files_metadata_tell_the_form(tmp_path: Path) -> None:
    path = theirs(tmp_path / "theirs.onnx")
    assert Recogniser(path).form is None
    said = {"Image.NominalPixelRange": "Normalized_0_1", "Image.BitmapPixelFormat": "Bgr8"}
    path.write_bytes(with_metadata(path.read_bytes(), **said))
    assert Recogniser(path).form == "unit-bgr"


def test_what_is_no_recogniser_is_not_adopted(tmp_path: Path, model_file: Path) -> None:
    path = tmp_path / "theirs.onnx"
    whole = theirs(path).read_bytes()
    for content in (
        b"no network",
        b"",
        whole[:-9],
        theirs(path, shape=(1, 1, 112, 112)).read_bytes(),
    ):
        path.write_bytes(content)
        with pytest.raises(BadModel, match="does not take aligned faces"):
            Recogniser(path).network(FORMS["half"])
    with pytest.raises(BadModel, match="is a mien model already"):
        Recogniser(model_file)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["whole", "", "127.5", "1,2/3", "1/0", "1/2/3", "nan/1", "a/b"])
def test_what_is_no_form(text: str) -> None:
    with pytest.raises(BadInput, match=r"no input form .*: use one of half, bgr, unit"):
        input_form(text)


def test_forms_by_numbers() -> None:
    assert input_form("127.5/127.5") == FORMS["half"]
    assert input_form("1,2,3/4-bgr") == InputForm((1, 2, 3), (4, 4, 4), bgr=True)
