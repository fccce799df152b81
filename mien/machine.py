"""What was found out about this machine, kept so that it is not measured again."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from mien.errors import CannotWrite
from mien.files import write_atomically

MOST = 200  # findings that are kept


def kept(question: str, packages: tuple[str, ...]) -> Any:
    """What was found, on this processor and with these versions of packages; None: nothing yet."""
    return _read().get(_key(question, packages))


def keep(question: str, packages: tuple[str, ...], found: Any) -> None:
    """Keep what was found, for its owner alone; where nothing can be written it is found again."""
    latest = {**_read(), _key(question, packages): found}
    content = json.dumps(dict(list(latest.items())[-MOST:]), indent=1)
    with suppress(CannotWrite):
        write_atomically(_place(), content.encode(), private=True)


def everything() -> dict[str, Any]:
    """All that was found on this machine, by question, processor and versions."""
    return _read()


def _place() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("mien") / "machine.json"


def _read() -> dict[str, Any]:
    try:
        content = json.loads(_place().read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _key(question: str, packages: tuple[str, ...]) -> str:
    return " | ".join([question, _processor(), *(f"{one} {_version(one)}" for one in packages)])


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
