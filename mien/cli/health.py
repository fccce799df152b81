"""The command `people health`: what ails the facebank."""

from __future__ import annotations

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
)

if TYPE_CHECKING:
    from mien.facebank.rows import Photo
    from mien.verbs.health import Health


def health(
    *,
    facebank: FacebankPath,
    look: Annotated[
        bool,
        typer.Option("--look/--no-look", help="Look at the photos again, for blur; takes longest."),
    ] = True,
    threshold: Threshold = None,
    fpir: Fpir = None,
    model: ModelName = DEFAULT_MODEL,
    detector: DetectorName = DEFAULT_DETECTOR,
    as_json: Json = False,
) -> None:
    """Say how often strangers will get a name, and which people and photos to look after."""
    from mien.facebank.stores import open_store
    from mien.recognition.model import load
    from mien.verbs.health import examine

    network = load(model, detector=detector)
    policy = network.policy(threshold=threshold, fmr=fpir)
    with open_store(facebank, model_id=network.model_id) as bank:
        found = examine(bank, network, policy=policy, look=look, progress=console.progress)
    if as_json:
        console.document({"facebank": bank.path, **_document(found)})
        return
    console.say(
        f"{console.counted(found.people, 'person', 'people')} with "
        f"{console.counted(found.photos, 'photo')} in {bank.path}"
    )
    console.say(_rate(found))
    _section(
        "look alike, or are one person with two names",
        ("SCORE", "PERSON", "OTHER"),
        [(f"{one.score:.2f}", one.person, one.other) for one in found.alike],
    )
    _section(
        "do not look like their person's other photos",
        ("SCORE", "PERSON", "PHOTO"),
        [(f"{one.score:.2f}", *_place(one.photo)) for one in found.doubtful],
    )
    _section(
        "show a small face",
        ("SIZE", "PERSON", "PHOTO"),
        [(f"{photo.size:.0f}", *_place(photo)) for photo in found.small],
    )
    _section(
        "are blurred",
        ("SHARPNESS", "PERSON", "PHOTO"),
        [(f"{one.sharpness:.4f}", *_place(one.photo)) for one in found.blurred],
    )
    _section("have one photo only", ("PERSON",), [(name,) for name in found.single])
    if found.unseen:
        gone = console.counted(len(found.unseen), "photo")
        console.note(f"{gone} could not be looked at again, such as {found.unseen[0].path}")


def _rate(found: Health) -> str:
    if not found.fpir:
        often = "the model does not say how often a stranger gets a name"
    else:
        often = f"a stranger gets a name in 1 of {1 / found.fpir:,.0f} faces"
        often += ", by extrapolation" if found.extrapolated else ""
    return f"{often}; threshold {found.threshold:.3f}"


def _section(what: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if rows:
        console.say("")
        console.say(f"{len(rows):,} {what}", style="bold")
        console.table([headings, *rows])


def _place(photo: Photo) -> tuple[str, str]:
    return photo.person, str(photo.path)


def _document(found: Health) -> dict[str, Any]:
    return {
        "people": found.people,
        "photos": found.photos,
        "threshold": found.threshold,
        "fpir": found.fpir,
        "extrapolated": found.extrapolated,
        "alike": [
            {"person": one.person, "other": one.other, "score": round(one.score, 6)}
            for one in found.alike
        ],
        "doubtful": [{**_photo(one.photo), "score": round(one.score, 6)} for one in found.doubtful],
        "small": [{**_photo(photo), "size": round(photo.size, 1)} for photo in found.small],
        "blurred": [
            {**_photo(one.photo), "sharpness": round(one.sharpness, 6)} for one in found.blurred
        ],
        "unseen": [_photo(photo) for photo in found.unseen],
        "single": list(found.single),
    }


def _photo(photo: Photo) -> dict[str, str]:
    return {"person": photo.person, "sha256": photo.sha256, "path": str(photo.path)}
