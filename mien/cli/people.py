"""The command `people` and what it can do: list, photos, rename, delete, move."""

from __future__ import annotations

import os
import sys
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli import console
from mien.cli.options import FacebankPath, Group
from mien.cli.render import Answer, Table
from mien.errors import BadInput

if TYPE_CHECKING:
    from mien.facebank.rows import Photo

ID = 12  # hex digits of a photo's SHA-256, by which people can name it

Name = Annotated[str, typer.Argument(metavar="NAME", help="A person in the facebank.")]


class ListByDefault(Group):
    """A group of commands in which no command means `list`, and `--health` means `health`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, with `list` before mere options."""
        if "--health" in args[:1]:
            args = ["health", *args[1:]]
        elif not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def list_people(*, facebank: FacebankPath) -> Answer:
    """List everyone in the facebank."""
    from mien.facebank.stores import open_store

    with open_store(facebank) as bank:
        people = [{"person": one.name, "photos": one.photos} for one in bank.people()]
    return Answer(
        {"facebank": bank.path, "people": people},
        [Table({"PHOTOS": "{photos}", "PERSON": "{person}"}, people)],
    )


def list_photos(name: Name, *, facebank: FacebankPath) -> Answer:
    """List someone's photos."""
    from mien.facebank.stores import open_store

    with open_store(facebank) as bank:
        photos = bank.photos(name)
    columns = {"ID": f"{{sha256:.{ID}}}", "ADDED": "{added}", "SIZE": "{size:.0f}"}
    told = ("sha256", "path", "confidence", "size", "added")
    return Answer(
        {
            "person": photos[0].person,
            "photos": [{field: getattr(photo, field) for field in told} for photo in photos],
        },
        [Table(columns | {"PHOTO": "{path}"}, photos)],
    )


def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The current name.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
    *,
    facebank: FacebankPath,
    merge: Annotated[
        bool, typer.Option("--merge", help="If NEW exists already, merge the two people.")
    ] = False,
) -> Answer:
    """Give someone another name."""
    from mien.facebank.rows import person_name
    from mien.facebank.stores import open_store

    with open_store(facebank) as bank:
        bank.rename(old, new, merge=merge)
        photos = len(bank.photos(new))
    return Answer(
        {"person": person_name(new), "photos": photos},
        [f"{old} is called {new} now and has {console.counted(photos, 'photo')}"],
    )


def delete(
    name: Name,
    *,
    facebank: FacebankPath,
    photo: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Delete only this photo: its path or its ID."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> Answer:
    """Make the facebank forget someone, or one photo of them.

    The photo files themselves stay, and come back with the next mien enroll of their folder.
    """
    from mien.facebank.stores import open_store

    with open_store(facebank) as bank:
        photos = bank.photos(name)
        doomed = photos if photo is None else [_named(photo, photos)]
        what = (
            str(doomed[0].path) if photo else f"{name} and {console.counted(len(doomed), 'photo')}"
        )
        if not yes:
            _ask(f"Delete {what} from {bank.path}?")
        deleted = bank.delete_photos(one.sha256 for one in doomed)
    there = sorted({one.folder for one in doomed if one.path.is_file()})
    return Answer(
        {"person": photos[0].person, "deleted": deleted, "photos": len(photos) - deleted},
        [f"deleted {what}"],
        [
            f"photos are still in {folder}: mien enroll {quote(folder)} would add them again"
            for folder in there
        ],
    )


def move(
    source: Annotated[str, typer.Argument(metavar="FROM", help="Where the facebank is.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="A facebank that is still empty.")],
) -> Answer:
    """Copy the facebank to another database, and check that everything has arrived.

    An address is a file, milvus+file:FILE, milvus://HOST:PORT or postgresql://HOST/DATABASE.
    """
    from mien.facebank.stores import copy, create_store, open_store

    with open_store(source) as bank:
        done = copy(bank, lambda model_id, dim: create_store(target, model_id=model_id, dim=dim))
    people, photos = console.people(done.people), console.counted(done.photos, "photo")
    return Answer(
        {"people": done.people, "photos": done.photos, "sha256": done.sha256},
        [f"{people} and {photos} are in both now, SHA-256 {done.sha256}"],
        ["the old facebank is as it was: delete it when you no longer need it"],
    )


def _named(text: str, photos: list[Photo]) -> Photo:
    """The photo that is meant by a path, a file's name, or the first digits of its SHA-256."""
    found = [
        photo
        for photo in photos
        if text in (photo.file, photo.path.name)
        or os.path.realpath(photo.path) == os.path.realpath(text)
        or (len(text) >= ID and photo.sha256.startswith(text))
    ]
    if len(found) != 1:
        raise BadInput(
            f"{len(found)} photos of {photos[0].person} are {text}: "
            f"give an ID from mien people photos"
        )
    return found[0]


def _ask(question: str) -> None:
    """Go on if the answer is yes."""
    if not sys.stdin.isatty():
        raise BadInput("there is no terminal to ask for confirmation on: add --yes")
    if not typer.confirm(console.printable(question), err=True):
        raise typer.Exit(console.NO)
