"""Photos of one person from a camera, taken when they are good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mien.recognition import align
from mien.recognition.model import Model
from mien.recognition.quality import BLURRED, frontality, sharpness
from mien.types import Face, Image
from mien.video.read import Frame

SIZE = 112  # pixels of the longer side of a face, of which nothing must be made up
AHEAD = 0.5  # frontality, in [0, 1]


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """What the camera shows, and what comes next."""

    frame: Frame
    faces: tuple[Face, ...]
    hint: str | None  # what the person should do; None: the picture is good
    left: float | None  # seconds until the photo is taken; None while it is not good
    photo: Image | None  # the picture, when it is taken


def portraits(
    frames: Iterable[Frame], model: Model, *, photos: int, countdown: float = 3
) -> Iterator[Attempt]:
    """Yield each picture with a hint, until enough photos are taken.

    A photo is taken when every picture has been good for the time of the countdown.

    Args:
        frames: from a camera, as they come.
        model: finds the face.
        photos: how many.
        countdown: seconds.
    """
    since = None
    for frame in frames:
        image = frame.image()
        faces = model.detect(image)
        hint = complaint(image, faces)
        if hint:
            since = None
            yield Attempt(frame, tuple(faces), hint, None, None)
            continue
        since = frame.time if since is None else since
        left = max(0.0, countdown - (frame.time - since))
        yield Attempt(frame, tuple(faces), None, left, image if left == 0 else None)
        if left == 0:
            since, photos = None, photos - 1
        if photos == 0:
            return


def complaint(image: Image, faces: list[Face]) -> str | None:
    """What a person should do for a good photo of their face; None: nothing."""
    if not faces:
        return "no face is to be seen: look into the camera"
    if len(faces) > 1:
        return f"{len(faces)} faces are to be seen: one person at a time"
    face = faces[0]
    if face.size < SIZE:
        return f"the face is smaller than {SIZE} pixels: come closer"
    if frontality(face) < AHEAD:
        return "the face is turned away: look into the camera"
    if sharpness(align.crops(image, faces))[0] < BLURRED:
        return "the picture is blurred: hold still, with more light"
    return None
