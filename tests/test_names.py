"""Names in pages, help and docstrings are of things that exist."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pages
import pytest
from typer.main import get_command

import mien
from mien.cli import app

TEXTS = [pages.README, *pages.DOCS, pages.ROOT / "CONTRIBUTING.md", pages.ROOT / "SECURITY.md"]
CODE = ("mien", "benchmarks", "recipes")
TEXTS += [path for part in CODE for path in (pages.ROOT / part).rglob("*.py")]
GROUPS = {"mien.losses", "mien.networks", "mien.trackers"}  # of entry points, which others fill
THEIRS = {
    "--short",
    "--nproc-per-node",
    "--editable",
    "--force-reinstall",
}  # options of other programs


def name(path: Path) -> str:
    return str(path.relative_to(pages.ROOT))


def exists(dotted: str) -> bool:
    """Whether a dotted name is of a module, or of something in one."""
    first, *rest = dotted.split(".")
    found: Any = importlib.import_module(first)
    for part in rest:
        try:
            found = importlib.import_module(f"{found.__name__}.{part}")
        except (ImportError, AttributeError):
            fields = getattr(found, "__dataclass_fields__", {})
            if part in fields:
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
    return True


@cache
def options() -> set[str]:
    """Of all commands, benchmarks and recipes."""
    found = {"--help", "--install-completion", "--show-completion", "--health"}

    def walk(command: Any) -> Iterator[str]:
        for parameter in command.params:
            yield from (*parameter.opts, *parameter.secondary_opts)
        for part in getattr(command, "commands", {}).values():
            yield from walk(part)

    found |= set(walk(get_command(app)))
    for path in (*pages.ROOT.glob("benchmarks/*.py"), *pages.ROOT.glob("recipes/**/*.py")):
        found |= set(re.findall(r'"(--[a-z][a-z-]*)"', path.read_text("utf-8")))
        found |= {
            "--" + one.replace("_", "-")
            for one in re.findall(r"^    (\w+): (?:Annotated|\w+)", path.read_text("utf-8"), re.M)
        }
    return found


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_dotted_names_are_of_something(path: Path) -> None:
    pytest.importorskip("torch")
    text = path.read_text("utf-8")
    for dotted in set(re.findall(r"`((?:mien|benchmarks)(?:\.\w+)+)`", text)) - GROUPS:
        ending = dotted.rpartition(".")[2]
        assert ending in ("py", "db", "toml", "onnx") or exists(dotted), dotted
    for owner, member in set(re.findall(r"`([A-Z]\w+)\.([a-z]\w*)", text)):
        assert owner not in mien.__all__ or exists(f"mien.{owner}.{member}"), f"{owner}.{member}"


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_options_are_of_some_command(path: Path) -> None:
    text = path.read_text("utf-8")
    quoted = re.findall(r"`(--[a-z][a-z-]+)[^`]*`", text)
    if path.suffix == ".py":  # help, errors and docstrings; not CSS
        quoted += re.findall(r"(?<![\w(-])(--[a-z][a-z-]*[a-z])(?![-:{\w])", text)
    assert set(quoted) - options() - THEIRS == set()


def test_a_name_that_has_rotted_is_found() -> None:
    assert exists("mien.files.walk") and exists("mien.types.Face.box")
    assert not exists("mien.files.wander") and not exists("mien.no_such")
