"""How a command ends: with an exit code and, unless all went well, a sentence on stderr."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from mien.cli import console
from mien.errors import MienError

DEBUG = "MIEN_DEBUG"  # the environment variable that asks for tracebacks
WRONG_USAGE: Any = typer.BadParameter.__base__  # click's UsageError, wherever Typer has it from


def run(command: Callable[[], Any], name: str, arguments: Sequence[str] | None) -> None:
    """Run what a function makes, a command of Typer's, by this name, and exit."""
    _open_streams()
    with _ended_by_signals():
        code = _code(command, name, arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = console.UNREAD
    except OSError as error:
        if code != console.CANNOT:  # else it was said
            console.note(console.unwritten(error))
        code = console.CANNOT
    else:
        sys.exit(code)
    _give_up_stdout()
    sys.exit(code)


def _code(command: Callable[[], Any], name: str, arguments: Sequence[str] | None) -> int:
    """The exit code of a command, once what is wrong is said."""
    try:
        return command()(arguments, prog_name=name, standalone_mode=False) or 0
    except MienError as error:
        console.note(str(error))
        return console.CANNOT
    except WRONG_USAGE as error:
        if error.format_message():  # else it has printed the help
            console.note(_in_a_sentence(error, name))
        return console.CANNOT
    except (typer.Abort, KeyboardInterrupt):
        return console.INTERRUPTED
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # Rich and Typer make the one the other
            return console.UNREAD
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BrokenPipeError:
        return console.UNREAD
    except MemoryError:
        console.note("out of memory: give fewer or smaller pictures")
        return console.CANNOT
    except OSError as error:
        _trace()
        place = f"{error.filename}: " if error.filename else ""
        console.note(f"the system refuses: {place}{error.strerror or error}")
        return console.CANNOT
    except Exception as error:
        _trace()
        what = " ".join(f"{type(error).__name__}: {error}".split())
        console.note(f"this is a bug in mien, please report it ({what}): {DEBUG}=1 shows where")
        return console.FAULT


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end a command as Ctrl-C does: what it has in hand is put away."""
    own = os.getpid()

    def end(number: int, _: object) -> None:
        if os.getpid() != own:  # a child that was forked: its parent puts away what there is
            os._exit(console.SIGNALLED + number)
        raise SystemExit(console.SIGNALLED + number)

    ending = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():
        ending = set()  # only the main thread may ask for them
    ours = {number for number in ending if signal.getsignal(number) == signal.SIG_DFL}
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _trace() -> None:
    """Print where an error came from, if that is asked for."""
    if os.environ.get(DEBUG):
        console.note(traceback.format_exc().rstrip())


def _open_streams() -> None:
    """Let there be streams where this process was started without, so that no file takes theirs."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123
    if sys.stdout is None:
        # What is written there is refused, as by any program, when it is flushed.
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be text


def _give_up_stdout() -> None:
    """Let Python, which flushes it once more, write what is left of the results nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _in_a_sentence(error: Any, name: str) -> str:
    """What is wrong with the arguments, the value, and where to read what they may be."""
    if isinstance(error.__cause__, ValueError):  # pydantic's, which keeps the value to itself
        value = error.__cause__.errors()[0]["input"]  # type: ignore[attr-defined]
        said = error.message.removeprefix("Value error, ")
        error.message = re.sub("^Input", lambda found: repr(value), said)
    text = " ".join(error.format_message().split()).replace(". Did you mean", "; did you mean")
    command = error.ctx.command_path if error.ctx else name
    return f"{text[0].lower()}{text[1:].rstrip('.?')}: see {command} --help"
