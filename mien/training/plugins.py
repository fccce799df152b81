"""Tables that packages installed beside mien can add to, by entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TypeVar

from mien.errors import BadInput

T = TypeVar("T")


class Table(dict[str, T]):
    """Things by name; a name that is not in it is looked for among entry points.

    Args:
        what: it is a table of, in one word.
        group: of entry points.
        known: what mien itself has.
    """

    def __init__(self, what: str, group: str, known: dict[str, T]) -> None:
        super().__init__(known)
        self.what, self.group = what, group

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or any(
            entry.name == name for entry in entry_points(group=self.group)
        )

    def __missing__(self, name: str) -> T:
        for entry in entry_points(group=self.group, name=name):
            found: T = entry.load()
            return found
        others = [entry.name for entry in entry_points(group=self.group)]
        raise BadInput(
            f"there is no {self.what} {name!r}; use one of: {', '.join([*self, *others])}"
        )
