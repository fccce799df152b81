"""Labels: where they stand, what they hide, and in which letters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ImageFont

from mien.draw import Label, annotate, draw
from mien.types import Face, Image, Match, NamedFace

GROUND = 77  # no colour of a label
Box = tuple[float, float, float, float]


def canvas(height: int = 240, width: int = 320) -> Image:
    return np.full((height, width, 3), GROUND, np.uint8)


def face(*box: float) -> Face:
    return Face(np.array(box, np.float32), np.zeros((5, 2), np.float32), 0.99)


def sighting(person: str | None, *box: float) -> NamedFace:
    return NamedFace(Path("photo.jpg"), face(*box), Match(person, 0.631))


def painted(image: Image) -> NDArray[np.bool_]:  # (H, W) bool
    return np.asarray((image != GROUND).any(axis=2))


def colourful(image: Image) -> int:
    """Pixels that are not grey."""
    return int((np.ptp(image.astype(int), axis=2) > 40).sum())


def test_the_picture_itself_is_left_alone() -> None:
    picture = canvas()
    drawn = annotate(picture, [sighting("Ann", 100, 100, 160, 180)])
    assert (picture == GROUND).all()
    assert drawn.shape == picture.shape
    assert drawn.dtype == np.uint8
    assert painted(drawn).any()


def test_without_faces_nothing_is_drawn() -> None:
    assert (annotate(canvas(), []) == GROUND).all()


def test_the_box_is_on_its_edges_and_the_face_stays_visible() -> None:
    drawn = painted(annotate(canvas(), [sighting("Ann", 100, 100, 160, 180)]))
    middle_row, middle_column = drawn[140], drawn[:, 130]
    assert middle_row[100] and middle_row[159]
    assert middle_column[100] and middle_column[179]
    assert not drawn[104:176, 104:156].any()


def test_the_known_are_in_colour_and_the_unknown_in_grey() -> None:
    box = (100, 100, 160, 180)
    assert colourful(annotate(canvas(), [sighting("Ann", *box)])) > 300
    assert colourful(annotate(canvas(), [sighting(None, *box)])) == 0


def test_unknown_is_written_and_so_is_the_score() -> None:
    box = (100, 100, 160, 180)
    for person, score, text in (
        ("Ann", False, "Ann"),
        ("Ann", True, "Ann 0.63"),
        (None, False, "unknown"),
        (None, True, "unknown 0.63"),
    ):
        expected = draw(canvas(), [Label(face(*box), text, known=person is not None)])
        drawn = annotate(canvas(), [sighting(person, *box)], score=score)
        assert np.array_equal(drawn, expected)


@pytest.mark.parametrize(
    "box",
    [(0, 0, 40, 40), (280, 0, 320, 40), (0, 200, 40, 240), (-30, 190, 30, 260), (0, 0, 320, 240)],
)
def test_a_text_stays_inside_the_picture(box: Box) -> None:
    """Then it has as many white pixels as anywhere else."""
    free = draw(canvas(), [Label(face(140, 100, 180, 140), "Bartholomew", known=True)])
    edge = draw(canvas(), [Label(face(*box), "Bartholomew", known=True)])
    assert (edge.min(axis=2) > 240).sum() == (free.min(axis=2) > 240).sum() > 20


def test_a_text_goes_where_it_hides_no_other_face() -> None:
    below = face(100, 120, 160, 190)
    above = face(90, 40, 170, 114)  # just where the name of the lower one would go
    drawn = draw(canvas(), [Label(below, "Ann", known=True), Label(above, "Ben", known=True)])
    assert not painted(drawn)[44:110, 94:166].any()
    assert not painted(drawn)[124:186, 104:156].any()


def test_letters_grow_with_the_picture_and_shrink_with_the_faces() -> None:
    def height(side: int, face_side: int) -> int:
        drawn = draw(
            canvas(side, side), [Label(face(0, 0, face_side, face_side), "Ill", known=True)]
        )
        return int((drawn.min(axis=2) > 250).any(axis=1).sum())

    assert height(300, 200) < height(900, 200) < height(1800, 600)
    assert height(1800, 60) < height(1800, 600)


def test_a_name_too_long_for_the_picture_is_cut_with_an_ellipsis() -> None:
    box = face(140, 100, 180, 140)
    drawn = draw(canvas(), [Label(box, "Wolfeschlegelsteinhausenbergerdorff " * 3, known=True)])
    columns = painted(drawn).any(axis=0)
    assert columns.sum() > 200
    longer = draw(canvas(), [Label(box, "Wolfeschlegelsteinhausenbergerdorff " * 9, known=True)])
    assert np.abs(painted(longer).sum() - painted(drawn).sum()) < 0.2 * painted(drawn).sum()


def system_font(name: str) -> bool:
    try:
        ImageFont.truetype(name)
    except OSError:
        return False
    return True


@pytest.mark.skipif(not system_font("DejaVuSans.ttf"), reason="needs the DejaVu fonts")
@pytest.mark.parametrize(
    ("one", "other"), [("Αθηνά", "Νίκος"), ("Мария", "Павел"), ("سارة", "محمد")]
)
def test_other_scripts_are_written_in_a_font_of_the_system(one: str, other: str) -> None:
    """Boxes for missing letters would make two names of one length look alike."""
    box = face(100, 100, 160, 180)
    first = draw(canvas(), [Label(box, one, known=True)])
    assert not np.array_equal(first, draw(canvas(), [Label(box, other, known=True)]))


def test_with_a_letter_that_no_font_has_accents_are_dropped() -> None:
    box = face(100, 100, 160, 180)
    nobody_has = "\U0010ffff"
    accented = draw(canvas(), [Label(box, f"éж{nobody_has}", known=True)])
    plain = draw(canvas(), [Label(box, f"eж{nobody_has}", known=True)])
    assert np.array_equal(accented, plain)


@given(
    st.text(max_size=40),
    st.tuples(*[st.integers(-50, 150)] * 4),
    st.integers(1, 90),
    st.integers(1, 90),
)
@settings(deadline=None, max_examples=60)
def test_any_name_and_any_box_can_be_drawn(
    name: str, box: tuple[int, ...], height: int, width: int
) -> None:
    drawn = draw(canvas(height, width), [Label(face(*box), name, known=True)])
    assert drawn.shape == (height, width, 3)


def test_a_file_name_that_is_no_text_can_be_drawn() -> None:
    assert painted(annotate(canvas(), [sighting("Ann\udcff\n\t", 9, 99, 60, 160)])).any()
