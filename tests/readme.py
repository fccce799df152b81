"""Runs what the README shows.  `make readme` writes into it what has come out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
_SESSION = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)
_PROGRAM = re.compile(r"```python\n(.*?)```\n```text\n(.*?)(?=```)", re.DOTALL)


@dataclass(frozen=True)
class Shown:
    """Something that the README runs, and what it says comes out."""

    command: list[str]
    label: str
    output: str
    start: int  # of the output, in the README
    end: int


def shown(text: str) -> Iterator[Shown]:
    """All that a README runs, in its order."""
    for program in _PROGRAM.finditer(text):
        command = [sys.executable, "-c", program[1]]
        yield Shown(command, "python", program[2], *program.span(2))
    for session in _SESSION.finditer(text):
        for step in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session[0], re.MULTILINE):
            start, end = (session.start() + place for place in step.span(2))
            yield Shown(["bash", "-c", step[1]], step[1], step[2].strip("\n"), start, end)


def prepare(folder: Path) -> None:
    """Lay out what the README's commands expect: what make demo leaves."""
    shutil.copytree(ROOT / "demo" / "photos", folder / "demo" / "photos")
    for person, photo in (("Barack Obama", "obama.jpg"), ("Joe Biden", "biden.jpg")):
        (folder / "demo" / "people" / person).mkdir(parents=True)
        shutil.copy(folder / "demo" / "photos" / photo, folder / "demo" / "people" / person)


def run(command: list[str], folder: Path) -> str:
    """What a command prints on stdout and stderr."""
    settings = {
        "COLUMNS": "80",
        "MIEN_FACEBANK": "demo/facebank.db",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONUNBUFFERED": "1",  # both in the order in which they are printed
    }
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    ).stdout.strip("\n")


def main() -> None:
    """Write the README again with what its commands print now."""
    text = README.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        outputs = [(step, run(step.command, Path(folder))) for step in shown(text)]
    for step, output in sorted(outputs, key=lambda pair: -pair[0].start):
        after = "" if text.startswith("```", step.end) else "\n"
        text = text[: step.start] + (output + "\n" if output else "") + after + text[step.end :]
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
