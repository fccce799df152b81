"""Names over time: who is in sight, from when to when."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import clips
import numpy as np
import pytest
from clips import av

from mien.facebank.facebank import Facebank
from mien.facebank.rows import Photo
from mien.recognition.model import Model
from mien.types import Image
from mien.verbs.watch import Moment, Sighting, watch
from mien.video.read import Frame, Video

ANNA, BERT, STRANGER = 1, 2, 3  # seeds


@pytest.fixture
def model() -> Model:
    return clips.model()


@pytest.fixture
def facebank(model: Model) -> Iterator[Facebank]:
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as bank:
        for seed, name in ((ANNA, "Anna"), (BERT, "Bert")):
            image = clips.picture((seed, 50, 50))
            photo = Photo(name, f"{seed:064x}", "", name, 1.0, 60)
            bank.add([photo], model.embed(image, model.detect(image)))
        yield bank


def stills(pictures: list[Image]) -> Iterator[Frame]:
    for number, image in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        yield Frame(number, number / 30, frame.width, frame.height, frame)


def seen(
    pictures: list[Image], model: Model, facebank: Facebank, **how: float
) -> tuple[list[Moment], list[Sighting]]:
    found = list(watch(stills(pictures), model, facebank, path=Path("x.mp4"), **how))  # type: ignore[arg-type]
    moments = [one for one in found if isinstance(one, Moment)]
    assert [moment.frame.number for moment in moments] == list(range(len(pictures)))
    return moments, [one for one in found if isinstance(one, Sighting)]


def names(moment: Moment) -> list[str | None]:
    return sorted((one.match.person for one in moment.faces), key=str)


def test_all_get_their_names_in_all_pictures_with_few_looks(
    model: Model, facebank: Facebank
) -> None:
    pictures = [
        clips.picture((ANNA, 10 + n, 20), (BERT, 240 - n, 150), (STRANGER, 220, 20 + n / 3))
        for n in range(90)
    ]
    moments, found = seen(pictures, model, facebank)
    assert all(names(moment) == ["Anna", "Bert", None] for moment in moments)
    for number in (5, 50, 89):
        boxes = {one.match.person: one.face.box for one in moments[number].faces}
        assert np.allclose(boxes["Anna"][:2], (10 + number, 20), atol=3)
    assert {one.match.person for one in found} == {"Anna", "Bert", None}
    assert all((one.start, one.frames) == (0, 90) for one in found)
    assert all(one.end == pytest.approx(89 / 30) for one in found)
    assert model.detector.pictures < 16  # type: ignore[attr-defined]


def test_who_crosses_another_never_gets_their_name(model: Model, facebank: Facebank) -> None:
    pictures = []
    for n in range(90):
        pictures.append(clips.picture((ANNA, 20 + 2.4 * n, 80), (BERT, 240 - 2.4 * n, 90)))
    moments, found = seen(pictures, model, facebank)
    apart = [n for n in range(90) if abs(220 - 4.8 * n) > 120 and (n < 40 or n > 75)]
    for n in apart:
        for one in moments[n].faces:
            where = {"Anna": 20 + 2.4 * n, "Bert": 240 - 2.4 * n}
            if one.match.person:
                assert abs(float(one.face.box[0]) - where[one.match.person]) < 12, n
    assert {one.match.person for one in found if one.frames > 20} >= {"Anna", "Bert"}


def test_a_cut_ends_one_and_begins_another(model: Model, facebank: Facebank) -> None:
    pictures = [clips.picture((ANNA, 100, 80))] * 40 + [clips.picture((BERT, 104, 84))] * 40
    moments, found = seen(pictures, model, facebank)
    assert [one.match.person for one in found] == ["Anna", "Bert"]
    assert names(moments[39]) == ["Anna"]
    assert names(moments[45]) == ["Bert"]
    assert found[0].end == pytest.approx(39 / 30, abs=0.1)
    assert found[1].start == pytest.approx(40 / 30, abs=0.1)


def test_who_comes_back_soon_is_in_sight_once(model: Model, facebank: Facebank) -> None:
    there, empty = clips.picture((ANNA, 100, 80)), clips.picture()
    _, found = seen([there] * 30 + [empty] * 30 + [there] * 30, model, facebank)
    assert [(one.match.person, one.start) for one in found] == [("Anna", 0)]
    _, found = seen([there] * 30 + [empty] * 90 + [there] * 30, model, facebank)
    assert [one.match.person for one in found] == ["Anna", "Anna"]
    assert found[0].end < 1.1 < 3.9 < found[1].start


def test_pictures_may_change_their_size(model: Model, facebank: Facebank) -> None:
    there = clips.picture((ANNA, 100, 80))
    small = np.ascontiguousarray(there[60:160, 80:180])
    found = watch([*stills([there] * 20), *stills([small] * 20)], model, facebank, path=Path("x"))
    seen = [one.match.person for one in found if isinstance(one, Sighting) and one.frames > 9]
    assert set(seen) == {"Anna"}


def test_what_is_seen_once_is_no_face(model: Model, facebank: Facebank) -> None:
    empty, flash = clips.picture(), clips.picture((ANNA, 100, 80))
    pictures = [empty] * 8 + [flash] + [empty] * 30
    moments, found = seen(pictures, model, facebank)
    assert not found
    assert not any(moment.faces for moment in moments)


def test_every_stride_and_a_camera_without_patience(model: Model, facebank: Facebank) -> None:
    pictures = [clips.picture((ANNA, 10 + n, 20)) for n in range(30)]
    model.detector.pictures = 0  # type: ignore[attr-defined]
    moments, _ = seen(pictures, model, facebank, stride=1)
    assert model.detector.pictures == 30  # type: ignore[attr-defined]
    assert all(names(moment) == ["Anna"] for moment in moments)
    asked = []

    def live() -> Iterator[Frame]:
        for still in stills(pictures):
            asked.append(still.number)
            yield still

    for one in watch(live(), model, facebank, path=Path("camera"), patience=0):
        if isinstance(one, Moment):
            assert one.frame.number == asked[-1]  # none is held back


def test_memory_stays_flat(tmp_path: Path, model: Model, facebank: Facebank) -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("there is no /proc to ask how much memory is used")

    def used() -> int:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    pictures = (clips.picture((ANNA, 20 + n % 200, 40)) for n in range(1500))
    video = Video(clips.write_clip(tmp_path / "a.mp4", pictures))
    early = 0
    for number, _ in enumerate(watch(video.stills(), model, facebank, path=video.path)):
        if number == 300:
            early = used()
    assert number >= 1500
    assert used() - early < 40e6  # the pictures that went by were 140 MB
