"""One person or two: the score, the threshold and the face that counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, save_photo

from mien.errors import NoFace
from mien.images import read
from mien.recognition.policy import Policy
from mien.types import Image
from mien.verbs.compare import compare

MODEL = FakeModel()


def photo(folder: Path, seed: int, *, faces: int = 1) -> Image:
    return read(save_photo(folder / f"{seed}-{faces}.png", seed, faces=faces))


def test_one_person_is_the_same_and_two_are_not(tmp_path: Path) -> None:
    anna, bert = photo(tmp_path, 1), photo(tmp_path, 2)
    same = compare(anna, anna, model=MODEL)
    other = compare(anna, bert, model=MODEL)
    assert same.same
    assert same.score == pytest.approx(1, abs=1e-6)
    assert not other.same
    assert other.score < other.threshold == 0.9


def test_a_score_at_the_threshold_is_the_same(tmp_path: Path) -> None:
    anna, bert = photo(tmp_path, 1), photo(tmp_path, 2)
    score = compare(anna, bert, model=MODEL).score
    assert compare(anna, bert, MODEL, policy=Policy(score)).same


def test_the_score_is_the_cosine_either_way_round(tmp_path: Path) -> None:
    anna, bert = photo(tmp_path, 1), photo(tmp_path, 2)
    vectors = [MODEL.embed(image, MODEL.detect(image))[0] for image in (anna, bert)]
    expected = float(np.dot(*vectors))
    assert compare(anna, bert, model=MODEL).score == pytest.approx(expected, abs=1e-6)
    assert compare(bert, anna, model=MODEL).score == pytest.approx(expected, abs=1e-6)


def test_the_largest_face_counts_and_all_are_counted(tmp_path: Path) -> None:
    crowd, anna = photo(tmp_path, 1, faces=3), photo(tmp_path, 1)
    result = compare(crowd, anna, model=MODEL)
    assert result.faces == (3, 1)
    last = MODEL.embed(crowd, MODEL.detect(crowd)[-1:])[0]  # the largest
    alone = MODEL.embed(anna, MODEL.detect(anna))[0]
    assert result.score == pytest.approx(float(last @ alone), abs=1e-6)


def test_mirrored_faces_are_averaged(tmp_path: Path) -> None:
    anna = photo(tmp_path, 1)
    mirrored = np.ascontiguousarray(anna[:, ::-1])
    assert compare(anna, mirrored, model=MODEL).score < 0.99
    assert compare(anna, mirrored, model=MODEL, mirror=True).score > 0.99


@pytest.mark.parametrize(("order", "which"), [(1, "second"), (-1, "first")])
def test_a_photo_without_a_face_is_named(tmp_path: Path, order: int, which: str) -> None:
    one, other = [photo(tmp_path, 1), photo(tmp_path, 1, faces=0)][::order]
    with pytest.raises(NoFace, match=f"the {which} photo"):
        compare(one, other, model=MODEL)
