"""The fastest runtime is found once, kept for the machine, and computes the same."""

from __future__ import annotations

import importlib.util
import stat
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run

from mien import images, machine
from mien.errors import BadInput, BadModel
from mien.recognition import detect, embedder
from mien.recognition.embedder import OnnxEmbedder
from mien.recognition.model import load, model_file
from mien.recognition.onnx import runtime, session
from mien.recognition.onnx.runtime import asked, least_time
from mien.recognition.onnx.session import load_network

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="an extra: pip install 'mien[openvino]'"
)
SCORES_AGREE = 0.02  # of one pair of faces on two runtimes; docs/speed.md states it
PLACES_AGREE = 0.02  # of a face's size, where detectors on two runtimes find it


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of findings, in a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MIEN_RUNTIME", raising=False)
    monkeypatch.setattr(machine, "_place", lambda: tmp_path / "cache" / "machine.json")
    return tmp_path / "cache" / "machine.json"


def test_who_asks_for_a_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIEN_RUNTIME", raising=False)
    assert (asked(), asked("openvino")) == ("auto", "openvino")
    monkeypatch.setenv("MIEN_RUNTIME", "openvino")
    assert (asked(), asked("onnxruntime")) == ("openvino", "onnxruntime")
    monkeypatch.setenv("MIEN_RUNTIME", "tensorrt")
    with pytest.raises(BadInput, match="no runtime 'tensorrt': use one of auto, onnxruntime"):
        asked()
    monkeypatch.setattr(runtime, "installed", lambda: ["onnxruntime"])
    with pytest.raises(BadInput, match="has no CUDAExecutionProvider: install one that has"):
        load(runtime="cuda")


@pytest.mark.parametrize(
    ("plain", "other", "best"), [(4, 1, "other"), (1, 4, "onnxruntime"), (400, 390, "onnxruntime")]
)
def test_only_what_is_clearly_faster_is_chosen(
    monkeypatch: pytest.MonkeyPatch, plain: int, other: int, best: str
) -> None:
    now = 0.0  # of a clock that only the runs move

    def run(milliseconds: int) -> None:
        nonlocal now
        now += milliseconds / 1000 * (5 if int(now * 1e4) % 7 == 0 else 1)  # or disturbed

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    assert least_time({"onnxruntime": partial(run, plain), "other": partial(run, other)}) == best
    assert now < (2 if plain < 400 else 10)


def test_what_is_fastest_is_found_once(
    model_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO is played by ONNX Runtime here, so that it need not be installed."""
    tried = []

    def choose(runs: dict[str, Callable[[], object]]) -> str:
        tried.append(list(runs))
        return "openvino"

    monkeypatch.setattr(runtime, "installed", lambda: ["onnxruntime", "openvino"])
    monkeypatch.setattr(runtime, "least_time", choose)
    monkeypatch.setattr(
        embedder,
        "load_network",
        lambda model, runtime, **given: load_network(model, runtime="onnxruntime", **given),
    )
    for threads in (1, 1, 2, 2):
        assert OnnxEmbedder(model_file, threads=threads).runtime == "openvino"
    assert tried == [["onnxruntime", "openvino"]] * 2
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.parent.stat().st_mode) == 0o700
    monkeypatch.setattr(metadata, "version", lambda package: "another")
    OnnxEmbedder(model_file, threads=1)
    assert len(tried) == 3
    cache.write_text("[damaged")
    OnnxEmbedder(model_file, threads=1)
    assert len(tried) == 4
    monkeypatch.setattr(machine, "_place", lambda: Path("/dev/null/machine.json"))
    OnnxEmbedder(model_file, threads=1)
    assert len(tried) == 5


def test_a_runtime_that_fails_gives_way(
    model_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:

    def fails(model: bytes, *, runtime: str, **given: Any) -> Any:
        if runtime == "openvino":
            raise BadModel("of no use")
        return load_network(model, runtime=runtime, **given)

    monkeypatch.setattr(embedder, "load_network", fails)
    assert OnnxEmbedder(model_file, runtime="openvino").runtime == "onnxruntime"
    assert caplog.messages == ["mean-colours.onnx runs on ONNX Runtime, as openvino fails"]


@pytest.mark.parametrize("name", ["mien", "mtcnn"])
def test_a_detector_finds_its_own_runtime(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    def fails(*_: object) -> None:
        raise BadModel("of no use")

    monkeypatch.setattr(runtime, "installed", lambda: ["onnxruntime", "openvino"])
    monkeypatch.setattr(session, "_on_openvino", fails)
    assert detect.named(name, threads=1)(np.zeros((64, 64, 3), np.uint8)) == []
    ((question, kept),) = machine.everything().items()
    assert question.startswith(f"runtime for detector {name} with 1 threads | ")
    assert kept["found"] == "onnxruntime" and 0 < kept["seconds"] < 60
    assert not caplog.messages
    detect.named(name, threads=1, runtime="openvino")
    assert caplog.messages == [f"detector {name} runs on ONNX Runtime, as openvino fails"]


def test_a_provider_that_fails_gives_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(runtime.PROVIDERS, "cuda", "NoSuchExecutionProvider")
    monkeypatch.setattr(runtime, "installed", lambda: ["onnxruntime", "cuda"])
    found = detect.named("mtcnn", runtime="cuda")(np.zeros((64, 64, 3), np.uint8))
    assert found == [] and "cuda fails" in caplog.messages[0]


@needs_openvino
def test_scores_agree(cache: Path) -> None:
    file = model_file("mien-small")
    crops = np.random.default_rng(0).integers(0, 256, (6, 14, 14, 3), np.uint8)
    crops = crops.repeat(8, axis=1).repeat(8, axis=2)
    ours, other = (
        OnnxEmbedder(file, threads=1, runtime=name)(crops) for name in ("onnxruntime", "openvino")
    )
    np.testing.assert_allclose(ours @ ours.T, other @ other.T, atol=SCORES_AGREE)
    np.testing.assert_allclose(ours @ ours.T, ours @ other.T, atol=SCORES_AGREE)


@needs_openvino
@pytest.mark.parametrize("name", ["mien", "mtcnn"])
def test_detectors_agree(name: str) -> None:
    astronaut = images.read(Path(__file__).parents[2] / "docs" / "astronaut.jpg")
    faces, others = (
        detect.named(name, threads=1, runtime=one)(astronaut) for one in ("onnxruntime", "openvino")
    )
    assert len(faces) == len(others) == 1
    for part in ("box", "points"):
        apart = np.abs(getattr(faces[0], part) - getattr(others[0], part)).max()
        assert apart < PLACES_AGREE * faces[0].size
    assert faces[0].confidence == pytest.approx(others[0].confidence, abs=SCORES_AGREE)


def test_commands_take_a_runtime(bare: Run, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_RUNTIME", "auto")  # which the option replaces, until this test ends
    for command in (("compare", "a", "b"), ("evaluate", "mien-small", "a"), ("serve",)):
        refused = bare(*command, "--runtime", "tensorrt")
        assert refused.code == 2 and "no runtime 'tensorrt'" in refused.err
    assert "runtime for" not in bare("--version").out
    machine.once("runtime for mien-small-0 with 2 threads", (), lambda: "openvino")
    said = "runtime for mien-small-0 with 2 threads: openvino, found in 0.0 s"
    assert said in bare("--version").out
