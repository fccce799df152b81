"""What tests of commands share: what one has left, and that its JSON is documented."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

PAGE = Path(__file__).parents[1] / "docs" / "json.md"
# Fields whose content has no fixed fields.
FREE = {"trained", "calibration", "tar", "rank", "tpir", "arguments", "published", "stages"}
FREE |= {"parts", "gains", "tried"}


def fields(content: Any) -> set[str]:
    """The names of all fields in a document."""
    if isinstance(content, list):
        return set().union(*map(fields, content))
    if not isinstance(content, dict):
        return set()
    return set(content).union(*(fields(content[name]) for name in content.keys() - FREE))


@dataclass(frozen=True)
class Result:
    """What a command has left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON on stdout, all of whose fields are documented."""
        content = json.loads(self.out)
        assert fields(content) <= set(re.findall(r"`(\w+)`", PAGE.read_text("utf-8")))
        return content


Run: TypeAlias = Callable[..., Result]


def is_a_sentence(text: str) -> bool:
    """Whether it is one line that does not look like a program's."""
    return text.count("\n") == 1 and "Error" not in text and len(text) > 20
