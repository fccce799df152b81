"""What runs networks reports to nobody, and refuses what is damaged."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.errors import BadModel, MissingExtra
from mien.recognition.model import model_file
from mien.recognition.onnx import session

without = importlib.util.find_spec("openvino") is None
needs_openvino = pytest.mark.skipif(without, reason="an extra: pip install 'mien[openvino]'")


def test_onnx_runtime_reports_to_nobody(tmp_path: Path, model_file: Path) -> None:
    """It would leave an identifier and a queue of events in the cache, sent or not."""
    home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home")}
    settings = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    (tmp_path / "home").mkdir()
    code = "import sys, mien; mien.load(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(model_file)], env=settings | home, check=True)
    assert not list((tmp_path / "home").iterdir())


def test_openvino_reports_to_nobody(tmp_path: Path) -> None:
    """Its package reports that it was imported, where the one that does so can be imported."""
    (tmp_path / "openvino_telemetry.py").touch()
    (tmp_path / "openvino.py").write_text(
        "try:\n    import openvino_telemetry\n    REPORTS = True\n"
        "except ImportError:\n    REPORTS = False\n"
    )
    code = "from mien.recognition.onnx import session; print(session.import_openvino().REPORTS)"
    settings = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=settings, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr


@needs_openvino
def test_openvino_refuses_what_is_no_network() -> None:
    with pytest.raises(BadModel, match="of no use"):
        session.load_network(b"\x08\x08", runtime="openvino", otherwise="of no use")


@pytest.mark.skipif(not without, reason="OpenVINO is installed")
def test_openvino_that_is_not_installed() -> None:
    with pytest.raises(MissingExtra, match="openvino"):
        session.load_network(b"", runtime="openvino", otherwise="of no use")


def test_a_damaged_network_is_refused_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    damaged = model_file("mien-small").read_bytes()[:-5]
    with pytest.raises(BadModel, match="give another"):
        session.session(damaged, otherwise="give another")
    assert capfd.readouterr() == ("", "")


def test_numpys_threads_rest_between_searches() -> None:
    code = (
        "import mien, time, numpy as np\n"
        "queries, rows = np.ones((8, 128), np.float32), np.ones((3000, 128), np.float32)\n"
        "def busy():\n"
        "    queries @ rows.T\n"
        "    start = time.process_time()\n"
        "    time.sleep(0.02)\n"
        "    return time.process_time() - start\n"
        "print(min(busy() for _ in range(5)))"
    )
    settings = {name: value for name, value in os.environ.items() if "OPENBLAS" not in name}
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=settings)
    assert float(out.stdout) < 0.01  # seconds of processor time; one thread that turns takes 0.02
