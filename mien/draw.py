"""Names on faces: boxes and labels on a copy of a picture.

It decides how an annotated picture looks, and in which font a name is set.  No font is shipped:
Pillow's own knows plain Latin letters, and a name in another script is set in a font of the system.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from statistics import median
from typing import TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from mien.types import Face, Image, NamedFace

Colour: TypeAlias = tuple[int, int, int]  # RGB
Rectangle: TypeAlias = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels; x2 and y2 exclusive

# Of the box and of the plate; white letters on the plate have a contrast above 5.
_KNOWN: tuple[Colour, Colour] = ((38, 198, 180), (0, 122, 110))
_UNKNOWN: tuple[Colour, Colour] = ((176, 182, 188), (100, 106, 112))
_SHIFT = 4  # OpenCV takes contours in 16ths of a pixel

_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
)
_FIRST_FONTS = ("NotoSans-Regular", "DejaVuSans", "LiberationSans-Regular", "Helvetica", "Arial")
_STYLES = ("Bold", "Italic", "Oblique", "Light", "Thin", "Black", "Mono", "Condensed", "Serif")
_NO_CHARACTER = "\U0010ffff"  # never assigned: drawn as the font's missing glyph


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """The text to write next to a face."""

    face: Face
    text: str
    known: bool  # in colour, else in grey


def annotate(image: Image, sightings: Iterable[NamedFace], *, score: bool = False) -> Image:
    """A copy of the picture in which every face has a box and a name.

    A face that matches nobody is labelled unknown.  With `score`, the cosine follows the name.
    """
    labels = []
    for sighting in sightings:
        text = sighting.match.person or "unknown"
        if score:
            text += f" {sighting.match.score:.2f}"
        labels.append(Label(sighting.face, text, known=sighting.match.person is not None))
    return draw(image, labels)


def draw(image: Image, labels: Sequence[Label]) -> Image:
    """A copy of the picture in which every label's face has a box and a text.

    Lines and letters scale with the picture and its faces.  A text stays inside the picture, on a
    plate that covers as little as possible of faces and other texts.
    """
    canvas = image.copy()
    if not labels:
        return canvas
    size = _text_size(image, [label.face for label in labels])
    boxes = [_rectangle(label.face) for label in labels]
    for label, box in zip(labels, boxes, strict=True):
        line = max(1, round(size / 10))
        contour = _rounded(box, 3 * line)
        cv2.polylines(canvas, [contour], True, _colours(label)[0], line, cv2.LINE_AA, _SHIFT)
    taken: list[Rectangle] = []
    for i, (label, box) in enumerate(zip(labels, boxes, strict=True)):
        letters = _letters(label.text, size, widest=image.shape[1] - 2 * size)
        others = boxes[:i] + boxes[i + 1 :] + 2 * taken  # to hide a text is the worst
        plate = _place(letters, box, others, image)
        _stamp(canvas, plate, letters, _colours(label)[1])
        taken.append(plate)
    return canvas


def _colours(label: Label) -> tuple[Colour, Colour]:
    return _KNOWN if label.known else _UNKNOWN


def _rectangle(face: Face) -> Rectangle:
    x1, y1, x2, y2 = np.rint(face.box).astype(int).tolist()
    return x1, y1, x2, y2


def _text_size(image: Image, faces: Sequence[Face]) -> int:
    """Height of the letters in pixels: a sixth of the usual face, within what suits the picture."""
    side: int = min(image.shape[:2])
    usual = median(face.size for face in faces)
    return round(max(12, side / 80, min(usual / 6, side / 35)))


def _rounded(rectangle: Rectangle, radius: int) -> NDArray[np.int32]:
    """The contour of a rectangle with round corners, (36, 2) x, y in 16ths of a pixel."""
    x1, y1, x2, y2 = rectangle
    radius = max(0, min(radius, (x2 - x1) // 2, (y2 - y1) // 2))
    left, top, right, bottom = x1 + radius, y1 + radius, x2 - 1 - radius, y2 - 1 - radius
    centres = np.array([(right, bottom), (left, bottom), (left, top), (right, top)])
    turns = np.linspace(0, np.pi / 2, 9) + np.arange(4)[:, None] * np.pi / 2  # (4, 9), clockwise
    arcs = centres[:, None] + radius * np.stack([np.cos(turns), np.sin(turns)], axis=2)  # (4, 9, 2)
    return np.asarray(np.rint(arcs.reshape(-1, 2) * (1 << _SHIFT)), np.int32)


def _place(
    letters: NDArray[np.uint8], box: Rectangle, others: Sequence[Rectangle], image: Image
) -> Rectangle:
    """The plate for a text: of ten places at its face, the first that hides the least.

    A hidden pixel of the face itself counts half: better on one's own chin than on another's.
    """
    high, wide = letters.shape
    height, width, gap = high + high // 4, wide + high, high // 6
    x1, y1, x2, y2 = box
    middle, flush = (x1 + x2 - width) // 2, x2 - width
    above, below = y1 - height - gap, y2 + gap
    outside = [(x, y) for x in (middle, x1, flush) for y in (above, below)]
    outside += [(x2 + gap, y1), (x1 - width - gap, y1)]
    inside = [(middle, y2 - height), (middle, y1)]
    plates = []
    for x, y in outside + inside:
        x = max(0, min(x, image.shape[1] - width))
        y = max(0, min(y, image.shape[0] - height))
        plates.append((x, y, x + width, y + height))
    return min(
        plates,
        key=lambda plate: _overlap(plate, box) / 2 + sum(_overlap(plate, o) for o in others),
    )


def _overlap(a: Rectangle, b: Rectangle) -> int:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height)


def _stamp(canvas: Image, plate: Rectangle, letters: NDArray[np.uint8], colour: Colour) -> None:
    x1, y1, x2, y2 = plate
    high, wide = letters.shape
    cv2.fillPoly(canvas, [_rounded(plate, (y2 - y1) // 5)], colour, cv2.LINE_AA, _SHIFT)
    x, y = x1 + (x2 - x1 - wide) // 2, y1 + (y2 - y1 - high) // 2
    under = canvas[y : y + high, x : x + wide]  # less than the letters in a very small picture
    cover = letters[: under.shape[0], : under.shape[1], None] / 255
    under[:] = np.rint(under + (255 - under) * cover)


def _letters(text: str, size: int, *, widest: int) -> NDArray[np.uint8]:
    """One line of text as coverage, (H, W) in [0, 255], cut to about the width that there is."""
    text = " ".join(text.split())
    font = _font(_typeface(text), size)
    if _missing(font, text):  # then rather without accents than with holes
        text = "".join(
            c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
        )
    if font.getlength(text) > widest:
        while len(text) > 1 and font.getlength(text + "…") > widest:
            text = text[: -1 - len(text) // 20]
        text += "…"
    high = sum(font.getmetrics())
    mask = Pillow.new("L", (max(1, round(font.getlength(text))), high))
    ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=font)
    return np.asarray(mask)


@lru_cache(maxsize=1024)
def _typeface(text: str) -> Path | None:
    """The file of the first font that has the most letters of a text; None: Pillow's own."""
    best, fewest = None, _missing(_font(None, 16), text)
    for file in _system_fonts() if fewest else ():
        with suppress(OSError):  # a damaged font, or one of a fixed size
            missing = _missing(_font(file, 16), text)
            if missing < fewest:
                best, fewest = file, missing
        if not fewest:
            break
    return best


@lru_cache(maxsize=64)
def _font(file: Path | None, size: int) -> ImageFont.FreeTypeFont:
    if file is None:
        return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))
    return ImageFont.truetype(file, size)


@cache
def _system_fonts() -> list[Path]:
    """Fonts of this machine, upright sans serif first."""
    files = [file for folder in _FONT_FOLDERS for file in Path(folder).rglob("*.[ot]t[cf]")]
    order = {name: rank for rank, name in enumerate(_FIRST_FONTS)}

    def preference(file: Path) -> tuple[int, bool, bool, str]:
        styled = any(style in file.stem for style in _STYLES)
        return order.get(file.stem, len(order)), styled, "Sans" not in file.stem, str(file)

    return sorted(files, key=preference)


def _missing(font: ImageFont.FreeTypeFont, text: str) -> int:
    blank = _glyph(font, _NO_CHARACTER)
    return sum(_glyph(font, character) == blank for character in set(text) - {" "})


def _glyph(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
