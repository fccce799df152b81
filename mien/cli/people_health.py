"""The command `people health`: what is wrong with the facebank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli import console, options
from mien.cli.index import opened
from mien.cli.render import Answer, Column, Table

if TYPE_CHECKING:
    from mien.facebank.rows import Photo
    from mien.verbs.health import Health


def health(
    *,
    facebank: options.FacebankPath,
    index: options.IndexPath = None,
    no_index: options.NoIndex = False,
    look: Annotated[
        bool,
        typer.Option(
            "--look/--no-look", help="Look at the photos again for blur, which takes longest."
        ),
    ] = True,
    threshold: options.Threshold = None,
    fpir: options.Fpir = None,
    model: options.FacebankModel = None,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
    calibration: options.Calibration = None,
) -> Answer:
    """Say how often strangers get a name, and which people and photos need attention."""
    from mien.facebank.stores import open_store
    from mien.recognition.model import load
    from mien.verbs.health import examine

    network = load(model or options.model_of(facebank), detector=detector, calibration=calibration)
    policy = network.policy(threshold=threshold, fmr=fpir)
    with (
        open_store(facebank, model_id=network.model_id) as bank,
        opened(index, no_index, facebank, bank, network) as kept,
    ):
        found = examine(
            bank, network, index=kept, policy=policy, look=look, progress=console.progress
        )
    people, photos = console.people(found.people), console.counted(found.photos, "photo")
    gone = console.counted(len(found.unseen), "photo")
    text: list[str | Table] = [f"{people} with {photos} in {bank.path}", _rate(found)]
    for what, columns, records in _SECTIONS:
        if ailing := records(found):
            text += ["", f"{len(ailing):,} {what}", Table(columns, ailing)]
    return Answer(
        {"facebank": bank.path, **_document(found)},
        text,
        [f"{gone} could not be looked at again, such as {found.unseen[0].path}"]
        if found.unseen
        else [],
    )


_SECTIONS: list[tuple[str, dict[str, Column], Callable[[Health], Sequence[Any]]]] = [
    (
        "seem to be several people",
        {
            "SCORE": "{score:.2f}",
            "PERSON": "{person}",
            "PHOTOS": lambda one: str(len(one.photos)),
            "SUCH AS": lambda one: str(one.photos[0].path),
        },
        lambda found: found.mixed,
    ),
    (
        "look alike, or are one person with two names",
        {"SCORE": "{score:.2f}", "PERSON": "{person}", "OTHER": "{other}"},
        lambda found: found.alike,
    ),
    (
        "do not look like their person's other photos",
        {"SCORE": "{score:.2f}", "PERSON": "{photo.person}", "PHOTO": "{photo.path}"},
        lambda found: found.doubtful,
    ),
    (
        "show a small face",
        {"SIZE": "{size:.0f}", "PERSON": "{person}", "PHOTO": "{path}"},
        lambda found: found.small,
    ),
    (
        "are blurred",
        {"SHARPNESS": "{sharpness:.4f}", "PERSON": "{photo.person}", "PHOTO": "{photo.path}"},
        lambda found: found.blurred,
    ),
    ("have one photo only", {"PERSON": "{0}"}, lambda found: [(one,) for one in found.single]),
]


def _rate(found: Health) -> str:
    if not found.fpir:
        often = "the model does not say how often a stranger gets a name"
    else:
        often = f"a stranger gets a name in 1 of {1 / found.fpir:,.0f} faces"
        often += ", by extrapolation" if found.extrapolated else ""
    return f"{often}; threshold {found.threshold:.3f}"


def _document(found: Health) -> dict[str, Any]:
    return {
        **{field.name: getattr(found, field.name) for field in fields(found)},
        "mixed": [
            {"person": one.person, "score": one.score, "photos": [_photo(p) for p in one.photos]}
            for one in found.mixed
        ],
        "doubtful": [{**_photo(one.photo), "score": one.score} for one in found.doubtful],
        "small": [{**_photo(photo), "size": photo.size} for photo in found.small],
        "blurred": [{**_photo(one.photo), "sharpness": one.sharpness} for one in found.blurred],
        "unseen": [_photo(photo) for photo in found.unseen],
    }


def _photo(photo: Photo) -> dict[str, Any]:
    return {"person": photo.person, "sha256": photo.sha256, "path": photo.path}
