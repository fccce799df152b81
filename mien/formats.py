"""Formats of pictures: how their files are called and begin, and what reads them."""

from __future__ import annotations

import re
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
HEAD = 32  # bytes that tell a format


def named(path: str | PurePath) -> Format | None:
    """The format that a file's name tells."""
    return _by_ending().get(PurePath(path).suffix.lower())


def begun(data: bytes) -> Format | None:
    """The format that a file's first bytes tell."""
    return next((one for one in FORMATS if re.match(one.first, data[:HEAD], re.DOTALL)), None)


@cache
def _by_ending() -> dict[str, Format]:
    return {ending: one for one in FORMATS for ending in one.endings}
