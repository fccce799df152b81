"""The figures of the documentation, measured: docs/results.json.

An entry has a command, the date, commit and processor of its run, and what it printed: `result`
where that was a JSON document, else `printed`, line by line.  `"copied": true` marks an entry that
was written down by hand from a run before this file existed; measuring it again replaces it.
`tests/pages.py` puts figures into the pages.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli import console
from mien.cli.render import Answer, Column, Table
from mien.errors import BadInput
from mien.files import write_atomically
from mien.parallel import processors

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "results.json"
CODE = ("mien", "benchmarks", "recipes")
CPUINFO = Path("/proc/cpuinfo")
LONGEST = 60  # of a list in a document: curves are left out
_INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "amx_tile": "AMX"}


_COLUMNS: dict[str, Column] = {
    "ENTRY": "{0}",
    "DATE": "{1[date]}",
    "COMMIT": "{1[commit]}",
    "PROCESSOR": "{1[processor]}",
    "COMMAND": "{1[command]}",
}


def main(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Entries to measure; all by default.")
    ] = None,
    *,
    command: Annotated[
        str | None,
        typer.Option(metavar="LINE", help="A line of the shell, for a new entry or a changed one."),
    ] = None,
    data: Annotated[Path, typer.Option(metavar="DIR", help="What the commands call $DATA.")] = Path(
        "data"
    ),
) -> Answer:
    """Measure the figures of the documentation, and write docs/results.json.

    `make readme` then puts them into the pages.
    """
    measured = record(FILE, names or [], data, command=command)
    return Answer({"measured": measured}, [Table(_COLUMNS, measured.items())])


def record(
    file: Path, names: Sequence[str], data: Path, *, command: str | None = None
) -> dict[str, Any]:
    """Measure entries of a file, all by default; what was measured is in the file at once.

    Raises:
        BadInput: no entry of that name and no command for one, or the command failed.
    """
    if command and len(names) != 1:
        raise BadInput("--command is for one entry: name it")
    measured = {}
    for name in names or list(_entries(file)):
        line = command or _entries(file).get(name, {}).get("command")
        if line is None:
            raise BadInput(f"{file.name} has no entry {name!r}: give its --command")
        console.note(f"{name}: {line}")
        measured[name] = measure(line, data)
        entries = _entries(file) | {name: measured[name]}  # others may have written meanwhile
        text = json.dumps(dict(sorted(entries.items())), indent=1, ensure_ascii=False)
        write_atomically(file, f"{text}\n".encode())
    return measured


def _entries(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def measure(command: str, data: Path) -> dict[str, Any]:
    """Run a line of the shell in the repository with $DATA, and keep what it prints on stdout.

    Raises:
        BadInput: it failed; skipped photos are no failure.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    settings = {**os.environ, "PATH": path, "DATA": str(data.absolute()), "COLUMNS": "200"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True
    )
    if done.returncode not in (0, console.SKIPPED):
        raise BadInput(f"{command!r} ended with exit code {done.returncode}")
    printed = done.stdout.replace(str(data.absolute()), "$DATA")
    about = {
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "processor": processor(),
    }
    try:
        return about | {"result": _without_curves(json.loads(printed))}
    except ValueError:
        return about | {"printed": printed.splitlines()}


def commit() -> str | None:
    """The commit that is checked out, with a + where code differs from it; None outside of git."""
    words = (["rev-parse", "--short=7", "HEAD"], ["status", "--porcelain", *CODE])
    name, changes = (
        subprocess.run(["git", *one], cwd=ROOT, capture_output=True, text=True).stdout.strip()
        for one in words
    )
    return f"{name}{'+' if changes else ''}" if name else None


def processor() -> str:
    """The processor's name, the cores that this process may use, and instructions that matter."""
    told = CPUINFO.read_text() if CPUINFO.exists() else ""
    name = re.search(r"^model name\s*: (.+)$", told, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.+)$", told, re.MULTILINE)
    known = [title for flag, title in _INSTRUCTIONS.items() if flags and flag in flags[1].split()]
    shown = name[1].strip() if name else platform.processor() or platform.machine()
    return ", ".join([shown, f"{processors()} cores", *known])


def _without_curves(part: Any) -> Any:
    if isinstance(part, dict):
        kept = {name: _without_curves(value) for name, value in part.items() if name != "skipped"}
        return {name: value for name, value in kept.items() if value is not None}
    if isinstance(part, list):
        return [_without_curves(value) for value in part] if len(part) <= LONGEST else None
    return part
