"""Who may do what: the tokens that a service takes, each good for a role."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from enum import IntEnum

from mien.errors import BadInput

SHORTEST = 16  # characters of a token


class Role(IntEnum):
    """The role of a token; each role includes those before it."""

    IDENTIFY = 1  # who is in a photo, whether two show one person
    ENROLL = 2  # who is known, and another photo of them
    ALL = 3  # rename, delete, export, import


class Keys:
    """Tokens and their roles.

    Args:
        roles: by token.
    """

    def __init__(self, roles: Mapping[str, Role]) -> None:
        self._roles = [(token.encode(), role) for token, role in roles.items()]

    def role(self, given: str) -> Role | None:
        """The role of a token; None for an unknown one.

        All are compared, and each takes as long as any other: times tell nothing.
        """
        sent = given.encode()
        found = [role for token, role in self._roles if hmac.compare_digest(token, sent)]
        return found[0] if found else None


def parse(text: str, where: str) -> Keys:
    """Parse lines: a token with all rights, or a role and its token.

    Args:
        text: the lines; those that begin with # are comments.
        where: they come from, for messages.

    Raises:
        BadInput: there is none, one is not ASCII, short enough to be guessed, or there twice.
    """
    roles: dict[str, Role] = {}
    names = {role.name.lower(): role for role in Role}
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(" ")
        token, role = (rest.strip(), names[name]) if name in names else (line, Role.ALL)
        if not (token.isascii() and token.isprintable()):  # each client would send it otherwise
            raise BadInput(
                f"a token in {where} is not of printable ASCII characters: choose another"
            )
        if len(token) < SHORTEST:
            raise BadInput(
                f"a token in {where} has {len(token)} characters and could be guessed: use at"
                f" least {SHORTEST}, such as mien serve --new-token makes"
            )
        if token in roles:
            raise BadInput(f"{where} has a token twice: give each role its own")
        roles[token] = role
    if not roles:
        raise BadInput(f"{where} has no token: make one with mien serve --new-token")
    return Keys(roles)
