"""The command `enroll`: learn people."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli import console, options
from mien.cli.camera import take_photos
from mien.cli.render import Answer, Table
from mien.errors import BadInput

if TYPE_CHECKING:
    from mien.facebank.facebank import Facebank
    from mien.facebank.stores import Store
    from mien.types import Skipped
    from mien.verbs.enroll import Enrolment


def enroll(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER",
            help="Holds a folder of photos for each person; with --as, photos of one.",
        ),
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
            help="Whom all of the photos show; of groups, one name for all, or one for each.",
        ),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(
            metavar="X1,Y1,X2,Y2",
            help="With --as and one photo: where the face is, in pixels, as where none is found.",
        ),
    ] = None,
    file_names: Annotated[
        bool,
        typer.Option(
            "--file-names", help="Photos in FOLDER are called after whom they show: NAME.jpg."
        ),
    ] = False,
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
        bool,
        typer.Option(
            "--largest", help="Of several faces take the largest, even if it is not by far."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Look at everything, say what would be, change nothing."),
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
    """Learn the people in a folder: FOLDER/NAME/photo.jpg; with --as, one person's photos.

    Run again, it adds what is new, removes what is gone and leaves the rest alone; with --as,
    nothing is removed.
    """
    from mien import files
    from mien.errors import without_password
    from mien.facebank.facebank import Facebank
    from mien.facebank.sqlite import MEMORY
    from mien.facebank.stores import create_store, exists, open_store, own_file
    from mien.files import Choice
    from mien.parallel import at_once, threads_each
    from mien.recognition.model import load
    from mien.verbs.cluster import cut
    from mien.verbs.enroll import enroll as add
    from mien.verbs.enroll import enroll_person
    from mien.verbs.enroll import rebuild as anew
    from mien.verbs.regions import cut_regions

    groups = _named_groups(cluster or [], names or []) if cluster else []
    name = None if groups else _one_name(names or [], box)
    folder = _one_folder(paths or []) if name is None else None
    if dry_run and (groups or camera is not None):
        raise BadInput("--dry-run takes photos that are there: leave out --cluster and --camera")
    if (camera is not None or regions) and not folder:
        folder = own_file(facebank).parent / "people"
    if not (folder or groups or paths):
        raise BadInput("there is nobody to enroll: name a folder that holds one for each person")
    unusable: tuple[Skipped, ...] = ()
    source = folder or options.CLUSTERS
    if groups:
        source, unusable = cut(source, groups)
    choice = Choice(include or (), exclude or ())
    many = at_once() if camera is None else 1
    network = load(model, detector=detector, threads=threads_each(many))
    if camera is not None:
        take_photos(camera, source, lens, network, photos=photos, countdown=countdown)
    with ExitStack() as stack:
        if regions:
            if dry_run:
                source = Path(stack.enter_context(TemporaryDirectory()))
            cut_out = cut_regions(
                regions,
                source,
                network,
                contacts=contacts,
                most=most,
                choice=choice,
                at_once=many,
                progress=console.progress,
            )
            unusable, choice = cut_out.skipped, files.EVERYTHING
            console.note(
                f"{console.counted(cut_out.named, 'region')} with a name in"
                f" {console.counted(cut_out.photos, 'photo')}:"
                f" {console.counted(cut_out.faces, 'face')} cut out into {source}"
            )
        made: list[Store] = []

        def make() -> Store:
            if dry_run:
                bank: Store = Facebank.create(
                    MEMORY, model_id=network.model_id, dim=network.dim, key=""
                )
            else:
                bank = create_store(facebank, model_id=network.model_id, dim=network.dim)
            made.append(stack.enter_context(bank))
            return bank

        if there := exists(facebank):  # where not, none is left behind where nobody can be enrolled
            before = open_store(facebank, model_id=None if rebuild else network.model_id)
            made.append(stack.enter_context(before))
            if dry_run:
                made[:] = [stack.enter_context(_copy(before))]
        known = {one.name: one.photos for one in made[0].people()} if made else {}
        into: Any = made[0] if there else make
        how: Any = {
            "choice": choice,
            # A cut-out may show a part of a neighbour.
            "largest": largest or bool(groups) or regions is not None,
            "at_once": many,
            "progress": console.progress,
        }
        if name is not None:
            edges = _box(box) if box else None
            done = enroll_person(name, paths or [], into, network, box=edges, **how)
        else:
            do = anew if rebuild and there else add
            done = do(source, into, network, file_names=file_names, **how)
        (bank,) = made
        then = bank.people() if dry_run else []
        where = without_password(facebank) if dry_run else bank.path
        changes = [
            (one.name, known.get(one.name, 0), one.photos)
            for one in then
            if known.get(one.name) != one.photos
        ]
        return Answer(
            {
                "facebank": where,
                "model_id": bank.model_id,
                **({"dry_run": True} if dry_run else {}),
                "people": done.people,
                "added": done.added,
                "kept": done.kept,
                "removed": done.removed,
                "others": done.others,
                "odd": done.odd,
                "skipped": (*unusable, *done.skipped),
            },
            [
                *(
                    [Table({"PERSON": "{0}", "NOW": "{1}", "THEN": "{2}"}, changes)]
                    if changes
                    else []
                ),
                ("dry run, nothing has changed: " if dry_run else "")
                + f"{console.counted(done.added, 'photo')} added, {done.kept} kept, "
                f"{done.removed} removed: {console.people(done.people)} in {where}",
            ],
            notes=_notes(done),
            skipped=(*unusable, *done.skipped),
        )


def _notes(done: Enrolment) -> list[str]:
    """What is odd about the photos that were added."""
    notes = []
    if done.others:
        shown = "photo shows" if done.others == 1 else "photos show"
        notes.append(f"{done.others:,} {shown} smaller faces too: the largest, by far, was taken")
    for one in done.odd:
        if one.people > 1 or 2 * one.unlike >= one.photos:
            notes.append(
                f"the photos of {one.person} seem to show several people: see mien people health"
            )
        else:
            unlike = console.counted(one.unlike, "photo")
            notes.append(f"{unlike} of {one.person} unlike the others: see mien people health")
    return notes


def _copy(store: Store) -> Facebank:
    """The same people, in memory."""
    from mien.facebank.facebank import Facebank
    from mien.facebank.sqlite import MEMORY

    copy = Facebank.create(MEMORY, model_id=store.model_id, dim=store.dim, key="")
    copy.add(*store.contents())
    return copy


def _one_folder(paths: list[Path]) -> Path | None:
    if len(paths) > 1 or any(path.is_file() for path in paths):
        raise BadInput(
            f"{paths[-1]}: whom these photos show is not said: give --as NAME, or one folder that"
            " holds a folder for each person"
        )
    return paths[0] if paths else None


def _one_name(names: list[str], box: str | None) -> str | None:
    if len(names) > 1:
        raise BadInput(f"there are {len(names)} names and no groups: give one --as")
    if box and not names:
        raise BadInput("--box is of a photo of one person: give --as NAME")
    return names[0] if names else None


def _box(text: str) -> list[float]:
    with suppress(ValueError):
        edges = [float(edge) for edge in text.split(",")]
        if len(edges) == 4:
            return edges
    raise BadInput(f"--box is X1,Y1,X2,Y2 in pixels, not {text!r}")


def _named_groups(numbers: list[int], names: list[str]) -> list[tuple[int, str]]:
    """The groups to learn, each with whom it shows."""
    if not names:
        raise BadInput("--cluster and --as go together: give --cluster 7 --as NAME")
    if len(names) == 1:
        names = names * len(numbers)
    if len(names) != len(numbers):
        raise BadInput(
            f"there are {len(numbers)} groups and {len(names)} names: give one --as for each"
            " --cluster, or one for all"
        )
    return list(zip(numbers, names, strict=True))
