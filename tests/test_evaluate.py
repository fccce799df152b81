"""The protocol with a model whose answers are known by hand, and once with a real one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from mien import align, images
from mien.detect.mtcnn import MTCNN
from mien.detect.whole import WholeImage
from mien.errors import BadInput, MissingExtra
from mien.evaluate import Report, evaluate
from mien.types import Embeddings, Face, Image, T

RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


class Colours:
    """Takes the mean colour of a face for who it is; sees no face in the dark."""

    model_id = "colours-000000000000"
    threshold = 0.9

    def __init__(self, detect: Callable[[Image], list[Face]] | None = None) -> None:
        self._detect = detect or WholeImage()
        self.embedded: list[Face] = []
        self.mirrored: list[bool] = []

    def detect(self, image: Image) -> list[Face]:
        return self._detect(image) if image.any() else []

    def embed(self, image: Image, faces: list[Face], *, mirror: bool = False) -> Embeddings:
        self.embedded += faces
        self.mirrored.append(mirror)
        colours = align.crops(image, faces).mean((1, 2)) - 127.5
        return unit(colours)


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
    report = evaluate(Colours(), listed)
    apart = -1 / 3  # cosine of two pure colours, seen from grey
    np.testing.assert_allclose(
        report.scores, [1, 1, apart, 1, 1, apart, apart, apart], rtol=0, atol=0.03
    )
    assert (report.model_id, report.photos, report.missed) == ("colours-000000000000", 7, ())
    assert (report.folds, report.dealt, report.mirror) == (2, False, False)
    assert (report.accuracy, report.accuracy_std) == (0.75, 0)
    assert -0.3 < report.best_threshold < 1
    assert report.tar == {0.1: None, 0.01: None, 0.001: None}  # 4 pairs of two people
    assert report.eer == pytest.approx(0.25)
    assert (report.own.threshold, report.own.accuracy) == (0.9, 0.75)
    assert (report.own.fmr, report.own.fnmr) == (0.25, 0.25)


def test_progress_is_told_of_every_photo(listed: Path) -> None:
    seen: list[object] = []

    def progress(things: Sequence[T], doing: str, /) -> Iterable[T]:
        for thing in things:
            seen.append(thing)
            yield thing

    evaluate(Colours(), listed, progress=progress)
    assert len(seen) == len(set(seen)) == 7


def test_json_has_every_field_but_the_arrays(listed: Path) -> None:
    report = evaluate(Colours(), listed)
    shown = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert set(shown) == {field.name for field in fields(Report)} - {"scores", "same"} | {"pairs"}
    assert shown["pairs"] == 8
    assert shown["tar"] == {"0.1": None, "0.01": None, "0.001": None}
    assert shown["own"] == {"threshold": 0.9, "accuracy": 0.75, "fmr": 0.25, "fnmr": 0.25}


def test_one_fold_is_dealt(tmp_path: Path) -> None:
    for i in range(1, 5):
        paint(tmp_path, f"Ann {i}", RED)
        paint(tmp_path, f"Bob {i}", GREEN)
    same = [f"Ann {i} {j}" for i, j in ((1, 2), (2, 3), (3, 4))]
    (tmp_path / "list.txt").write_text(
        "\n".join(["3", *same, *(f"Ann {i} Bob {i}" for i in (1, 2, 3))])
    )
    report = evaluate(Colours(), tmp_path / "list.txt")  # photos beside the list
    assert (report.folds, report.dealt, report.accuracy) == (3, True, 1)


def test_mirror_is_asked_of_the_model(listed: Path) -> None:
    model = Colours()
    assert evaluate(model, listed, mirror=True).mirror
    assert model.mirrored == [True] * 7


def test_a_photo_without_a_face_is_embedded_where_faces_are(listed: Path) -> None:
    paint(listed.parent / "images", "Ann 3", BLACK, size=(80, 20))
    model = Colours()
    report = evaluate(model, listed)
    assert report.missed == ("Ann/Ann_0003.jpg",)
    assert report.photos == len(model.embedded) == 7
    expected = WholeImage()(np.zeros((80, 20, 3), np.uint8))[0]
    np.testing.assert_allclose(model.embedded[-1].points, expected.points, atol=1e-4)
    np.testing.assert_allclose(model.embedded[-1].box, expected.box, atol=1e-4)
    assert report.scores[4] == pytest.approx(1 / 3, abs=0.03)  # red with black


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
def test_the_subject_of_a_photo(listed: Path, others: list[Face], subject: Face) -> None:
    model = Colours(lambda image: [*others, subject])
    evaluate(model, listed)
    assert all(face is subject for face in model.embedded)


def test_photos_that_cannot_be_used(listed: Path) -> None:
    photo = listed.parent / "images" / "Ann" / "Ann_0002.png"
    photo.write_bytes(b"")
    with pytest.raises(BadInput, match=r"Ann_0002.png is empty"):
        evaluate(Colours(), listed)
    photo.unlink()
    with pytest.raises(BadInput, match=r"Ann_0002.jpg does not exist: the list of pairs names it"):
        evaluate(Colours(), listed)
    with pytest.raises(BadInput, match=r"elsewhere.Ann.Ann_0001.jpg does not exist"):
        evaluate(Colours(), listed, photos=listed.parent / "elsewhere")


def test_no_face_in_any_photo(listed: Path) -> None:
    with pytest.raises(BadInput, match="no face was found in any of 7 photos"):
        evaluate(Colours(lambda image: []), listed)


def test_one_pair_of_each_kind_is_too_few(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("1\nAnn 1 2\nAnn 1 Bob 1")
    with pytest.raises(BadInput, match="two are the least"):
        evaluate(Colours(), tmp_path / "pairs.txt")


def test_the_roc_is_drawn(listed: Path) -> None:
    report = evaluate(Colours(), listed)
    report.draw_roc(listed.parent / "roc.png")
    assert images.read(listed.parent / "roc.png").std() > 10
    report.draw_roc(listed.parent / "roc.svg")
    assert ElementTree.parse(listed.parent / "roc.svg").getroot().tag.endswith("svg")
    with pytest.raises(BadInput, match=r"roc.gif must end in .png or .svg"):
        report.draw_roc(listed.parent / "roc.gif")


def test_without_matplotlib(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = evaluate(Colours(), listed)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mien\[evaluate\]'"):
        report.draw_roc(listed.parent / "roc.png")


def test_matplotlib_waits_for_a_drawing() -> None:
    check = "import sys, mien.evaluate; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


class Teacher:
    """A network of known accuracy behind the project's detector and alignment."""

    model_id = "teacher"
    threshold = 0.33

    def __init__(self, path: Path) -> None:
        self.detect = MTCNN(threads=1)
        self._network = onnxruntime.InferenceSession(path)

    def embed(self, image: Image, faces: list[Face], *, mirror: bool = False) -> Embeddings:
        crop = align.crops(image, faces)[:1]
        pixels = (crop - np.array([123.675, 116.28, 103.53])) / [58.395, 57.12, 57.375]
        name = self._network.get_inputs()[0].name
        planes = pixels.transpose(0, 3, 1, 2).astype(np.float32)
        return unit(self._network.run(None, {name: planes})[0])


def test_real_photos(data: Path, tmp_path: Path) -> None:
    lines = (data / "lfw" / "pairsDevTest.txt").read_text().splitlines()
    (tmp_path / "few.txt").write_text("\n".join(["12", *lines[1:25:2], *lines[501:525:2]]))
    teacher = Teacher(data / "teacher" / "mobilefacenet-ms1m.onnx")
    report = evaluate(teacher, tmp_path / "few.txt", photos=data / "lfw" / "images")
    assert report.missed == ()
    assert report.own.accuracy == report.accuracy == 1  # 99.4 % on View 2
