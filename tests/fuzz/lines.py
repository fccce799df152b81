"""Fuzz the command line: python tests/fuzz/lines.py SECONDS [SEED].

Random words, options and files are given to random commands.  However wrong they are, a command
ends with a code that is documented, says why in a sentence, and shows no traceback; only the
commands that answer a question may say no.
"""

from __future__ import annotations

import io
import os
import random
import resource
import shlex
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.append(str(Path(__file__).parents[1]))

import typer.main
from fakes import MeanColours, SquareFaces, save_photo
from rich.console import Console

from mien.cli import app, console, main
from mien.recognition import detect
from mien.recognition.model import Model
from mien.recognition.policy import Policy

NAMED = detect.named
MODEL = Model(SquareFaces(), MeanColours(), Policy(0.9))

CODES = {0, 2, 3}
SAY_NO = {"compare", "people check", "people repair"}  # 1: the answer is no
ENDLESS = {"serve", "camera", "speed", "train"}  # are only asked for what they cannot do
LINES = 40  # that get the same files
LONGEST = 60  # seconds that a line may take
MEMORY = 8 << 30  # bytes, of addresses
WORDS = (
    *("", "-", "--", ".", "..", "~", "*", "**", "[", "a*", "-1", "0", "1", "3", "1e9", "nan"),
    *("inf", "0.5", "-0.0", "1:30", "Ann", "Zoe\u0308", "\u200b", "\udcff", "a\nb", "x" * 300),
    *("x" * 5000, "mtcnn", "whole", "mien-small", "nothing", "ftp://h/x", "postgresql://"),
    *("/dev/null", "/dev/full", "/proc/self/nothing/at/all"),  # nothing to destroy
    *("--json", "--json-lines", "--help", "--version", "--yes", "--facebank", "--save", "--out"),
)


def commands(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All commands by their names, as `people list`."""
    for word, command in group.commands.items():
        full = f"{name} {word}".strip()
        yield from commands(command, full) if hasattr(command, "commands") else [(full, command)]


def make_files(folder: Path) -> list[str]:
    """Files of all kinds, right and wrong; their names."""
    for seed, person in enumerate(("Ann", "Ben")):
        for number in range(2):
            save_photo(folder / f"people/{person}/{number}.png", seed, shade=9 * number)
    save_photo(folder / "two.png", 1, faces=2)
    save_photo(folder / f"{'n' * 251}.png", 2)
    (folder / "empty").mkdir()
    for name in ("none.jpg", "none.mp4", "none.onnx", "none.db", "none.txt", "none.jsonl"):
        (folder / name).write_bytes(b"no such thing")
    for name in ("zero.jpg", "zero.db", "zero.parquet", "zero.safetensors"):
        (folder / name).touch()
    (folder / "pairs.txt").write_text("1\t1\nAnn\t1\t2\nAnn\t1\tBen\t1\n")
    (folder / "loop").symlink_to("loop")
    (folder / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "people/Ann/pipe.jpg")  # whoever is told to read one waits for its writer
    with socket.socket(socket.AF_UNIX) as made, chdir(folder):
        made.bind("socket")
    return [*(path.name for path in folder.iterdir()), "people/Ann", "people/Ann/0.png", "absent"]


def line(rng: random.Random, name: str, command: Any, files: list[str]) -> list[str]:
    """A line for a command: of its own options or any words, and files."""
    words = [*name.split(), *(["--nothing-of-the-kind"] if name in ENDLESS else [])]
    options = [option for one in command.params for option in one.opts if option.startswith("-")]
    for _ in range(rng.randrange(6)):
        kind = rng.random()
        pool = files if kind < 0.5 else options if kind < 0.8 and options else WORDS
        words.append(rng.choice(pool))
    if rng.random() < 0.02 and name not in ENDLESS:
        rng.shuffle(words)
    return words


def detector(name: str, **how: Any) -> Any:
    """A detector that takes no time, where there is one of the name."""
    return SquareFaces() if name in detect.DETECTORS else NAMED(name, **how)


def too_long(*_: object) -> None:
    """End a line that takes too long."""
    raise AssertionError(f"it takes over {LONGEST} s")


def attempt(words: list[str]) -> tuple[object, str, str]:
    """How a line ends, and what it prints."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        stack.enter_context(patch.object(sys, "stdin", io.StringIO()))
        stack.enter_context(patch.dict(os.environ))
        stack.enter_context(patch.object(console, "_out", Console(highlight=False)))
        try:
            main(words)
            code: object = "no end"
        except SystemExit as end:
            code = end.code or 0
        except BaseException as error:  # which nobody should see
            code = repr(error)
    for stream in (out, err):
        stream.seek(0)
    return code, out.read(), err.read()


def faults(words: list[str], code: object, out: str, err: str) -> list[str]:
    """What is wrong with how a line ended."""
    wrong = []
    asked = {" ".join(words[:2]), words[0]} if words else set()
    if code not in CODES and not (code == 1 and asked & SAY_NO):
        wrong.append(f"the exit code is {code}")
    if code == 2 and not (err.strip() or out.strip()):
        wrong.append("it says nothing")
    if "Traceback" in err or "this is a bug" in err:
        wrong.append("it has a bug")
    return wrong


def run(seconds: float, seed: int = 0) -> int:
    """Give lines to commands for so many seconds; how many they were.

    Raises:
        AssertionError: one of them ended wrong.
    """
    rng, known = random.Random(seed), dict(commands(typer.main.get_command(app)))
    until, count = time.monotonic() + seconds, 0
    signal.signal(signal.SIGALRM, too_long)
    while time.monotonic() < until:
        with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
            folder = Path(place, "in/here")
            files = make_files(folder)
            settings = {"MIEN_FACEBANK": f"{place}/facebank.db", "MIEN_INDEX": f"{place}/index.db"}
            stack.enter_context(chdir(folder))
            stack.enter_context(patch.dict(os.environ, settings, COLUMNS="100", HOME=place))
            stack.enter_context(patch("mien.recognition.model.load", lambda *_, **__: MODEL))
            stack.enter_context(patch("mien.recognition.detect.named", detector))
            for _ in range(LINES):
                words = line(rng, *rng.choice(list(known.items())), files)
                signal.setitimer(signal.ITIMER_REAL, LONGEST, 1)
                code, out, err = attempt(words)
                signal.setitimer(signal.ITIMER_REAL, 0)
                wrong = faults(words, code, out, err)
                assert not wrong, f"mien {shlex.join(words)}: {', '.join(wrong)}\n{err[-2000:]}"
                count += 1
                if time.monotonic() > until:
                    break
    return count


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seconds, *seed = map(int, sys.argv[1:])
    print(f"{run(seconds, *seed)} lines, each ended as it should")
