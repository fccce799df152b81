"""Groups of vectors whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.cluster import judge
from mien.errors import BadInput
from mien.recognition import clustering
from mien.recognition.clustering import founding_threshold, group
from mien.recognition.policy import Policy
from mien.recognition.thresholds import Impostors
from mien.types import Embeddings

# As alike as strangers are in 64 dimensions.
POLICY = Policy(0.4, Impostors((0.1, 0.01, 0.001), (0.16, 0.29, 0.39), {1: 1.0, 16: 1.1}))


def faces(person: NDArray[np.intp], spread: float = 0.05, seed: int = 2) -> Embeddings:
    """Vectors of people, each about as far from their mean as a spread says."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(person.max() + 1, 64))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = centres[person] + spread * random.normal(size=(len(person), 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


@pytest.mark.parametrize("policy", [POLICY, Policy(0.4)], ids=["calibrated", "not calibrated"])
def test_people_far_apart_are_told_apart(monkeypatch: pytest.MonkeyPatch, policy: Policy) -> None:
    monkeypatch.setattr(clustering, "_BLOCK", 7)
    person = np.random.default_rng(2).permutation(np.repeat([0, 1, 2, 3], [5, 9, 1, 7]))
    truth = np.array([2, 0, 3, 1])[person]  # by size
    assert group(faces(person), policy).tolist() == truth.tolist()


def test_none_and_one() -> None:
    assert group(np.zeros((0, 4), np.float32), POLICY).shape == (0,)
    assert group(np.eye(4, dtype=np.float32)[:1], POLICY).tolist() == [0]


def test_a_vector_that_is_not_finite() -> None:
    with pytest.raises(BadInput, match="not finite"):
        group(np.full((2, 4), np.nan, np.float32), POLICY)


def test_the_threshold_rises_with_the_faces_and_one_that_is_given_does_not() -> None:
    few, many = founding_threshold(POLICY, 100), founding_threshold(POLICY, 10_000)
    assert 0.38 < few < many < 1
    pair = np.array([[1, 0], [0.6, 0.8]], np.float32)
    assert len(set(group(pair, POLICY, threshold=0.55).tolist())) == 1
    assert len(set(group(pair, POLICY, threshold=0.65).tolist())) == 2


def test_strangers_who_are_more_alike_than_usual_are_not_one_person() -> None:
    random = np.random.default_rng(3)
    crowd = random.normal(size=(150, 64)) + 5 * np.eye(64)[0]  # such as children
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    others = faces(np.arange(150), seed=4)
    found = group(np.concatenate([crowd.astype(np.float32), others]), POLICY)
    scores = crowd @ crowd.T
    alike = np.triu(scores >= founding_threshold(POLICY, 300), k=1).sum()
    assert alike > 200
    assert np.bincount(found).max() < 30


def test_a_poor_face_joins_a_group_and_founds_none() -> None:
    vectors = faces(np.repeat([0, 1], [4, 2]))
    assert group(vectors, POLICY).tolist() == [0, 0, 0, 0, 1, 1]
    poor = np.array([False, False, False, True, True, True])
    assert group(vectors, POLICY, poor=poor).tolist() == [0, 0, 0, 0, 1, 2]


def test_two_faces_of_a_photo_are_two_people_unless_it_is_a_mirror() -> None:
    sister = np.array([1, 0], np.float32), np.array([0.55, 0.835], np.float32)
    other = np.array([0.8, 0.6], np.float32)
    vectors = np.stack([*sister, other])
    assert len(set(group(vectors, POLICY).tolist())) == 1
    found = group(vectors, POLICY, photos=[0, 0, 1]).tolist()
    assert found[0] != found[1]
    mirror = np.stack([sister[0], sister[0], other])
    assert len(set(group(mirror, POLICY, photos=[0, 0, 1]).tolist())) == 1


def test_new_faces_join_groups_of_an_earlier_run_which_stay_as_they_are() -> None:
    person = np.repeat([0, 1, 2], [6, 4, 3])
    earlier = [7, 7, 7, 9, 9, -1, 5, 5, -1, -1, -1, -1, -1]
    found = group(faces(person), POLICY, earlier=earlier)
    assert len({found[0], found[3], found[6], found[10]}) == 4  # 7 and 9 stay apart
    assert (found[:3] == found[0]).all()
    assert found[3] == found[4]
    assert found[5] in (found[0], found[3])
    assert (found[6:10] == found[6]).all()
    assert (found[10:] == found[10]).all()


def test_figures_of_groups() -> None:
    found = judge(np.array([0, 0, 0, 1, 2, 4, 4, 1]), np.array([0, 0, 1, 1, 1, -1, -1, -1]))
    assert found.precision == pytest.approx(1 / 3)
    assert found.recall == pytest.approx(1 / 4)
    assert found.f == pytest.approx(2 / 7)
    assert found.purity == pytest.approx(3 / 6)  # of those who are named, and of whom nobody is
    assert found.least_purity == pytest.approx(4 / 7)
    assert found.wrong == pytest.approx(2 / 3)
    assert found.most_wrong == 1
    assert found.grouped == pytest.approx(7 / 8)
