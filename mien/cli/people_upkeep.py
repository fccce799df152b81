"""What `people` can do with the facebank as a whole: check, repair, move, encrypt, and its log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import console
from mien.cli.options import FacebankPath
from mien.cli.render import Answer, Column, Table
from mien.errors import BadInput
from mien.facebank import encryption_key as keys
from mien.facebank.audit import FORGOTTEN, LogEntry

if TYPE_CHECKING:
    from mien.facebank.salvage import Remains


def check(*, facebank: FacebankPath) -> Answer:
    """Look for damage in the facebank, photo by photo."""
    from mien.facebank.salvage import check as look
    from mien.facebank.stores import own_file

    remains = look(own_file(facebank))
    return _report(remains, facebank, "is damaged; mien people repair keeps the rest")


def repair(
    *,
    facebank: FacebankPath,
    model_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The model's ID, if the file no longer tells."),
    ] = None,
) -> Answer:
    """Replace a damaged facebank with a new one that has all that can still be read.

    The old one is kept next to it as FILE.damaged until something is deleted.
    """
    from mien.facebank.salvage import repair as rescue
    from mien.facebank.stores import own_file

    remains = rescue(own_file(facebank), model_id=model_id)
    return _report(remains, facebank, "was damaged and is left out")


def _report(remains: Remains, facebank: str, fate: str) -> Answer:
    """What is damaged, which is answer no."""
    well = console.counted(len(remains.photos), "photo")
    return Answer(
        {"facebank": facebank, "photos": len(remains.photos), "damage": remains.damage},
        [*(f"{one.what} {fate}" for one in remains.damage), f"{well} well in {facebank}"],
        code=console.NO if remains.damage else 0,
    )


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    *,
    facebank: FacebankPath,
) -> Answer:
    """Write everyone to a file that mien can import wherever it has the same model."""
    from mien.facebank.archive import save
    from mien.facebank.facebank import Facebank
    from mien.facebank.stores import open_store

    with open_store(facebank) as bank:
        photos = save(bank, file)
        secret = isinstance(bank, Facebank) and bank.encrypted
    warning = f"{file} is not encrypted: anyone who can read it has everyone's vectors"
    return Answer(
        {"path": file, "photos": photos},
        [f"{console.counted(photos, 'photo')} in {file}"],
        [warning] if secret else [],
    )


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file that mien people export wrote.")
    ],
    *,
    facebank: FacebankPath,
) -> Answer:
    """Add the people in a file to the facebank, creating it if there is none."""
    from mien.facebank.archive import bring, read
    from mien.facebank.stores import create_store

    archive = read(file)
    dim = archive.vectors.shape[1]
    with create_store(facebank, model_id=archive.model_id, dim=dim) as bank:
        done = bring(archive, bank)
    twice = [{"person": one.person, "sha256": one.sha256} for one in done.duplicates]
    return Answer(
        {"facebank": bank.path, "added": done.added, "duplicates": twice},
        [f"{console.counted(done.added, 'photo')} added to {bank.path}"],
        [f"{one.file} of {one.person} is in the facebank already" for one in done.duplicates],
    )


def encrypt(
    *,
    facebank: FacebankPath,
    keyring: Annotated[
        bool, typer.Option("--keyring", help="Use a random key that the system's keyring keeps.")
    ] = False,
    new_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Use the key in this file; it replaces any other."),
    ] = None,
) -> Answer:
    """Encrypt the facebank with a key, MIEN_KEY by default.  Without the key it is lost.

    The index of photos beside it is encrypted with it.
    """
    from mien.collection.photo_index import rekey_beside
    from mien.facebank.facebank import Facebank
    from mien.facebank.sqlite import is_plain
    from mien.facebank.stores import own_file

    given, path = keys.given(), own_file(facebank)
    plain = path.is_file() and is_plain(path)
    with Facebank.open(path, key="" if plain else None) as bank:
        if new_key_file:
            key: str | None = keys.in_file(new_key_file)
        elif keyring:
            key = keys.new_in_keyring(facebank)
        else:
            key = given if plain else None
        if not key:
            raise BadInput(
                f"there is no new key for {facebank}: set {keys.VARIABLE}, or use --keyring or"
                " --new-key-file"
            )
        old = bank.key
        bank.encrypt(key)
    rekey_beside(facebank, old, key)
    return Answer({"facebank": facebank, "encrypted": True}, [f"{facebank} is encrypted now"])


def decrypt(*, facebank: FacebankPath) -> Answer:
    """Remove the facebank's encryption, and that of the index beside it."""
    from mien.collection.photo_index import rekey_beside
    from mien.facebank.facebank import Facebank
    from mien.facebank.stores import own_file

    with Facebank.open(own_file(facebank)) as bank:
        if not bank.encrypted:
            raise BadInput(f"{facebank} is not encrypted: there is nothing to do")
        key = bank.key
        bank.decrypt()
    rekey_beside(facebank, key, "")
    return Answer({"facebank": facebank, "encrypted": False}, [f"{facebank} is not encrypted now"])


def log(
    *,
    facebank: FacebankPath,
    keep: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Keep the newest N entries from now on; 0 ends the log."
        ),
    ] = None,
) -> Answer:
    """List who was enrolled, renamed, deleted and searched, when and by which command.

    No log is kept until --keep says how long it may grow.
    """
    from mien.facebank.facebank import Facebank
    from mien.facebank.stores import own_file

    with Facebank.open(own_file(facebank)) as bank:
        if keep is not None:
            bank.keep_log(keep)
        entries, rows = bank.log(), bank.log_rows
    found = [
        {
            "at": one.at,
            "command": one.command,
            "action": one.action,
            "person": one.person or None,
            "forgotten": one.person == FORGOTTEN,
            "count": one.count,
        }
        for one in entries
    ]
    return Answer(
        {"facebank": facebank, "keep": rows, "log": found},
        [Table(_LOG, entries)],
        [] if rows else ["no log is kept: mien people log --keep 10000 starts one"],
    )


def _whom(entry: LogEntry) -> str:
    if entry.person is None:
        return "(nobody known)"
    return entry.person or "(deleted)"


_LOG: dict[str, Column] = {
    "AT": "{at}",
    "COMMAND": "{command}",
    "ACTION": "{action}",
    "COUNT": "{count}",
    "PERSON": _whom,
}
