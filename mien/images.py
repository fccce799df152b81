"""Pictures in and out: reading and writing them.

Beyond this file, every picture is RGB, uint8 and upright.  It alone knows about file formats, EXIF
orientation and OpenCV's BGR order.
"""

from __future__ import annotations

import importlib.metadata
import io
import re
import struct
import warnings
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from PIL import Image as Pillow

from mien.errors import BadInput
from mien.files import write_atomically
from mien.types import Image, require_picture

MAX_PIXELS = 120_000_000  # 100-megapixel cameras and some room
MAX_BYTES = 1 << 30  # of a file; MAX_PIXELS of 16-bit RGB without compression are 0.7 GB

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # Pillow's names
_FIRST_BYTES = re.compile(
    rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|GIF8|BM|II\*\0|MM\0\*|....ftypavif", re.DOTALL
)
_DAMAGED = (  # what Pillow's readers let through on bytes that make no sense
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    EOFError,
    RuntimeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)

_ORIENTATION = 0x0112  # EXIF: which way up the camera was held, 1 to 8
_TRANSPOSED = (5, 6, 7, 8)
_FLIP = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # cv2.flip: 1 left-right, 0 up-down, -1 both

_ENCODING = {
    ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 92),
    ".jpeg": (cv2.IMWRITE_JPEG_QUALITY, 92),
    ".png": (),
}
_JPEG_SIDE = 65_500  # pixels, libjpeg's limit


def read(path: str | Path) -> Image:
    """The picture in a file; see `decode`."""
    return decode(read_bytes(path), str(path))


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a photo: what `decode` takes and what a fingerprint is made of.

    Raises:
        BadInput: no such file, not an ordinary one, not readable, or more than `MAX_BYTES`.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise BadInput(f"{path} is a folder: name a picture inside it")
        if path.exists() and not path.is_file():  # a pipe or a device may never end
            raise BadInput(f"{path} is not an ordinary file: copy the picture into one")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise BadInput(f"{path} has {size} bytes, over the limit of {MAX_BYTES}: shrink it")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadInput(f"{path} does not exist: check the path") from error
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read ({error.strerror}): check who may read it"
        ) from error


def decode(data: bytes, name: str = "the picture", *, pixels: int = MAX_PIXELS) -> Image:
    """The picture in the bytes of a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file.

    It has the size of the picture in the file: nothing is scaled down, so a box found here is a box
    in the file.  Memory is bounded by `pixels` instead, which is checked before any pixel is
    decoded: 3 bytes a pixel are kept, and decoding takes 6 for a JPEG (9 for a progressive one), 16
    for a WebP and up to 10 for the others.  Transparency lies on white, 16-bit samples are scaled
    to 8, an animation gives its first frame, and colour profiles are ignored.

    Args:
        data: the whole file.
        name: what error messages call it.
        pixels: how many it may have.

    Returns:
        A new (H, W, 3) RGB array, turned upright.

    Raises:
        BadInput: no picture, a truncated one, or one of too many pixels.
    """
    if not data:
        raise BadInput(f"{name} is empty (0 bytes): copy it again from its source")
    try:
        with warnings.catch_warnings(action="ignore"):  # the limit is ours; damage is raised below
            return _decode(data, name, pixels)
    except Pillow.DecompressionBombError as error:
        raise BadInput(_too_large(name, pixels)) from error
    except _DAMAGED as error:
        if _FIRST_BYTES.match(data):
            why = "is truncated or damaged: copy it again from its source"
        else:
            why = "is not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF picture: convert it"
        raise BadInput(f"{name} {why}") from error


@cache
def readers() -> str:
    """What decides which pictures can be read: mien, and the packages that it reads them with."""
    parts = []
    for package in ("mien", "pillow", "pi-heif", "pillow-jxl-plugin", "rawpy"):
        with suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{package} {importlib.metadata.version(package)}")
    return ", ".join(parts)


def _decode(data: bytes, name: str, pixels: int) -> Image:
    with Pillow.open(io.BytesIO(data), formats=_FORMATS) as picture:  # reads the header only
        if picture.width * picture.height > pixels:
            raise BadInput(_too_large(name, pixels))
        if picture.mode in ("I", "F"):
            raise BadInput(f"{name} has 32 bits a sample: save it with 8 or 16")
        image = _fast_jpeg(picture, data)
        if image is None:
            image = _pixels(picture)
        return _upright(image, _orientation(picture))


def _too_large(name: str, pixels: int) -> str:
    return f"{name} has more than {pixels / 1e6:g} megapixels: shrink it"


def _fast_jpeg(picture: Pillow.Image, data: bytes) -> Image | None:
    """The pixels of an ordinary JPEG, equal to Pillow's in half the time; None for any other.

    OpenCV does not report truncation, so the file must end with the end-of-image marker.
    """
    whole = data.endswith(b"\xff\xd9")
    if not (picture.format in ("JPEG", "MPO") and picture.mode in ("L", "RGB") and whole):
        return None
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return None if image is None else cast("Image", cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _pixels(picture: Pillow.Image) -> Image:
    """Any picture as RGB, in strips: converting it whole would take twice the memory."""
    picture.load()
    image = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, 256):
        bottom = min(top + 256, picture.height)
        image[top:bottom] = _rgb(picture.crop((0, top, picture.width, bottom)))
    return image


def _rgb(picture: Pillow.Image) -> Image:
    if picture.mode.startswith("I;16"):  # Pillow's own conversion clips at 255
        grey = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        white = Pillow.new("RGBA", picture.size, "white")
        picture = Pillow.alpha_composite(white, picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))


def _orientation(picture: Pillow.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except _DAMAGED:  # the pixels are good all the same
        return 1


def _upright(image: Image, orientation: int) -> Image:
    if orientation in _TRANSPOSED:
        image = cast("Image", cv2.transpose(image))
    if orientation in _FLIP:
        cv2.flip(image, _FLIP[orientation], image)  # in place
    return image


def orientation(data: bytes) -> int:
    """EXIF's orientation of the picture, 1 to 8: 1 if the file does not say."""
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # as in `decode`, which has its own limit
            Pillow.open(io.BytesIO(data), formats=_FORMATS) as picture,
        ):
            return _orientation(picture)
    except _DAMAGED:
        return 1


def xmp_of_png(data: bytes) -> bytes:
    """The XMP in a PNG, where it may be compressed; nothing if there is none."""
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Pillow.open(io.BytesIO(data), formats=["PNG"]) as picture,
        ):
            picture.load()  # for what comes after the pixels
            found = picture.info.get("XML:com.adobe.xmp", b"")
    except _DAMAGED:
        return b""
    return found.encode() if isinstance(found, str) else bytes(found)


def as_stored(
    box: tuple[float, float, float, float], orientation: int
) -> tuple[float, float, float, float]:
    """A box of the upright picture in the rows and columns of the file.

    Args:
        box: x1, y1, x2, y2 as fractions of the upright picture's width and height, in [0, 1].
        orientation: see `orientation`.
    """
    x1, y1, x2, y2 = box
    flip = _FLIP.get(orientation)
    if flip in (1, -1):
        x1, x2 = 1 - x2, 1 - x1
    if flip in (0, -1):
        y1, y2 = 1 - y2, 1 - y1
    return (y1, x1, y2, x2) if orientation in _TRANSPOSED else (x1, y1, x2, y2)


def write(path: str | Path, image: Image) -> None:
    """Write a picture to a file, as JPEG (quality 92) or PNG by its name; see `write_atomically`.

    A new file is readable by its owner only: pictures show faces.

    Raises:
        BadInput: the name ends neither in .jpg, .jpeg nor .png, or the format cannot hold so wide
            or high a picture.
        CannotWrite: see `write_atomically`.
        TypeError, ValueError: no (H, W, 3) array of uint8.
    """
    require_picture(image)
    suffix = Path(path).suffix.lower()
    if suffix not in _ENCODING:
        raise BadInput(f"{path} must end in {', '.join(_ENCODING)} to be written: rename it")
    height, width, _ = image.shape
    if suffix != ".png" and max(height, width) > _JPEG_SIDE:
        raise BadInput(f"{path} cannot hold {width} x {height} pixels as JPEG: end it in .png")
    write_atomically(path, encode(image, suffix), private=True)


def encode(image: Image, suffix: str) -> bytes:
    """The bytes of a file with a picture; the same picture gives the same bytes.

    Args:
        image: no side of it over 65,500 pixels.
        suffix: .png, or .jpg for JPEG of quality 92.
    """
    blue_first = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, blue_first, _ENCODING[suffix])[1].tobytes()
