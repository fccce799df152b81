"""What a command leaves behind: results on stdout, the rest on stderr, and an exit code."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from mien.errors import CannotWrite

if TYPE_CHECKING:
    from mien.types import Skipped

NO = 1  # done, and the answer is no
CANNOT = 2  # not done
SKIPPED = 3  # done, but something was left out
FAULT = 70  # of ours: EX_SOFTWARE of sysexits.h
SIGNALLED = 128  # and the signal's number: what a shell reports of a program that a signal ended
INTERRUPTED = SIGNALLED + 2
UNREAD = SIGNALLED + 13  # SIGPIPE: the reader has gone

T = TypeVar("T")

_NUMBERS = re.compile(r"\[(\n[-+.\deE,\s]+)\]")  # over several lines, so not within a text
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # in Persian, Hindi and emoji

_out = Console(highlight=False)
_err = Console(highlight=False, stderr=True)


def say(text: str, *, style: str = "") -> None:
    """Print a line of the result.

    Raises:
        CannotWrite: stdout takes nothing, as where it is a file on a full disk.
    """
    with _in_words():
        _out.print(Text(printable(text), style), soft_wrap=True)


def note(text: str) -> None:
    """Print lines that are not of the result, wherever stderr takes them."""
    with suppress(OSError):
        print(*map(printable, text.split("\n")), sep="\n", file=sys.stderr, flush=True)


def lines(texts: Iterable[str]) -> None:
    """Print lines for another program to read: as they are, but on a terminal."""
    for text in texts:
        if sys.stdout.isatty():
            say(text)
        else:
            with _in_words():
                print(text)


def unwritten(error: OSError) -> str:
    """What to say where stdout takes nothing."""
    return f"the results cannot be written to stdout ({error.strerror})"


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CannotWrite(unwritten(error)) from error


def note_nobody(place: str) -> None:
    """Say that a facebank knows nobody."""
    note(f"nobody is in {place} yet: run mien enroll FOLDER")


def note_skipped(skipped: Sequence[Skipped]) -> int:
    """Say which photos were skipped, and why; how many they were."""
    for path, reason in skipped:
        note("skipped " + (reason if str(path) in reason else f"{path}: {reason}"))
    return len(skipped)


FILES = "file or folder", "files or folders"


def document(content: dict[str, Any], *, indent: int | None = 2) -> None:
    """Print a JSON document: on one line, or indented but for lists of numbers."""
    text = json.dumps(content, indent=indent, ensure_ascii=sys.stdout.encoding.lower() != "utf-8")
    with _in_words():
        print(_NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text), flush=True)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a first one of headings."""
    widths = [width(column) for column in zip(*rows, strict=True)]
    for number, cells in enumerate(rows):
        row(cells, widths, style="" if number else "bold")


def row(cells: Sequence[str], widths: Sequence[int], *, style: str = "") -> None:
    """Print cells in columns of these widths; the last ends the line, however wide it is."""
    padded = [
        set_cell_size(printable(cell), width)
        for cell, width in zip(cells[:-1], widths, strict=False)
    ]
    say("  ".join([*padded, cells[-1]]).rstrip(), style=style)


def width(column: Iterable[str]) -> int:
    """The columns of a terminal that the widest text takes."""
    return max(cell_len(printable(cell)) for cell in column)


def counted(number: int, one: str, many: str = "") -> str:
    """So many of something."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def balanced(share: float, classes: int, accuracy: float) -> str:
    """What was removed from vectors."""
    return (
        f"balanced: {share:.0%} of the means of {classes} classes, which are guessed right in"
        f" {accuracy:.1%}"
    )


def people(number: int) -> str:
    """So many people."""
    return counted(number, "person", "people")


def millions(number: float, digits: int) -> str:
    """A large number, as 1.17 M or 2.3 G."""
    return f"{number / 1e6:.{digits}f} M" if number < 1e9 else f"{number / 1e9:.1f} G"


def printable(text: str) -> str:
    """The text without what would move a terminal's cursor or cannot be encoded."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_control(c) else c for c in text)


def _is_control(character: str) -> bool:
    return unicodedata.category(character).startswith("C") and character not in _JOINERS


def progress(things: Sequence[T], doing: str, /) -> Iterable[T]:
    """The things one by one, under a bar while stderr is a terminal."""
    return _under_bar(things, doing) if sys.stderr.isatty() else things


def progress_in_time(
    things: Iterable[T], doing: str, seconds: float | None, time: Callable[[T], float]
) -> Iterator[T]:
    """Things that have a time each, under a bar that says how long it takes, as `progress`.

    Args:
        things: handed on one by one.
        doing: what is being done.
        seconds: the last one's time; None: not known.
        time: of a thing, in seconds.
    """
    from rich.progress import Progress

    together = sys.stdout.isatty()  # then results scroll by above the bar
    with Progress(
        *Progress.get_default_columns(),
        console=_out if together else _err,
        transient=True,
        redirect_stdout=together,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task(doing, total=seconds)
        for thing in things:
            bar.update(task, completed=time(thing))
            yield thing


def _under_bar(things: Sequence[T], doing: str) -> Iterator[T]:
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    # Rich would send the results, which are stdout's, to where the bar is.
    with Progress(*columns, console=_err, transient=True, redirect_stdout=False) as bar:
        yield from bar.track(things, description=doing)
