"""Fuzz what reads pictures and finds faces in them: python tests/fuzz/pictures.py --seconds 600

Pictures of every format are changed at random and looked at in a process of its own.  A finding is
whatever is neither a picture of the size that its header tells nor a BadInput: the end of the
process, more than `LIMIT` seconds or `ROOM` bytes, any other error, a word on stderr.  What led
there is left in the present folder.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

sys.path.append(str(Path(__file__).parents[1]))
from tiffs import FLOAT, SIGNED, dng, tiff

from mien import formats, images
from mien.errors import BadInput
from mien.recognition import detect
from mien.types import Image

LIMIT = 20  # seconds for a picture
ROOM = 700 << 20  # bytes that the process may take beyond what it has at its start
PIXELS = 4_000_000


def seeds() -> Iterator[tuple[str, bytes]]:
    """Pictures, by what they are."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    picture = Pillow.fromarray(noise)
    exif = Pillow.Exif()
    exif[0x0112] = 6

    def saved(form: str, of: Pillow.Image = picture, **options: object) -> bytes:
        file = io.BytesIO()
        of.save(file, form, **options)
        return file.getvalue()

    yield "jpeg", saved("JPEG", exif=exif)
    yield "progressive", saved("JPEG", progressive=True)
    yield "grey jpeg", saved("JPEG", picture.convert("L"))
    yield "cmyk jpeg", saved("JPEG", picture.convert("CMYK"))
    yield "mpo", saved("MPO", save_all=True, append_images=[picture])
    for mode in ("1", "L", "P", "LA", "RGBA", "I;16"):
        yield f"png {mode}", saved("PNG", picture.convert("L").convert(mode))
    yield "apng", saved("PNG", save_all=True, append_images=[picture], exif=exif)
    yield "webp", saved("WEBP", exif=exif)
    yield "webp animation", saved("WEBP", save_all=True, append_images=[picture], lossless=True)
    yield "gif", saved("GIF", save_all=True, append_images=[picture.rotate(90)])
    yield "bmp", saved("BMP")
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        yield f"tiff {compression}", saved("TIFF", compression=compression)
    for bits, photometric in ((1, 0), (2, 1), (12, 1), (16, 0), (16, 2), (8, 5)):
        depth = {2: 3, 5: 4}.get(photometric, 1)
        samples = np.random.default_rng(1).integers(0, 1 << bits, (20, 24, depth))
        yield f"tiff {bits} {photometric}", tiff(samples, bits, photometric, order=">")
    yield "tiff float", tiff(np.ones((20, 24, 3)), 32, 2, kind=FLOAT)
    yield "tiff signed", tiff(np.arange(-240, 240).reshape(20, 24, 1), 16, 0, kind=SIGNED)
    floats = Pillow.fromarray(np.ones((20, 24), np.float32))
    yield "tiff float packed", saved("TIFF", floats, compression="tiff_lzw")
    with suppress(KeyError, OSError):
        yield "avif", saved("AVIF", exif=exif)
    with suppress(ImportError):
        import pillow_heif

        file = io.BytesIO()
        pillow_heif.from_pillow(picture).save(file, quality=50)
        yield "heic", file.getvalue()
    with suppress(ImportError):
        import pillow_jxl  # noqa: F401 - which registers itself

        yield "jxl", saved("JXL")
    sensor = np.random.default_rng(2).integers(0, 60000, (60, 80))
    yield "dng", dng(saved("JPEG"), (80, 60), sensor, 6)


def changed(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A picture after some changes."""
    found = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 3, 6))):
        place = rng.randrange(len(found) + 1)
        if rng.random() < 0.5:
            place = min(place, rng.randrange(200))  # headers are short
        length = rng.choice((1, 2, 4, 16, 256, 4096))
        kind = rng.randrange(8)
        if kind == 0:
            found[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            found[place : place + length] = rng.randbytes(length)
        elif kind == 2:
            extreme = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
            order = rng.choice(("little", "big"))
            found[place : place + 4] = extreme.to_bytes(4, order)  # type: ignore[arg-type]
        elif kind == 3:
            del found[place:]
        elif kind == 4:
            del found[place : place + length]
        elif kind == 5:
            found[place:place] = bytes(found[place : place + length]) * rng.choice((1, 2, 30, 3000))
        elif kind == 6:
            found[place : place + length] = bytes(length)
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            found[place:place] = other[start : start + length]
        del found[8 << 20 :]
        if not found:
            break
    return bytes(found)


def look(data: bytes, find: Callable[[Image], object]) -> str:
    """Read a picture and find the faces in it; how that ended."""
    try:
        image = images.decode(data, "it", pixels=PIXELS)
    except BadInput as error:
        assert str(error).startswith("it") and ": " in str(error), f"no sentence: {error}"
        return "refused"
    height, width, depth = image.shape
    assert image.dtype == np.uint8 and depth == 3 and height * width <= PIXELS
    format = formats.begun(data)
    if format and format.extra == "" and format.name != "TIFF":
        with suppress(*images._DAMAGED), images._opened(data, format) as picture:
            assert sorted(picture.size) == sorted((width, height)), "another size"
    if height * width < 100_000 and max(height, width) < 2_000:
        find(image)
    return "read"


def _work(pipe: Connection, seed: int) -> None:
    find = detect.named("mtcnn", threads=1)
    find(np.zeros((60, 80, 3), np.uint8))
    warnings.simplefilter("ignore")  # of Pillow's, as this looks at sizes
    all_seeds = list(seeds())
    data = [one for _, one in all_seeds]
    words = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - to the end of the process
    os.dup2(words.fileno(), 2)
    limit = _peak() + ROOM
    for number in iter(pipe.recv, None):
        rng = random.Random(f"{seed} {number}")
        name, one = all_seeds[number % len(all_seeds)]
        one = changed(one, data, rng)
        pipe.send((name, one))
        try:
            ended = look(one, find)
        except BaseException:
            ended = traceback.format_exc()
        if _peak() > limit:
            ended = f"took {_peak() >> 20} MB"
        if said := os.fstat(words.fileno()).st_size:
            ended = f"said {os.pread(words.fileno(), said, 0)[:300]!r}"
            words.truncate(0)
            words.seek(0)
        pipe.send(ended)


def _peak() -> int:
    """Bytes of memory that this process has taken at most."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def run(seconds: float, seed: int = 0) -> tuple[Counter[str], list[tuple[str, bytes]]]:
    """How many pictures ended how, and what was found."""
    counts: Counter[str] = Counter()
    found: list[tuple[str, bytes]] = []
    number, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_work, args=(theirs, seed))
        process.start()
        theirs.close()
        name, data = "", b""
        try:
            while time.monotonic() < end:
                pipe.send(number)
                number += 1
                name, data = pipe.recv()
                if not pipe.poll(LIMIT):
                    raise TimeoutError(f"took more than {LIMIT} s")
                ended = pipe.recv()
                counts[f"{name}: {ended}" if ended in ("read", "refused") else "found"] += 1
                if ended not in ("read", "refused"):
                    found.append((f"{name}: {ended}", data))
            pipe.send(None)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            process.join()
            found.append((f"{name}: the process ended with {process.exitcode}", data))
        except TimeoutError as error:
            process.kill()
            found.append((f"{name}: {error}", data))
        process.join()
    return counts, found


def main() -> None:
    """Run until the time is over."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    counts, found = run(asked.seconds, asked.seed)
    for name, count in sorted(counts.items()):
        print(f"{count:8,} {name}")
    for number, (what, data) in enumerate(found):
        Path(f"found-{number}").write_bytes(data)
        print(f"found-{number}: {what}")
    print(f"{sum(counts.values()):,} pictures, {len(found)} found")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
