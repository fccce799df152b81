"""Every command, where stdout or stderr takes nothing: no traceback, and the exit code tells."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from commands import Run, is_a_sentence
from fakes import save_photo
from rich.console import Console

from mien.cli import console, main

WHOLE = ("--detector", "whole")
COMMANDS = {
    "help": ("--help",),
    "help of a command": ("identify", "--help"),
    "version": ("--version",),
    "models": ("models",),
    "models --json": ("models", "--json"),
    "people": ("people",),
    "photos": ("people", "photos", "Anna"),
    "identify": ("identify", "in", "{model}"),
    "identify --json": ("identify", "in", "--json", "{model}"),
    "identify --json-lines": ("identify", "in", "--json-lines", "{model}"),
    "identify a video": ("identify", "clip.mp4", "--json-lines", "{model}"),
    "camera": ("camera", "clip.mp4", "--no-window", "{model}"),
    "camera --json-lines": ("camera", "clip.mp4", "--json-lines", "{model}"),
    "compare": ("compare", "in/Anna/1.png", "in/Bert/1.png", "{model}"),
    "enroll": ("enroll", "in", "{model}"),
    "album": ("album", "in", "--index", "index.db", "{model}"),
    "album --paths": ("album", "in", "--index", "index.db", "--paths", "{model}"),
    "cluster": ("cluster", "in", "--min-face", "0", "--facebank", "none.db", "{model}"),
    "embed": ("embed", "in", "--out", "vectors.parquet", "{model}"),
    "prepare": ("prepare", "in", "--aligned", "--resize", "--out", "data", "--workers", "1"),
}
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")


def full() -> IO[str]:
    return open("/dev/full", "w")  # noqa: PTH123


def unread() -> IO[str]:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


@pytest.fixture
def line(
    bare: Run,
    model_file: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """A command, and all that it needs."""
    arguments = COMMANDS[request.param]
    for needed, package in {"clip.mp4": "av", "prepare": "pyarrow"}.items():
        if needed in arguments:
            pytest.importorskip(package)
    if "clip.mp4" in arguments:
        import clips

        clips.write_clip(tmp_path / "clip.mp4", [clips.picture((1, 50, 50))] * 8)
    for seed, name in enumerate(("Anna", "Bert"), start=1):
        for number in (1, 2):
            save_photo(tmp_path / f"in/{name}/{number}.png", seed, shade=5 * number)
    fake = ("--model", str(model_file), *WHOLE)
    assert bare("enroll", "in", *fake).code == 0
    monkeypatch.setattr(console, "_out", Console(highlight=False))  # which keeps what failed
    return [word for one in arguments for word in (fake if one == "{model}" else (one,))]


@pytest.mark.parametrize("line", COMMANDS, indirect=True)
@pytest.mark.parametrize(
    ("stdout", "code"),
    [
        pytest.param(full, 2, marks=FULL, id="full"),
        pytest.param(lambda: None, 2, id="closed"),
        pytest.param(unread, 141, id="unread"),
    ],
)
def test_stdout_takes_nothing(
    line: list[str],
    stdout: Callable[[], IO[str] | None],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdout", stdout())
    with pytest.raises(SystemExit) as end:
        main(line)
    said = capsys.readouterr().err
    assert end.value.code == code
    assert said == "" if code == 141 else is_a_sentence(said.splitlines(keepends=True)[-1])
    assert "Traceback" not in said


@pytest.mark.parametrize("line", COMMANDS, indirect=True)
@pytest.mark.parametrize(
    "stderr", [pytest.param(full, marks=FULL, id="full"), pytest.param(lambda: None, id="closed")]
)
def test_stderr_takes_nothing(
    line: list[str],
    stderr: Callable[[], IO[str] | None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr())
    with pytest.raises(SystemExit) as end:
        main(line)
    assert end.value.code in ((0, 1) if line[0] == "compare" else (0, None))
    assert capsys.readouterr().out
