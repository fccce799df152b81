"""Finds the key of an encrypted facebank: in the environment, a file or the keyring."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from mien.errors import BadInput, needs_extra

VARIABLE = "MIEN_KEY"  # the key itself
FILE_VARIABLE = "MIEN_KEY_FILE"  # path of a file that holds it

_SERVICE = "mien"


def given() -> str | None:
    """The key in the environment, or in the file it names; None if neither is set.

    Raises:
        BadInput: the file cannot be read, or holds no key.
    """
    if key := os.environ.get(VARIABLE):
        return key
    file = os.environ.get(FILE_VARIABLE)
    return in_file(file) if file else None


def in_file(path: str | Path) -> str:
    """The key in a file, stripped of whitespace.

    Raises:
        BadInput: the file cannot be read, or holds no key.
    """
    from mien.files import contents  # and NumPy, which takes its time

    try:
        key = contents(path).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the key file {path} cannot be read ({error}): name another") from error
    if not key or "\0" in key:
        raise BadInput(f"the key file {path} is empty: put the key into it, on one line")
    return key


def from_keyring(path: str | Path) -> str | None:
    """A facebank's key in the system's keyring; None if there is none."""
    try:
        import keyring
        import keyring.errors
    except ModuleNotFoundError:
        return None
    try:
        return keyring.get_password(_SERVICE, str(Path(path).absolute()))
    except keyring.errors.KeyringError:
        return None


def new_in_keyring(path: str | Path) -> str:
    """Store a new random key for a facebank in the system's keyring, and return it.

    Raises:
        BadInput: the system has no keyring, or it is locked.
        MissingExtra: the library for it is not installed.
    """
    with needs_extra("the system's keyring", "encryption"):
        import keyring
        import keyring.errors
    key = secrets.token_hex(32)
    try:
        keyring.set_password(_SERVICE, str(Path(path).absolute()), key)
    except keyring.errors.KeyringError as error:
        raise BadInput(
            f"the keyring cannot keep a key ({error}): unlock it, or give a key in {VARIABLE}"
        ) from error
    return key
