"""Who is in photos: names, the choice of faces, what is skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, save_photo

from mien.errors import FacebankMismatch
from mien.facebank.facebank import Facebank
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.types import Skipped
from mien.verbs.enroll import enroll
from mien.verbs.identify import Seen, identify

ANNA, BERT, STRANGER = 1, 2, 3  # seeds


@pytest.fixture
def model() -> Model:
    return FakeModel()


@pytest.fixture
def facebank(tmp_path: Path, model: Model) -> Iterator[Facebank]:
    save_photo(tmp_path / "people/Anna/1.png", ANNA)
    save_photo(tmp_path / "people/Bert/1.png", BERT)
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as bank:
        enroll(tmp_path / "people", bank, model)
        yield bank


def seen(found: Seen | Skipped) -> Seen:
    assert isinstance(found, Seen), found
    return found


def names(found: Seen | Skipped) -> list[str | None]:
    return [sighting.match.person for sighting in seen(found).faces]


def test_everyone_gets_their_name_and_a_stranger_none(
    tmp_path: Path, model: Model, facebank: Facebank
) -> None:
    paths = [save_photo(tmp_path / f"{seed}.png", seed, shade=4) for seed in (BERT, STRANGER, ANNA)]
    found = list(identify(paths, model, facebank))
    assert [names(one) for one in found] == [["Bert"], [None], ["Anna"]]
    assert [seen(one).path for one in found] == paths
    assert {(seen(one).width, seen(one).height) for one in found} == {(32, 32)}
    scores = [seen(one).faces[0].match.score for one in found]
    assert min(scores[0], scores[2]) > 0.9 > scores[1]


def test_the_policy_decides(tmp_path: Path, facebank: Facebank) -> None:
    photo = save_photo(tmp_path / "x.png", STRANGER)
    (found,) = identify([photo], FakeModel(), facebank, policy=Policy(-1))
    assert names(found) in (["Anna"], ["Bert"])


def test_a_photo_without_a_face_is_seen_all_the_same(
    tmp_path: Path, model: Model, facebank: Facebank
) -> None:
    (found,) = identify([save_photo(tmp_path / "x.png", ANNA, faces=0)], model, facebank)
    assert seen(found).faces == ()


def test_of_many_faces_the_largest_count_in_the_detectors_order(
    tmp_path: Path, model: Model, facebank: Facebank
) -> None:
    photo = save_photo(tmp_path / "x.png", ANNA, faces=4)  # the last is the largest

    def sizes(limit: int | None, min_face: float) -> list[float]:
        (found,) = identify([photo], model, facebank, limit=limit, min_face=min_face)
        return [sighting.face.size for sighting in seen(found).faces]

    assert sizes(None, 0) == [8, 16, 24, 32]
    assert sizes(2, 0) == [24, 32]
    assert sizes(None, 16) == [16, 24, 32]
    assert sizes(2, 25) == [32]
    assert sizes(9, 33) == []


def test_mirrored_faces_are_averaged(tmp_path: Path, model: Model, facebank: Facebank) -> None:
    photo = save_photo(tmp_path / "x.png", ANNA)
    (plain,) = identify([photo], model, facebank)
    (averaged,) = identify([photo], model, facebank, mirror=True)
    left, right = (seen(one).faces[0].match.score for one in (plain, averaged))
    assert left == pytest.approx(1, abs=1e-3)
    assert right < left  # Anna's left is not her right


def test_one_bad_photo_stops_none_of_the_others(
    tmp_path: Path, model: Model, facebank: Facebank
) -> None:
    good = save_photo(tmp_path / "good.png", ANNA)
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:80])
    (tmp_path / "empty.png").touch()
    paths = [tmp_path / name for name in ("text.jpg", "cut.png", "gone.png", "empty.png")]
    *bad, last = identify([*paths, good], model, facebank)
    assert names(last) == ["Anna"]
    for path, one in zip(paths, bad, strict=True):
        assert isinstance(one, Skipped)
        assert one.path == path
        assert str(path) in one.reason


def test_one_path_may_come_alone(tmp_path: Path, model: Model, facebank: Facebank) -> None:
    photo = save_photo(tmp_path / "a.png", ANNA)
    (seen,) = identify(str(photo), model, facebank)
    assert isinstance(seen, Seen)
    assert seen.path == photo


def test_photos_are_read_as_they_are_asked_for(
    tmp_path: Path, model: Model, facebank: Facebank
) -> None:
    photo = save_photo(tmp_path / "x.png", ANNA)
    asked = []

    def endless() -> Iterator[Path]:
        while True:
            asked.append(photo)
            yield photo

    looking = identify(endless(), model, facebank)
    next(looking)
    next(looking)
    assert len(asked) == 2


def test_another_models_facebank_is_refused(tmp_path: Path, model: Model) -> None:
    with (
        Facebank.create(":memory:", model_id="another", dim=model.dim) as bank,
        pytest.raises(FacebankMismatch, match="another"),
    ):
        next(identify([tmp_path], model, bank))


def test_nobody_is_known_to_an_empty_facebank(tmp_path: Path, model: Model) -> None:
    photo = save_photo(tmp_path / "x.png", ANNA)
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as bank:
        (found,) = identify([photo], model, bank)
    assert names(found) == [None]
    assert np.isclose(seen(found).faces[0].match.score, -1)
