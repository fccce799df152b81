"""What mien does, seen from outside, is what tests/net/record says."""

from __future__ import annotations

import re
import subprocess
import sys
from difflib import unified_diff
from itertools import takewhile
from pathlib import Path

import pytest
from commands import Result, is_a_sentence
from record import HERE, RECORD, alike

NAMES = sorted(str(path.relative_to(RECORD)) for path in RECORD.rglob("*.txt"))
ACCEPT = "If this is intended: python tests/net/record.py, and say so in CHANGELOG.md."


@pytest.fixture(scope="session")
def now(demo_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what is so now."""
    folder = tmp_path_factory.mktemp("net")
    for package in (
        "torch",
        "onnx",
        "matplotlib",
        "fastapi",
        "httpx",
        "sqlcipher3",
        "av",
        "sklearn",
    ):
        pytest.importorskip(package, reason="this needs all that make test installs")
    subprocess.run([sys.executable, HERE / "record.py", folder], check=True)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_nothing_has_changed(now: Path, name: str) -> None:
    old, new = (
        path.read_text("utf-8") if path.is_file() else "" for path in (RECORD / name, now / name)
    )
    if not alike(old, new):
        lines = unified_diff(old.splitlines(), new.splitlines(), "before", "now", lineterm="")
        pytest.fail("\n".join([*lines, ACCEPT]), pytrace=False)


def test_nothing_is_new(now: Path) -> None:
    new = {str(path.relative_to(now)) for path in now.rglob("*.txt")} - set(NAMES)
    assert not new, ACCEPT


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("commands")])
def test_failures_are_one_sentence_and_json_is_documented(name: str) -> None:
    for part in (RECORD / name).read_text("utf-8")[2:].split("\n$ "):
        command, *lines = part.splitlines()
        printed = takewhile(lambda line: not re.match("[!~+-] |exit ", line), lines)
        if "exit 2" in lines:
            assert lines.index("exit 2") == 1 and is_a_sentence(f"{lines[0]}\n"), part
        elif "--json-lines" in command:
            assert all(documented(line) for line in printed)
        elif "--json" in command:
            assert documented("\n".join(printed))


def documented(text: str) -> bool:
    return bool(Result(0, text.replace("#", "0"), "").document)
