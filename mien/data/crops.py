"""The face that a photo is of, aligned."""

from __future__ import annotations

from pathlib import Path

from mien.align import crop
from mien.errors import NoFace
from mien.images import read
from mien.types import Detector, Image, largest_face


def largest(path: Path, detector: Detector, *, margin: int = 0) -> Image:
    """The aligned largest face of a photo, with a margin in pixels.

    Raises:
        NoFace: the photo shows no face that can be aligned.
        BadInput: it cannot be read.
    """
    image = read(path)
    faces = detector(image)
    if not faces:
        raise NoFace(f"{path} shows no face")
    try:
        return crop(image, largest_face(faces).points, margin=margin)
    except ValueError as error:
        raise NoFace(f"{path} shows nothing that can be aligned: {error}") from error
