"""What makes the detector: labels by agreement, exact scenes, files that say what was trained."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from mien import images  # noqa: E402
from mien.recognition.detect.mien_detector import GOAL, SIDE, MienDetector  # noqa: E402
from recipes.detector.crops import Views  # noqa: E402
from recipes.detector.export import export  # noqa: E402
from recipes.detector.labels import DOUBT, FACE, SIZE, Labels, agreed  # noqa: E402
from recipes.detector.networks import Finder, Points  # noqa: E402
from recipes.detector.scenes import Material, Scenes, similar, turned_box  # noqa: E402
from recipes.detector.train import finder_step, points_step, train  # noqa: E402

ASTRONAUT = Path(__file__).parents[1] / "docs" / "astronaut.jpg"


@pytest.fixture(scope="module")
def material() -> Material:
    """One photo whose face has green eyes, a red nose and a blue mouth, on grey."""
    photo = np.full((SIZE, SIZE, 3), 128, np.uint8)
    points = np.array([[56, 60], [88, 60], [72, 76], [60, 95], [84, 95]], np.float32)
    for point, colour in zip(
        points, ((0, 255, 0),) * 2 + ((255, 0, 0),) + ((0, 0, 255),) * 2, strict=True
    ):
        cv2.circle(photo, np.round(point - 0.5).astype(int).tolist(), 6, colour, -1)
    face = np.concatenate([[34, 28, 110, 122], points.ravel()]).astype(np.float32)
    nothing = np.full(14, np.nan, np.float32)
    labels = Labels(
        faces=np.stack([face, nothing, nothing])[None],
        kind=np.array([[FACE, 0, 0]], np.uint8),
        trust=np.ones(1, np.float32),
    )
    halves = [photo]
    for side in (72, 36):
        halves.append(np.asarray(cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)))
    return Material(
        photos=[half[None] for half in halves],
        labels=labels,
        rows=np.array([0]),
        pictures=[np.full((300, 400, 3), 90, np.uint8)],
        things=[np.full((60, 60, 4), 200, np.uint8)],
    )


def test_a_face_that_all_views_see_is_their_median() -> None:
    rows = [[view, 0.9, 40, 40, 100, 100, *np.repeat([60, 80, 70, 62, 78], 2)] for view in range(4)]
    seen = np.array(rows, np.float32)
    seen[0, 6:] += 8  # one view is far off
    alone = np.array([[2, 0.8, 5, 5, 25, 25, *range(10)]], np.float32)
    one, other = agreed(np.concatenate([seen, alone]))
    np.testing.assert_allclose(one.points, seen[1, 6:].reshape(5, 2))
    assert (one.agree, other.agree) == (1.0, 0.25)
    assert one.sure and not other.sure


def test_scenes_show_their_faces_where_they_say(material: Material) -> None:
    scenes, right, number = Scenes(material, 0), 0, 0
    for _ in range(60):
        scene = scenes.compose()
        for row in scene.faces:
            size = np.sqrt(np.prod(row[2:4] - row[:2]))
            nose = row[8:10]
            x, y = np.floor(nose).astype(int)
            if size > 30 and 0 <= x < len(scene.pixels) and 0 <= y < len(scene.pixels):
                red, green, blue = scene.pixels[y, x].astype(int)
                right += red > max(green, blue)
                number += 1
    assert number > 20
    assert right > 0.7 * number  # others are hidden, grey, or in coloured light


def test_the_same_seed_makes_the_same(material: Material) -> None:
    for make in (Scenes, lambda of, seed: Views(of, np.zeros((0, SIDE, SIDE, 3), np.uint8), seed)):
        one, other, third = (make(material, seed) for seed in (1, 1, 2))
        pixels = [np.stack([each().pixels for _ in range(4)]) for each in (one, other, third)]
        np.testing.assert_array_equal(pixels[0], pixels[1])
        assert (pixels[0] != pixels[2]).any()


def test_an_exact_view_has_its_points_on_the_goal(material: Material) -> None:
    views = Views(material, np.zeros((0, SIDE, SIDE, 3), np.uint8), 0)
    faces = [view for view in (views() for _ in range(80)) if view.face]
    assert 30 < len(faces) < 80
    middle = np.median([view.points for view in faces], 0)
    assert np.abs(middle - GOAL).max() < 4


def test_a_turned_box_holds_the_turned_ellipse() -> None:
    box = np.array([10.0, 20, 50, 100])
    quarter = similar(1, np.pi / 2, np.zeros(2), np.zeros(2))
    np.testing.assert_allclose(turned_box(box, quarter), [-100, 10, -20, 50], atol=1e-9)
    tilted = turned_box(box, similar(1, np.pi / 4, np.array([30.0, 60]), np.array([30.0, 60])))
    np.testing.assert_allclose(tilted[2:] - tilted[:2], np.full(2, np.hypot(40, 80) / np.sqrt(2)))


def test_files_say_what_the_networks_say(tmp_path: Path) -> None:
    torch.manual_seed(0)
    finder, points = Finder(), Points()
    for network in (finder, points):
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.uniform_(-0.5, 0.5)
                part.running_var.uniform_(0.5, 2)
        network.eval()
    export(finder, points, tmp_path)
    detector = MienDetector(weights=tmp_path, threads=1)
    pixels = np.asarray(cv2.resize(images.read(ASTRONAUT), (160, 96)), np.uint8)[None]
    given = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        trained = [grid.numpy() for grid in finder(given)]
    for one, other in zip(detector._finder(pixels), trained, strict=True):
        np.testing.assert_allclose(one, other, atol=0.03)  # weights of half precision
    crops = np.ascontiguousarray(pixels[:, :SIDE, :SIDE])
    with torch.inference_mode():
        (expected,) = points(torch.from_numpy(crops).permute(0, 3, 1, 2).float()).numpy()
    np.testing.assert_allclose(detector._points(crops)[0][0], expected, atol=0.03)


@pytest.mark.parametrize("which", ["finder", "points"])
def test_a_few_steps_lower_the_loss(
    material: Material, tmp_path: Path, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    network = Finder() if which == "finder" else Points()
    mistaken = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    views = Views(material, mistaken, 0)
    step = finder_step(Scenes(material, 0)) if which == "finder" else points_step(views)
    train(network, step, 24, tmp_path / "weights.pt", rate=2e-2, say=8)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert float(last.split("points ")[1].split()[0]) < float(first.split("points ")[1].split()[0])
    assert set(torch.load(tmp_path / "weights.pt")) == set(network.state_dict())


def test_doubts_are_neither_faces_nor_none(material: Material) -> None:
    material.labels.kind[0, 0] = DOUBT
    try:
        scenes = [Scenes(material, 3).compose() for _ in range(1)]
    finally:
        material.labels.kind[0, 0] = FACE
    assert sum(len(scene.faces) for scene in scenes) == 0
    assert sum(len(scene.doubts) for scene in scenes) > 0
