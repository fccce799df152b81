"""Videos of textured squares, which a fake detector takes for faces."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import MeanColours, colours

from mien.recognition import align
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.types import Face, Image

av = pytest.importorskip("av", reason="videos need the package av")

WIDTH, HEIGHT, RATE = 320, 240, 30


class Blobs:
    """A face for each bright patch on black, from left to right; none smaller than 10 pixels."""

    def __init__(self) -> None:
        self.pictures = 0  # how many it has looked at

    def __call__(self, image: Image) -> list[Face]:
        self.pictures += 1
        bright = (image.max(axis=2) > 50).astype(np.uint8)
        bright = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
        stats = cv2.connectedComponentsWithStats(bright)[2][1:]
        found = []
        for left, top, width, height, _ in sorted(stats.tolist()):
            if min(width, height) >= 10:
                box = np.array([left, top, left + width, top + height], np.float32)
                points = align.TEMPLATE / align.SIZE * (width, height) + (left, top)
                found.append(Face(box, points.astype(np.float32), 0.9))
        return found


def patch(seed: int, side: int = 60) -> Image:
    """The face of the person of a seed, with a texture that can be followed."""
    quarters = np.clip(colours(seed).astype(int), 80, 230)
    face = quarters.repeat(side // 2, axis=0).repeat(side // 2, axis=1)
    noise = np.random.default_rng(seed).integers(-24, 25, (side // 4, side // 4, 1))
    textured: Image = (face + noise.repeat(4, axis=0).repeat(4, axis=1)).astype(np.uint8)
    return textured


def picture(*people: tuple[int, float, float], side: int = 60) -> Image:
    """Black, with a person of a seed at each left and top."""
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for seed, x, y in people:
        left, top = round(x), round(y)
        canvas[top : top + side, left : left + side] = patch(seed, side)
    return canvas


def write_clip(
    path: Path,
    pictures: Iterable[Image],
    *,
    times: Sequence[float] | None = None,
    sound: bool = False,
    codec: str = "libx264",
    pixel_shape: Fraction | None = None,
) -> Path:
    """Leave pictures in a video, evenly or at given seconds, perhaps with a tone."""
    with av.open(str(path), "w") as out:
        options = {"crf": "12", "g": "30"} if codec == "libx264" else {"qscale": "2"}
        stream = out.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 3000)
        if pixel_shape:
            stream.codec_context.sample_aspect_ratio = pixel_shape
        tone = out.add_stream("aac", rate=16000, layout="mono") if sound else None
        number = 0
        for number, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            time = times[number] if times else number / RATE
            frame.pts, frame.time_base = round(time * 3000), Fraction(1, 3000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone:
            for block in range((number + 1) * 16000 // RATE // 1024):
                wave = np.sin(np.arange(1024) / 5).astype(np.float32)[None] / 2
                heard = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                heard.sample_rate, heard.pts = 16000, block * 1024
                out.mux(tone.encode(heard))
            out.mux(tone.encode(None))
    return path


def turn(path: Path, a: int = 0, b: int = 1, c: int = -1, d: int = 0) -> Path:
    """Mark an MP4 file as to be shown turned, by default as filmed with the camera on its side.

    Args:
        path: of the file.
        a, b, c, d: of the display matrix: x and y are shown at ax + cy and bx + dy.
    """
    data = path.read_bytes()
    place = data.index(_matrix(1, 0, 0, 1), data.index(b"tkhd"))
    path.write_bytes(data[:place] + _matrix(a, b, c, d) + data[place + 36 :])
    return path


def _matrix(a: int, b: int, c: int, d: int) -> bytes:
    one = 1 << 16
    return struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)


def model() -> Model:
    """A model that names patches, by their colours."""
    return Model(Blobs(), MeanColours(), Policy(0.9))
