"""TIFF files of any depth and layout, without compression: few libraries write them all."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {1: "B", 2: "B", 3: "H", 4: "I"}  # byte, letter, short and long
UNSIGNED, SIGNED, FLOAT = 1, 2, 3


def tiff(
    samples: NDArray[Any],
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    kind: int = UNSIGNED,
    planar: bool = False,
    extra: Sequence[int] = (),
    palette: NDArray[Any] | None = None,
    tags: Mapping[int, tuple[int, Sequence[int]]] | None = None,
    fill: int = 1,
    start: int = 0,
) -> bytes:
    """The bytes of a file.

    Args:
        samples: (H, W, samples a pixel); whole numbers, or floating-point ones of a `kind` FLOAT.
        bits: of a sample, up to 64.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 Lab.
        order: < or >.
        kind: of numbers.
        planar: one sample of all pixels after the other.
        extra: what samples beyond the colours mean: 0 nothing, 1 and 2 transparency.
        palette: (2**bits, 3), of 16 bits.
        tags: more of them: number to type and values.
        fill: 2: the first pixel in the least significant bits of a byte.
        start: bytes that come before these in a file.
    """
    height, width, depth = samples.shape
    planes = np.moveaxis(samples, 2, 0) if planar else samples.reshape(1, height, -1)
    strips = [b"".join(_packed(row, bits, kind, order, fill) for row in one) for one in planes]
    held: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * depth),
        259: (3, [1]),
        262: (3, [photometric]),
        266: (3, [fill]),
        273: (4, [0] * len(strips)),
        277: (3, [depth]),
        278: (4, [height]),
        279: (4, [len(strip) for strip in strips]),
        284: (3, [2 if planar else 1]),
        339: (3, [kind] * depth),
    }
    if extra:
        held[338] = (3, extra)
    if palette is not None:
        held[320] = (3, palette.T.ravel().tolist())
    held.update(tags or {})
    free = start + len(_head(held, order))
    held[273] = (4, np.cumsum([free, *map(len, strips)])[:-1].tolist())
    return _head(held, order, start) + b"".join(strips)


def _head(held: dict[int, tuple[int, Sequence[int]]], order: str, start: int = 0) -> bytes:
    """A file's first bytes and a directory, which is moved so many bytes from where they are."""
    entries, values, free = b"", b"", start + 8 + 2 + 12 * len(held) + 4
    for number, (form, content) in sorted(held.items()):
        data = struct.pack(f"{order}{len(content)}{_TYPES[form]}", *content)
        if len(data) > 4:
            data, values, free = struct.pack(f"{order}I", free), values + data, free + len(data)
        entries += struct.pack(f"{order}HHI", number, form, len(content)) + data.ljust(4, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HIH", 42, 8, len(held))
    return head + entries + bytes(4) + values


def _packed(row: NDArray[Any], bits: int, kind: int, order: str, fill: int) -> bytes:
    if kind == FLOAT:
        return row.astype(f"{order}f{bits // 8}").tobytes()
    if bits in (8, 16, 32, 64):
        return row.astype(f"{order}{'ui'[kind - 1]}{bits // 8}").tobytes()
    digits = (row.astype(np.uint64)[:, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint64)) & 1
    packed = np.packbits(digits.astype(np.uint8).ravel())
    if fill == 2:
        packed = np.packbits(np.unpackbits(packed).reshape(-1, 8)[:, ::-1].ravel())
    return packed.tobytes()


def dng(preview: bytes, size: tuple[int, int], sensor: NDArray[Any], orientation: int) -> bytes:
    """A digital negative: a sensor's picture, and a JPEG as its preview.

    Args:
        preview: a JPEG.
        size: its width and height.
        sensor: (H, W), 16 bits, of red, green, green and blue pixels in turn.
        orientation: of both, as EXIF has it.
    """
    mosaic = {254: (4, [0]), 33421: (3, [2, 2]), 33422: (1, [0, 1, 1, 2])}
    raw = tiff(sensor[:, :, None], 16, 32803, tags=mosaic, start=_START)
    first: dict[int, tuple[int, Sequence[int]]] = {
        254: (4, [1]),
        256: (4, [size[0]]),
        257: (4, [size[1]]),
        258: (3, [8, 8, 8]),
        259: (3, [7]),
        262: (3, [6]),
        271: (2, b"Nobody\0"),
        272: (2, b"No camera\0"),
        273: (4, [_START + len(raw)]),
        274: (3, [orientation]),
        277: (3, [3]),
        278: (4, [size[1]]),
        279: (4, [len(preview)]),
        330: (4, [_START + 8]),
        50706: (1, [1, 4, 0, 0]),
        50708: (2, b"No camera\0"),
    }
    return _head(first, "<").ljust(_START, b"\0") + raw + preview


_START = 1024  # where the second directory comes
