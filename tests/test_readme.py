"""The README keeps its word: its commands print what it shows, and its links lead somewhere."""

from __future__ import annotations

import io
import os
import re
import shlex
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pages
import pytest

from mien.cli import app, main
from mien.recognition.model import shipped

TEXT = pages.README.read_text("utf-8")
NUMBER = re.compile(r"(-?\d+\.\d+)")
OPERATORS = set("();<>|&")


def alike(one: str, other: str) -> bool:
    """Whether two texts are the same, but for what another processor rounds otherwise."""
    parts, others = NUMBER.split(one), NUMBER.split(other)
    return len(parts) == len(others) and all(
        float(a) == pytest.approx(float(b), abs=0.02) if NUMBER.fullmatch(a) else a == b
        for a, b in zip(parts, others, strict=True)
    )


def run(step: pages.Step, folder: Path) -> tuple[int, str]:
    """As `pages.run`, but for plain commands of mien within this process, which has it loaded."""
    if not step.label.startswith("mien ") or OPERATORS & set(step.label.partition("#")[0]):
        return pages.run(step, folder)
    said = io.BytesIO()
    both = io.TextIOWrapper(said, "utf-8", write_through=True)
    with (
        chdir(folder),
        patch.dict(os.environ, pages.SETTINGS),
        redirect_stdout(both),
        redirect_stderr(both),
        pytest.raises(SystemExit) as end,
    ):
        main(shlex.split(step.label, comments=True)[1:])
    return int(end.value.code or 0), said.getvalue().decode().strip("\n")


def test_its_commands_print_what_it_shows(demo_photos: Path, tmp_path: Path) -> None:
    if not shipped():
        pytest.skip("no model ships with this tree")
    pages.lay(pages.README, tmp_path)
    steps = list(pages.steps(TEXT))
    assert len(steps) > 5
    for step in steps:
        _, printed = run(step, tmp_path)
        assert step.output is not None
        assert alike(printed, step.output.strip("\n")), (
            f"{step.label} prints this; make readme puts it into the README:\n{printed}"
        )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a 0.50", "a 0.51", True),
        ("a 0.50", "a 0.55", False),
        ("a 0.50", "b 0.50", False),
        ("a 0.50", "a 0.50 0.50", False),
        ("3 people", "4 people", False),
    ],
)
def test_numbers_may_differ_a_little_and_words_not(one: str, other: str, expected: bool) -> None:
    assert alike(one, other) is expected


def test_it_names_every_command() -> None:
    names = [str(command.name) for command in app.registered_commands]
    names += [str(group.name) for group in app.registered_groups]
    assert all(f"`mien {name}" in TEXT for name in names)


@pytest.mark.parametrize("page", [pages.README, *pages.DOCS], ids=str)
def test_its_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", text):
        target = "".join(link)
        if not target.startswith("http"):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_its_file_tree_is_the_packages() -> None:
    tree = TEXT.split("```\nmien/\n")[1].split("\nbenchmarks/")[0]
    here = {path.name for path in (pages.ROOT / "mien").iterdir()}
    here -= {"__init__.py", "__main__.py", "__pycache__", "py.typed"}
    assert set(re.findall(r"^  (\w+(?:\.py)?)/? ", tree, re.MULTILINE)) == here
