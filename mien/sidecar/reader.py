"""The regions with names that other programs keep of a photo, wherever they do."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mien.errors import BadInput
from mien.sidecar import xmp
from mien.sidecar.picasa import Picasa
from mien.sidecar.xmp import Region
from mien.types import Skipped


class Held(NamedTuple):
    """What one file says of a photo's faces."""

    path: Path  # the photo itself, or a file beside it
    regions: list[Region]
    orientation: int  # that the file gives the photo, 1 to 8; see `mien.images.orientation`


def read(photo: Path, data: bytes, picasa: Picasa) -> tuple[list[Held], list[Skipped]]:
    """The regions with a name in a photo, in its sidecars and in Picasa's file of its folder.

    Args:
        photo: the path.
        data: its bytes.
        picasa: reads the folders' files.

    Returns:
        What each file says, where it names anybody, and the files that cannot be read.
    """
    found, skipped = [], []
    for packet in xmp.packets(data):
        try:
            found.append(_held(photo, packet))
        except ValueError:  # of a packet that is cut off; the picture may be sound
            continue
    for path in xmp.sidecars(photo):
        try:
            found.append(_held(path, xmp.read_sidecar(path)))
        except BadInput as error:
            skipped.append(Skipped(path, str(error)))
        except ValueError as error:
            skipped.append(Skipped(path, f"{path} is no XMP ({error})"))
    try:
        if known := picasa.regions(photo):
            found.append(Held(*known, orientation=1))
    except BadInput as error:
        skipped.append(Skipped(photo, str(error)))
    return [one for one in found if one.regions], skipped


def _held(path: Path, packet: bytes) -> Held:
    root = xmp.parse(packet)
    return Held(path, xmp.regions(root), xmp.orientation(root))
