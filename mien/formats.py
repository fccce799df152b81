"""Formats of pictures: how their files are called and begin, and what reads them."""

from __future__ import annotations

import re
import zlib
from functools import cache
from pathlib import PurePath
from typing import NamedTuple


class Format(NamedTuple):
    """A format of pictures."""

    name: str
    endings: tuple[str, ...]  # of files' names, in lower case
    first: bytes  # a regular expression of a file's first bytes
    extra: str | None = ""  # optional packages that read it; None: nothing here does


FORMATS = (
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".mpo"), rb"\xff\xd8\xff"),
    Format("PNG", (".png", ".apng"), rb"\x89PNG\r\n\x1a\n"),
    Format("WebP", (".webp",), rb"RIFF....WEBP"),
    Format("GIF", (".gif",), rb"GIF8[79]a"),
    Format("BMP", (".bmp",), rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),
    Format("AVIF", (".avif", ".avifs"), rb"....ftyp(?:avif|avis)"),
    Format(
        "HEIC",
        (".heic", ".heif", ".hif", ".heics", ".heifs"),
        rb"....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)",
        "heic",
    ),
    Format("JPEG XL", (".jxl",), rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    Format(
        "raw",
        (
            *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf"),
            *(".orf", ".rw2", ".pef", ".srw", ".3fr", ".iiq", ".x3f", ".mrw", ".kdc", ".dcr"),
            *(".erf", ".mef", ".mos", ".rwl", ".gpr"),
        ),
        rb"II\*\0....CR|IIR[OS]|IIU\0|MMOR|FUJIFILMCCD-RAW|....ftypcrx |FOVb|\0MRM",
        "raw",
    ),
    Format("TIFF", (".tif", ".tiff"), rb"II[*+]\0|MM\0[*+]"),  # as many a raw file begins
    Format("JPEG 2000", (".jp2", ".j2k", ".jpf", ".jpx"), rb"\0\0\0\x0cjP  \r\n\x87\n", None),
    Format("Photoshop", (".psd", ".psb"), rb"8BPS", None),
)
EXTENSIONS = tuple(ending for one in FORMATS if one.extra is not None for ending in one.endings)
HEAD = 80  # bytes that tell a format, and whether mien has made a picture
_MADE = re.compile(
    rb"(?:\xff\xd8.{18}\xff\xfe..|\x89PNG.{33}tEXtSoftware\0)mien (drawing|sheet|cut-out)",
    re.DOTALL,
)


def named(path: str | PurePath) -> Format | None:
    """The format that a file's name tells."""
    return _by_ending().get(PurePath(path).suffix.lower())


def begun(data: bytes) -> Format | None:
    """The format that a file's first bytes tell."""
    return next((one for one in FORMATS if re.match(one.first, data[:HEAD], re.DOTALL)), None)


def marked(data: bytes, made: str) -> bytes:
    """A JPEG or PNG as OpenCV writes it, marked as made by mien, which `made` finds.

    Args:
        made: a drawing, sheet or cut-out.
    """
    text = b"mien " + made.encode()
    if data.startswith(b"\x89PNG"):
        chunk = b"tEXtSoftware\0" + text
        chunk = (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
        return data[:33] + chunk + data[33:]
    return data[:20] + b"\xff\xfe" + (len(text) + 2).to_bytes(2) + text + data[20:]


def made(data: bytes) -> str:
    """What mien has made a picture as, by its first bytes: see `marked`; nothing if it has not."""
    found = _MADE.match(data)
    return found[1].decode() if found else ""


@cache
def _by_ending() -> dict[str, Format]:
    return {ending: one for one in FORMATS for ending in one.endings}
