"""Fuzz one reader of files, guided by coverage: python tests/fuzz TARGET SECONDS; needs atheris."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mien"]):
    import targets


def main() -> None:
    """Run until the time is over, or something is found; that is left in the present folder."""
    name, seconds = sys.argv[1:]
    seeds = Path(__file__).parent / "seeds" / name
    with tempfile.TemporaryDirectory() as found:
        flags = [
            f"-max_total_time={seconds}",
            "-rss_limit_mb=4096",
            "-timeout=60",
            "-max_len=65536",
        ]
        atheris.Setup(
            [sys.argv[0], *flags, found, str(seeds)], lambda data: targets.run(name, data)
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
