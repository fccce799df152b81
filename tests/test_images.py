"""Every kind of picture comes out RGB and upright; everything else is a sentence."""

from __future__ import annotations

import importlib.metadata
import os
import re
import struct
import subprocess
import sys
import tomllib
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from disks import forbidden, full_disk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms, features
from tiffs import FLOAT, SIGNED, UNSIGNED, dng, tiff

from mien import files, formats, images
from mien.errors import BadInput, CannotWrite
from mien.formats import FORMATS, Format
from mien.types import Image

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


def scene() -> Image:
    """A 48 x 80 picture that no turn, flip or swap of colours leaves as it was."""
    picture = np.zeros((48, 80, 3), np.uint8)
    picture[:16] = (220, 30, 30)  # red on top
    picture[16:, :32] = (30, 40, 210)  # blue below, on the left
    picture[16:, 32:] = (240, 220, 90)
    return picture


def encode(picture: Image | Pillow.Image, format: str, **options: object) -> bytes:
    file = BytesIO()
    image = picture if isinstance(picture, Pillow.Image) else Pillow.fromarray(picture)
    image.save(file, format, **options)
    return file.getvalue()


def off_by(a: Image, b: Image) -> float:
    assert a.shape == b.shape
    assert a.dtype == np.uint8
    return float(np.abs(a.astype(int) - b).mean())


# Reading


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        pytest.param("AVIF", {"quality": 90}, marks=needs_avif),
    ],
)
def test_every_format_keeps_its_colours(format: str, options: dict[str, object]) -> None:
    assert off_by(images.decode(encode(scene(), format, **options)), scene()) < 3


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}])
def test_both_ways_through_a_jpeg_agree(mode: str, options: dict[str, object]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    picture = Pillow.fromarray(cv2.resize(noise, (313, 207))).convert(mode)
    data = encode(picture, "JPEG", **options)
    fast, slow = images.decode(data), images.decode(data + b"\0")  # only the last marker is fast
    assert np.abs(fast.astype(int) - slow).max() <= 1


STORED: dict[int, Callable[[Image], Image]] = {  # what a camera held that way has on its sensor
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format", ["JPEG", "slow JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_undone(format: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](scene()))
    data = encode(stored, format.split()[-1], exif=exif)
    if format == "slow JPEG":
        data += b"\0"
    assert off_by(images.decode(data), scene()) < 6


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_a_senseless_rotation_is_ignored(value: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = value
    assert off_by(images.decode(encode(scene(), "PNG", exif=exif)), scene()) == 0


def test_a_damaged_exif_block_does_not_cost_the_picture() -> None:
    data = encode(scene(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert off_by(images.decode(data), scene()) < 6


def test_the_orientation_of_a_large_picture_is_told_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 48 * 80 - 1)  # Pillow warns from here on
    with warnings.catch_warnings(action="error"):
        assert images.orientation(encode(scene(), "PNG")) == 1


def test_transparency_lies_on_white() -> None:
    see_through = Pillow.fromarray(scene()).convert("RGBA")
    see_through.putalpha(
        Pillow.fromarray(np.pad(np.full((48, 60), 255, np.uint8), ((0, 0), (0, 20))))
    )
    expected = scene()
    expected[:, 60:] = 255
    for format in ("PNG", "WEBP"):
        data = encode(see_through, format, **({"lossless": True} if format == "WEBP" else {}))
        assert off_by(images.decode(data), expected) == 0


def test_transparency_in_a_palette_or_in_one_colour_lies_on_white() -> None:
    red, white = (220, 30, 30), 255
    expected = scene()
    expected[:16] = white
    palette = Pillow.fromarray(scene()).convert("P", palette=Pillow.Palette.ADAPTIVE, colors=3)
    index = palette.getpixel((0, 0))
    for data in (
        encode(palette, "PNG", transparency=index),
        encode(palette, "GIF", transparency=index),
        encode(scene(), "PNG", transparency=red),
    ):
        assert off_by(images.decode(data), expected) < 2
    grey = Pillow.new("LA", (4, 4), (10, 0))
    assert (images.decode(encode(grey, "PNG")) == white).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_grey_becomes_three_equal_channels(format: str) -> None:
    image = images.decode(encode(Pillow.fromarray(scene()).convert("L"), format))
    assert image.shape == (48, 80, 3)
    assert (image == image[..., :1]).all()
    assert np.ptp(image) > 100


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_one_bit_is_black_and_white(format: str) -> None:
    chess = Pillow.fromarray(np.indices((6, 7)).sum(0) % 2 == 0)
    image = images.decode(encode(chess, format))
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[0, 1].tolist() == [0, 0, 0]


def test_cmyk_jpeg() -> None:
    data = encode(Pillow.fromarray(scene()).convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data  # which means: stored inverted
    assert off_by(images.decode(data), scene()) < 3


def test_ycck_jpeg() -> None:
    inverted = np.asarray(Pillow.fromarray(255 - scene()).convert("YCbCr"))
    planes = np.dstack(
        [255 - inverted, np.zeros((48, 80), np.uint8)]
    )  # Pillow inverts what it saves
    data = bytearray(
        encode(Pillow.frombytes("CMYK", (80, 48), planes.tobytes()), "JPEG", quality=95)
    )
    data[data.index(b"Adobe") + 11] = 2  # the marker's transform: YCCK
    assert off_by(images.decode(bytes(data)), scene()) < 3


def sixteen_bits(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    ramp = np.array([0, 256, 32768, 65535], np.uint16)
    return np.broadcast_to(ramp.reshape(1, 4, *[1] * (len(shape) - 2)), shape).copy()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_sixteen_bits_are_scaled(suffix: str, shape: tuple[int, ...]) -> None:
    image = images.decode(cv2.imencode(suffix, sixteen_bits(shape))[1].tobytes())
    assert image[0].tolist() == [[value] * 3 for value in (0, 1, 128, 255)]


def test_sixteen_bits_high_byte_first() -> None:
    picture = Pillow.frombytes("I;16B", (4, 5), sixteen_bits((5, 4)).astype(">u2").tobytes())
    image = images.decode(encode(picture, "TIFF"))
    assert image[0].tolist() == [[value] * 3 for value in (0, 1, 128, 255)]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_an_animation_gives_its_first_frame(format: str) -> None:
    first, second = Pillow.fromarray(scene()), Pillow.fromarray(255 - scene())
    data = encode(first, format, save_all=True, append_images=[second])
    with Pillow.open(BytesIO(data)) as film:
        assert film.n_frames == 2  # type: ignore[attr-defined]
    assert off_by(images.decode(data), scene()) < 8


@pytest.mark.parametrize("format", [f for f in FORMATS if f.extra == "" and f.name != "raw"])
def test_one_pixel_is_a_picture(tmp_path: Path, format: Format) -> None:
    if format.name == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    for ending in format.endings:
        path = tmp_path / f"dot{ending}"
        path.write_bytes(encode(np.full((1, 1, 3), 250, np.uint8), format.name.upper()))
        assert off_by(images.read(path), np.full((1, 1, 3), 250, np.uint8)) < 4
        assert formats.begun(path.read_bytes()) == formats.named(path) == format


def test_the_array_is_ours() -> None:
    for format in ("JPEG", "PNG"):
        image = images.decode(encode(scene(), format))
        assert image.flags.writeable
        assert image.flags.c_contiguous


# Bad input

NOISE = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)  # does not compress
WHOLE = {
    "photo.jpg": encode(NOISE, "JPEG"),
    "progressive.jpg": encode(NOISE, "JPEG", progressive=True),
    "photo.png": encode(NOISE, "PNG"),
    "photo.webp": encode(NOISE, "WEBP"),
    "photo.gif": encode(NOISE, "GIF"),
    "photo.bmp": encode(NOISE, "BMP"),
    "photo.tif": encode(NOISE, "TIFF"),
    "packed.tif": encode(NOISE, "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
def test_a_truncated_file_is_called_truncated(tmp_path: Path, name: str, part: float) -> None:
    data = WHOLE[name]
    path = tmp_path / name
    path.write_bytes(data[: max(12, int(part * len(data)))])
    with pytest.raises(BadInput) as caught:
        images.read(path)
    assert str(caught.value) == f"{path} is truncated or damaged: copy it again from its source"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_a_picture_without_its_last_byte_is_truncated(format: str) -> None:
    """As is one of several of which the first is there."""
    whole = encode(scene(), format)
    images.decode(whole + b"beyond")
    cut = [whole[:-1], whole[:-2]]
    if format in ("PNG", "GIF", "WEBP"):
        several = [Pillow.fromarray(scene()[:, ::-1])]
        animation = encode(scene(), format, save_all=True, append_images=several)
        assert images.decode(animation).shape == scene().shape
        cut += [animation[:-1], animation[: len(animation) - len(whole) // 4]]
    for data in cut:
        with pytest.raises(BadInput, match="truncated"):
            images.decode(data)


@pytest.mark.parametrize(
    ("photometric", "compression"), [(9, 1), (2, 34712), (2, 9999), (2, 50002)]
)
def test_a_tiff_of_an_unknown_kind_is_not_called_damaged(
    photometric: int, compression: int
) -> None:
    data = bytearray(tiff(whole(COLOURS, 8), 8, photometric))
    place = data.index(struct.pack("<HHI", 259, 3, 1)) + 8
    data[place : place + 2] = struct.pack("<H", compression)
    with pytest.raises(BadInput, match="of an uncommon kind"):
        images.decode(bytes(data))


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("empty.jpg", b"", "is empty (0 bytes)"),
        ("letter.jpg", b"Dear Ann,\n" * 20, "is not a JPEG, PNG, "),
        ("art.psd", b"8BPS\0\1" + bytes(40), "is a Photoshop picture, which is not read"),
        ("film.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "is a JPEG 2000 picture"),
    ],
)
def test_what_is_not_a_picture_is_named(
    tmp_path: Path, name: str, data: bytes, complaint: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        images.read(path)
    assert str(caught.value).startswith(f"{path} {complaint}")
    assert ": " in str(caught.value)  # and what to do


def test_what_is_not_a_file_is_named(tmp_path: Path) -> None:
    missing, pipe, loop = tmp_path / "gone.jpg", tmp_path / "pipe.jpg", tmp_path / "loop.jpg"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    for path, complaint in (
        (tmp_path, "is a folder"),
        (missing, "does not exist"),
        (missing / "below.jpg", "does not exist"),
        (pipe, "is not an ordinary file"),
        (loop, "cannot be read"),
    ):
        with pytest.raises(BadInput) as caught:
            images.read(path)
        assert str(caught.value).startswith(f"{path} {complaint}")


def test_a_file_that_one_may_not_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(WHOLE["photo.jpg"])
    with forbidden(tmp_path), pytest.raises(BadInput, match="Permission denied"):
        images.read(path)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    with path.open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)  # a hole: takes no room
    with pytest.raises(BadInput, match="over the limit"):
        images.read(path)


@pytest.mark.parametrize(("width", "height"), [(12_000, 10_001), (50_000, 50_000)])
def test_too_many_pixels_are_refused_by_the_header(width: int, height: int) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    data += struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 99) + b"IDAT"
    with pytest.raises(BadInput, match="more than 120 megapixels"):
        images.decode(data)


MEASURE = """
import resource, sys
from pathlib import Path
from mien import images

def peak():
    status = Path("/proc/self/status")  # getrusage counts the parent's memory here
    if status.exists():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes

before = peak()
shape = images.read(sys.argv[1]).shape
print(*shape, peak() - before)
"""


def test_a_hundred_megapixels_take_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    exif = Pillow.Exif()
    exif[0x0112] = 6  # turned, the costliest
    Pillow.new("RGB", (12_500, 8_000), (200, 100, 50)).save(path, exif=exif)
    command = [sys.executable, "-W", "error", "-c", MEASURE, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    height, width, _, taken = map(int, result.stdout.split())
    assert (height, width) == (12_500, 8_000)
    assert taken < 7 * height * width
    assert not result.stderr


def decodes_or_complains(data: bytes) -> None:
    try:
        image = images.decode(data)
    except BadInput:
        return
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)


@given(st.binary(max_size=400), st.sampled_from(["", *WHOLE]))
@settings(deadline=None)
def test_random_bytes_raise_nothing_else(data: bytes, name: str) -> None:
    decodes_or_complains(WHOLE.get(name, b"")[:24] + data)


@given(
    st.sampled_from(list(WHOLE)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
)
@settings(deadline=None, max_examples=200)
def test_mutated_and_truncated_pictures_raise_nothing_else(
    name: str, changes: list[tuple[float, int]], kept: float
) -> None:
    data = bytearray(WHOLE[name])
    for place, value in changes:
        data[int(place * len(data))] = value
    decodes_or_complains(bytes(data[: round(kept * len(data))]))


def test_the_table_of_formats_is_complete() -> None:
    page = (Path(__file__).parents[1] / "docs" / "photos.md").read_text("utf-8")
    for format in FORMATS:
        (row,) = re.findall(rf"^\| {format.name} \| (.*?) \| (.*?) \|", page, re.M)
        assert re.findall(r"`(.*?)`", row[0]) == list(format.endings)
        assert (f"'.[{format.extra}]'" in row[1]) == bool(format.extra)


# Optional packages

LARGE = np.kron(scene(), np.ones((4, 4, 1), np.uint8))


def heic(stored: Image, exif: bytes) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="nothing else here writes HEIC")
    file = BytesIO()
    pillow_heif.from_pillow(Pillow.fromarray(stored)).save(file, quality=95, exif=exif)
    return file.getvalue()


def jxl(stored: Image, exif: bytes) -> bytes:
    pytest.importorskip("pillow_jxl", reason="needs the extra jxl")
    return encode(stored, "JXL", lossless=True, exif=exif)


def mosaic(stored: Image) -> NDArray[np.uint16]:
    """What a sensor of red, green, green and blue pixels sees of a picture."""
    rows, columns = np.indices(stored.shape[:2]) % 2
    seen = np.choose(rows + columns, np.moveaxis(stored, 2, 0))
    return np.asarray(seen, np.uint16) * 100


def with_preview(stored: Image, orientation: int, shrink: int = 1) -> bytes:
    preview = np.ascontiguousarray(stored[::shrink, ::shrink])
    size = preview.shape[1], preview.shape[0]
    return dng(encode(preview, "JPEG", quality=95), size, mosaic(stored), orientation)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format", ["HEIC", "JPEG XL", "AVIF", "raw"])
def test_what_optional_packages_read_is_upright(format: str, orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](LARGE))
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    if format == "HEIC":
        data = heic(stored, exif.tobytes())
    elif format == "JPEG XL":
        data = jxl(stored, exif.tobytes())
    elif format == "AVIF":
        data = encode(stored, "AVIF", quality=95, exif=exif)
    else:
        pytest.importorskip("rawpy", reason="needs the extra raw")
        data = with_preview(stored, orientation)
    assert off_by(images.decode(data), LARGE) < 2


def with_aperture(data: bytes, size: tuple[int, int], box: tuple[int, int, int, int]) -> bytes:
    """An AVIF or HEIC of which a part is to be seen: left, top, width and height."""

    def boxes(start: int, end: int) -> dict[bytes, tuple[int, int]]:
        found = {}
        while start < end:
            length = int.from_bytes(data[start : start + 4])
            found[data[start + 4 : start + 8]] = (start, start + length)
            start += length
        return found

    meta = boxes(0, len(data))[b"meta"]
    inside = boxes(meta[0] + 12, meta[1])
    properties = boxes(inside[b"iprp"][0] + 8, inside[b"iprp"][1])
    (held, end), (uses, _) = properties[b"ipco"], properties[b"ipma"]
    right, down = (2 * box[i] + box[i + 2] - size[i] for i in (0, 1))  # twice the middle's
    aperture = struct.pack(">I4s4IiIiI", 40, b"clap", box[2], 1, box[3], 1, right, 2, down, 2)
    new = bytearray(data)
    counted = uses + 18  # how many properties the first picture has
    new.insert(counted + 1, 0x80 | 1 + len(boxes(held + 8, end)))  # before it is turned
    new[counted] += 1
    new[end:end] = aperture
    for start, more in ((meta[0], 41), (inside[b"iprp"][0], 41), (held, 40), (uses + 40, 1)):
        struct.pack_into(">I", new, start, int.from_bytes(new[start : start + 4]) + more)
    place = inside[b"iloc"][0]  # where the pixels lie: from a base, or without one
    place += 20 if data[place + 13] >> 4 else 22
    struct.pack_into(">I", new, place, int.from_bytes(new[place : place + 4]) + 41)
    return bytes(new)


@pytest.mark.parametrize("orientation", [1, 2, 6])
@pytest.mark.parametrize("format", ["HEIC", "AVIF"])
def test_a_clean_aperture_is_what_is_seen(format: str, orientation: int) -> None:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    stored = np.ascontiguousarray(STORED[orientation](LARGE))
    height, width, _ = stored.shape
    framed = np.full((height + 32, width + 48, 3), [255, 0, 0], np.uint8)
    framed[8 : 8 + height, 16 : 16 + width] = stored
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    if format == "HEIC":
        data = heic(framed, exif.tobytes())
    else:
        data = encode(framed, "AVIF", quality=95, subsampling="4:4:4", exif=exif)
    shown = with_aperture(data, (width + 48, height + 32), (16, 8, width, height))
    found = images.decode(shown)
    assert found.shape == LARGE.shape and found.flags.c_contiguous
    assert off_by(found, LARGE) < 4


@pytest.mark.parametrize("orientation", STORED)
def test_a_raw_file_with_a_small_preview_is_developed(orientation: int) -> None:
    pytest.importorskip("rawpy", reason="needs the extra raw")
    stored = np.ascontiguousarray(STORED[orientation](LARGE))
    found = images.decode(with_preview(stored, orientation, shrink=8))
    assert found.shape == LARGE.shape
    red, _, blue = np.moveaxis(found.astype(int), 2, 0)
    assert red[2, 2] > blue[2, 2] + 50 and blue[-3, 2] > red[-3, 2] + 50


def test_a_sensor_that_sees_no_colours() -> None:
    pytest.importorskip("rawpy", reason="needs the extra raw")
    sensor = np.linspace(0, 60_000, 64).astype(np.uint16)[None, :, None].repeat(48, 0)
    told = {271: (2, b"Nobody\0"), 50706: (1, [1, 4, 0, 0]), 50708: (2, b"No camera\0")}
    found = images.decode(tiff(sensor, 16, 34892, tags=told))
    assert found.shape == (48, 64, 3) and (found == found[..., :1]).all()
    assert found[20, 60, 0] > found[20, 4, 0] + 50


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (200, 100), (640, 480), (9000, 3), (3, 9000)])
def test_the_size_of_a_jpeg_xl_is_known_before_it_is_read(size: tuple[int, int]) -> None:
    pytest.importorskip("pillow_jxl", reason="needs the extra jxl")
    data = encode(Pillow.new("RGB", size), "JXL")
    with pytest.raises(BadInput, match="more than 0 megapixels"):
        images.decode(data, pixels=0)
    assert images.decode(data, pixels=size[0] * size[1]).shape == (size[1], size[0], 3)


@pytest.mark.parametrize(
    ("name", "head", "package"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic", "pi-heif"),
        ("a.jxl", b"\xff\x0a\x10\xb0\x13\x08", "pillow-jxl-plugin"),
        ("a.cr3", b"\0\0\0\x18ftypcrx ", "rawpy"),
    ],
)
def test_what_reads_a_format_is_named_where_it_is_missing(
    name: str, head: bytes, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pi_heif", "pillow_jxl", "rawpy"):
        monkeypatch.setitem(sys.modules, module, None)
    declared = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    extras = declared["project"]["optional-dependencies"]
    requirements = [f"{one[0]}; extra == '{name}'" for name, one in extras.items()]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: requirements)
    with pytest.raises(BadInput, match=rf"^{name}, .* needs .*pip install '{package}>"):
        images.decode(head + bytes(40), name)


# Whole or not


def damaged(data: bytes) -> None:
    with pytest.raises(BadInput, match=r"^the picture is truncated or damaged: "):
        images.decode(data)


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_a_jpeg_is_whole_or_refused(options: dict[str, object]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    data = encode(np.asarray(cv2.resize(noise, (313, 207)), np.uint8), "JPEG", **options)
    third = len(data) // 3
    damaged(data[:third] + bytes(len(data) - third - 2) + b"\xff\xd9")  # as of a stopped download
    damaged(data[:third] + b"\xff\xd9")
    damaged(data[:-2])
    images.decode(data + b"whatever a phone leaves there")


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_that_holds_for_grey_and_inks(mode: str) -> None:
    data = encode(Pillow.fromarray(NOISE).convert(mode), "JPEG")
    damaged(data[: len(data) // 2] + b"\xff\xd9")


def test_no_library_writes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    raw = with_preview(LARGE, 1, 4)
    measured = tiff(COLOURS, 32, 2, kind=FLOAT)
    for whole in (*WHOLE.values(), raw, measured):
        for data in (whole[:-20] + whole[-2:], whole[: len(whole) // 2], whole[:99] + whole[120:]):
            with suppress(BadInput):
                images.decode(data)
    assert capfd.readouterr() == ("", "")


def test_libraw_takes_no_line_of_others(capfd: pytest.CaptureFixture[str]) -> None:
    if not hasattr(os, "memfd_create"):
        pytest.skip("LibRaw is silenced on Linux alone")
    with images._quiet_libraw():
        os.write(2, b"of others\nunknown file: data corrupted at 7\n")
    os.write(2, b"after it\n")
    assert capfd.readouterr().err == "of others\nafter it\n"


# What holds a reader


def test_a_jpeg_of_many_scans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(NOISE, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(BadInput, match="more than 64 scans"):
        images.decode(data[:-2] + 99 * data[last:-2] + b"\xff\xd9")
    monkeypatch.setattr(images, "SCANNED", 30 * NOISE.size // 3)
    with pytest.raises(BadInput, match="more than 30 scans"):
        images.decode(data[:-2] + 40 * data[last:-2] + b"\xff\xd9")


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def test_a_picture_of_many_parts_is_refused() -> None:
    png = encode(NOISE, "PNG")
    with pytest.raises(BadInput, match="more than 100000 parts"):
        images.decode(png[:33] + 200_000 * chunk(b"tEXt", b"a\0b") + png[33:])
    jpeg = encode(NOISE, "JPEG")
    with pytest.raises(BadInput, match="more than 10000 parts"):
        images.decode(jpeg[:2] + 20_000 * b"\xff\xfe\0\2" + jpeg[2:])
    gif = encode(NOISE, "GIF")
    start = 13 + (6 << (gif[10] & 7))
    assert off_by(images.decode(gif[:start] + b"!\xfe\1a\0" + gif[start:]), NOISE) < 30
    for comments in (20_000 * b"!\xfe\1a\0", b"!\xfe" + 20_000 * b"\1a" + b"\0"):
        with pytest.raises(BadInput, match="more than 10000 parts"):
            images.decode(gif[:start] + comments + gif[start:])


def test_a_picture_of_one_long_row_is_refused() -> None:
    data = encode(Pillow.new("1", (1, 200_000)), "PNG")
    with pytest.raises(BadInput, match="a side of 200000 pixels"):
        images.decode(data)


# Every kind


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP", b"tEXt"])
def test_what_else_a_png_holds_does_not_matter(kind: bytes) -> None:
    png = encode(scene(), "PNG")
    large = {
        b"zTXt": b"history\0\0" + zlib.compress(bytes(2_000_000)),
        b"iTXt": b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2_000_000)),
        b"iCCP": b"profile\0\0" + zlib.compress(bytes(2_000_000)),
        b"tEXt": b"comment\0hello",
    }[kind]
    odd = bytearray(chunk(kind, large))
    for part in (bytes(odd), bytes(odd[:-1]) + bytes([odd[-1] ^ 1])):
        assert off_by(images.decode(png[:33] + part + png[33:]), scene()) == 0


def test_a_png_turned_by_its_xmp() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    png = encode(np.ascontiguousarray(STORED[6](scene())), "PNG")
    for packed, text in ((b"\0", xmp), (b"\1", zlib.compress(xmp))):
        part = chunk(b"iTXt", b"XML:com.adobe.xmp\0" + packed + b"\0\0\0" + text)
        turned = (
            png[:33] + part + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000))) + png[33:]
        )
        assert off_by(images.decode(turned), scene()) == 0
        assert images.orientation(turned) == 6


def png(samples: NDArray[np.uint16], bits: int, kind: int, *parts: bytes) -> bytes:
    """A PNG of samples (H, W, samples a pixel)."""
    height, width, _ = samples.shape
    digits = samples[..., None] >> np.arange(bits - 1, -1, -1) & 1
    rows = np.packbits(digits.reshape(height, -1).astype(np.uint8), axis=1)
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = (chunk(b"IHDR", head), *parts, chunk(b"IDAT", zlib.compress(pixels)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


RAMP = np.linspace(0, 1, 16)
GREY = np.broadcast_to(RAMP[None, :, None], (6, 16, 1))
COLOURS = np.stack(np.broadcast_arrays(RAMP, RAMP[::-1], RAMP[:1] + 0.3), -1)[None].repeat(6, 0)


def whole(shares: NDArray[np.float64], bits: int) -> NDArray[np.uint64]:
    samples: NDArray[np.uint64] = np.rint(shares * (2**bits - 1)).astype(np.uint64)
    return samples


def shows(data: bytes, shares: NDArray[np.float64], bits: int) -> None:
    """That a picture shows these shares of white, as exactly as its bits can."""
    told = np.rint(whole(shares, bits) / (2**bits - 1) * 255)
    found = images.decode(data)
    assert np.abs(found - np.broadcast_to(told, found.shape)).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_every_depth_of_png(bits: int) -> None:
    def of(shares: NDArray[np.float64], kind: int, *parts: bytes) -> bytes:
        return png(whole(shares, bits).astype(np.uint16), bits, kind, *parts)

    shows(of(GREY, 0), GREY, bits)
    shows(of(GREY, 0, chunk(b"tRNS", b"\0\0")), np.where(whole(GREY, bits), GREY, 1), bits)
    if bits <= 8:
        palette = np.linspace(0, 255, 2**bits).round().astype(np.uint8).repeat(3)
        shows(of(GREY, 3, chunk(b"PLTE", palette.tobytes())), GREY, bits)
    if bits >= 8:
        shows(of(COLOURS, 2), COLOURS, bits)
        seen = np.concatenate([COLOURS, np.broadcast_to(0.5, (6, 16, 1))], 2)
        shows(of(seen, 6), (COLOURS + 1) / 2, bits)
        shows(of(np.dstack([GREY, GREY]), 4), GREY * GREY + 1 - GREY, bits)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64])
def test_every_depth_of_tiff_is_right_or_refused(bits: int, order: str) -> None:
    read = 0
    for shares, photometric in ((GREY, 1), (GREY, 0), (COLOURS, 2), (1 - COLOURS, 5)):
        samples = whole(1 - shares if photometric == 0 else shares, min(bits, 52))
        samples <<= np.uint64(max(0, bits - 52))
        if photometric == 5:
            samples = np.dstack([samples, np.zeros_like(samples[..., :1])])
        for planar in (False, True) if photometric >= 2 else (False,):
            data = tiff(samples, bits, photometric, order=order, planar=planar)
            try:
                shows(data, COLOURS if photometric == 5 else shares, min(bits, 52))
                read += 1
            except BadInput as error:
                assert re.search(r"bits|kind", str(error)), error
                assert bits not in (1, 2, 4, 8) or (photometric >= 2 and bits != 8)
    assert read == {8: 6, 16: 4, 32: 3, 64: 3}.get(bits, read)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1, 2])
def test_a_tiff_of_measurements_is_as_its_samples_say(photometric: int, order: str) -> None:
    shares = COLOURS if photometric == 2 else GREY
    stored = 1 - shares if photometric == 0 else shares

    def of(samples: NDArray[np.number], bits: int, kind: int) -> bytes:
        return tiff(samples, bits, photometric, kind=kind, order=order)

    for bits in (32, 64):
        shows(of(stored, bits, FLOAT), shares, 52)
        shows(of(stored * 255, bits, FLOAT), shares, 52)
        lost = of(np.where(shares > 0.9, np.nan, stored), bits, FLOAT)
        shows(lost, np.where(shares > 0.9, float(photometric == 0), shares), 52)
        shows(of(whole(stored, 8), bits, UNSIGNED), shares, 8)  # few bits in many
    for bits in (8, 16, 32, 64):
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        samples = np.clip(np.rint(low + stored * (high - low)), low, high - 2 ** max(0, bits - 54))
        shows(of(samples.astype(np.int64), bits, SIGNED), shares, min(bits, 52))
        positive = whole(stored, min(bits, 52) - 1) << np.uint64(max(0, bits - 52))
        shows(of(positive, bits, SIGNED), shares, min(bits, 52) - 1)


def test_a_tiff_of_measurements_is_upright_seen_through_bounded_and_whole() -> None:
    corner = np.zeros((6, 4, 3))
    corner[:2, :1] = [1, 0.5, 0]
    for turn in range(1, 9):
        common = images.decode(tiff(whole(corner, 8), 8, 2, tags={274: (3, [turn])}))
        found = images.decode(tiff(corner, 32, 2, kind=FLOAT, tags={274: (3, [turn])}))
        assert np.abs(found.astype(int) - common).max() <= 1
    seen = np.concatenate([COLOURS, np.broadcast_to(0.5, (6, 16, 1))], 2)
    shows(tiff(seen, 32, 2, kind=FLOAT, extra=[2]), (COLOURS + 1) / 2, 52)
    shows(tiff(seen, 32, 2, kind=FLOAT, extra=[0]), COLOURS, 52)
    data = tiff(np.zeros((30, 40, 3)), 64, 2, kind=FLOAT)
    with pytest.raises(BadInput, match="megapixels"):
        images.decode(data, pixels=2000)
    for size in range(0, len(data), 999):
        with pytest.raises(BadInput):
            images.decode(data[:size])
    for uncommon in (
        tiff(GREY, 16, 1, kind=FLOAT),
        tiff(whole(GREY, 24), 24, 1),
        tiff(COLOURS, 32, 2, kind=FLOAT, planar=True),
    ):
        with pytest.raises(BadInput, match="uncommon kind"):
            images.decode(uncommon)


def test_palettes_transparency_and_colour_spaces_of_tiff() -> None:
    for bits in (1, 2, 4, 8):
        palette = np.linspace(0, 65535, 2**bits).round().astype(int)[:, None].repeat(3, 1)
        shows(tiff(whole(GREY, bits), bits, 3, palette=palette), GREY, bits)
        shows(
            tiff(whole(GREY, bits), bits, 1, fill=2)
            if bits < 8
            else encode(Pillow.fromarray(whole(GREY, 8)[:, :, 0].astype(np.uint8)), "TIFF"),
            GREY,
            bits,
        )
    seen = np.concatenate([COLOURS, np.broadcast_to(0.5, (6, 16, 1))], 2)
    for bits in (8, 16):
        shows(tiff(whole(seen, bits), bits, 2, extra=[2]), (COLOURS + 1) / 2, bits)
        shows(tiff(whole(seen, bits), bits, 2, extra=[0]), COLOURS, bits)
        faded = np.concatenate([COLOURS / 2, np.broadcast_to(0.5, (6, 16, 1))], 2)
        found = images.decode(tiff(whole(faded, bits), bits, 2, extra=[1])) / 255
        assert np.abs(found - (COLOURS + 1) / 2).max() < 0.01
    grey = np.broadcast_to([100, 128, 128], (6, 16, 3))
    assert (images.decode(tiff(grey, 8, 6, tags={530: (3, [1, 1])})) == 100).all()


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_inks_with_a_profile_are_as_without(format: str) -> None:
    inks = Pillow.fromarray(scene()).convert("CMYK")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(
        inks, format, icc_profile=profile, **({"quality": 95} if format == "JPEG" else {})
    )
    assert off_by(images.decode(data), scene()) < 3


# Writing


def test_png_is_exact_and_jpeg_is_near(tmp_path: Path) -> None:
    for name, error in (("new/folder/a.png", 0), ("a.jpg", 3), ("b.JPEG", 3)):
        images.write(tmp_path / name, scene())
        assert off_by(images.read(tmp_path / name), scene()) <= error


def test_only_names_of_formats_we_write(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"must end in \.jpg, \.jpeg, \.png"):
        images.write(tmp_path / "a.gif", scene())
    with pytest.raises(BadInput, match="70000 x 2 pixels as JPEG"):
        images.write(tmp_path / "a.jpg", np.zeros((2, 70_000, 3), np.uint8))
    images.write(tmp_path / "a.png", np.zeros((2, 70_000, 3), np.uint8))


def test_shares_are_no_picture_to_write(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not float64"):
        images.write(tmp_path / "a.png", np.zeros((2, 2, 3)))  # type: ignore[arg-type]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    files.write_atomically(tmp_path / "ours", b"new")
    (tmp_path / "plain").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with full_disk(room=4096), pytest.raises(CannotWrite, match=r"a\.png cannot be written"):
        files.write_atomically(path, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_one_may_not_write_to(tmp_path: Path) -> None:
    with forbidden(tmp_path), pytest.raises(CannotWrite, match="Permission denied"):
        images.write(tmp_path / "a.png", scene())
    assert not list(tmp_path.iterdir())


def test_a_path_through_a_file_or_onto_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png/inside").mkdir(parents=True)
    for path in (tmp_path / "file/a.png", tmp_path / "folder.png"):
        with pytest.raises(CannotWrite, match="cannot be written"):
            images.write(path, scene())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]
