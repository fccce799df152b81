"""The command `identify`: who is in photos and videos?"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien import defaults
from mien.cli import console, options
from mien.cli.index import opened
from mien.cli.json_entries import FaceEntry, PhotoEntry, SightingEntry, VideoEntry, photo_entry
from mien.cli.render import Answer, Form, show_each
from mien.cli.video import VIDEOS, End, Part, Start, as_videos, span, video_entries
from mien.errors import BadInput, CannotWrite
from mien.video import EXTENSIONS, copy_name, is_video

if TYPE_CHECKING:
    from mien.cli.json_entries import Entry
    from mien.facebank.stores import Store
    from mien.recognition.model import Model
    from mien.recognition.policy import Policy
    from mien.types import Skipped
    from mien.verbs.identify import Seen


_WIDEST = 32  # of a name's column


def identify(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Photos, videos, folders of them, or patterns."),
    ],
    *,
    facebank: options.FacebankPath,
    index: options.IndexPath = None,
    no_index: options.NoIndex = False,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write a copy of each there, with faces and names drawn in."
        ),
    ] = None,
    score: Annotated[
        bool, typer.Option("--score/--no-score", help="Draw the score after the name.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="First enrol the facebank's folders again.")
    ] = False,
    threshold: options.Threshold = None,
    fpir: options.Fpir = None,
    tta: options.Tta = False,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            show_default="all",
            help="Keep only the N largest faces of each photo.",
        ),
    ] = None,
    min_face: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS", min=12, show_default="40", help="The smallest face to look for."
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(metavar="K", min=1, help="Photos: say which K people each face is most like."),
    ] = 1,
    include: options.Include = None,
    exclude: options.Exclude = None,
    model: options.FacebankModel = None,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
    calibration: options.Calibration = None,
    as_json: options.Json = False,
    json_lines: Annotated[
        bool,
        typer.Option(
            "--json-lines",
            help="Print a line of JSON for each photo, and each sighting in a video, as it comes.",
        ),
    ] = False,
    stride: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            show_default="four times a second",
            help="Videos: detect faces in every Nth frame, and follow them in between.",
            rich_help_panel=VIDEOS,
        ),
    ] = None,
    start: Start = None,
    end: End = None,
    max_size: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            min=64,
            help="Videos: scale down frames whose longer side is larger.",
            rich_help_panel=VIDEOS,
        ),
    ] = None,
) -> Answer:
    """Say who is in photos and videos."""
    from mien import files
    from mien.facebank.stores import open_store
    from mien.parallel import at_once, threads_each
    from mien.recognition import detect
    from mien.recognition.model import load
    from mien.recognition.onnx.runtime import for_photos
    from mien.types import Skipped
    from mien.verbs.identify import identify as look

    form = Form.of(as_json, json_lines)
    choice = files.Choice(include or (), exclude or ())
    found = files.walk(paths, also=EXTENSIONS, choice=choice)
    copies = _copies(found, save) if save else {}
    if save:
        files.make_folder(save, private=True)
    photos = [path for path in found if not is_video(path)]
    clips = [path for path in found if is_video(path)]

    runtime = None if clips else for_photos(len(photos))

    name = model or options.model_of(facebank)

    def network_of(threads: int) -> Model:
        finder = detect.named(detector, threads=threads, min_face=min_face or defaults.MIN_FACE)
        return load(
            name, detector=finder, calibration=calibration, threads=threads, runtime=runtime
        )

    many = at_once(len(photos))
    network = network_of(threads_each(many))
    policy = network.policy(threshold=threshold, fmr=fpir)
    with (
        open_store(facebank, model_id=network.model_id) as bank,
        opened(index, no_index, facebank, bank, network) as kept_before,
    ):
        skipped = _update(bank, network, many) if update else 0
        people = bank.people()
        if not people:
            console.note_nobody(bank.path)
        # Where results are printed as they come, they show by themselves how far it is.
        quiet = form is Form.JSON or not sys.stdout.isatty()
        coming = console.progress(photos, "identifying") if quiet else photos
        seen = look(
            coming,
            network,
            bank,
            index=kept_before,
            policy=policy,
            mirror=tta,
            limit=limit,
            min_face=min_face or 0,
            top=top,
            at_once=many,
        )
        entries = chain.from_iterable(
            _entries(one, copies, score) for one in chain(found.skipped, seen)
        )
        if clips:
            part = Part(stride, start or 0, end, max_size, tta, limit, min_face or 0)
            alone = network if many == 1 else network_of(threads_each(1))
            seen_in_clips = video_entries(clips, alone, bank, policy, part, copies, score=score)
            entries = chain(entries, seen_in_clips)
        table = _Table([person.name for person in people], skipped)
        if form is Form.TEXT:
            table.head()
        kept = show_each(table.count(entries), form, table.row)
        photos_each = [person.photos for person in people]
        needed = policy.threshold_among(photos_each)
        content = {
            "facebank": bank.path,
            "model_id": bank.model_id,
            "threshold": needed,
            "fpir": _rate(policy, photos_each, needed),
            "photos": [one for one in kept if isinstance(one, PhotoEntry)],
            "skipped": [one for one in kept if isinstance(one, Skipped)],
        }
    if videos := as_videos(kept):
        content["videos"] = videos
    notes = []
    if form is Form.TEXT:
        notes += [table.sum] if table.photos else []
        notes += [f"the copies are in {save}"] if save else []
    if table.skipped:
        what = console.FILES if found.skipped else ("photo", "")
        what = ("file or part of one", "files or parts of them") if clips else what
        notes.append(f"skipped {console.counted(table.skipped, *what)}")
    return Answer(content, [], notes, code=console.SKIPPED if table.skipped else 0)


def _rate(policy: Policy, photos: Sequence[int], threshold: float) -> float | None:
    """The share of strangers who get a name, to four digits."""
    known = policy.impostors
    return float(f"{known.fpir(photos, threshold):.4g}") if known else None


def _update(bank: Store, network: Model, at_once: int) -> int:
    """Enroll the folders of a facebank again; how many photos were skipped."""
    from mien.verbs.enroll import enroll

    folders = sorted({photo.folder for photo in bank.photos()})
    return sum(
        console.note_skipped(
            enroll(folder, bank, network, at_once=at_once, progress=console.progress).skipped
        )
        for folder in folders
    )


def _copies(photos: Sequence[Path], save: Path) -> dict[Path, Path]:
    """Where each photo's drawn copy goes: the photos' own tree again, with names marked `.mien`.

    So photos of one name in two folders stay apart, and no photo is written over.
    """
    root = os.path.commonpath([os.path.realpath(photo.parent) for photo in photos])
    originals = {os.path.realpath(photo) for photo in photos}
    copies = {}
    for photo in photos:
        ours = photo.suffix.lower() in (".jpg", ".jpeg", ".png")
        name = f"{photo.stem}.mien{photo.suffix}" if ours else f"{photo.name}.mien.jpg"
        name = copy_name(photo) if is_video(photo) else name
        copies[photo] = save / os.path.relpath(os.path.realpath(photo.parent), root) / name
        if os.path.realpath(copies[photo]) in originals:
            raise BadInput(f"{copies[photo]} is among the photos: save the copies elsewhere")
    return copies


def _entries(seen: Seen | Skipped, copies: dict[Path, Path], score: bool) -> Iterator[Entry]:
    """What is said of a photo, once its copy is written; and of the copy, where it cannot be."""
    from mien import draw, images
    from mien.types import Skipped

    if isinstance(seen, Skipped):
        yield seen
        return
    path = seen.path
    if copy := copies.get(path):
        try:
            drawing = draw.annotate(images.read(seen.path), seen.faces, score=score)
            images.write(copy, drawing, made="drawing")
        except (BadInput, CannotWrite) as error:  # as where it is too wide for a JPEG
            copy = None
            yield Skipped(path, str(error))
    yield photo_entry(seen, copy)


class _Table:
    """A row for each face, as they come: so the columns' widths are known beforehand.

    Args:
        names: of all who are enrolled.
        skipped: how many photos were skipped already.
    """

    def __init__(self, names: Sequence[str], skipped: int) -> None:
        self._widths = [min(_WIDEST, console.width(["unknown", *names])), 5, 4]
        self.skipped = skipped
        self.photos = self.faces = self.named = 0

    def count(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The entries; says why things are skipped."""
        from mien.types import Skipped

        for entry in entries:
            if isinstance(entry, Skipped):
                console.note_skipped([entry])
            self.skipped += isinstance(entry, Skipped) or bool(getattr(entry, "broken", None))
            self.photos += isinstance(entry, PhotoEntry)
            yield entry

    def head(self) -> None:
        """Print the headings."""
        console.row(["PERSON", "SCORE", "SIZE", "PHOTO"], self._widths, style="bold")

    def row(self, entry: Entry) -> None:
        """Print the rows of an entry."""
        if isinstance(entry, SightingEntry):
            self._face(entry, f"{entry.path} {span(entry)}")
        elif isinstance(entry, PhotoEntry):
            for face in entry.faces:
                self._face(face, str(entry.path))
        if (isinstance(entry, PhotoEntry) and not entry.faces) or (
            isinstance(entry, VideoEntry) and not entry.sightings
        ):
            console.row(["no face", "", "", str(entry.path)], self._widths, style="dim")

    def _face(self, face: FaceEntry | SightingEntry, place: str) -> None:
        x1, y1, x2, y2 = face.box
        known = face.person is not None
        self.faces, self.named = self.faces + 1, self.named + known
        if face.turned:
            place += f" (turned by {face.turned} degrees)"
        if face.candidates:
            place += f" ({', '.join(f'{one.person} {one.score:.2f}' for one in face.candidates)})"
        elif face.nearest and not known:
            place += f" (nearest: {face.nearest})"
        cells = [face.person or "unknown", f"{face.score:.2f}", f"{max(x2 - x1, y2 - y1):.0f}"]
        console.row([*cells, place], self._widths, style="" if known else "dim")

    @property
    def sum(self) -> str:
        """How much was seen."""
        faces = console.counted(self.faces, "face")
        return f"{console.counted(self.photos, 'photo')}, {faces}: {self.named} named"
