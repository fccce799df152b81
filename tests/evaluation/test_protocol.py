"""The protocols against scikit-learn, and against slow loops that follow their definitions."""

from __future__ import annotations

import io
import json
from dataclasses import fields

import numpy as np
import pytest
from fakes import MeanColours
from PIL import Image as Pillow
from sklearn.metrics import accuracy_score, roc_curve, top_k_accuracy_score
from sklearn.model_selection import KFold

from mien.errors import BadInput
from mien.evaluation import protocol
from mien.evaluation.protocol import Identification
from mien.evaluation.verification_set import VerificationSet
from mien.recognition.embedder import embed_mirrored
from mien.types import Crops, Embeddings


def people(count: int, photos: int, noise: float, seed: int = 1) -> tuple[Embeddings, np.ndarray]:
    """Vectors of people who are as alike as the noise makes them."""
    random = np.random.default_rng(seed)
    whose = np.repeat(np.arange(count), photos)
    vectors = random.normal(size=(count, 16))[whose] + noise * random.normal(size=(len(whose), 16))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    shuffled = random.permutation(len(whose))
    return unit.astype(np.float32)[shuffled], whose[shuffled]


def pairs_in_folds(folds: int, size: int) -> tuple[Embeddings, Embeddings, np.ndarray]:
    """Pairs as InsightFace's sets have them: in each fold those of one person come first."""
    same = np.tile(np.repeat([True, False], size), folds)
    first, _ = people(len(same), 1, 0)
    other, _ = people(len(same), 1, 0, seed=2)
    second = np.where(same[:, None], first + 1.5 * other, other)
    return first, second / np.linalg.norm(second, axis=1, keepdims=True), same


def test_verification_is_scikit_learns() -> None:
    first, second, same = pairs_in_folds(10, 30)
    found = protocol.verification(first, second, same)
    scores = (first * second).sum(axis=1)
    accuracy = []
    for others, here in KFold(10, shuffle=False).split(scores):
        _, _, thresholds = roc_curve(same[others], scores[others], drop_intermediate=False)
        best = max(
            thresholds[::-1],
            key=lambda t: ((same[others] == (scores[others] >= t)).mean(), t),
        )
        lower = scores[others][scores[others] < best].max()
        accuracy.append(accuracy_score(same[here], scores[here] >= (best + lower) / 2))
    assert found.by_fold is not None
    assert not found.dealt
    np.testing.assert_allclose(found.by_fold.accuracy, accuracy)
    assert 0.6 < found.by_fold.mean < 0.99

    fmr, tmr, _ = roc_curve(same, scores, drop_intermediate=False)
    assert found.tar[0.1] == tmr[fmr <= 0.1].max()
    assert found.tar[0.01] == tmr[fmr <= 0.01].max()
    assert found.tar[1e-3] is found.tar[1e-4] is found.tar[1e-5] is found.tar[1e-6] is None
    assert np.interp(found.eer, fmr, tmr) == pytest.approx(1 - found.eer)


def test_as_many_folds_as_scikit_learns_where_pairs_do_not_divide() -> None:
    same = np.arange(47) % 2 == 0
    first = people(47, 1, 0)[0]
    found = protocol.verification(first, np.where(same[:, None], first, -first), same)
    assert found.by_fold is not None
    assert (len(found.by_fold.accuracy), found.by_fold.mean) == (10, 1)


def test_pairs_in_order_of_their_kind_are_dealt() -> None:
    same = np.arange(40) < 20
    first = people(40, 1, 0)[0]
    found = protocol.verification(first, np.where(same[:, None], first, -first), same)
    assert found.dealt
    assert found.by_fold is not None
    assert len(found.by_fold.accuracy) == 10


@pytest.mark.parametrize("same", [[True, False], [True] * 5, [False] * 5, [True, True, False]])
def test_two_pairs_of_each_kind_are_the_least(same: list[bool]) -> None:
    rows = people(len(same), 1, 0)[0]
    with pytest.raises(BadInput, match=r"x.bin has [01] pairs of a kind"):
        protocol.verification(rows, rows, np.array(same), name="x.bin")


def test_a_network_in_training_is_verified() -> None:
    """No detector and no file: a function of crops and a set are enough."""
    sizes = []

    def embed(crops: Crops) -> Embeddings:
        sizes.append(len(crops))
        return MeanColours()(crops)

    shades = np.random.default_rng(3).integers(0, 256, (40, 3))
    same = np.arange(40) % 2 == 0
    images = []
    for i in range(40):
        for shade in (shades[i], shades[i if same[i] else i - 1]):
            file = io.BytesIO()
            Pillow.new("RGB", (112, 112), tuple(map(int, shade))).save(file, "PNG")
            images.append(file.getvalue())
    found = protocol.verify(embed, VerificationSet("lfw.bin", images, same), mirror=True)
    assert sizes == [32] * 4 + [16] * 2
    assert found.by_fold is not None
    assert found.by_fold.mean > 0.9
    np.testing.assert_allclose(found.scores[same], 1, atol=1e-6)
    shown = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (shown["pairs"], shown["impostor_pairs"], shown["folds"]) == (40, 20, 10)
    assert list(shown["tar"]) == ["0.1", "0.01", "0.001", "0.0001", "1e-05", "1e-06"]


def test_views() -> None:
    crops = np.random.default_rng(4).integers(0, 256, (3, 112, 112, 3), np.uint8)
    crops[:, :, :56] //= 4
    embed = MeanColours()
    plain, mean = embed_mirrored(embed, crops, [False, True])
    expected = embed(crops) + embed(crops[:, :, ::-1])
    np.testing.assert_array_equal(plain, embed(crops))
    np.testing.assert_allclose(
        mean, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6
    )
    assert np.abs(mean - plain).max() > 0.1


def test_all_pairs_are_scikit_learns() -> None:
    embeddings, whose = people(30, 4, 1)
    found = protocol.all_pairs(embeddings, whose)
    above = np.triu_indices(len(whose), k=1)
    scores = (embeddings.astype(float) @ embeddings.T.astype(float))[above]
    fmr, tmr, _ = roc_curve(whose[above[0]] == whose[above[1]], scores, drop_intermediate=False)
    assert len(found.scores) == 120 * 119 / 2
    assert found.same.sum() == 30 * 6
    assert found.by_fold is None
    for far in (0.1, 0.01, 1e-3):  # 7 of 6,960 at the last
        assert found.tar[far] == pytest.approx(tmr[fmr <= far].max())
    assert found.tar[1e-4] is None
    assert np.interp(found.eer, fmr, tmr) == pytest.approx(1 - found.eer, abs=1e-6)


def enrolled(embeddings: Embeddings, whose: np.ndarray, seed: int) -> dict[int, int]:
    """The photo that is enrolled of each person: the first of theirs in an order that is drawn."""
    order = np.random.default_rng(seed).permutation(len(whose))
    rows: dict[int, int] = {}
    for row in order.tolist():
        rows.setdefault(int(whose[row]), row)
    return rows


def test_closed_set_is_scikit_learns() -> None:
    embeddings, whose = people(30, 4, 1.5)
    found = protocol.identification(embeddings, whose, seed=5)
    rows = enrolled(embeddings, whose, seed=5)
    gallery = [rows[person] for person in range(30)]
    searched = [row for row in range(120) if row not in gallery]
    scores = embeddings[searched] @ embeddings[gallery].T
    assert (found.people, found.searches, len(found.cmc)) == (30, 90, 30)
    for k in range(1, 30):
        expected = top_k_accuracy_score(whose[searched], scores, k=k, labels=range(30))
        assert found.cmc[k - 1] == pytest.approx(expected)
    assert found.cmc[29] == 1
    assert found.rank == {k: found.cmc[k - 1] for k in (1, 5, 10)}
    assert 0.1 < found.cmc[0] < 0.9


def test_open_set_by_slow_loop() -> None:
    embeddings, whose = people(30, 4, 1)
    found = protocol.identification(embeddings, whose, seed=5)
    rows = enrolled(embeddings, whose, seed=5)
    random = np.random.default_rng(5)
    random.permutation(120)
    known = set(random.permutation(30)[:15].tolist())
    answers, strangers = [], []
    for row in range(120):
        scores = {person: embeddings[row] @ embeddings[rows[person]] for person in known}
        name = max(scores, key=lambda person: scores[person])
        if whose[row] not in known:
            strangers.append(scores[name])
        elif row != rows[int(whose[row])]:
            answers.append((scores[name], name == whose[row]))
    assert (found.enrolled, found.enrolled_searches, found.stranger_searches) == (15, 45, 60)
    allowed = sorted(strangers)[-7]  # 6 of 60 may be given a name
    expected = np.mean([right and score > allowed for score, right in answers])
    assert found.tpir == {0.1: pytest.approx(expected), 0.01: None, 0.001: None}
    assert 0.2 < expected < 1


def test_the_draw_is_the_seeds() -> None:
    embeddings, whose = people(30, 4, 1.5)
    first, again, other = (protocol.identification(embeddings, whose, seed=s) for s in (1, 1, 2))
    assert first.to_json() == again.to_json()
    assert first.cmc[0] != other.cmc[0]
    shown = json.loads(json.dumps(first.to_json(), allow_nan=False))
    assert set(shown) == {field.name for field in fields(Identification)} - {"cmc"}
    assert list(shown["tpir"]) == ["0.1", "0.01", "0.001"]


def test_identification_of_few() -> None:
    embeddings, _ = people(3, 1, 0)
    found = protocol.identification(embeddings, ["Ann", "Bob", "Ann"])
    assert (found.people, found.searches, found.enrolled) == (2, 1, 1)
    assert found.rank[5] is found.rank[10] is None  # of two people the second is always right
    assert found.tpir == {0.1: None, 0.01: None, 0.001: None}


def test_names_are_people_too() -> None:
    embeddings, whose = people(12, 3, 0.1)
    named = protocol.identification(embeddings, [f"person {p:02d}" for p in whose])
    assert named.to_json() == protocol.identification(embeddings, whose).to_json()
