"""Detectors from files of the user's own, of small networks that take a bright cell for a face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.errors import BadModel
from mien.recognition import detect
from mien.recognition.detect.single_shot import STRIDES, OneShot
from mien.recognition.onnx import graph

POINTS = np.linspace(-0.75, 0.75, 10).astype(np.float32)  # relative to the cell, in strides
BATCHES = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


def network(path: Path, family: str, side: int | str = "S") -> Path:
    """A network whose score is the brightness of a cell, and whose boxes have a side of two."""
    anchors = 2 if family == "scrfd" else 1
    form = (128 / 255, 0.5) if family == "scrfd" else (1 / 255, 0)  # back to 0 to 1
    parts = {"cls": anchors, "bbox": 4 * anchors, "kps": 10 * anchors}
    if family == "yunet":
        parts = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    constants: dict[str, Any] = {}
    nodes, outputs = [], []
    order = [(part, stride) for part in parts for stride in STRIDES]
    for stride in STRIDES:
        square = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        nodes.append(graph.node("AveragePool", ["x"], [f"means{stride}"], **square))
    for number, (part, stride) in enumerate(order):
        channels, size = parts[part], BATCHES[part]
        weight, bias = np.zeros((channels, 3, 1, 1), np.float32), np.zeros(channels, np.float32)
        if part in ("cls", "obj"):
            weight[:], bias[:] = form[0] / 3, form[1]
        elif part == "bbox":
            bias[:] = 1 if family == "scrfd" else np.array([0, 0, np.log(2), np.log(2)])
        else:
            bias[:] = np.tile(POINTS, anchors)
        name = f"{part}_{stride}" if family == "yunet" else str(400 + number)
        rows = np.array([1, -1, size] if family == "yunet" else [-1, size])
        constants |= {f"{name}.w": weight, f"{name}.b": bias, f"{name}.rows": rows}
        nodes += [
            graph.node("Conv", [f"means{stride}", f"{name}.w", f"{name}.b"], [f"{name}.maps"]),
            graph.node("Transpose", [f"{name}.maps"], [f"{name}.last"], perm=[0, 2, 3, 1]),
            graph.node("Reshape", [f"{name}.last", f"{name}.rows"], [name]),
        ]
        outputs.append(graph.value_info(name, graph.FLOAT, *["N"] * len(rows)))
    path.write_bytes(
        graph.model(
            nodes,
            [graph.initializer(*one) for one in constants.items()],
            [graph.value_info("x", graph.FLOAT, 1, 3, side, side if side != "S" else "W")],
            outputs,
        )
    )
    return path


@pytest.mark.parametrize("family", ["yunet", "scrfd"])
@pytest.mark.parametrize("side", ["S", 320])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_bright_cell_is_a_face(
    tmp_path: Path, family: str, side: int | str, runtime: str, caplog: pytest.LogCaptureFixture
) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="an extra: pip install 'mien[openvino]'")
    file = network(tmp_path / "theirs.onnx", family, side)
    find = detect.named(str(file), threads=1, runtime=runtime)
    assert not caplog.messages
    picture = np.zeros((160, 320, 3), np.uint8)
    picture[48:64, 80:96] = 255  # a cell of the second grid, and four of the first
    faces = find(picture)
    wide = [face for face in faces if face.size > 20]
    assert len(faces) == 5 and len(wide) == 1
    at = np.array([80, 48])  # where SCRFD's cell, and YuNet's too, has its place
    np.testing.assert_allclose(wide[0].box, [*(at - 16), *(at + 16)], atol=0.5)
    np.testing.assert_allclose(wide[0].points, at + 16 * POINTS.reshape(5, 2), atol=0.5)
    assert wide[0].confidence == pytest.approx(1, abs=0.02)
    assert find(np.zeros((7, 5, 3), np.uint8)) == []


def test_pictures_are_shrunk_and_faces_come_back_in_their_size(tmp_path: Path) -> None:
    find = OneShot(network(tmp_path / "theirs.onnx", "scrfd"), threads=1)
    picture = np.zeros((960, 1280, 3), np.uint8)  # twice the longest
    picture[96:128, 160:192] = 255
    (wide,) = (face for face in find(picture) if face.size > 40)
    np.testing.assert_allclose(wide.box, [128, 64, 192, 128], atol=1)


def test_what_is_no_detector(tmp_path: Path, model_file: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    for path in (tmp_path / "text.onnx", model_file):
        with pytest.raises(BadModel, match="no detector of the YuNet or SCRFD family"):
            detect.named(str(path))
