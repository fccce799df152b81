"""Verification sets: real pickles of both Pythons are read, and dangerous ones do nothing."""

from __future__ import annotations

import builtins
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from mien.errors import BadInput
from mien.evaluation import verification_set
from mien.training.data.recordio import Entry, Records

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
    found = verification_set.read(lfw)
    assert found.images == [b"\xff\xd8'", b"b"]
    assert found.same.tolist() == [True]


def test_a_file_that_python_2_has_written() -> None:
    """Of the pictures that mxnet has packed; see test_recordio."""
    folder = Path(__file__).parents[1] / "mxnet"
    records = Records(folder / "train.rec")
    found = verification_set.read(folder / "lfw.bin")
    packed = [records.read(number) for number in (1, 2, 3, 6)]
    assert found.images == [entry.image for entry in packed if isinstance(entry, Entry)]
    assert found.same.tolist() == [True, False]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("same", [[True, False], [np.bool_(True), np.bool_(False)], (1, 0)])
def test_python_3(lfw: Path, protocol: int, same: object) -> None:
    lfw.write_bytes(pickle.dumps((PHOTOS, same), protocol))
    found = verification_set.read(lfw)
    assert found.images == PHOTOS
    assert found.same.dtype == np.bool_
    assert found.same.tolist() == [True, False]


@pytest.mark.parametrize("protocol", range(3))
@pytest.mark.parametrize("kind", [bytearray, lambda photo: np.frombuffer(photo, np.uint8)])
def test_photos_that_are_not_bytes(lfw: Path, protocol: int, kind: type[bytearray]) -> None:
    lfw.write_bytes(pickle.dumps(([kind(photo) for photo in PHOTOS], [True, False]), protocol))
    assert verification_set.read(lfw).images == PHOTOS


@pytest.mark.parametrize("protocol", range(3))
def test_an_array_of_bools(lfw: Path, protocol: int) -> None:
    lfw.write_bytes(pickle.dumps((PHOTOS, np.array([True, False])), protocol))
    assert verification_set.read(lfw).same.tolist() == [True, False]


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
    found = verification_set.read(lfw)
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
        verification_set.read(lfw)
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
        pytest.param(b"", "truncated", id="empty"),
        pytest.param(b"\xff\xd8\xff\xe0", "truncated", id="a photo"),
    ],
)
def test_refused(lfw: Path, content: bytes, message: str) -> None:
    lfw.write_bytes(content)
    with pytest.raises(BadInput, match=message) as caught:
        verification_set.read(lfw)
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
        (([np.zeros((2, 2), np.uint8)] * 2, [True]), "not one row of uint8 or bool"),
        (([np.zeros(2, np.float32)] * 2, [True]), "numpy.dtype for more"),
    ],
)
def test_inconsistent(lfw: Path, content: object, message: str) -> None:
    lfw.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(BadInput, match=message):
        verification_set.read(lfw)


def test_no_file(lfw: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        verification_set.read(lfw)


def test_cut_off_anywhere(lfw: Path) -> None:
    whole = pickle.dumps((PHOTOS, [True, False]), 2)
    for size in range(len(whole)):
        lfw.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"lfw.bin (is empty|is not a verification set)"):
            verification_set.read(lfw)


def png(shade: int, side: int = 112) -> bytes:
    picture = io.BytesIO()
    Pillow.new("RGB", (side, side), (shade, 20, 200)).save(picture, "PNG")
    return picture.getvalue()


def test_crops_are_rgb_and_of_one_size(lfw: Path) -> None:
    lfw.write_bytes(pickle.dumps(([png(10), png(60), png(90), b"x"], [True, False]), 2))
    found = verification_set.read(lfw)
    assert [list(batch) for batch in found.batches(3)] == [[0, 1, 2], [3]]
    crops = found.crops(range(1, 3))
    assert crops.shape == (2, 112, 112, 3)
    assert crops.dtype == np.uint8
    assert crops[:, 0, 0].tolist() == [[60, 20, 200], [90, 20, 200]]
    with pytest.raises(BadInput, match=r"picture 3 of lfw is not a JPEG"):
        found.crops(range(2, 4))
    lfw.write_bytes(pickle.dumps(([png(10), png(60, side=96)], [True]), 2))
    with pytest.raises(BadInput, match=r"picture 1 of lfw has 96 x 96 pixels"):
        verification_set.read(lfw).crops(range(2))


def write_folder(folder: Path, same: object) -> Path:
    """A set in the original's layout, of four pictures."""
    folder.mkdir()
    for place in range(4):
        (folder / f"{place:05d}.png").write_bytes(png(10 * place))
    np.save(folder.parent / f"{folder.name}_list.npy", np.array(same))
    return folder


def test_a_folder(tmp_path: Path) -> None:
    found = verification_set.read(write_folder(tmp_path / "v1.0", [True, False]))
    assert (found.name, found.same.tolist()) == ("v1.0", [True, False])
    assert found.crops(range(4))[:, 0, 0, 0].tolist() == [0, 10, 20, 30]


@pytest.mark.parametrize(
    ("same", "message"),
    [
        ([True], "has 4 pictures, not two for each of 1 pairs"),
        ([], "float64 of"),
        ([[True, False]], "must be a row of bools"),
        (["yes", "no"], "must be a row of bools"),
        ([None, True], "is not a list of bools"),  # a pickle
    ],
)
def test_a_folder_that_cannot_be_used(tmp_path: Path, same: object, message: str) -> None:
    folder = write_folder(tmp_path / "lfw", same)
    with pytest.raises(BadInput, match=message):
        verification_set.read(folder)


def test_a_folder_whose_list_is_cut_off(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "lfw", [True, False])
    whole = (tmp_path / "lfw_list.npy").read_bytes()
    for size in (0, 5, 20, len(whole) - 1):
        (tmp_path / "lfw_list.npy").write_bytes(whole[:size])
        with pytest.raises(
            BadInput, match=r"lfw_list.npy is not a list of bools, or it is truncated"
        ):
            verification_set.read(folder)


def test_sets_of_a_folder(tmp_path: Path) -> None:
    for name in ("lfw.bin", "train.rec"):
        (tmp_path / name).touch()
    folder = write_folder(tmp_path / "agedb_30", [True, False])
    (tmp_path / "imgs").mkdir()
    assert verification_set.find(tmp_path) == [folder, tmp_path / "lfw.bin"]
    assert verification_set.find(folder) == [folder]
    assert verification_set.find(tmp_path / "lfw.bin") == [tmp_path / "lfw.bin"]
    assert (
        verification_set.find(tmp_path / "train.rec")
        == verification_set.find(tmp_path / "no")
        == []
    )
    (tmp_path / "agedb_30.bin").touch()
    assert verification_set.find(tmp_path) == [tmp_path / "agedb_30.bin", tmp_path / "lfw.bin"]


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
        found = verification_set.read(lfw)
    except BadInput as error:
        assert str(lfw) in str(error)
    else:
        assert len(found.images) == 2 * len(found.same) > 0


@unhurried
@given(st.binary(max_size=40))
def test_garbage_is_bad_input(lfw: Path, content: bytes) -> None:
    lfw.write_bytes(content)
    with pytest.raises(BadInput):
        verification_set.read(lfw)
