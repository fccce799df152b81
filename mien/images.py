"""Pictures in and out: reading and writing them.

Beyond this file, every picture is RGB, uint8 and upright.  It alone knows about file formats, EXIF
orientation and OpenCV's BGR order.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.metadata
import io
import logging
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import date, datetime
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, cast

import cv2
import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mien import formats
from mien.errors import BadInput, MissingExtra, needs_extra
from mien.files import open_at_once, write_atomically
from mien.types import Image, require_picture

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it says is raised, too

MAX_PIXELS = 120_000_000  # 100-megapixel cameras and some room
MAX_BYTES = 1 << 30  # of a file; MAX_PIXELS of 16-bit RGB without compression are 0.7 GB

MAX_SIDE = 100_000  # pixels
MAX_PARTS = 10_000  # of a file, such as comments in a JPEG: each takes time
MAX_CHUNKS = 100_000  # of a PNG, whose pixels may be in pieces of 4 kB
MAX_SCANS = 64  # of a JPEG: each goes over all pixels, and may be a few bytes
SCANNED = 1_200_000_000  # pixels in all scans, where there are more than 16

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

_EXIF, _TAKEN, _CHANGED = 0x8769, 0x9003, 0x0132  # EXIF's own part, and two times
_ORIENTATION = 0x0112  # EXIF: which way up the camera was held, 1 to 8
_TRANSPOSED = (5, 6, 7, 8)
_BITS, _PHOTOMETRIC, _PLANES, _KIND, _DNG_VERSION = 258, 262, 284, 339, 50706  # of TIFF
_WIDTH, _HEIGHT, _COMPRESSION, _EXTRA = 256, 257, 259, 338
_COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)  # that the readers of TIFF always know
_SIGNED, _FLOAT = 2, 3  # kinds of samples
_FLIPS = {3: 3, 5: 8, 6: 6}  # LibRaw's turns, in EXIF's numbers
_TURNED = (b"eXIf", b"iTXt", b"zTXt", b"tEXt")  # of PNG: may say which way up it is
_END_OF_PNG = b"\0\0\0\0IEND\xaeB`\x82"
_SHORT = 1 << 16  # bytes
# What LibRaw writes to stderr, and libjpeg inside it.
_LIBRAW = re.compile(
    rb"^unknown file: |data corrupted at|JPEG|JFIF|Adobe color|progression|scanlines"
)
_STDERR = Lock()  # one at a time puts another in its place
_HARMLESS = re.compile("JFIF revision|Adobe color|Invalid SOS")  # warnings of libjpeg
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
    irregular = f"{path} is not an ordinary file: copy it into one"
    try:
        with open(path, "rb", opener=open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):  # a pipe or a device may never end
                raise BadInput(irregular)
            if status.st_size > MAX_BYTES:
                raise BadInput(
                    f"{path} has {status.st_size} bytes, over the limit of {MAX_BYTES}: shrink it"
                )
            return file.read(status.st_size)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadInput(f"{path} does not exist: check the path") from error
    except IsADirectoryError as error:
        raise BadInput(f"{path} is a folder: name a picture inside it") from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise BadInput(irregular) from error
        whose = isinstance(error, PermissionError)
        do = "check who may read it" if whose else "check its path, disk or share"
        raise BadInput(f"{path} cannot be read ({error.strerror}): {do}") from error


def decode(data: bytes, name: str = "the picture", *, pixels: int = MAX_PIXELS) -> Image:
    """The picture in the bytes of a file of one of `mien.formats.FORMATS`.

    It has the size of the picture in the file: nothing is scaled down, so a box found here is a box
    in the file.  Memory is bounded by `pixels` instead, which is checked before any pixel is
    decoded: 3 bytes a pixel are kept, and decoding takes 6 for a JPEG (9 for a progressive one), 16
    for a WebP and up to 10 for the others.  Transparency lies on white, samples of fewer or more
    bits are scaled to 8, of several pictures the first counts, and colour profiles are ignored.  Of
    a raw file it is the preview, or what LibRaw makes of it where that is small.

    Args:
        data: the whole file.
        name: what error messages call it.
        pixels: how many it may have.

    Returns:
        A new (H, W, 3) RGB array, turned upright.

    Raises:
        BadInput: no picture, a damaged one, one of too many pixels or parts, one of a kind that
            nothing here reads, or that takes an optional package to be read.
    """
    if not data:
        raise BadInput(f"{name} is empty (0 bytes): copy it again from its source")
    format = formats.begun(data)
    if format is None:
        raise BadInput(f"{name} is not a {_known()} picture: convert it")
    if format.extra is None:
        raise BadInput(f"{name} is a {format.name} picture, which is not read: convert it to JPEG")
    try:
        with warnings.catch_warnings(action="ignore"):  # the limit is ours; damage is raised below
            return _decode(data, name, pixels, format)
    except Pillow.DecompressionBombError as error:
        raise BadInput(_too_large(name, pixels)) from error
    except MissingExtra as error:
        raise BadInput(str(error)) from error
    except _DAMAGED as error:
        with warnings.catch_warnings(action="ignore"):
            why = _uncommon(data) or "is truncated or damaged: copy it again from its source"
        raise BadInput(f"{name} {why}") from error


def _known() -> str:
    names = [one.name for one in formats.FORMATS if one.extra is not None]
    return f"{', '.join(names[:-1])} or {names[-1]}"


@cache
def readers() -> str:
    """What decides which pictures can be read: mien, and the packages that it reads them with."""
    parts = []
    for package in ("mien", "pillow", "pi-heif", "pillow-jxl-plugin", "rawpy"):
        with suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{package} {importlib.metadata.version(package)}")
    return ", ".join(parts)


def _decode(data: bytes, name: str, pixels: int, format: formats.Format) -> Image:
    if format.name == "raw" or (format.name == "TIFF" and _is_raw(data, name)):
        return _raw(data, name, pixels)
    if format.name == "TIFF" and _is_measured(told := _directory(data)):
        return _measured(data, told, name, pixels)
    if format.name == "PNG":
        data = _plain_png(data, name)
    elif format.name == "JPEG":
        _require_few_parts(data, name)
    elif format.name == "GIF":
        _require_blocks(data, name)
    elif format.name == "JPEG XL":
        _require_size(_size_of_jxl(data), name, pixels)  # the reader decodes all at once
    _register(format, name)
    with _opened(data, format) as picture:
        _require_size(picture.size, name, pixels)
        if format.name == "PNG" and not data.endswith(_END_OF_PNG):
            raise ValueError("no end")
        if format.name == "JPEG":
            _require_few_scans(data, name, picture.width * picture.height)
            image = _jpeg(data)
        else:
            image = _pixels(picture, _scale_of_tiff(data, name) if format.name == "TIFF" else None)
        if format.name == "AVIF":
            image = _in_aperture(image, data)
        return _upright(image, _orientation(picture))


def _opened(data: bytes, format: formats.Format) -> Pillow.Image:
    """A picture of which the header has been read."""
    if format.name == "TIFF":
        _silence_libtiff()
    called = {"HEIC": "HEIF", "JPEG XL": "JXL"}.get(format.name, format.name.upper())
    return Pillow.open(io.BytesIO(data), formats=[called])


@cache
def _silence_libtiff() -> None:
    """Keep it from writing to stderr what is raised too, and better told with the file's name."""
    place = Path(PIL.__file__).parent
    for path in (*place.glob(".dylibs/libtiff*"), *place.parent.glob("pillow.libs/libtiff*")):
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(str(path))
            library.TIFFSetErrorHandler(None)
            library.TIFFSetWarningHandler(None)


def _register(format: formats.Format, name: str) -> None:
    """Have Pillow read a format that takes an optional package."""
    if format.extra:
        with needs_extra(f"{name}, a {format.name} picture,", format.extra):
            if format.extra == "heic":
                import pi_heif

                pi_heif.register_heif_opener()
            elif format.extra == "jxl":
                import pillow_jxl  # noqa: F401 - which registers itself


def _require_size(size: tuple[int, int], name: str, pixels: int) -> None:
    width, height = size
    if width * height > pixels:
        raise BadInput(_too_large(name, pixels))
    if max(size) > MAX_SIDE:
        raise BadInput(f"{name} has a side of {max(size)} pixels, over {MAX_SIDE}: cut it up")


def _too_large(name: str, pixels: int) -> str:
    return f"{name} has more than {pixels / 1e6:g} megapixels: shrink it"


def _too_many(name: str, what: str, limit: int) -> BadInput:
    return BadInput(f"{name} has more than {limit} {what}: save it again as a JPEG or PNG")


def _require_few_parts(data: bytes, name: str) -> None:
    """Refuse a JPEG whose reader would be held for long before it comes to the pixels."""
    place = parts = 0
    while (place := data.find(b"\xff", place)) >= 0 and data[place + 1 : place + 2] != b"\xda":
        marker, parts = data[place + 1 : place + 4], parts + 1
        if parts > MAX_PARTS:
            raise _too_many(name, "parts", MAX_PARTS)
        alone = len(marker) < 3 or marker[0] in (0xFF, 0xD8)
        place += 1 if alone else 2 + int.from_bytes(marker[1:])


def _require_few_scans(data: bytes, name: str, pixels: int) -> None:
    """Refuse a JPEG whose reader would be held for minutes or hours."""
    limit = max(16, min(MAX_SCANS, SCANNED // max(1, pixels)))
    # In what is compressed, nothing but 0 and restart markers comes after an FF.
    for scans, _ in enumerate(re.finditer(rb"\xff\xda\0[\x08\x0a\x0c\x0e]", data), 1):
        if scans > limit:
            raise _too_many(name, "scans", limit)


def _require_blocks(data: bytes, name: str) -> None:
    """Refuse a GIF that has no end, or whose reader would be held before the first picture."""
    place, parts, pictures = 13, 0, 0
    place += 6 << (data[10] & 7) if data[10] & 0x80 else 0
    while (kind := data[place : place + 1]) != b";":
        if kind == b",":  # a picture, perhaps with colours of its own
            flags, pictures = data[place + 9], pictures + 1
            place += 11 + (6 << (flags & 7) if flags & 0x80 else 0)
        elif kind == b"!":
            place += 2
        else:
            raise ValueError("no end")
        while size := data[place]:
            place, parts = place + 1 + size, parts + 1
        place, parts = place + 1, parts + 1
        if parts > MAX_PARTS and not pictures:
            raise _too_many(name, "parts", MAX_PARTS)


def _jpeg(data: bytes) -> Image:
    """The pixels of a JPEG, all of which must be there.

    The reader fills what is missing with grey, and warns.
    """
    colours = simplejpeg.decode_jpeg_header(data)[2]
    wanted = "CMYK" if colours in ("CMYK", "YCCK") else "RGB"
    try:
        found = simplejpeg.decode_jpeg(data, wanted, strict=True)
    except ValueError as error:
        if not _HARMLESS.search(str(error)):
            raise
        found = simplejpeg.decode_jpeg(data, wanted, strict=False)
    if wanted == "RGB":
        return cast("Image", found)
    image = np.empty((*found.shape[:2], 3), np.uint8)
    for top in range(0, len(image), 256):  # as Adobe stores them: 255 is no ink
        inks = found[top : top + 256].astype(np.uint16)
        image[top : top + 256] = (inks[..., :3] * inks[..., 3:] + 127) // 255
    return image


def _plain_png(data: bytes, name: str = "the picture") -> bytes:
    """A PNG without what does not matter here, however large or odd that is.

    Pixels, palette, transparency and what may say which way up it is stay; of an animation the
    first picture.
    """
    kept, place, parts = [data[:8]], 8, 0
    while place < len(data):
        length, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        part = data[place : place + 12 + length]
        parts, place = parts + 1, place + 12 + length
        if parts > MAX_CHUNKS:
            raise _too_many(name, "parts", MAX_CHUNKS)
        if kind[:1].isupper() or kind == b"tRNS" or (kind in _TURNED and _is_short(part)):
            kept.append(part)
        if kind == b"IEND":
            break
    return b"".join(kept)


def _is_short(part: bytes) -> bool:
    """Whether a part of a PNG is sound, and what it says is short; it may be compressed."""
    kind, content, checksum = part[4:8], part[8:-4], part[-4:]
    if zlib.crc32(kind + content).to_bytes(4) != checksum or len(content) > _SHORT:
        return False
    if kind == b"eXIf":
        return True
    if not content.startswith((b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")):
        return False
    packed = content.find(b"\x78", content.index(b"\0"))  # how zlib's data begin
    if kind == b"tEXt" or packed < 0:
        return True
    unpack = zlib.decompressobj()
    try:
        unpack.decompress(content[packed:], _SHORT)
    except zlib.error:  # it is not compressed
        return True
    return not unpack.unconsumed_tail


def _directory(data: bytes) -> ImageFileDirectory_v2 | dict[int, Any]:
    """What the first directory of a TIFF says, by number; nothing where it cannot be read."""
    with suppress(*_DAMAGED):
        large = data[2:4] in (b"+\0", b"\0+")
        found = ImageFileDirectory_v2(data[: 16 if large else 8])
        file = io.BytesIO(data)
        file.seek(found.next)
        found.load(file)
        return found
    return {}


def _is_raw(data: bytes, name: str) -> bool:
    """Whether a TIFF's pixels are a sensor's, and its first picture is a small copy if anything."""
    told = _directory(data)
    named = formats.named(name)
    return (
        _DNG_VERSION in told
        or told.get(_PHOTOMETRIC) in (32803, 34892)  # a mosaic of colours, and linear ones
        or bool(named and named.name == "raw")
    )


def _scale_of_tiff(data: bytes, name: str) -> tuple[int, bool]:
    """Bits a sample of a TIFF, and whether white is zero; refuses what Pillow gets wrong."""
    told = _directory(data)
    bits = told.get(_BITS, (1,))
    if max(bits) > 8 and len(bits) > 1 and told.get(_PLANES) == 2:
        raise BadInput(f"{name} has its colours apart in {max(bits)} bits: save it with 8")
    return max(bits), told.get(_PHOTOMETRIC) == 0


def _is_measured(told: Mapping[int, Any]) -> bool:
    """Whether a TIFF's samples are of a kind that Pillow does not read, or not always."""
    bits, kinds = told.get(_BITS, (1,)), {*told.get(_KIND, (1,))}
    return max(bits) > 16 or not kinds <= {1, 4} or (bits, told.get(_PHOTOMETRIC)) == ((16,), 0)


def _measured(data: bytes, told: Mapping[int, Any], name: str, pixels: int) -> Image:
    """The pixels of such a TIFF, upright; OpenCV reads it, and knows where it is up.

    Raises:
        ValueError: it is damaged, or of a kind that is not read.
    """
    bits, photometric = told.get(_BITS, (1,)), told.get(_PHOTOMETRIC)
    kind = {(_FLOAT,): "f", (_SIGNED,): "i"}.get((*{*told.get(_KIND, (1,))},), "u")
    type_ = f"{kind}{max(bits) // 8}"
    apart = told.get(_PLANES) == 2 and len(bits) > 1
    common = (len(bits), photometric) in ((1, 0), (1, 1), (3, 2), (4, 2)) and not apart
    if not common or max(bits) % 8 or max(told.get(_KIND, (1,))) > 4:
        raise ValueError(type_)
    most = 8 * pixels // (len(bits) * max(bits) // 8)  # a long sample takes as much as 8 short
    _require_size((told[_WIDTH], told[_HEIGHT]), name, min(pixels, most))
    _silence_opencv()
    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != type_:
        raise ValueError(type_)
    if samples.dtype == np.int8 and photometric == 0:
        samples = -1 - samples  # OpenCV has turned it, and no other kind
    black, white = _range(samples)
    alpha = told.get(_EXTRA, (0,))[0]  # 1: colours are multiplied with it
    image = np.empty((*samples.shape[:2], 3), np.uint8)
    for top in range(0, len(image), 256):
        part = samples[top : top + 256].reshape(-1, samples.shape[1], len(bits)).astype(np.float64)
        part = np.clip((np.nan_to_num(part) - black) / (white - black), 0, 1)
        colours, seen = part[..., 2::-1], part[..., 3:]
        if alpha:
            colours = np.minimum(1 - seen + colours * (1 if alpha == 1 else seen), 1)
        elif photometric == 0:
            colours = 1 - colours
        image[top : top + 256] = np.rint(255 * colours)
    return image


def _range(samples: NDArray[Any]) -> tuple[float, float]:
    """What is black and what is white among samples.

    White is what their form says: the largest whole number, or 1 in floating point.  Where few bits
    were put into many, which would make a black picture, it is the largest number of 8 or 16 bits.
    """
    some = samples.ravel()[:: 1 + samples.size // 1_000_000]
    if samples.dtype.kind == "f":
        black, whites = 0.0, [1.0, 255.0, 65535.0]
        some = some[np.isfinite(some)]
        most = np.percentile(some, 99) / 16 if some.size else 0  # light sources may be beyond 1
    else:
        form = np.iinfo(samples.dtype)
        black = float(form.min) if some.min() < 0 else 0.0
        fewer = () if black or samples.dtype == np.uint16 else (255.0, 65535.0)
        whites = [white for white in fewer if white < form.max]
        whites, most = [*whites, float(form.max)], float(some.max())
    return black, next((white for white in whites if most <= white), whites[-1])


@cache
def _silence_opencv() -> None:
    """Keep it from writing to stderr what is raised, with the file's name."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _uncommon(data: bytes) -> str:
    """What is uncommon in a TIFF that Pillow does not know; nothing where it is no whole TIFF."""
    format = formats.begun(data)
    told = _directory(data) if format and format.name == "TIFF" else {}
    bits = told.get(_BITS, ())
    packed, photometric = told.get(_COMPRESSION, 1), told.get(_PHOTOMETRIC)
    common = bits in ((1,), (8,), (8, 8, 8)) and {*told.get(_KIND, (1,))} == {1}
    if not bits or (common and packed in _COMPRESSIONS and photometric in (0, 1, 2, 3, 6, 8)):
        return ""
    form = f"{' '.join(map(str, bits))} bits a sample, photometric {photometric}"
    form += "" if packed in _COMPRESSIONS else f", compression {packed}"
    form += ", floating-point" if _FLOAT in told.get(_KIND, ()) else ""
    return f"is damaged or a TIFF of an uncommon kind ({form}): save it as an ordinary PNG"


def _raw(data: bytes, name: str, pixels: int) -> Image:
    with needs_extra(f"{name}, a raw picture,", "raw"):
        import rawpy
    try:
        with _quiet_libraw():
            opened = rawpy.imread(io.BytesIO(data))
        with opened as raw:
            sides = raw.sizes.width, raw.sizes.height
            _require_size(sides, name, pixels)
            with suppress(rawpy.LibRawError):
                with _quiet_libraw():
                    preview = raw.extract_thumb()
                if preview.format == rawpy.ThumbFormat.JPEG:
                    data = bytes(preview.data)
                    image = decode(data, name, pixels=pixels)
                    if 2 * max(image.shape) >= max(sides):
                        told = orientation(data) > 1
                        return image if told else _upright(image, _FLIPS.get(raw.sizes.flip, 1))
            with _quiet_libraw():
                developed = raw.postprocess(use_camera_wb=True, output_bps=8)
            colours = (*developed.shape[:2], 3)  # of a sensor that sees none, too
            return np.ascontiguousarray(np.broadcast_to(developed, colours))
    except rawpy.LibRawError as error:
        raise ValueError(str(error)) from error


@contextmanager
def _quiet_libraw() -> Iterator[None]:
    """Keep LibRaw from writing to stderr what is raised too, and better told with the file's name.

    What others write there meanwhile comes afterwards.
    """
    with _STDERR, ExitStack() as ends:
        with suppress(OSError, AttributeError):  # there is no stderr, or this is not Linux
            kept = os.dup(2)
            ends.callback(os.close, kept)
            words = ends.enter_context(os.fdopen(os.memfd_create("stderr"), "w+b", buffering=0))
            ends.callback(_pass_on, words, kept)
            os.dup2(words.fileno(), 2)
        yield


def _pass_on(words: BinaryIO, stderr: int) -> None:
    os.dup2(stderr, 2)
    words.seek(0)
    with suppress(OSError):  # nobody listens
        os.write(2, b"".join(line for line in words if not _LIBRAW.search(line)))


def _in_aperture(image: Image, data: bytes) -> Image:
    """The part of an AVIF's pixels that is to be seen, ISO/IEC 14496-12's clean aperture.

    What reads HEIC crops by itself.
    """
    place = data.find(b"\0\0\0\x28clap", 0, _SHORT)
    if place < 0:
        return image
    width, height, right, down = (
        top / (bottom or 1)
        for top, bottom in struct.iter_unpack(">iI", data[place + 8 : place + 40])
    )
    left = round((image.shape[1] - width) / 2 + right)
    top = round((image.shape[0] - height) / 2 + down)
    if min(left, top) < 0 or width < 1 or height < 1:
        return image
    return np.ascontiguousarray(image[top : top + round(height), left : left + round(width)])


def _size_of_jxl(data: bytes) -> tuple[int, int]:
    """Width and height by the first bits of a JPEG XL, ISO/IEC 18181-1, in a container or alone."""
    start = 0
    if not data.startswith(b"\xff\x0a"):
        found = re.search(rb"jxlc|jxlp....", data[:_SHORT], re.DOTALL)
        if not found:
            raise ValueError("no codestream")
        start = found.end()
    if data[start : start + 2] != b"\xff\x0a":
        raise ValueError("no codestream")
    bits = int.from_bytes(data[start + 2 : start + 18], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
    if chosen := take(3):
        wide, high = ratio[chosen - 1]
        return height * wide // high, height
    return side(), height


def _pixels(picture: Pillow.Image, tiff: tuple[int, bool] | None) -> Image:
    """Any picture as RGB, in strips: converting it whole would take twice the memory."""
    picture.load()
    image = np.empty((picture.height, picture.width, 3), np.uint8)
    bits, inverted = tiff or (16, False)
    for top in range(0, picture.height, 256):
        bottom = min(top + 256, picture.height)
        part = picture.crop((0, top, picture.width, bottom))
        if picture.mode.startswith("I;16"):  # Pillow's own conversion clips at 255
            samples = np.asarray(part)
            grey = (samples >> (bits - 8)).astype(np.uint8)
            grey[samples == picture.info.get("transparency", -1)] = 255
            image[top:bottom] = (255 - grey if inverted else grey)[:, :, None]
        else:
            image[top:bottom] = _rgb(part)
    return image


def _rgb(picture: Pillow.Image) -> Image:
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
    format = formats.begun(data)
    if format is None or format.extra != "":  # whose pixels are upright as they are read
        return 1
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # as in `decode`, which has its own limit
            _opened(_plain_png(data) if format.name == "PNG" else data, format) as picture,
        ):
            return _orientation(picture)
    except _DAMAGED:
        return 1


def taken(path: Path) -> date | None:
    """The day when a photo was taken, by EXIF, else by its file's time; None: it is not there."""
    try:
        with warnings.catch_warnings(action="ignore"), Pillow.open(path) as picture:
            exif = picture.getexif()
        said = exif.get_ifd(_EXIF).get(_TAKEN) or exif.get(_CHANGED)
        return datetime.strptime(str(said)[:10], "%Y:%m:%d").date()
    except (*_DAMAGED, OSError, ValueError):
        with suppress(OSError):
            return date.fromtimestamp(path.stat().st_mtime)
        return None


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


def as_shown(
    box: tuple[float, float, float, float], orientation: int
) -> tuple[float, float, float, float]:
    """The reverse of `as_stored`."""
    return as_stored(box, {6: 8, 8: 6}.get(orientation, orientation))


def write(path: str | Path, image: Image, *, made: str = "") -> None:
    """Write a picture to a file, as JPEG (quality 92) or PNG by its name; see `write_atomically`.

    A new file is readable by its owner only: pictures show faces.

    Args:
        made: what it is, where nobody is to take it for a photo: see `mien.formats.marked`.

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
    data = encode(image, suffix)
    write_atomically(path, formats.marked(data, made) if made else data, private=True)


def encode(image: Image, suffix: str) -> bytes:
    """The bytes of a file with a picture; the same picture gives the same bytes.

    Args:
        image: no side of it over 65,500 pixels.
        suffix: .png, or .jpg for JPEG of quality 92.
    """
    blue_first = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, blue_first, _ENCODING[suffix])[1].tobytes()
