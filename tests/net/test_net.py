"""What mien does, seen from outside, is what tests/net/record says."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from difflib import unified_diff
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from commands import PAGE, Result, fields, is_a_sentence
from record import HERE, RECORD, alike

from mien.evaluation.calibrate import Calibration
from mien.evaluation.demographics import Differentials, GroupRates

NAMES = sorted(str(path.relative_to(RECORD)) for path in RECORD.rglob("*.txt"))
COMMANDS = [name for name in NAMES if name.startswith("commands")]
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


def parts(name: str) -> Iterator[tuple[list[str], list[str]]]:
    """Of each command in a record: the documents that it printed, and what it said is wrong."""
    for part in (RECORD / name).read_text("utf-8")[2:].split("\n$ "):
        command, *lines = part.splitlines()
        printed = [*takewhile(lambda line: not re.match("[!~+-] |exit ", line), lines)]
        if "--json-lines" not in command:
            printed = ["\n".join(printed)] if "--json" in command and printed else []
        yield [text.replace("#", "0") for text in printed], lines if "exit 2" in lines else []


@pytest.mark.parametrize("name", COMMANDS)
def test_failures_are_one_sentence_and_json_is_documented(name: str) -> None:
    for documents, wrong in parts(name):
        assert all(Result(0, text, "").document for text in documents)
        assert not wrong or (len(wrong) == 2 and is_a_sentence(f"{wrong[0]}\n")), wrong


def test_every_documented_field_is_printed() -> None:
    pytest.importorskip("torch")
    from mien.training.lr_finder import BatchTrial, LrSweep
    from mien.training.targets import Targets

    documents = [text for name in COMMANDS for texts, _ in parts(name) for text in texts]
    printed = set().union(*(fields(json.loads(text)) for text in documents))
    # Not in the records, as they need more people, teachers, networks, a damaged video or time.
    classes: tuple[Any, ...] = (
        Calibration,
        Differentials,
        GroupRates,
        Targets,
        LrSweep,
        BatchTrial,
    )
    elsewhere = {one.name for each in classes for one in dataclasses.fields(each)} - {"vectors"}
    text = PAGE.read_text("utf-8")
    assert elsewhere <= set(re.findall(r"`(\w+)`", text))
    cells = " ".join(re.findall(r"^\| (`.*?) \|", text.partition("\n## `python")[0], re.M))
    rest = {"broken", "processors", "runtimes", "form", "tried"}
    assert set(re.findall(r"`(\w+)`", cells)) <= printed | elsewhere | rest
