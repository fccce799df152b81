"""However a command ends, its exit code says so, and no traceback does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import Run, is_a_sentence
from typer.main import get_command

from mien.cli.exit import run

MIEN = f"{sys.executable} -m mien"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")


def shell(line: str) -> tuple[int, str]:
    """The exit code of a line of bash, and what it says on stderr."""
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


@FULL
def test_a_full_disk_behind_stdout_is_2() -> None:
    code, said = shell(f"{MIEN} --version > /dev/full")
    assert (code, is_a_sentence(said), "No space left" in said) == (2, True, True)


def test_no_stdout_is_2() -> None:
    code, said = shell(f"{MIEN} --version >&-")
    assert (code, is_a_sentence(said)) == (2, True)


@pytest.mark.parametrize("where", ["2>&-", pytest.param("2>/dev/full", marks=FULL)])
def test_where_stderr_takes_nothing_the_code_still_tells(where: str) -> None:
    assert shell(f"{MIEN} nonsense {where}") == (2, "")


def test_nobody_reads_the_results() -> None:
    assert shell(f"{MIEN} models | true; exit ${{PIPESTATUS[0]}}") == (141, "")


def ending(bare: Run, error: BaseException) -> Any:
    """What is left of a command that raises."""

    def of(arguments: list[str]) -> None:
        app = typer.Typer(pretty_exceptions_enable=False)

        @app.command()
        def fail() -> None:
            raise error

        run(lambda: get_command(app), "mien fail", arguments)

    return bare(of=of)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "/a/b"), 2, "/a/b: Permission denied"),
        (MemoryError(), 2, "out of memory"),
        (ZeroDivisionError("by\nzero"), 70, "ZeroDivisionError: by zero"),
        (AssertionError(), 70, "MIEN_DEBUG=1 shows where"),
    ],
)
def test_what_nobody_foresaw_is_a_sentence(
    bare: Run, error: Exception, code: int, said: str
) -> None:
    result = ending(bare, error)
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
    assert said in result.err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interruption_says_nothing(bare: Run, error: BaseException) -> None:
    result = ending(bare, error)
    assert (result.code, result.err) == (130, "")


def test_a_traceback_is_there_for_whoever_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIEN_DEBUG", "1")

    def broken() -> Callable[..., Any]:
        raise ZeroDivisionError

    with pytest.raises(SystemExit) as end:
        run(broken, "mien", [])
    said = capsys.readouterr().err
    assert end.value.code == 70
    assert "Traceback" in said and "in broken" in said
