"""Every kind of picture comes out RGB and upright; everything else is a sentence."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
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
from PIL import features

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


def test_a_jpeg_without_its_last_byte_is_truncated() -> None:
    with pytest.raises(BadInput, match="truncated"):
        images.decode(WHOLE["photo.jpg"][:-1])


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("empty.jpg", b"", "is empty (0 bytes)"),
        ("letter.jpg", b"Dear Ann,\n" * 20, "is not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"),
        ("phone.jpg", b"\0\0\0\x18ftypheic" + bytes(40), "is not a JPEG"),
        ("float.tif", encode(Pillow.new("F", (2, 2)), "TIFF"), "has 32 bits a sample"),
        ("integer.tif", encode(Pillow.new("I", (2, 2)), "TIFF"), "has 32 bits a sample"),
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
