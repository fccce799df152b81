"""Lists of pairs: the two real ones, made-up ones, and anything else as a clear BadInput."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.errors import BadInput
from mien.evaluation import pairs

TWO_FOLDS = """2 1
Ann\t1\t2
Ann\t1\tBob Lee\t3

Bob Lee\t3\t12
Eve\t1\tAnn\t2
"""


def test_two_folds() -> None:
    found = pairs.parse(TWO_FOLDS)
    photos = ("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bob Lee/Bob Lee_0003.jpg")
    assert found.photos == (*photos, "Bob Lee/Bob Lee_0012.jpg", "Eve/Eve_0001.jpg")
    assert found.first.tolist() == [0, 0, 2, 4]
    assert found.second.tolist() == [1, 2, 3, 1]
    assert found.same.tolist() == [True, False, True, False]
    assert found.folds.tolist() == [0, 0, 1, 1]


def test_spaces_windows_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_bytes("1\r\nÄnn  1 2\r\nÄnn 1  Bob 3\r\n".encode("utf-8-sig"))
    found = pairs.read(file)
    assert found.photos == ("Änn/Änn_0001.jpg", "Änn/Änn_0002.jpg", "Bob/Bob_0003.jpg")
    assert found.folds.tolist() == [0, 0]


def test_view_1(data: Path) -> None:
    found = pairs.read(data / "lfw" / "pairsDevTest.txt")
    assert len(found.photos) == 1549
    assert (found.same.sum(), (~found.same).sum(), found.folds.max()) == (500, 500, 0)


def test_view_2(data: Path) -> None:
    found = pairs.read(data / "lfw" / "pairs.txt")
    assert len(found.photos) == 7701
    assert found.photos[found.first[300]] == "Abdel_Madi_Shabneh/Abdel_Madi_Shabneh_0001.jpg"
    for fold in range(10):
        assert found.same[found.folds == fold].tolist() == [True] * 300 + [False] * 300
    assert pairs.find(data / "lfw" / "images", found.photos[0]).is_file()


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.text("aÄ字1.-'", min_size=1, max_size=5).filter(lambda name: name.strip("."))
numbers = st.integers(0, 10**9 - 1)


@st.composite
def lists(draw: st.DrawFn) -> list[list[tuple[str, int, str, int]]]:
    """Folds of one size, first pairs of one person, then as many of two people."""
    size = draw(st.integers(1, 3))
    one_person = st.tuples(names, numbers, numbers).filter(lambda pair: pair[1] != pair[2])
    two_people = st.tuples(names, numbers, names, numbers).filter(lambda pair: pair[0] != pair[2])
    same = one_person.map(lambda pair: (pair[0], pair[1], pair[0], pair[2]))
    fold = st.tuples(
        st.lists(same, min_size=size, max_size=size),
        st.lists(two_people, min_size=size, max_size=size),
    ).map(lambda parts: parts[0] + parts[1])
    return draw(st.lists(fold, min_size=1, max_size=3))


@unhurried
@given(lists(), st.sampled_from([" ", "\t", "  "]))
def test_what_is_written_is_read(folds: list[list[tuple[str, int, str, int]]], gap: str) -> None:
    lines = [f"{len(folds)}{gap}{len(folds[0]) // 2}"]
    for a, i, b, j in (pair for fold in folds for pair in fold):
        lines.append(gap.join([a, str(i), str(j)] if a == b else [a, str(i), b, str(j)]))
    found = pairs.parse("\n".join(lines))
    photos = np.array(found.photos)
    listed = [
        (f"{a}/{a}_{i:04d}.jpg", f"{b}/{b}_{j:04d}.jpg", a == b, number)
        for number, fold in enumerate(folds)
        for a, i, b, j in fold
    ]
    assert len(set(found.photos)) == len(found.photos)
    assert listed == [
        (photos[first], photos[second], same, fold)
        for first, second, same, fold in zip(
            found.first, found.second, found.same, found.folds, strict=True
        )
    ]


@unhurried
@given(
    st.text()
    | st.lists(st.sampled_from(["1", "2", "10", "Ann", "..", "a/b", "\t", " ", "\n"])).map("".join)
)
def test_garbage_is_read_or_is_bad_input(text: str) -> None:
    try:
        found = pairs.parse(text)
    except BadInput as error:
        assert str(error).startswith("the list")
    else:
        assert len(found.same) == 2 * found.same.sum() > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param("\n \n", "is empty", id="blank"),
        pytest.param("ten", "line 1 is 'ten': expected folds and pairs", id="header of words"),
        pytest.param("1 2 3", "line 1 is '1 2 3'", id="header too long"),
        pytest.param("0 5", "line 1 is '0 5'", id="no folds"),
        pytest.param("9" * 5000, "line 1 is '999", id="absurd header"),
        pytest.param("1\nAnn 1 2", "ends after 1 of 2 pairs", id="too short"),
        pytest.param("1\nA 1 2\nA 1 B 2\nA 1 3", "line 4 is 'A 1 3': expected the end", id="long"),
        pytest.param("1\nAnn 1 Bob 2", r"line 2 .* one person, NAME 1 4", id="other kind first"),
        pytest.param("1\nAnn 1 2\n\nAnn 1 2", r"line 4 .* two people", id="other kind second"),
        pytest.param("1\nAnn 1 x", "line 2 is 'Ann 1 x'", id="not a number"),
        pytest.param("1\nAnn 1 ²", "line 2 is 'Ann 1 ²'", id="a digit that is no number"),
        pytest.param("1\nAnn 1 -2", "line 2 is 'Ann 1 -2'", id="negative"),
        pytest.param("1\n../Ann 1 2", "names that can be folders", id="a path"),
        pytest.param("1\n.. 1 2", "names that can be folders", id="the folder above"),
        pytest.param("1\nAnn 1 1", "two different photos", id="a photo with itself"),
        pytest.param("1\nA 1 2\nA 1 A 2", "two different photos", id="two people of one name"),
        pytest.param("1\n" + "x" * 500, r"'x{57}\.\.\.': expected", id="a long line is cut"),
    ],
)
def test_bad_lines(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        pairs.parse(text)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        pairs.read(tmp_path / "pairs.txt")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(BadInput, match="UTF-8"):
        pairs.read(tmp_path / "photo.jpg")


@pytest.mark.parametrize("name", ["Ann_0001.jpg", "Ann_0001.png", "Ann_0001.webp"])
def test_a_photo_may_have_any_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / "Ann").mkdir()
    (tmp_path / "Ann" / name).touch()
    assert pairs.find(tmp_path, "Ann/Ann_0001.jpg") == tmp_path / "Ann" / name


@pytest.mark.parametrize("name", ["Ann", "A" * 5000, "A\0"])
def test_a_photo_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="does not exist: the list of pairs names it"):
        pairs.find(tmp_path, f"{name}/{name}_0001.jpg")
