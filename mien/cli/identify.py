"""The command `identify`: who is in photos and videos?"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli import console
from mien.cli.options import (
    DEFAULT_DETECTOR,
    DEFAULT_MODEL,
    DetectorName,
    FacebankPath,
    Fpir,
    Json,
    ModelName,
    Threshold,
    Tta,
)
from mien.cli.render import plain
from mien.cli.video import VIDEOS, End, Part, Start, as_videos, clip_entries, face_entry, span
from mien.errors import BadInput, CannotWrite
from mien.video import EXTENSIONS, copy_name, is_video

if TYPE_CHECKING:
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
    facebank: FacebankPath,
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
    threshold: Threshold = None,
    fpir: Fpir = None,
    tta: Tta = False,
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
    model: ModelName = DEFAULT_MODEL,
    detector: DetectorName = DEFAULT_DETECTOR,
    as_json: Json = False,
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
) -> None:
    """Say who is in photos and videos."""
    from mien import files
    from mien.facebank.stores import open_store
    from mien.parallel import at_once, threads_each
    from mien.recognition import detect
    from mien.recognition.model import load
    from mien.verbs.identify import identify as look

    if as_json and json_lines:
        raise BadInput("--json and --json-lines exclude each other: give one of them")
    found = files.walk(paths, also=EXTENSIONS)
    copies = _copies(found, save) if save else {}
    if save:
        files.make_folder(save, private=True)
    photos = [path for path in found if not is_video(path)]
    clips = [path for path in found if is_video(path)]

    def network_of(threads: int) -> Model:
        finder = detect.named(detector, threads=threads, min_face=min_face or detect.MIN_FACE)
        return load(model, detector=finder, threads=threads)

    many = at_once(len(photos))
    network = network_of(threads_each(many))
    policy = network.policy(threshold=threshold, fmr=fpir)
    with open_store(facebank, model_id=network.model_id) as bank:
        skipped = _update(bank, network, many) if update else 0
        people = bank.people()
        names = [person.name for person in people]
        if not names:
            console.note_nobody(bank.path)
        # Where results are printed as they come, they show by themselves how far it is.
        quiet = as_json or not sys.stdout.isatty()
        coming = console.progress(photos, "identifying") if quiet else photos
        seen = look(
            coming,
            network,
            bank,
            policy=policy,
            mirror=tta,
            limit=limit,
            min_face=min_face or 0,
            at_once=many,
        )
        entries = _entries(seen, copies, score)
        if clips:
            part = Part(stride, start or 0, end, max_size, tta, limit, min_face or 0)
            alone = network if many == 1 else network_of(threads_each(1))
            seen_in_clips = clip_entries(clips, alone, bank, policy, part, copies, score=score)
            entries = chain(entries, seen_in_clips)
        if as_json:
            photos_each = [person.photos for person in people]
            score_needed = policy.threshold_among(photos_each)
            skipped += _print_document(
                entries,
                facebank=bank.path,
                model_id=bank.model_id,
                threshold=score_needed,
                fpir=_rate(policy, photos_each, score_needed),
            )
        elif json_lines:
            skipped += _print_lines(entries)
        else:
            skipped += _print_table(entries, names)
            if save:
                console.note(f"the copies are in {save}")
    if clips:
        console.leave(skipped, "file or part of one", "files or parts of them")
    console.leave(skipped)


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


def _entries(
    looked: Iterable[Seen | Skipped], copies: dict[Path, Path], score: bool
) -> Iterator[dict[str, Any]]:
    """What is printed of each photo, once its copy is written; what was skipped is noted too."""
    from mien.types import Skipped

    for seen in looked:
        entry = _entry(seen, copies, score)
        if "reason" in entry:
            console.note_skipped([Skipped(Path(entry["path"]), entry["reason"])])
        yield entry


def _entry(seen: Seen | Skipped, copies: dict[Path, Path], score: bool) -> dict[str, Any]:
    from mien import draw, images
    from mien.types import Skipped

    if isinstance(seen, Skipped):
        return {"path": str(seen.path), "reason": seen.reason}
    path, image = seen.picture.path, seen.picture.image
    height, width = image.shape[:2]
    faces = [face_entry(one.face, one.match) for one in seen.faces]
    entry = {"path": str(path), "width": width, "height": height, "faces": faces}
    if path in copies:
        try:
            images.write(copies[path], draw.annotate(image, seen.faces, score=score))
        except (BadInput, CannotWrite) as error:  # as where it is too wide for a JPEG
            return {"path": str(path), "reason": str(error)}
        entry["saved"] = str(copies[path])
    return entry


def _print_document(entries: Iterable[dict[str, Any]], **about: object) -> int:
    everything = list(entries)
    photos = [entry for entry in everything if "faces" in entry]
    skipped = [entry for entry in everything if "reason" in entry]
    content = {**about, "photos": photos, "skipped": skipped}
    if videos := as_videos(everything):
        content["videos"] = videos
    console.document(plain(content))
    return len(skipped) + sum("broken" in video for video in videos)


def _print_lines(entries: Iterable[dict[str, Any]]) -> int:
    skipped = 0
    for entry in entries:
        console.document(plain(entry), indent=None)
        skipped += "reason" in entry or "broken" in entry
    return skipped


def _print_table(entries: Iterable[dict[str, Any]], names: Sequence[str]) -> int:
    """A row for each face, as they come: so the columns' widths are known beforehand."""
    widths = [min(_WIDEST, console.width(["unknown", *names])), 5, 4]
    skipped = photos = named = unknown = 0
    console.row(["PERSON", "SCORE", "SIZE", "PHOTO"], widths, style="bold")
    for entry in entries:
        skipped += "reason" in entry or "broken" in entry
        photos += "faces" in entry
        for face in [entry] if "box" in entry else entry.get("faces", []):
            x1, y1, x2, y2 = face["box"]
            place = entry["path"] + (f" {span(entry)}" if "box" in entry else "")
            cells = [f"{face['score']:.2f}", f"{max(x2 - x1, y2 - y1):.0f}", place]
            known = face["person"] is not None
            named, unknown = named + known, unknown + (not known)
            console.row([face["person"] or "unknown", *cells], widths, style="" if known else "dim")
        if entry.get("faces") == [] or entry.get("sightings") == 0:
            console.row(["no face", "", "", entry["path"]], widths, style="dim")
    if photos:
        faces = console.counted(named + unknown, "face")
        console.note(f"{console.counted(photos, 'photo')}, {faces}: {named} named")
    return skipped
