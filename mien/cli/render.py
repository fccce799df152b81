"""What a command prints of what a verb returns: one JSON document, or text for people."""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from mien.cli import console
from mien.cli.options import Json

if TYPE_CHECKING:
    from mien.types import Skipped

Column: TypeAlias = "str | Callable[[Any], str]"


@dataclass(frozen=True, slots=True)
class Table:
    """Records as rows.

    A column is its heading and a format string over the fields of a record (by their place where
    that is a tuple), as `{"SIZE": "{width}x{height}", "MS": "{milliseconds:.1f}"}`, or a function
    of it.  Of what is None the cell has a dash.
    """

    columns: Mapping[str, Column]
    records: Iterable[Any]

    def cells(self) -> list[list[str]]:
        """The headings, and a row for each record."""
        rows = [[_cell(column, one) for column in self.columns.values()] for one in self.records]
        return [list(self.columns), *rows]


Text: TypeAlias = "Sequence[str | Table]"  # lines, and tables


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say.

    `content` becomes the document of --json; `text` is what people read on stdout, and `notes` on
    stderr; `skipped` ends the command with the exit code for that, else `code` does.
    """

    content: Any
    text: Text
    notes: Sequence[str] = ()
    skipped: Sequence[Skipped] = ()
    code: int = 0


def shown(function: Callable[..., Answer]) -> Callable[..., None]:
    """The function of a command, with --json, that prints its answer and ends with its code."""
    signature = inspect.signature(function, eval_str=True)

    @wraps(function)
    def run(*, as_json: bool = False, **given: Any) -> None:
        if code := show(function(**given), as_json=as_json):
            raise typer.Exit(code)

    option = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False)
    parameters = [*signature.parameters.values(), option.replace(annotation=Json)]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def show(answer: Answer, *, as_json: bool) -> int:
    """Print an answer; the command's exit code."""
    console.note_skipped(answer.skipped)
    if as_json:
        console.document(plain(answer.content))
    else:
        for part in answer.text:
            if isinstance(part, Table):
                console.table(part.cells())
            else:
                console.say(part)
        for line in answer.notes:
            console.note(line)
    if answer.skipped:
        console.note(f"skipped {console.counted(len(answer.skipped), 'photo')}")
    return answer.code or (console.SKIPPED if answer.skipped else 0)


def plain(content: Any) -> Any:
    """The same in what JSON has: a dataclass is an object, a path its text."""
    if is_dataclass(content):
        return {one.name: plain(getattr(content, one.name)) for one in fields(content)}
    if isinstance(content, Mapping):
        return {name: plain(value) for name, value in content.items()}
    if hasattr(content, "_asdict"):  # a NamedTuple
        return plain(content._asdict())
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    return str(content) if isinstance(content, Path) else content


def _cell(column: Column, record: Any) -> str:
    if callable(column):
        return column(record)
    places = record if isinstance(record, tuple) else ()
    text = _FORMATTER.vformat(column, places, _Fields(record))
    return "-" if _NOTHING in text else text


class _Fields(dict[str, Any]):
    """A record's fields by name, whatever kind of record it is."""

    def __init__(self, record: Any) -> None:
        super().__init__(record if isinstance(record, Mapping) else {})
        self._record = record

    def __missing__(self, name: str) -> Any:
        return getattr(self._record, name)


_NOTHING = "\0"


class _Formatter(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        return _NOTHING if value is None else str(super().format_field(value, format_spec))


_FORMATTER = _Formatter()
