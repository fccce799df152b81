"""What an audit log is made of: who was enrolled, renamed, deleted and searched, and by what."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

FORGOTTEN = ""  # stands for a person who is no longer in the facebank; nobody's name
COMMAND = ContextVar("COMMAND", default="python")  # what runs now, such as "mien people delete"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One thing that was done with one person."""

    at: str  # in UTC, as the clock had it: entries are in the order in which they were written
    command: str
    action: str  # enrolled, renamed, deleted or searched
    person: str | None  # None: a face that was nobody's; FORGOTTEN: somebody deleted since
    count: int  # photos, or faces that were searched
