"""The audit log's entries: who was enrolled, renamed, deleted or searched, by which command."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

FORGOTTEN = ""  # stands for a person who is no longer in the facebank; nobody's name
COMMAND = ContextVar("COMMAND", default="python")  # what runs now, such as "mien people delete"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One action on one person."""

    at: str  # UTC, by the system clock; entries are in the order of writing
    command: str
    action: str  # enrolled, renamed, deleted or searched
    person: str | None  # None: a face that was nobody's; FORGOTTEN: somebody deleted since
    count: int  # photos, or faces that were searched
