"""What a command says where an extra of the package is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mien.errors import MissingExtra


@contextmanager
def needs_extra(what: str, extra: str = "train") -> Iterator[None]:
    """Around imports: turns a missing package into the sentence that tells what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("mien"):
            raise
        raise MissingExtra(what, extra) from error
