"""What the figures of the documentation are measured with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import results
from mien.errors import BadInput


def test_a_document_is_kept_without_its_curves(tmp_path: Path) -> None:
    line = """echo '{"accuracy": 0.5, "roc": ['$(seq -s, 100)'], "at": "'$DATA/a.jpg'"}'"""
    found = results.record(tmp_path / "results.json", ["pairs"], tmp_path, command=line)
    assert found == json.loads((tmp_path / "results.json").read_text())
    assert found["pairs"]["command"] == line
    assert found["pairs"]["result"] == {"accuracy": 0.5, "at": "$DATA/a.jpg"}


def test_a_table_is_kept_as_printed_and_measured_again(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("MS\n12\n")
    line = "cat $DATA/clock; exit 3"
    for milliseconds in ("12", "13"):
        (tmp_path / "clock").write_text(f"MS\n{milliseconds}\n")
        command = line if milliseconds == "12" else None
        found = results.record(tmp_path / "results.json", ["time"], tmp_path, command=command)
        assert found["time"]["printed"] == ["MS", milliseconds]


@pytest.mark.parametrize(
    ("names", "command", "message"),
    [(["speed"], None, "no entry 'speed'"), ([], "true", "name it"), (["a"], "exit 2", "code 2")],
)
def test_what_cannot_be_measured_is_said(
    names: list[str], command: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        results.record(tmp_path / "results.json", names, tmp_path, command=command)
    assert not (tmp_path / "results.json").exists()
