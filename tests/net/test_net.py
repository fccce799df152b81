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
from commands import PAGE, fields, is_a_sentence
from record import HERE, RECORD, alike

from mien.evaluation.calibrate import Calibration
from mien.evaluation.demographics import Differentials, GroupRates
from mien.verbs.speed import Speed

NAMES = sorted(str(path.relative_to(RECORD)) for path in RECORD.rglob("*.txt"))
COMMANDS = [name for name in NAMES if name.startswith("commands")]
ACCEPT = "If this is intended: python tests/net/record.py, and say so in CHANGELOG.md."


@pytest.fixture(scope="session")
def now(demo_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what is so now."""
    folder = tmp_path_factory.mktemp("net")
    for package in [
        "torch",
        "onnx",
        "matplotlib",
        "fastapi",
        "httpx",
        "sqlcipher3",
        "av",
        "sklearn",
    ]:
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


def parts(name: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each command in a record, the documents that it printed, and what it said is wrong."""
    for part in (RECORD / name).read_text("utf-8")[2:].split("\n$ "):
        command, *lines = part.splitlines()
        printed = [*takewhile(lambda line: not re.match("[!~+-] |exit ", line), lines)]
        if "--json-lines" not in command:
            printed = ["\n".join(printed)] if "--json" in command and printed else []
        documents = [text.replace("#", "0") for text in printed]
        yield command, documents, lines if "exit 2" in lines else []


@pytest.mark.parametrize("name", COMMANDS)
def test_failures_are_one_sentence(name: str) -> None:
    for _, _, wrong in parts(name):
        assert not wrong or (len(wrong) == 2 and is_a_sentence(f"{wrong[0]}\n")), wrong


def sections() -> dict[str, tuple[str, str]]:
    """What docs/json.md says of each command; and with what it refers to, and says of all."""
    intro, *chapters = re.split(r"^## (.+)\n", PAGE.read_text("utf-8"), flags=re.M)
    told = dict(zip(chapters[::2], chapters[1::2], strict=True))
    found = {}
    for title, text in told.items():
        referred = "\n".join(told[other] for other in told if other in text)
        for command in re.findall("`(mien .+?)`", title):
            found[command] = text, f"{text}{intro}{referred}"
    return found


def printed() -> dict[str, set[str]]:
    """The fields that each command printed in the records."""
    found: dict[str, set[str]] = {}
    for name in COMMANDS:
        for line, documents, _ in parts(name):
            words = re.sub(r"--key-file \S+ ", "", line).split()
            for text in documents:
                found.setdefault(" ".join(words[:2]), set()).update(fields(json.loads(text)))
    return found


def elsewhere() -> dict[str, set[str]]:
    """Fields that are not in the records: they need more people, teachers, networks or time."""
    pytest.importorskip("torch")
    from mien.training.lr_finder import BatchTrial, LrSweep
    from mien.training.targets import Targets

    def of(*classes: Any) -> set[str]:
        return {one.name for each in classes for one in dataclasses.fields(each)}

    return {
        "mien adopt": {"path", "model_id", "dim", "form", "tried", "balance", "calibration"},
        "mien album": {"forgotten"},
        "mien calibrate": of(Calibration),
        "mien enroll": {"dry_run"},
        "mien evaluate": of(Differentials, GroupRates) | {"models", "rates", "ratios"},
        "mien find": {"people", "photos", "away", "skipped"},
        "mien identify": {"broken"},
        "mien review": {"page", "questions", "people", "person", "score", "sure", "faces", "path"}
        | {"box", "key", "named", "undone"},
        "mien speed": of(Speed) | {"photos", "processors", "runtimes"},
        "mien targets": of(Targets) - {"vectors"} | {"out", "pictures", "dim"},
        "mien train": of(LrSweep, BatchTrial),
    }


def test_every_field_is_documented_where_its_command_is_and_no_other() -> None:
    told, records, others = sections(), printed(), elsewhere()
    for command, (own, all_) in told.items():
        fields_ = records.get(command, set()) | others.get(command, set())
        cells = " ".join(re.findall(r"^\| (`.*?) \|", own, re.M))
        assert set(re.findall(r"`(\w+)`", cells)) <= fields_, command
        assert fields_ <= set(re.findall(r"`(\w+)`", all_)), command
    assert records.keys() | others.keys() <= told.keys()
