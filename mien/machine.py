"""What was found out about this machine, kept so that it is not measured again."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from mien.errors import CannotWrite
from mien.files import write_atomically

MOST = 200  # findings that are kept


def once(question: str, packages: tuple[str, ...], find: Callable[[], Any]) -> Any:
    """What `find` has found on this processor with these versions of packages, kept for its owner.

    Where nothing can be written it is found each time.

    Args:
        question: names what is asked.
        packages: whose versions matter to the answer.
        find: gives what JSON can hold.
    """
    key = " | ".join([question, _processor(), *(f"{one} {_version(one)}" for one in packages)])
    kept = everything().get(key)
    if kept is None:
        start = time.perf_counter()
        kept = {"found": find(), "seconds": round(time.perf_counter() - start, 2)}
        latest = list({**everything(), key: kept}.items())[-MOST:]
        with suppress(CannotWrite):
            write_atomically(_place(), json.dumps(dict(latest), indent=1).encode(), private=True)
    return kept["found"]


def everything() -> dict[str, dict[str, Any]]:
    """What was `found` on this machine, and in how many `seconds`, by what was asked."""
    try:
        content = json.loads(_place().read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {
        question: kept
        for question, kept in content.items()
        if isinstance(kept, dict) and kept.keys() == {"found", "seconds"}
    }


def _place() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("mien") / "machine.json"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


@cache
def _processor() -> str:
    with suppress(OSError):  # Linux
        for line in Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
