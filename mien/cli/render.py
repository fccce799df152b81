"""What a command prints of what a verb returns: one JSON document, or text for people."""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import Field, dataclass, fields, is_dataclass
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import typer

from mien import formats
from mien.cli import console
from mien.cli.options import Json, Runtime
from mien.errors import BadInput

if TYPE_CHECKING:
    from mien.types import Skipped

_DIGITS = {  # after the point, of what is measured more exactly than it is known
    **dict.fromkeys(("score", "confidence", "sharpness"), 6),
    **dict.fromkeys(("start", "end", "time"), 3),  # seconds
    **dict.fromkeys(("box", "points", "size"), 1),  # pixels
}

Column: TypeAlias = "str | Callable[[Any], str]"
T = TypeVar("T")


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


class Paths(list[Path]):
    """Paths for another program to read, one a line."""


Text: TypeAlias = "Sequence[str | Table | Paths]"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say, and how it ends."""

    content: Any  # becomes the document of --json; see `plain`
    text: Text  # what people read, on stdout
    notes: Sequence[str] = ()  # the same on stderr, after it
    skipped: Sequence[Skipped] = ()  # named on stderr; where there are any, the exit code says so
    unnamed: int = 0  # skipped beside those
    elsewhere: str = ""  # what names them
    code: int = 0


def shown(function: Callable[..., Answer | None]) -> Callable[..., None]:
    """The function of a command, with --json, that prints its answer and ends with its code.

    A function that has to know whether --json was given has the parameter `as_json` itself.  One
    that runs a model gets --runtime, which is the default of all that it loads.
    """
    signature = inspect.signature(function, eval_str=True)
    parameters = dict(signature.parameters)
    knows = "as_json" in parameters
    runs = bool({"model", "models"} & parameters.keys()) and "runtime" not in parameters

    @wraps(function)
    def run(*positional: Any, as_json: bool = False, **given: Any) -> None:
        if runs:
            del given["runtime"]  # it is set
        answer = function(*positional, **given, **({"as_json": as_json} if knows else {}))
        if answer and (code := show(answer, as_json=as_json)):
            raise typer.Exit(code)

    added: list[tuple[str, Any, Any]] = []
    if runs:
        added.append(("runtime", Runtime, None))
    if not knows:
        added.append(("as_json", Json, False))
    for name, kind, default in added:
        option = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        parameters[name] = option.replace(annotation=kind)
    signature = signature.replace(parameters=list(parameters.values()))
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters.values()}
    return run


def show(answer: Answer, *, as_json: bool) -> int:
    """Print an answer; the command's exit code."""
    console.note_skipped(answer.skipped)
    if answer.unnamed:
        console.note(f"skipped {answer.unnamed:,} more: {answer.elsewhere} names them")
    if as_json:
        console.document(plain(answer.content))
    else:
        for part in answer.text:
            if isinstance(part, Table):
                console.table(part.cells())
            elif isinstance(part, Paths):
                console.lines(map(str, part))
            else:
                console.say(part)
    for line in answer.notes:
        console.note(line)
    if skipped := len(answer.skipped) + answer.unnamed:
        photos = all(formats.named(path) for path, _ in answer.skipped)
        what = ("photo",) if photos else console.FILES
        console.note(f"skipped {console.counted(skipped, *what)}")
    return answer.code or (console.SKIPPED if skipped else 0)


class Form(Enum):
    """How a command that finds one thing after the other prints them."""

    TEXT = "text"
    JSON = "json"
    JSON_LINES = "json lines"

    @classmethod
    def of(cls, as_json: bool, json_lines: bool) -> Form:
        """The form that the options ask for."""
        if as_json and json_lines:
            raise BadInput("--json and --json-lines exclude each other: give one of them")
        return cls.JSON if as_json else cls.JSON_LINES if json_lines else cls.TEXT


def show_each(entries: Iterable[T], form: Form, say: Callable[[T], None]) -> list[T]:
    """Print entries as they come, in JSON or in words; give those that one document is to hold."""
    kept = []
    for entry in entries:
        if form is Form.JSON:
            kept.append(entry)
        elif form is Form.JSON_LINES:
            console.document(plain(entry), indent=None)
        else:
            say(entry)
    return kept


def plain(content: Any, name: str = "") -> Any:
    """The same in what JSON has: records are objects, paths texts, figures rounded by their name.

    A field of a dataclass that is None by default is left out while it is None.

    Args:
        content: of dataclasses, named tuples, mappings, sequences, arrays and plain values.
        name: of the field that holds it.
    """
    if is_dataclass(content):
        held = {
            one.name: getattr(content, one.name)
            for one in fields(content)
            if _is_told(content, one)
        }
        return {key: plain(value, key) for key, value in held.items()}
    if hasattr(content, "_asdict"):  # a named tuple
        content = content._asdict()
    if isinstance(content, Mapping):
        return {str(key): plain(value, str(key)) for key, value in content.items()}
    if hasattr(content, "tolist"):  # an array, or a number of one
        content = content.tolist()
    if isinstance(content, list | tuple | Set):
        return [plain(value, name) for value in content]
    if isinstance(content, float) and name in _DIGITS:
        return round(content, _DIGITS[name])
    return str(content) if isinstance(content, Path) else content


def _is_told(record: Any, one: Field[Any]) -> bool:
    return one.default is not None or getattr(record, one.name) is not None


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
