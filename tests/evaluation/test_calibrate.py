"""Thresholds from made-up people, whose scores are counted by slow loops."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, MeanColours, SquareFaces, save_photo

from mien import images
from mien.errors import BadInput
from mien.evaluation.calibrate import calibrate
from mien.recognition import align
from mien.recognition.thresholds import GAINS, Impostors


def save_people(folder: Path, people: int, photos: int) -> None:
    for person in range(people):
        for photo in range(photos):
            name = folder / f"person {person}" / f"{photo}.png"
            save_photo(name, seed=person, shade=10 * photo)


def test_calibration_by_slow_loop(tmp_path: Path) -> None:
    save_people(tmp_path / "people", people=40, photos=2)
    found = calibrate(FakeModel(), tmp_path / "people", fmr=0.02)
    rows = []
    for path in sorted((tmp_path / "people").rglob("*.png")):
        image = images.read(path)
        rows.append((path.parent.name, MeanColours()(align.crops(image, SquareFaces()(image)))[0]))
    impostors = [a @ b for i, (p, a) in enumerate(rows) for q, b in rows[:i] if p != q]
    genuine = [a @ b for i, (p, a) in enumerate(rows) for q, b in rows[:i] if p == q]
    assert found.model_id == FakeModel().model_id
    assert (found.people, found.photos, found.source) == (40, 80, "people")
    assert found.impostor_pairs == len(impostors) == 3120
    assert found.genuine_pairs == len(genuine) == 40
    assert found.chosen.fmr == 0.02
    first_rejected = sorted(impostors)[-63]  # 62.4 may pass; another product rounds differently
    assert found.chosen.threshold == pytest.approx(first_rejected, abs=1e-6)
    assert found.chosen.tmr == np.mean([score >= found.chosen.threshold for score in genuine])
    assert [point.fmr for point in found.table] == [0.01]  # 0.001 would rest on 3 false matches
    assert found.table[0].threshold > found.chosen.threshold
    assert found.skipped == ()
    shown = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert shown["chosen"] == asdict(found.chosen)
    known = Impostors.from_calibration(shown)
    assert known == found.impostors
    assert known is not None
    assert known.threshold(0.1) > known.threshold(0.3)


def test_rare_rates_of_photos_that_nobody_sorted_are_extrapolated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_people(tmp_path, people=80, photos=1)
    monkeypatch.setattr("mien.evaluation.calibrate.UNSORTED", 0.1)
    found = calibrate(FakeModel(), tmp_path, fmr=0.02, strangers=True)
    assert (found.people, found.chosen.fmr, found.table) == (80, 0.02, ())
    assert found.impostors is not None
    assert min(found.impostors.rates) == 0.1
    assert (found.genuine_pairs, found.impostors.gains) == (0, GAINS)


def test_true_matches_may_be_other_peoples(tmp_path: Path) -> None:
    save_people(tmp_path / "strangers", people=40, photos=1)
    save_people(tmp_path / "people", people=40, photos=2)
    there = calibrate(FakeModel(), tmp_path / "people", fmr=0.05)
    found = calibrate(
        FakeModel(), tmp_path / "strangers", fmr=0.05, strangers=True, people=tmp_path / "people"
    )
    assert (found.people, found.photos, found.genuine_pairs) == (40, 40, there.genuine_pairs)
    assert found.impostors is not None
    assert there.impostors is not None
    assert found.impostors.gains == there.impostors.gains


def test_bad_photos_are_listed(tmp_path: Path) -> None:
    save_people(tmp_path, people=20, photos=2)
    save_photo(tmp_path / "person 0" / "dark.png", seed=0, faces=0)
    (tmp_path / "person 1" / "empty.jpg").touch()
    save_photo(tmp_path / "loose.png", seed=1)
    found = calibrate(FakeModel(), tmp_path, fmr=0.1)
    assert found.photos == 40
    names = [path.name for path, _ in found.skipped]
    assert names == ["loose.png", "dark.png", "empty.jpg"]
    for (_, reason), why in zip(
        found.skipped, ["no person's folder", "no face", "is empty"], strict=True
    ):
        assert why in reason
    shown = json.loads(json.dumps(found.to_json()))["skipped"][1]
    assert shown == {"path": str(found.skipped[1][0]), "reason": found.skipped[1][1]}


def test_one_photo_each_tells_nothing_of_true_matches(tmp_path: Path) -> None:
    save_people(tmp_path, people=30, photos=1)
    found = calibrate(FakeModel(), tmp_path, fmr=0.1)
    assert (found.genuine_pairs, found.chosen.tmr) == (0, None)


@pytest.mark.parametrize("fmr", [0, 1, -0.1, float("nan")])
def test_rates_that_make_no_sense(tmp_path: Path, fmr: float) -> None:
    with pytest.raises(BadInput, match="must lie between 0 and 1"):
        calibrate(FakeModel(), tmp_path, fmr=fmr)


def test_too_few_pairs(tmp_path: Path) -> None:
    save_people(tmp_path, people=5, photos=2)
    with pytest.raises(BadInput, match=r"gives 40 pairs of two people and .* 0\.001 needs 30000"):
        calibrate(FakeModel(), tmp_path, fmr=1e-3)


def test_too_few_pairs_after_bad_photos(tmp_path: Path) -> None:
    save_people(tmp_path, people=26, photos=1)  # 325 pairs
    calibrate(FakeModel(), tmp_path, fmr=0.1)
    for person in range(3):
        (tmp_path / f"person {person}" / "0.png").write_bytes(b"")
    with pytest.raises(BadInput, match="gives 253 pairs"):
        calibrate(FakeModel(), tmp_path, fmr=0.1)


def test_what_is_no_folder_of_people(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no photos"):
        calibrate(FakeModel(), tmp_path, fmr=0.1)
    photo = save_photo(tmp_path / "people/Ann/1.png", seed=1)
    for other in (tmp_path / "peo*", photo):
        with pytest.raises(BadInput, match="is not a folder"):
            calibrate(FakeModel(), other, fmr=0.1)
