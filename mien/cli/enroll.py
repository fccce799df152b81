"""The command `enroll`: learn people."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli import console, options
from mien.cli.camera import take_photos
from mien.cli.render import Answer
from mien.errors import BadInput

if TYPE_CHECKING:
    from mien.facebank.stores import Store
    from mien.types import Skipped


def enroll(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Holds a folder of photos for each person."),
    ] = None,
    *,
    facebank: options.FacebankPath,
    cluster: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Learn group N of those that mien cluster wrote to FOLDER; may be repeated.",
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Who the group is: one name for all groups, or one for each.",
        ),
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            "--from-regions",
            metavar="PHOTOS",
            help="First cut the faces that digiKam, Lightroom, Picasa or others have named out of"
            " PHOTOS, into FOLDER.",
        ),
    ] = None,
    contacts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default="PHOTOS/contacts.xml",
            help="Picasa's contacts.xml, for names that its folders do not hold.",
        ),
    ] = None,
    most: Annotated[
        int, typer.Option(metavar="N", min=1, help="Of regions, the N best faces of each person.")
    ] = 30,
    camera: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="First take photos of NAME, into FOLDER/NAME."),
    ] = None,
    lens: Annotated[
        str,
        typer.Option(
            "--source", metavar="SOURCE", help="The number of the camera, or a stream's address."
        ),
    ] = "0",
    photos: Annotated[int, typer.Option(metavar="N", min=1, help="Photos to take.")] = 3,
    countdown: Annotated[
        float, typer.Option(metavar="S", min=0, help="Seconds before each of them.")
    ] = 3,
    largest: Annotated[
        bool, typer.Option("--largest", help="If a photo shows several faces, take the largest.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Look at every photo again, as after a change of model."),
    ] = False,
    include: options.Include = None,
    exclude: options.Exclude = None,
    model: options.ModelName = options.DEFAULT_MODEL,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
) -> Answer:
    """Learn the people in a folder: FOLDER/NAME/photo.jpg.

    Run again, it adds what is new, removes what is gone and leaves the rest alone.
    """
    from mien import files
    from mien.facebank.stores import create_store, exists, open_store, own_file
    from mien.files import Choice
    from mien.parallel import at_once, threads_each
    from mien.recognition.model import load
    from mien.verbs.cluster import cut
    from mien.verbs.enroll import enroll as add
    from mien.verbs.enroll import rebuild as anew
    from mien.verbs.regions import cut_regions

    groups = _named_groups(cluster or [], names or [])
    if (camera is not None or regions) and not folder:
        folder = own_file(facebank).parent / "people"
    if folder is None and not groups:
        raise BadInput("there is nobody to enroll: name a folder that holds one for each person")
    unusable: tuple[Skipped, ...] = ()
    source = folder or options.CLUSTERS
    if groups:
        source, unusable = cut(source, groups)
        largest = True  # a cut-out may show a part of a neighbour
    choice = Choice(include or (), exclude or ())
    many = at_once() if camera is None else 1
    network = load(model, detector=detector, threads=threads_each(many))
    if camera is not None and folder:
        take_photos(camera, folder, lens, network, photos=photos, countdown=countdown)
    if regions and folder:
        cut_out = cut_regions(
            regions,
            folder,
            network,
            contacts=contacts,
            most=most,
            choice=choice,
            at_once=many,
            progress=console.progress,
        )
        unusable += cut_out.skipped
        largest = True  # as above
        console.note(
            f"{console.counted(cut_out.named, 'region')} with a name in"
            f" {console.counted(cut_out.photos, 'photo')}:"
            f" {console.counted(cut_out.faces, 'face')} cut out into {folder}"
        )
    there = exists(facebank)
    with ExitStack() as stack:
        made: list[Store] = []

        def make() -> Store:
            bank = create_store(facebank, model_id=network.model_id, dim=network.dim)
            made.append(stack.enter_context(bank))
            return bank

        how: Any = {
            "choice": files.EVERYTHING if regions else choice,
            "largest": largest,
            "at_once": many,
            "progress": console.progress,
        }
        if not there:  # nor is it left behind, empty, where nobody can be enrolled
            done = add(source, make, network, **how)
        elif not rebuild:
            done = add(source, make(), network, **how)
        else:  # whichever model made it
            made.append(stack.enter_context(open_store(facebank)))
            done = anew(source, made[0], network, **how)
        (bank,) = made
        return Answer(
            {
                "facebank": bank.path,
                "model_id": bank.model_id,
                "people": done.people,
                "added": done.added,
                "kept": done.kept,
                "removed": done.removed,
                "skipped": (*unusable, *done.skipped),
            },
            [
                f"{console.counted(done.added, 'photo')} added, {done.kept} kept, "
                f"{done.removed} removed: {console.people(done.people)} in {bank.path}"
            ],
            skipped=(*unusable, *done.skipped),
        )


def _named_groups(numbers: list[int], names: list[str]) -> list[tuple[int, str]]:
    """The groups to learn, each with whom it shows."""
    if bool(numbers) != bool(names):
        raise BadInput("--cluster and --as go together: give --cluster 7 --as NAME")
    if len(names) == 1:
        names = names * len(numbers)
    if len(names) != len(numbers):
        raise BadInput(
            f"there are {len(numbers)} groups and {len(names)} names: give one --as for each"
            " --cluster, or one for all"
        )
    return list(zip(numbers, names, strict=True))
