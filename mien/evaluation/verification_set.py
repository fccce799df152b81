"""Verification sets: aligned crops in pairs, and whether each pair is one person.

Two forms are read.  InsightFace's files, `lfw.bin` and its like, are pickles, which may call
anything; most were written by Python 2.  Only the operations that lists of bytes need are known
here, every name stands for an inert value, and whatever else a file asks for is refused and named.
In the original's layout, which `mien prepare` can write, a set is a folder `lfw` of pictures in the
order of their names, and `lfw_list.npy` beside it: of each pair, whether it is one person.
"""

from __future__ import annotations

import io
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.lib.format import read_array
from numpy.typing import NDArray

from mien.errors import BadInput
from mien.formats import EXTENSIONS
from mien.images import decode, read_bytes
from mien.recognition.align import SIZE
from mien.types import Crops, Image

_NAMES = {
    "builtins.bytes",
    "builtins.bytearray",
    "_codecs.encode",
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
}
_OPERATIONS = """
    MARK STOP PROTO FRAME GLOBAL STACK_GLOBAL INST REDUCE BUILD MEMOIZE
    GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    LIST EMPTY_LIST APPEND APPENDS TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3
"""
_MALFORMED = (  # what unpickling a damaged file raises
    *(pickle.UnpicklingError, struct.error, EOFError, AttributeError, LookupError),
    *(TypeError, ValueError, OverflowError),
)


@dataclass(frozen=True, slots=True, eq=False)
class VerificationSet:
    """Pairs of crops: pictures 2 i and 2 i + 1 are pair i."""

    name: str  # such as lfw
    images: list[bytes]  # 2 N encoded pictures, most often JPEG of 112 x 112
    same: NDArray[np.bool_]  # (N,) whether both show one person

    def batches(self, size: int) -> list[range]:
        """The numbers of all pictures, in batches of a size."""
        places = range(len(self.images))
        return [places[start : start + size] for start in places[::size]]

    def crops(self, places: range) -> Crops:
        """Some of the pictures, (n, 112, 112, 3).

        Raises:
            BadInput: one is damaged or has another size.
        """
        return np.stack([self._crop(place) for place in places])

    def _crop(self, place: int) -> Image:
        name = f"picture {place} of {self.name}"
        image = decode(self.images[place], name)
        height, width, _ = image.shape
        if (height, width) != (SIZE, SIZE):
            raise BadInput(
                f"{name} has {width} x {height} pixels: "
                f"a verification set holds aligned faces of {SIZE} x {SIZE}"
            )
        return image


def find(path: str | Path) -> list[Path]:
    """The sets at a path: itself, or those directly inside a folder; may be empty.

    If a folder holds a set in both forms, the file counts.
    """
    path = Path(path)
    if _is_set(path):
        return [path]
    found: dict[str, Path] = {}
    for inside in sorted(filter(_is_set, path.glob("*")), key=lambda one: (one.is_dir(), one)):
        found.setdefault(_name(inside), inside)
    return [found[name] for name in sorted(found)]


def _is_set(path: Path) -> bool:
    return path.suffix.lower() == ".bin" if path.is_file() else _list(path).is_file()


def _list(folder: Path) -> Path:
    return folder.parent / f"{folder.name}_list.npy"


def _name(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def read(path: str | Path) -> VerificationSet:
    """The pictures and pairs of a verification set, a file or a folder.

    Raises:
        BadInput: it does not exist, is not such a set, or asks for anything more than lists of
            bytes and bools.
    """
    path = Path(path)
    images, same = _read_folder(path) if path.is_dir() else _read_pickle(path)
    return VerificationSet(_name(path), images, np.array(same, np.bool_))


def _read_folder(path: Path) -> tuple[list[bytes], list[bool]]:
    try:
        same = read_array(io.BytesIO(read_bytes(_list(path))), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BadInput(f"{_list(path)} is not a list of bools, or it is truncated") from error
    if same.ndim != 1 or same.dtype != np.bool_:
        raise BadInput(f"{_list(path)} is {same.dtype} of {same.shape}: it must be a row of bools")
    photos = sorted(file for file in path.iterdir() if file.suffix.lower() in EXTENSIONS)
    if not len(same) or len(photos) != 2 * len(same):
        raise BadInput(f"{path} has {len(photos)} pictures, not two for each of {len(same)} pairs")
    return [read_bytes(photo) for photo in photos], same.tolist()


def _read_pickle(path: Path) -> tuple[list[bytes], list[bool]]:
    content = io.BytesIO(read_bytes(path))
    try:
        return _pairs(_Unpickler(content, encoding="bytes").load())
    except BadInput as error:
        raise BadInput(f"{path} is not a verification set: {error}") from error
    except _MALFORMED as error:
        raise BadInput(
            f"{path} is not a verification set, or it is truncated: copy it again"
        ) from error


def _pairs(content: object) -> tuple[list[bytes], list[bool]]:
    match content:
        case [list() | tuple() as images, list() | tuple() | _Array() as same]:
            pass
        case _:
            raise BadInput("it must hold a list of pictures and a list of bools")
    if isinstance(same, _Array):
        same = list(same.content)
    if not same or len(images) != 2 * len(same):
        raise BadInput(f"{len(images)} pictures are not two for each of {len(same)} pairs")
    for place, one in enumerate(same):
        if one not in (0, 1) or not isinstance(one, int):
            raise BadInput(f"pair {place} is neither same nor different")
    return [_image(*item) for item in enumerate(images)], list(map(bool, same))


def _image(place: int, value: object) -> bytes:
    if isinstance(value, _Array):
        value = value.content
    if not isinstance(value, bytes) or not value:
        raise BadInput(f"picture {place} is not bytes")
    return value


# The one written in Python: its table of operations can be cut down, and the places of its memo
# are a dict, where C's are an array that a few bytes of a file can make fill the memory.
class _Unpickler(pickle._Unpickler):
    dispatch: ClassVar = {
        code: pickle._Unpickler.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in _OPERATIONS.split())
    }

    def find_class(self, module: str, name: str) -> _Name:
        full = f"{module}.{name}"
        modern = full.replace("__builtin__.", "builtins.").replace("numpy._core.", "numpy.core.")
        if modern not in _NAMES:
            raise BadInput(
                f"it asks for {full[:80]!r}, which is refused; download it from its source"
            )
        return _Name(modern)


@dataclass(frozen=True, slots=True)
class _Name:
    """A name in a pickle.  Calling it does what its owner does with bytes, and nothing else."""

    name: str

    def __call__(self, *args: object) -> object:
        match self.name, args:
            case "builtins.bytes" | "builtins.bytearray", ():
                return b""
            case "builtins.bytes" | "builtins.bytearray", (bytes() as content,):
                return content
            case (
                "_codecs.encode" | "builtins.bytearray",
                (str() as text, "latin1" | "latin-1" | b"latin1" | b"latin-1"),
            ):
                return text.encode("latin1")
            case "numpy.dtype", ("u1" | "b1" | b"u1" | b"b1" as kind, *_):
                return _Kind(str(kind, "ascii") if isinstance(kind, bytes) else kind)
            case "numpy.core.multiarray._reconstruct", (_Name("numpy.ndarray"), *_):
                return _Array()
            case "numpy.core.multiarray.scalar", (_Kind("b1"), bytes() as content):
                return content != b"\0"
        raise BadInput(f"it asks {self.name} for more than bytes or bools, which is refused")


@dataclass(frozen=True)  # before Python 3.11.4, slots would bring a __setstate__ of their own
class _Kind:
    """Stands for a numpy dtype of one byte, which has no byte order to set."""

    name: str

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """Stands for a numpy array of bytes or bools."""

    __slots__ = ("content",)

    def __setstate__(self, state: object) -> None:
        match state:
            case (_, (int() as size,), _Kind(), _, bytes() as content) if size == len(content):
                self.content = content
            case _:
                raise BadInput("it holds an array that is not one row of uint8 or bool")
