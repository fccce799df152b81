"""The protocol with a model whose answers are known by hand, and once with a real one."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fakes import FakeModel, save_photo
from numpy.typing import NDArray

from mien import images
from mien.errors import BadInput
from mien.evaluation.evaluate import central, evaluate
from mien.evaluation.metrics import ErrorRates
from mien.evaluation.protocol import Evaluation
from mien.recognition import align
from mien.recognition.detect.mtcnn import MTCNN
from mien.recognition.detect.whole_image import WholeImage
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.types import Crops, Embeddings, Face, Image, T

RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


class MeanColour:
    """Takes the mean colour of a face for who it is."""

    dim = 3

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id
        self.seen: list[Image] = []

    def __call__(self, crops: Crops) -> Embeddings:
        """(N, 3), one vector a crop."""
        self.seen += list(crops)
        return unit(crops.mean((1, 2)) - 127.5)


class LightOnly:
    """Sees no face in the dark."""

    def __init__(self, detect: Callable[[Image], list[Face]] | None = None) -> None:
        self.pictures = 0
        self._detect = detect or WholeImage()

    def __call__(self, image: Image) -> list[Face]:
        """The faces of a picture that is not black."""
        self.pictures += 1
        return self._detect(image) if image.any() else []


def colours(
    model_id: str = "colours-000000000000", detect: Callable[[Image], list[Face]] | None = None
) -> Model:
    return Model(LightOnly(detect), MeanColour(model_id), Policy(0.9))


def unit(vectors: NDArray[Any]) -> Embeddings:
    return np.array(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def paint(
    folder: Path, photo: str, colour: tuple[int, int, int], size: tuple[int, int] = (40, 40)
) -> None:
    person, number = photo.split()
    picture = np.full((*size, 3), colour, np.uint8)
    images.write(folder / person / f"{person}_{int(number):04d}.png", picture)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Two folds over three people.  Eve 1 looks like Bob, so one pair of each fold goes wrong."""
    for photo in ("Ann 1", "Ann 2", "Ann 3"):
        paint(tmp_path / "images", photo, RED)
    for photo in ("Bob 1", "Bob 2", "Eve 1"):
        paint(tmp_path / "images", photo, GREEN)
    paint(tmp_path / "images", "Eve 2", BLUE)
    lines = ["2 2", "Ann 1 2", "Bob 1 2", "Ann 1 Bob 1", "Bob 2 Eve 1"]
    lines += ["Ann 2 3", "Eve 1 2", "Ann 3 Eve 2", "Bob 1 Ann 2"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    return tmp_path / "pairs.txt"


def test_report_by_hand(listed: Path) -> None:
    (report,) = evaluate([colours()], listed)
    told = report.verification
    apart = -1 / 3  # cosine of two pure colours, seen from grey
    np.testing.assert_allclose(
        told.scores, [1, 1, apart, 1, 1, apart, apart, apart], rtol=0, atol=0.03
    )
    assert (report.set, report.model_id) == ("pairs.txt", "colours-000000000000")
    assert (report.photos, report.missed, report.mirror) == (7, (), False)
    assert told.by_fold is not None
    assert (len(told.by_fold.accuracy), told.dealt) == (2, False)
    assert (told.by_fold.mean, told.by_fold.std) == (0.75, 0)
    assert -0.3 < told.by_fold.threshold < 1
    assert set(told.tar.values()) == {None}  # 4 pairs of two people
    assert told.eer == pytest.approx(0.25)
    assert report.own == ErrorRates(threshold=0.9, accuracy=0.75, fmr=0.25, fnmr=0.25)
    bare = replace(colours(), own=None)  # as a network fresh from training
    (alike,) = evaluate([bare], listed)
    assert (alike.own, alike.verification.eer, alike.to_json()["own"]) == (None, told.eer, None)


def test_progress_is_told_of_every_photo(listed: Path) -> None:
    seen: list[object] = []

    def progress(things: Sequence[T], doing: str, /) -> Iterable[T]:
        for thing in things:
            seen.append(thing)
            yield thing

    evaluate([colours()], listed, progress=progress)
    assert len(seen) == len(set(seen)) == 7


def test_json_has_every_field_but_the_arrays(listed: Path) -> None:
    (report,) = evaluate([colours()], listed)
    shown = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert {field.name for field in fields(Evaluation)} - {"verification"} < set(shown)
    assert shown["pairs"] == 8
    assert shown["accuracy"] == 0.75
    assert shown["identification"] is None
    assert shown["own"] == {"threshold": 0.9, "accuracy": 0.75, "fmr": 0.25, "fnmr": 0.25}


def test_several_models_look_at_each_photo_once(listed: Path) -> None:
    paint(listed.parent / "images", "Ann 3", BLACK)
    models = [colours("first"), colours("second")]
    reports = evaluate(models, listed, mirrors=(False, True))
    assert [(one.model_id, one.mirror) for one in reports] == [
        ("first", False),
        ("first", True),
        ("second", False),
        ("second", True),
    ]
    assert [model.detector.pictures for model in models] == [7, 0]  # type: ignore[attr-defined]
    for one in reports:
        np.testing.assert_allclose(
            one.verification.scores, reports[0].verification.scores, atol=1e-6
        )


def test_one_fold_is_dealt(tmp_path: Path) -> None:
    for i in range(1, 5):
        paint(tmp_path, f"Ann {i}", RED)
        paint(tmp_path, f"Bob {i}", GREEN)
    same = [f"Ann {i} {j}" for i, j in ((1, 2), (2, 3), (3, 4))]
    (tmp_path / "list.txt").write_text(
        "\n".join(["3", *same, *(f"Ann {i} Bob {i}" for i in (1, 2, 3))])
    )
    (report,) = evaluate([colours()], tmp_path / "list.txt")  # photos beside the list
    folds = report.verification.by_fold
    assert folds is not None
    assert (len(folds.accuracy), report.verification.dealt, folds.mean) == (3, True, 1)


def seen(model: Model) -> list[Image]:
    assert isinstance(model.embedder, MeanColour)
    return model.embedder.seen


def test_a_photo_without_a_face_is_embedded_where_faces_are(listed: Path) -> None:
    paint(listed.parent / "images", "Ann 3", BLACK, size=(80, 20))
    model = colours(detect=lambda image: [square(30, 10, 20)])
    (report,) = evaluate([model], listed)
    assert report.missed == ("Ann/Ann_0003.jpg",)
    assert report.photos == len(seen(model)) == 7
    expected = square(30, 10, 20).points * (20 / 40, 80 / 40)  # the others are 40 x 40
    crop = align.crop(np.zeros((80, 20, 3), np.uint8), expected)
    np.testing.assert_array_equal(seen(model)[-1], crop)
    assert report.verification.scores[4] == pytest.approx(1 / 3, abs=0.03)  # red with black


def square(x: float, y: float, side: float) -> Face:
    """A face round a point."""
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)
    points = (align.TEMPLATE / align.SIZE * side + box[:2]).astype(np.float32)
    return Face(box=box, points=points, confidence=0.9)


@pytest.mark.parametrize(
    ("others", "subject"),
    [
        pytest.param([square(8, 20, 14)], square(22, 20, 14), id="the nearer of equals"),
        pytest.param([square(22, 20, 2)], square(17, 20, 14), id="large before near"),
        pytest.param([square(36, 6, 24)], square(20, 20, 10), id="central before large"),
    ],
)
def test_the_subject_of_a_photo(others: list[Face], subject: Face) -> None:
    assert central([*others, subject], np.zeros((40, 40, 3), np.uint8)) is subject


def test_the_subject_is_what_is_embedded(listed: Path) -> None:
    faces = [square(36, 6, 24), square(20, 20, 10)]
    model = colours(detect=lambda image: faces)
    evaluate([model], listed)
    red = images.read(listed.parent / "images" / "Ann" / "Ann_0001.png")
    np.testing.assert_array_equal(seen(model)[0], align.crop(red, faces[1].points))


def test_photos_that_cannot_be_used(listed: Path) -> None:
    photo = listed.parent / "images" / "Ann" / "Ann_0002.png"
    photo.write_bytes(b"")
    with pytest.raises(BadInput, match=r"Ann_0002.png is empty"):
        evaluate([colours()], listed)
    photo.unlink()
    with pytest.raises(BadInput, match=r"Ann_0002.jpg does not exist: the list of pairs names it"):
        evaluate([colours()], listed)
    with pytest.raises(BadInput, match=r"elsewhere.Ann.Ann_0001.jpg does not exist"):
        evaluate([colours()], listed, photos=listed.parent / "elsewhere")


def test_no_face_in_any_photo(listed: Path) -> None:
    with pytest.raises(BadInput, match="no face was found in any of 7 photos"):
        evaluate([colours(detect=lambda image: [])], listed)


def test_one_pair_of_each_kind_is_too_few(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("1\nAnn 1 2\nAnn 1 Bob 1")
    with pytest.raises(BadInput, match="two are needed"):
        evaluate([colours()], tmp_path / "pairs.txt")


def test_nothing_to_measure_on(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nothing.bin does not exist: give a list of pairs"):
        evaluate([colours()], tmp_path / "nothing.bin")


def paint_set(path: Path) -> None:
    """Ten folds of a pair of each kind in a file as InsightFace's."""
    photos = {}
    for name, colour in (("red", RED), ("blue", BLUE)):
        images.write(path.parent / "crop.png", np.full((112, 112, 3), colour, np.uint8))
        photos[name] = (path.parent / "crop.png").read_bytes()
    (path.parent / "crop.png").unlink()
    listed = [photos[name] for name in ("red", "red", "blue", "red") * 10]
    path.write_bytes(pickle.dumps((listed, [True, False] * 10), 2))


def test_sets_of_a_folder(tmp_path: Path) -> None:
    for name in ("lfw.bin", "agedb_30.bin"):
        paint_set(tmp_path / name)
    model = colours()
    reports = evaluate([model], tmp_path)
    assert [one.set for one in reports] == ["agedb_30", "lfw"]
    for one in reports:
        folds = one.verification.by_fold
        assert folds is not None
        assert (len(folds.accuracy), folds.mean, one.photos) == (10, 1, 40)
        assert one.verification.tar[0.1] == 1
    assert model.detector.pictures == 0  # type: ignore[attr-defined]  # they are crops already
    (one,) = evaluate([model], tmp_path / "lfw.bin")
    assert one.set == "lfw"


def test_people(tmp_path: Path) -> None:
    for person in range(12):
        for photo in range(3):
            save_photo(tmp_path / "people" / f"{person}" / f"{photo}.png", person, shade=photo)
    save_photo(tmp_path / "people" / "0" / "dark.png", 0, faces=0)
    (one,) = evaluate([FakeModel()], tmp_path / "people", seed=3)
    assert (one.set, one.photos, one.missed) == ("people", 36, ())
    assert [path.name for path, _ in one.skipped] == ["dark.png"]
    assert one.verification.by_fold is None
    assert len(one.verification.scores) == 36 * 35 / 2
    assert one.verification.tar[0.01] == 1
    who = one.identification
    assert who is not None
    assert (who.people, who.searches, who.enrolled, who.seed) == (12, 24, 6, 3)
    assert who.rank == {1: 1, 5: 1, 10: 1}
    assert who.tpir[0.1] == 1
    shown = json.loads(json.dumps(one.to_json(), allow_nan=False))
    assert shown["accuracy"] is None
    assert shown["identification"]["rank"]["1"] == 1


def test_too_few_people(tmp_path: Path) -> None:
    save_photo(tmp_path / "people" / "Ann" / "1.png", 1)
    save_photo(tmp_path / "people" / "Bob" / "1.png", 2)
    with pytest.raises(BadInput, match="2 usable photos of 2 people: at least two people"):
        evaluate([FakeModel()], tmp_path / "people")
    save_photo(tmp_path / "people" / "Bob" / "2.png", 2, faces=0)
    with pytest.raises(BadInput, match="2 usable photos of 2 people"):
        evaluate([FakeModel()], tmp_path / "people")


def test_too_many_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for person in ("Ann", "Bob"):
        for photo in range(3):
            save_photo(tmp_path / "people" / person / f"{photo}.png", 1)
    monkeypatch.setattr("mien.evaluation.evaluate.MAX_PHOTOS", 5)
    with pytest.raises(BadInput, match=r"has 6 photos, .* take a part of at most 5"):
        evaluate([FakeModel()], tmp_path / "people")


class Teacher:
    """A network of known accuracy behind the project's detector and alignment."""

    model_id = "teacher"
    dim = 512

    def __init__(self, path: Path) -> None:
        self._network = onnxruntime.InferenceSession(path)

    def __call__(self, crops: Crops) -> Embeddings:
        """(N, 512), one crop at a time."""
        pixels = (crops - np.array([123.675, 116.28, 103.53])) / [58.395, 57.12, 57.375]
        planes = pixels.transpose(0, 3, 1, 2).astype(np.float32)
        name = self._network.get_inputs()[0].name
        return unit(np.concatenate([self._network.run(None, {name: p[None]})[0] for p in planes]))


def test_real_photos(data: Path, tmp_path: Path) -> None:
    lines = (data / "lfw" / "pairsDevTest.txt").read_text().splitlines()
    (tmp_path / "few.txt").write_text("\n".join(["12", *lines[1:25:2], *lines[501:525:2]]))
    teacher = Teacher(data / "teacher" / "mobilefacenet-ms1m.onnx")
    model = Model(MTCNN(threads=1), teacher, Policy(0.33))
    (report,) = evaluate([model], tmp_path / "few.txt", photos=data / "lfw" / "images")
    assert report.missed == ()
    assert report.verification.by_fold is not None
    assert (
        report.own and report.own.accuracy == report.verification.by_fold.mean == 1
    )  # 99.4 % on View 2
