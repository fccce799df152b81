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


class MienError(Exception):
    """What a user can cause and can mend."""


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
    """Not a model file of ours, or a damaged one."""


class RunStopped(MienError):
    """A training run that cannot go on; what it has saved is intact."""


class CannotWrite(MienError):
    """The disk is full, read-only or forbidden."""


class MissingExtra(MienError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package: pip install 'mien[{extra}]'")


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
