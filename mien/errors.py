"""What can go wrong through no fault of the program, as one tree.

    MienError
    ├── BadInput            a picture, folder, list of pairs or option that cannot be used
    │   └── NoFace          an enrolment photo without exactly one usable face
    ├── UnknownPerson       the facebank has nobody of that name
    ├── BadFacebank         not a facebank, or a damaged one
    │   └── FacebankMismatch    its vectors were made by another model
    ├── BadModel            not a model file of ours, or a damaged one
    ├── RunStopped          a training run cannot go on; what it has saved is intact
    ├── CannotWrite         the disk is full, read-only or forbidden
    └── MissingExtra        an optional dependency is not installed

Every message is one sentence: what was wrong, the value, what to do.  The command line prints it
and exits with 2.  Mistakes of the calling program are ValueError or TypeError instead.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager


class MienError(Exception):
    """What a user can cause and can fix."""


class BadInput(MienError):
    """A picture, folder, list of pairs or option that cannot be used."""


class NoFace(BadInput):
    """An enrolment photo without exactly one usable face."""


class UnknownPerson(MienError):
    """The facebank has nobody of that name."""


class BadFacebank(MienError):
    """Not a facebank, or a damaged one."""


class FacebankMismatch(BadFacebank):
    """The facebank's vectors were made by another model."""


class BadModel(MienError):
    """Not a mien model file, or a damaged one."""


class RunStopped(MienError):
    """A training run that cannot go on; what it has saved is intact."""


class CannotWrite(MienError):
    """The disk is full or read-only, or writing is forbidden."""


class MissingExtra(MienError):
    """An optional dependency is not installed.

    Args:
        what: needs it.
        extra: of this package, whose dependencies are missing.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(what, extra)

    def __str__(self) -> str:
        what, extra = self.args
        packages = " ".join(f"'{package}'" for package in _packages(extra))
        install = packages or f"'.[{extra}]' in the folder of mien's source"
        return f"{what} needs optional packages: pip install {install}"


@contextmanager
def needs_extra(what: str, extra: str) -> Iterator[None]:
    """Around imports: a package that is missing or incomplete becomes a MissingExtra."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("mien"):
            raise
        raise MissingExtra(what, extra) from error


def _packages(extra: str) -> list[str]:
    """What an extra installs, by name: `mien[extra]` is of no use to who installed a folder."""
    from importlib import metadata  # slow to import

    try:
        declared = metadata.requires("mien") or []
    except metadata.PackageNotFoundError:
        return []
    packages = []
    for requirement, _, marker in (one.partition(";") for one in declared):
        if re.search(rf"""extra == ["']{extra}["']""", marker):
            inner = re.match(r"mien\[(\w+)\]", requirement)
            packages += _packages(inner[1]) if inner else [requirement.strip()]
    return packages


def cannot_write(path: object, error: OSError) -> CannotWrite:
    """What to raise where the system refuses to write a file, and why it does."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = "free some space or choose another place" if full else "choose another place"
    return CannotWrite(f"{path} cannot be written ({error.strerror}): {advice}")


def without_password(address: str) -> str:
    """An address as a message may show it: to the first ? or =, after which a password may come.

    Where a password makes it unclear which part of the address is the host's, nothing is shown.
    """
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address
    shown = re.fullmatch(r"(?:[^/?#]*@)?([^@?#=]*)(?:[?#=][^@]*)?", rest)
    return f"{scheme}://{shown[1] if shown else '...'}"
