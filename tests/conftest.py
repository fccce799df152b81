"""What many tests share: real photographs, where they are, and a model file of no size."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from commands import Result, Run
from fakes import MeanColours

from mien.cli import main
from mien.recognition.embedder import Card, canary_crop

os.environ["MIEN_RUNTIME"] = "onnxruntime"  # tests rest on no probe of this machine
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of research photographs that is not part of the project."""
    folder = Path(os.environ.get("MIEN_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no photographs in {folder}; MIEN_TEST_DATA names another folder")
    return folder


@pytest.fixture(scope="session")
def face_photos(data: Path) -> list[Path]:
    """100 photos of LFW, 250 x 250, each of one person in the middle and seldom of others."""
    photos = sorted((data / "lfw" / "images").glob("*/*.jpg"))
    if len(photos) < 100:
        pytest.skip(f"no LFW photographs in {data}")
    return photos[:: len(photos) // 100][:100]


@pytest.fixture(scope="session")
def demo_photos() -> Path:
    """The folder of the demo's photographs, which make test fetches."""
    folder = ROOT / "demo" / "photos"
    if not folder.is_dir():
        pytest.skip(f"no photographs in {folder}: fetch them with make photos")
    return folder


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file that computes what `MeanColours` does; its threshold is 0.9."""
    onnx = pytest.importorskip("onnx", reason="making a model file needs the package onnx")
    helper, floats, node = onnx.helper, onnx.TensorProto.FLOAT, onnx.helper.make_node
    quarters = {"kernel_shape": [56, 56], "strides": [56, 56]}
    graph = helper.make_graph(
        [
            node("Cast", ["crops"], ["pixels"], to=floats),
            node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
            node("AveragePool", ["planes"], ["means"], **quarters),
            node("Transpose", ["means"], ["colours"], perm=[0, 2, 3, 1]),
            node("Flatten", ["colours"], ["rows"]),
            node("Sub", ["rows", "middle"], ["vectors"]),
            node("LpNormalization", ["vectors"], ["embeddings"], axis=1, p=2),
        ],
        "mean-colours",
        [helper.make_tensor_value_info("crops", onnx.TensorProto.UINT8, ["N", 112, 112, 3])],
        [helper.make_tensor_value_info("embeddings", floats, ["N", MeanColours.dim])],
        [helper.make_tensor("middle", floats, [], [127.25])],
    )
    card = Card(
        name="mean-colours",
        model_id=MeanColours.model_id,
        dim=MeanColours.dim,
        threshold=0.9,
        calibration={},
        trained={},
        canary=MeanColours()(canary_crop())[0].tolist(),
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    model.metadata_props.add(key="mien", value=json.dumps(asdict(card)))
    path = tmp_path_factory.mktemp("models") / "mean-colours.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def bare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command in an empty folder, with a facebank of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIEN_FACEBANK", str(tmp_path / "facebank.db"))
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object, of: Callable[[list[str]], None] = main) -> Result:
        with pytest.raises(SystemExit) as end:
            of([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Result(int(end.value.code or 0), out, err)

    return run


@pytest.fixture
def exiftool() -> str:
    """The program that knows most of what others read and write."""
    program = shutil.which("exiftool")
    if program is None:
        pytest.skip("exiftool is not installed: apt-get install libimage-exiftool-perl")
    return program
