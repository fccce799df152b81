"""What `people` can do with the facebank as a whole: check, repair, move, encrypt, and its log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import console
from mien.cli.options import FacebankPath, Json
from mien.errors import BadInput
from mien.facebank import key as keys
from mien.facebank.audit import FORGOTTEN, Entry

if TYPE_CHECKING:
    from mien.facebank.salvage import Remains


def check(*, facebank: FacebankPath, as_json: Json = False) -> None:
    """Look for damage in the facebank, photo by photo."""
    from mien.facebank.salvage import check as look
    from mien.facebank.stores import own_file

    _report(
        look(own_file(facebank)), facebank, as_json, "is damaged; mien people repair keeps the rest"
    )


def repair(
    *,
    facebank: FacebankPath,
    model_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Its model's, where the file does not tell any more."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Put what is not damaged into a new facebank in the place of the old one.

    The old one stays beside it as FILE.damaged until something is deleted.
    """
    from mien.facebank.salvage import repair as rescue
    from mien.facebank.stores import own_file

    _report(
        rescue(own_file(facebank), model_id=model_id),
        facebank,
        as_json,
        "was damaged and is left out",
    )


def _report(remains: Remains, facebank: str, as_json: bool, fate: str) -> None:
    """Say what is damaged, which is answer no."""
    if as_json:
        damage = [{"what": d.what, "person": d.person, "sha256": d.sha256} for d in remains.damage]
        console.document({"facebank": facebank, "photos": len(remains.photos), "damage": damage})
    else:
        for damage_ in remains.damage:
            console.say(f"{damage_.what} {fate}")
        console.say(f"{console.counted(len(remains.photos), 'photo')} well in {facebank}")
    if remains.damage:
        raise typer.Exit(console.NO)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    *,
    facebank: FacebankPath,
    as_json: Json = False,
) -> None:
    """Write everyone to a file that any mien with the same model can import."""
    from mien.facebank.archive import save
    from mien.facebank.bank import Facebank
    from mien.facebank.stores import open_store

    with open_store(facebank) as bank:
        photos = save(bank, file)
        if isinstance(bank, Facebank) and bank.encrypted:
            console.note(f"{file} is not encrypted: whoever can read it has everyone's vectors")
    if as_json:
        console.document({"path": str(file), "photos": photos})
    else:
        console.say(f"{console.counted(photos, 'photo')} in {file}")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export has written.")],
    *,
    facebank: FacebankPath,
    as_json: Json = False,
) -> None:
    """Add the people in a file to the facebank, which is made if there is none."""
    from mien.facebank.archive import bring, read
    from mien.facebank.stores import create_store

    archive = read(file)
    dim = archive.vectors.shape[1]
    with create_store(facebank, model_id=archive.model_id, dim=dim) as bank:
        done = bring(archive, bank)
    if as_json:
        console.document(
            {
                "facebank": bank.path,
                "added": done.added,
                "duplicates": [{"person": p.person, "sha256": p.sha256} for p in done.duplicates],
            }
        )
        return
    for photo in done.duplicates:
        console.note(f"{photo.file} of {photo.person} is in the facebank already")
    console.say(f"{console.counted(done.added, 'photo')} added to {bank.path}")


def encrypt(
    *,
    facebank: FacebankPath,
    keyring: Annotated[
        bool, typer.Option("--keyring", help="Use a random key that the system's keyring keeps.")
    ] = False,
    new_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Use the key in this file, also in place of another."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Encrypt the facebank with a key, MIEN_KEY by default.  Without the key it is lost."""
    from mien.facebank.bank import Facebank
    from mien.facebank.database import is_plain
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
        bank.encrypt(key)
    _say_encrypted(facebank, True, as_json)


def decrypt(*, facebank: FacebankPath, as_json: Json = False) -> None:
    """Make the facebank a file that anybody who has it can read."""
    from mien.facebank.bank import Facebank
    from mien.facebank.stores import own_file

    with Facebank.open(own_file(facebank)) as bank:
        if not bank.encrypted:
            raise BadInput(f"{facebank} is not encrypted: nothing is to be done")
        bank.decrypt()
    _say_encrypted(facebank, False, as_json)


def _say_encrypted(facebank: str, encrypted: bool, as_json: bool) -> None:
    if as_json:
        console.document({"facebank": facebank, "encrypted": encrypted})
    else:
        console.say(f"{facebank} is {'' if encrypted else 'not '}encrypted now")


def log(
    *,
    facebank: FacebankPath,
    keep: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Keep the newest N entries from now on; 0: no log."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List who was enrolled, renamed, deleted and searched, when and by which command.

    No log is kept until --keep says how long it may grow.
    """
    from mien.facebank.bank import Facebank
    from mien.facebank.stores import own_file

    with Facebank.open(own_file(facebank)) as bank:
        if keep is not None:
            bank.keep_log(keep)
        entries, rows = bank.log(), bank.log_rows
    if as_json:
        found = [
            {
                "at": entry.at,
                "command": entry.command,
                "action": entry.action,
                "person": entry.person or None,
                "forgotten": entry.person == FORGOTTEN,
                "count": entry.count,
            }
            for entry in entries
        ]
        console.document({"facebank": facebank, "keep": rows, "log": found})
        return
    if not rows:
        console.note("no log is kept: mien people log --keep 10000 starts one")
    cells = [(e.at, e.command, e.action, str(e.count), _whom(e)) for e in entries]
    console.table([("AT", "COMMAND", "ACTION", "COUNT", "PERSON"), *cells])


def _whom(entry: Entry) -> str:
    if entry.person is None:
        return "(nobody known)"
    return entry.person or "(deleted)"
