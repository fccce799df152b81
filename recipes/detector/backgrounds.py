"""Pictures without faces, and things cut out of theirs, from folders of any files.

Those of the detector that ships came with packages: Debian's gnome-backgrounds, mate-backgrounds,
plasma-workspace-wallpapers, lomiri-wallpapers-16.04, lomiri-wallpapers-20.04, ukui-wallpapers,
tuxpaint-stamps-default and gcompris-qt-data, and the photographs in the wheels of scikit-image and
scikit-learn; without what `SHOWS` names, since it shows people, or nothing but signs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.types import Image

SHOWS = (
    *("/people/", "astronaut", "camera.png", "lfw", "symbols/faces"),
    *("alphabets", "/math", "symbols/money", "symbols/music", "symbols/shapes", "roadsigns"),
    *("retina", "phantom", "logo", "chessboard", "cell.png", "ihc", "microaneurysms"),
)
KINDS = {".jpg", ".jpeg", ".png", ".webp"}
SMALL, BYTES = 40, 4000  # pixels of a side, and a file's size, under which nothing is to be seen
LONGEST = {3: 900, 4: 260}  # pixels that are kept of a picture, and of what has transparency
KEPT = 6  # one picture in so many is kept for measuring


def read(
    folders: Iterable[Path], *, for_training: bool = True
) -> tuple[list[Image], list[NDArray[np.uint8]]]:
    """Pictures, RGB, and things, RGBA; each once, however often it is there."""
    pictures, things = list[Image](), list[NDArray[np.uint8]]()
    seen = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.suffix.lower() not in KINDS or any(part in f"/{name}" for part in SHOWS):
                continue
            if (
                path.stat().st_size < BYTES
                or (zlib.crc32(name.encode()) % KEPT > 0) != for_training
            ):
                continue
            picture = _picture(path)
            if picture is None or (print_ := cv2.resize(picture, (16, 16)).tobytes()) in seen:
                continue
            seen.add(print_)
            if picture.shape[2] == 4:
                things.append(picture)
            else:
                pictures.append(picture)
    return pictures, things


def _picture(path: Path) -> NDArray[np.uint8] | None:
    """What a file shows, RGB or RGBA, no larger than is of use; None: nothing."""
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if read is None or read.dtype != np.uint8 or min(read.shape[:2]) < SMALL:
        return None
    if read.ndim == 2:
        read = cv2.cvtColor(read, cv2.COLOR_GRAY2BGR)
    if read.shape[2] == 4 and read[:, :, 3].min() == 255:
        read = read[:, :, :3]
    scale = min(1.0, LONGEST[read.shape[2]] / max(read.shape[:2]))
    size = [max(1, round(side * scale)) for side in read.shape[1::-1]]
    read = cv2.resize(read, size, interpolation=cv2.INTER_AREA) if scale < 1 else read
    code = cv2.COLOR_BGRA2RGBA if read.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cast("NDArray[np.uint8]", cv2.cvtColor(read, code))
