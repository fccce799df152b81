"""Verification sets: real pickles of both Pythons are read, and dangerous ones do nothing."""

from __future__ import annotations

import builtins
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.data import verification
from mien.data.recordio import Entry, Records
from mien.errors import BadInput

unhurried = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
PHOTOS = [b"\xff\xd8\xff\xe0\0'\"\\\n", b"\x89PNG\r\n\x1a\n", bytes(range(256)), b"x" * 300]
# What Python 2 writes for (["\xff\xd8'", "b"], [True]), protocols 0 and 2
PYTHON_2 = [
    b"((lp0\nS\"\\xff\\xd8'\"\np1\naS'b'\np2\na(lp3\nI01\natp4\n.",
    b"\x80\x02]q\0(U\x03\xff\xd8'q\x01U\x01bq\x02e]q\x03\x88a\x86q\x04.",
]


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    return tmp_path / "lfw.bin"


@pytest.mark.parametrize("content", PYTHON_2)
def test_python_2(lfw: Path, content: bytes) -> None:
    lfw.write_bytes(content)
    found = verification.read(lfw)
    assert found.images == [b"\xff\xd8'", b"b"]
    assert found.same.tolist() == [True]


def test_a_file_that_python_2_has_written() -> None:
    """Of the pictures that mxnet has packed; see test_recordio."""
    folder = Path(__file__).parent / "mxnet"
    records = Records(folder / "train.rec")
    found = verification.read(folder / "lfw.bin")
    packed = [records.read(number) for number in (1, 2, 3, 6)]
    assert found.images == [entry.image for entry in packed if isinstance(entry, Entry)]
    assert found.same.tolist() == [True, False]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("same", [[True, False], [np.bool_(True), np.bool_(False)], (1, 0)])
def test_python_3(lfw: Path, protocol: int, same: object) -> None:
    lfw.write_bytes(pickle.dumps((PHOTOS, same), protocol))
    found = verification.read(lfw)
    assert found.images == PHOTOS
    assert found.same.dtype == np.bool_
    assert found.same.tolist() == [True, False]


@pytest.mark.parametrize("protocol", range(3))
@pytest.mark.parametrize("kind", [bytearray, lambda photo: np.frombuffer(photo, np.uint8)])
def test_photos_that_are_not_bytes(lfw: Path, protocol: int, kind: type[bytearray]) -> None:
    lfw.write_bytes(pickle.dumps(([kind(photo) for photo in PHOTOS], [True, False]), protocol))
    assert verification.read(lfw).images == PHOTOS


@unhurried
@given(
    st.lists(st.tuples(st.binary(min_size=1), st.binary(min_size=1), st.booleans()), min_size=1),
    st.integers(0, 5),
)
def test_what_is_written_is_read(
    lfw: Path, pairs: list[tuple[bytes, bytes, bool]], protocol: int
) -> None:
    images = [photo for first, second, _ in pairs for photo in (first, second)]
    lfw.write_bytes(pickle.dumps((images, [same for _, _, same in pairs]), protocol))
    found = verification.read(lfw)
    assert (found.images, found.same.tolist()) == (images, [same for _, _, same in pairs])


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "function", [os.system, os.mkdir, builtins.eval, builtins.exec, builtins.getattr, open]
)
def test_dangerous(
    lfw: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, function: object
) -> None:
    monkeypatch.chdir(lfw.parent)
    command = "mkdir done" if function is os.system else "done"
    images = [
        PHOTOS[0],
        Call(function, command, "w") if function is open else Call(function, command),
    ]
    lfw.write_bytes(pickle.dumps((images, [True]), protocol))
    with pytest.raises(BadInput, match=r"asks for '\w+\.\w+', which is refused"):
        verification.read(lfw)
    assert [path.name for path in lfw.parent.iterdir()] == ["lfw.bin"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"cposix\nsystem\n(S'mkdir x'\ntR.", "'posix.system'", id="posix"),
        pytest.param(b"(S'mkdir x'\nios\nsystem\n.", "'os.system'", id="instance"),
        pytest.param(b"(cos\nsystem\nS'mkdir x'\no.", "'os.system'", id="object"),
        pytest.param(b"cmien.errors\nBadInput\n.", "'mien.errors.BadInput'", id="ours"),
        pytest.param(b"c_codecs\nencode\n(Vx\nVrot13\ntR.", "_codecs.encode for", id="codec"),
        pytest.param(b"cbuiltins\nbytes\n(I999999999999\ntR.", "bytes for", id="memory"),
        pytest.param(b"\x80\x04K\x01r\xff\xff\xff\xff.", "must hold", id="a huge memo"),
        pytest.param(b"\x80\x05\x96" + b"\xff" * 5 + b"\0" * 3 + b".", "not a", id="a huge array"),
        pytest.param(b"cnumpy\ndtype\n(VO8\nI0\nI1\ntR.", "numpy.dtype for", id="objects"),
        pytest.param(b"cnumpy\nndarray\n(I1\ntR.", "numpy.ndarray for", id="an array's maker"),
        pytest.param(b"cnumpy\nndarray\n}Vname\nVx\nsb.", "not a verification", id="build"),
        pytest.param(b"Pos\n.", "not a verification", id="persistent"),
        pytest.param(b"", "cut off", id="empty"),
        pytest.param(b"\xff\xd8\xff\xe0", "cut off", id="a photo"),
    ],
)
def test_refused(lfw: Path, content: bytes, message: str) -> None:
    lfw.write_bytes(content)
    with pytest.raises(BadInput, match=message) as caught:
        verification.read(lfw)
    assert str(lfw) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (5, "must hold a list of pictures and a list of bools"),
        ([PHOTOS, [True], 1], "must hold"),
        (([], []), "0 pictures are not two for each of 0 pairs"),
        ((PHOTOS, [True]), "4 pictures are not two for each of 1 pairs"),
        ((PHOTOS, [True, 2]), "pair 1 is neither"),
        ((PHOTOS, [True, b""]), "pair 1 is neither"),
        (([*PHOTOS[:3], b""], [True, False]), "picture 3 is not bytes"),
        (([*PHOTOS[:3], "x"], [True, False]), "picture 3 is not bytes"),
        (([np.zeros((2, 2), np.uint8)] * 2, [True]), "not one row of uint8"),
        (([np.zeros(2, np.float32)] * 2, [True]), "numpy.dtype for more"),
    ],
)
def test_inconsistent(lfw: Path, content: object, message: str) -> None:
    lfw.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(BadInput, match=message):
        verification.read(lfw)


def test_no_file(lfw: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        verification.read(lfw)


WHOLE = [pickle.dumps((PHOTOS, [True, np.bool_(False)]), p) for p in range(6)] + PYTHON_2
WHOLE.append(pickle.dumps(([bytearray(b"x"), np.ones(3, np.uint8)], [False]), 2))


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@unhurried
@given(st.sampled_from(WHOLE), st.data())
def test_mutations_are_read_or_are_bad_input(
    lfw: Path, content: bytes, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(content)))
    put = data.draw(st.binary(max_size=6) | st.sampled_from(WHOLE))
    content = content[:start] + put + content[start + data.draw(st.integers(0, 9)) :]
    lfw.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        found = verification.read(lfw)
    except BadInput as error:
        assert str(lfw) in str(error)
    else:
        assert len(found.images) == 2 * len(found.same) > 0


@unhurried
@given(st.binary(max_size=40))
def test_garbage_is_bad_input(lfw: Path, content: bytes) -> None:
    lfw.write_bytes(content)
    with pytest.raises(BadInput):
        verification.read(lfw)
