"""The pages of docs/ keep their word: commands run, or parse at least, and the site builds."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pages
import pytest
import reference
import typer
from test_readme import OPERATORS, alike, run

from benchmarks import __main__ as benchmarks
from mien.cli import app
from mien.recognition.embedder import OnnxEmbedder
from mien.recognition.model import model_file, shipped

FOLDER = pages.ROOT / "docs"
TEXTS = {page.relative_to(FOLDER).as_posix(): page.read_text("utf-8") for page in pages.DOCS}
WRONG_USAGE: Any = typer.BadParameter.__base__  # of click's, wherever Typer has it from


@pytest.mark.parametrize("name", [name for name in TEXTS if list(pages.steps(TEXTS[name]))])
def test_its_commands_run(name: str, demo_photos: Path, tmp_path: Path) -> None:
    """In the order of the page; those that say what they take or need are parsed alone."""
    if not shipped():
        pytest.skip("no model ships with this tree")
    pages.lay(FOLDER / name, tmp_path)
    for step in pages.steps(TEXTS[name]):
        if step.apart:
            parse(step.label)
            continue
        code, printed = run(step, tmp_path)
        # 1: the answer is no; 3: some photos were skipped.
        assert code in (0, 1, 3) and "Traceback" not in printed, f"{step.label}\n{printed}"
        if step.output is not None:
            assert alike(printed, step.output.strip("\n")), (
                f"{step.label} prints this; make readme puts it into {name}:\n{printed}"
            )


@pytest.mark.parametrize("name", TEXTS)
def test_commands_in_its_sentences_exist(name: str) -> None:
    """They may leave arguments out, but no command or option may be one that is not there."""
    prose = re.sub(r"^```.*?^```$", "", TEXTS[name], flags=re.DOTALL | re.MULTILINE)
    for command in re.findall(r"`((?:mien|python -m benchmarks) [a-z][^`]*)`", prose):
        if not set("[…") & set(command):
            parse(re.sub(r"\bN\b", "1000", " ".join(command.split())), whole=False)


def parse(line: str, *, whole: bool = True) -> None:
    """Try what can be tried of a shell's line without running it.

    Args:
        line: commands, joined by pipes and the like; a comment may follow.
        whole: whether an argument that is missing is a fault.
    """
    for words in commands(line):
        if words[:2] == ["pip", "install"]:
            for extra in re.findall(r"\[(.+?)\]", " ".join(words)):
                assert set(extra.split(",")) <= set(extras()), line
        elif words[0] == "make":
            targets = re.findall(r"^(\w+):", (pages.ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(words[1:]) <= set(targets), line
        elif words[:3] == ["python", "-m", "benchmarks"]:
            idle(words[4:], line, whole=whole, command=idle_benchmark(words[3]))
        elif "mien" in words:
            idle(words[words.index("mien") + 1 :], line, whole=whole)


def commands(line: str) -> Iterator[list[str]]:
    """The words of each command in a line of the shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if set(word) <= OPERATORS:
            yield from [words] if words else []
            words = []
        else:
            words.append(word)
    yield from [words] if words else []


def idle(arguments: Sequence[str], line: str, *, whole: bool, command: Any = None) -> None:
    """Let a command take the arguments, `mien` by default, and do nothing with them."""
    try:
        (command or idle_command())(list(arguments), prog_name="mien", standalone_mode=False)
    except WRONG_USAGE as error:
        fault = error.format_message()
        missing = fault.startswith("Missing") or "requires an argument" in fault
        assert missing and not whole, f"{line}: {fault}"


@cache
def idle_command() -> Any:
    """The command line with functions that do nothing."""
    command: Any = typer.main.get_command(app)
    disarm(command)
    return command


@cache
def idle_benchmark(name: str) -> Any:
    """A benchmark that does nothing."""
    command = benchmarks._command(name)
    disarm(command)
    return command


def disarm(command: Any) -> None:
    for part in getattr(command, "commands", {}).values():
        disarm(part)
    command.callback = lambda **settings: None


def extras() -> dict[str, list[str]]:
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, list[str]] = project["optional-dependencies"]
    return found


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("mien identify a.jpg --save out | head -3  # of the best", None),
        ("pip install '.[serve]' && mien serve --port 8000", None),
        ("torchrun --nproc-per-node 2 -m mien train -d data -b 196", None),
        ("mien identity a.jpg", "No such command"),
        ("mien identify a.jpg --sav out", "No such option"),
        ("mien identify a.jpg --min-face 3", "--min-face"),
        ("mien compare a.jpg", "Missing argument"),
        ("pip install 'mien[vidio]'", "vidio"),
        ("python -m benchmarks photo demo/photos --turn 5", "--turn"),
        ("make demos", "demos"),
    ],
)
def test_a_line_that_has_rotted_is_found(line: str, fault: str | None) -> None:
    if fault is None:
        parse(line)
    else:
        with pytest.raises(AssertionError, match=fault):
            parse(line)


@pytest.mark.parametrize("name", TEXTS)
def test_shell_blocks_say_that_they_are(name: str) -> None:
    fences = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", TEXTS[name], re.DOTALL | re.MULTILINE)
    for language, body in fences:
        if language not in ("sh", "console", "text"):
            assert not re.search(r"^(\$ )?(mien|pip|make|curl) ", body, re.MULTILINE), body


@pytest.mark.parametrize("name", TEXTS)
def test_its_anchors_are_headings_where_github_shows_them(name: str) -> None:
    here = FOLDER / name
    for target, anchor in re.findall(r"\]\(([\w/.-]*)#([\w-]+)\)", TEXTS[name]):
        page = here.parent / target if target else here
        headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in slugs, f"{name}: {target}#{anchor}"


def test_every_page_is_in_the_menu_and_every_command_has_one() -> None:
    menu = re.findall(r"[\w/-]+\.md", (pages.ROOT / "mkdocs.yml").read_text())
    assert sorted(menu) == sorted(TEXTS)
    names = [str(command.name) for command in app.registered_commands]
    names += [str(group.name) for group in app.registered_groups]
    assert all(f"[`mien {name}`](" in TEXTS["README.md"] for name in names)
    text = "\n".join(TEXTS.values())
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for part in group.typer_instance.registered_commands:
            assert f"mien {group.name} {part.name}" in text


def test_the_reference_is_that_of_the_docstrings() -> None:
    assert TEXTS["reference.md"] == reference.page(), "make readme writes it again"


@pytest.mark.parametrize("page", [pages.README, *pages.DOCS], ids=str)
def test_its_figures_are_those_that_were_measured(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == pages.with_figures(text), "make readme puts the figures of results.json into it"


@pytest.mark.parametrize("name", pages.RESULTS)
def test_what_was_measured_can_be_measured_again(name: str) -> None:
    parse(pages.RESULTS[name]["command"])


def test_the_accuracy_that_mien_models_lists_was_measured() -> None:
    pytest.importorskip("torch")
    from mien.training.zoo import OURS

    measured = pages.RESULTS["lfw"]["result"]["evaluations"]
    shown = {one["model_id"].rsplit("-", 1)[0]: round(100 * one["accuracy"], 2) for one in measured}
    assert shown == OURS


@pytest.mark.parametrize("name", shipped())
def test_a_cards_thresholds_are_those_in_the_models_file(name: str) -> None:
    text = TEXTS[f"models/{name}.md"].replace("*", "")
    for point in OnnxEmbedder(model_file(name)).card.calibration["table"]:
        rate, share = f"1 in {1 / point['fmr']:,.0f}", f"{100 * point['tmr']:.1f} %"
        assert f"| {rate} | {point['threshold']:.3f} | {share} |" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90.1 %<!--pairs/sets/0/accuracy-->", "98.3 %<!--pairs/sets/0/accuracy-->"),
        ("1,000<!--pairs/count-->", "371,694<!--pairs/count-->"),
        ("1.0<!--times/mien 640/TIMES AS FAST-->", "1.2<!--times/mien 640/TIMES AS FAST-->"),
        ("1<!--times/peer 640/MS-->", "20<!--times/peer 640/MS-->"),
        ("(x)<!--times/@-->", "(2026-01-31, a processor)<!--times/@-->"),
        ("<!--cards-->\n| a |\n\n(x)", "<!--cards-->\n| a |\n| b |\n\n(2026-01-31, a processor)"),
        (
            "<!--times-->\n```text\n```\n",
            "<!--times-->\n```text\n$ a photos\n      SIZE  MS    TIMES AS FAST\n"
            "mien  640   15.0  1.24\npeer  640   20.0\n\n2026-01-31, a processor\n```\n",
        ),
    ],
)
def test_a_page_takes_figures_from_what_was_measured(text: str, expected: str) -> None:
    table = ["      SIZE  MS    TIMES AS FAST", "mien  640   15.0  1.24", "peer  640   20.0"]
    about = {"date": "2026-01-31", "processor": "a processor"}
    results = {
        "pairs": {"result": {"sets": [{"accuracy": 0.98267}], "count": 371694}},
        "times": {"command": "a $DATA/photos", "printed": table, **about},
        "cards": {"printed": ["| a |", "| b |"], **about},
    }
    assert pages.with_figures(text, results) == expected


def test_the_site_builds_without_a_warning_and_asks_nobody() -> None:
    if find_spec("zensical") is None:
        pytest.skip("the site is built with the package zensical")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=pages.ROOT, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and not re.search("warning", said, re.IGNORECASE), said
    built = {path: path.read_text("utf-8") for path in (pages.ROOT / "site").rglob("*.[hc][ts]*")}
    assert {"index.html", "reference.html", "style.css"} <= {path.name for path in built}
    for path, text in built.items():
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?([^\s\">]+)", text)
        loaded += re.findall(r"<link[^>]*\shref=\"?([^\s\">]+)", text)
        loaded += re.findall(r"(?:url\(|@import)[\s\"']*([^\s\"')]+)", text)
        assert not [one for one in loaded if re.match(r"(https?:)?//", one)], path
