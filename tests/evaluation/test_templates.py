"""IJB's protocol on files that are written here: faces of one colour, so that all is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import save_photo
from test_evaluate import MeanColour, unit

from mien.errors import BadInput
from mien.evaluation.evaluate import evaluate
from mien.evaluation.templates import pooled
from mien.recognition.detect.whole_image import WholeImage
from mien.recognition.model import Model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four people with two templates each, of a photo and of two frames of a video."""
    (tmp_path / "meta").mkdir()
    (tmp_path / "loose_crop").mkdir()
    lines = []
    for person in range(4):
        for side in (0, 1):
            for frame in (0, 1, 2):
                name = f"{person}{side}{frame}.png"
                save_photo(tmp_path / "loose_crop" / name, person)
                lines.append(f"{name} {10 * person + side + 1} {max(frame, 1)}")
    write(tmp_path, "face_tid_mid.txt", lines)
    pairs = [
        f"{10 * a + 1} {10 * b + 2} {int(a == b)}" for a in range(4) for b in range(4) if a <= b
    ]
    write(tmp_path, "template_pair_label.txt", pairs)
    head = "TEMPLATE_ID,SUBJECT_ID,FILENAME"
    for gallery, people in (("G1", (0, 1)), ("G2", (2,))):
        rows = [f"{10 * person + 1},{person},x.png" for person in people]
        write(tmp_path, f"1N_gallery_{gallery}.csv", [head, *rows])
    probes = [f"{10 * person + 2},{person},x.png" for person in range(4)]
    write(tmp_path, "1N_probe_mixed.csv", [head, *probes, *probes])  # a line for each photo
    return tmp_path


def write(folder: Path, name: str, lines: list[str]) -> None:
    (folder / "meta" / f"ijbt_{name}").write_text("\n".join(lines) + "\n")


def test_frames_of_a_video_count_as_one_photo() -> None:
    vectors = unit(np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]], np.float32))
    names, found = pooled(vectors, np.array([7, 7, 7, 3]), np.array([1, 2, 2, 1]))
    assert names.tolist() == [3, 7]
    np.testing.assert_allclose(found, unit(np.array([[0, 0, 1], [1, 1, 0]])), atol=1e-6)


def test_templates_are_compared_and_looked_up(folder: Path) -> None:
    model = Model(WholeImage(), MeanColour("colours-0"))
    (found,) = evaluate([model], folder)
    assert (found.set, found.photos, found.verification.by_fold) == ("ijbt", 24, None)
    assert (len(found.verification.same), int(found.verification.same.sum())) == (10, 4)
    assert found.verification.tar[1e-1] is None and found.verification.eer == 0
    who = found.identification
    assert who is not None
    assert (who.people, who.searches, who.rank) == (3, 3, {1: 1.0, 5: None, 10: None})
    assert (who.enrolled_searches, who.stranger_searches) == (3, 5)
    np.testing.assert_allclose(who.cmc, 1)
    points = [
        f"{line.split()[0]} 30 40 82 40 56 60 36 80 76 80 0.9"
        for line in (folder / "meta" / "ijbt_face_tid_mid.txt").read_text().splitlines()
    ]
    write(folder, "name_5pts_score.txt", points)
    blind = Model(lambda _: [], MeanColour("colours-0"))  # no face need be detected
    (told,) = evaluate([blind], folder)
    assert told.missed == () and told.verification.eer == 0


@pytest.mark.parametrize(
    ("name", "lines", "error"),
    [
        ("face_tid_mid.txt", ["a.png 1"], "line 1 of .* has 2 words, not 3"),
        ("template_pair_label.txt", ["1 2 1", "1 99 0"], "template 99 has no photo"),
        ("template_pair_label.txt", ["1 x 1"], "holds what is no number"),
        ("1N_probe_mixed.csv", ["a,b", "1,2"], "has no TEMPLATE_ID and SUBJECT_ID"),
        ("name_5pts_score.txt", ["a.png 1 2 3 4 5 6 7 8 9 10 1"], "lacks five points of a photo"),
    ],
)
def test_files_that_are_wrong(folder: Path, name: str, lines: list[str], error: str) -> None:
    write(folder, name, lines)
    with pytest.raises(BadInput, match=error):
        evaluate([Model(WholeImage(), MeanColour("colours-0"))], folder)
