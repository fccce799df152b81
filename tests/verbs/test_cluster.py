"""Strangers in photos: who is grouped, what is left in the folder, and what naming one cuts out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fakes import FakeModel, save_photo

from mien.errors import BadInput, CannotWrite
from mien.facebank.facebank import Facebank
from mien.files import walk
from mien.images import read
from mien.verbs import cluster as verb
from mien.verbs.cluster import FILE, Clusters, cluster, cut, earlier_groups, save
from mien.verbs.enroll import enroll

ANNA, BERT, CLEO = 1, 2, 3  # seeds


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(verb, "POOR", 0)  # they are small
    for photo in range(3):
        save_photo(tmp_path / f"in/a{photo}.png", ANNA, shade=5 * photo)
    for photo in range(2):
        save_photo(tmp_path / f"in/b{photo}.png", BERT, shade=5 * photo)
    save_photo(tmp_path / "in/c.png", CLEO)
    (tmp_path / "in/bad.jpg").write_text("no picture")
    return tmp_path / "in"


def names(found: Clusters) -> list[list[str]]:
    return [sorted(one.path.name for one in members) for members in found.groups.values()]


def test_strangers_are_grouped(photos: Path) -> None:
    found = cluster(walk([photos]), FakeModel())
    assert names(found) == [["a0.png", "a1.png", "a2.png"], ["b0.png", "b1.png"]]
    assert (found.alone, found.known) == (1, 0)
    assert [path.name for path, _ in found.skipped] == ["bad.jpg"]


def test_who_is_known_is_left_out(photos: Path, tmp_path: Path) -> None:
    model = FakeModel()
    save_photo(tmp_path / "people/Anna/1.png", ANNA, shade=2)
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as bank:
        enroll(tmp_path / "people", bank, model)
        found = cluster(walk([photos]), model, facebank=bank)
    assert names(found) == [["b0.png", "b1.png"]]
    assert found.known == 3


def test_small_faces_and_small_groups(photos: Path) -> None:
    assert names(cluster(walk([photos]), FakeModel(), min_face=33)) == []
    assert len(cluster(walk([photos]), FakeModel(), smallest=3).groups) == 1


def test_poor_faces_found_no_group(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "POOR", 0.25)
    assert names(cluster(walk([photos]), FakeModel())) == []


def test_new_photos_join_earlier_groups(photos: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out", FakeModel()
    save(cluster(walk([photos]), model), out)
    earlier = earlier_groups(out, model.model_id)
    (photos / "a0.png").unlink()
    (photos / "a1.png").unlink()
    save_photo(photos / "b2.png", BERT, shade=3)
    for photo in range(4):
        save_photo(photos / f"c{photo}.png", CLEO, shade=1 + photo)
    found = cluster(walk([photos]), model, earlier=earlier, smallest=1)
    assert {number: len(members) for number, members in found.groups.items()} == {1: 1, 2: 3, 3: 5}
    with pytest.raises(BadInput, match="was made with the model mean-colours, not another"):
        earlier_groups(out, "another")


def test_the_page_asks_for_nothing_but_its_sheets(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    save(cluster(walk([photos]), FakeModel()), out)
    page = (out / "index.html").read_text()
    assert re.findall(r'(?:src|href)="([^"]+)"', page) == ["group-0001.png", "group-0002.png"]
    assert "http" not in page
    assert read(out / "group-0001.png").shape == (96, 288, 3)
    save(cluster(walk([photos]), FakeModel(), smallest=3), out)  # again, with less
    assert sorted(path.name for path in out.glob("*.png")) == ["group-0001.png"]


def test_a_folder_of_something_else_is_left_alone(photos: Path) -> None:
    with pytest.raises(BadInput, match="holds something else"):
        save(cluster(walk([photos]), FakeModel()), photos)


def test_a_run_that_was_stopped_leaves_no_group_to_name(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = cluster(walk([photos]), FakeModel())
    save(found, out)
    (out / "group-0001.png").unlink()
    (out / "group-0001.png").mkdir()  # cannot be removed as a file
    with pytest.raises(CannotWrite):
        save(found, out)
    with pytest.raises(BadInput, match=r"holds no clusters\.json"):
        cut(out, [(1, "Ann")])
    (out / "group-0001.png").rmdir()
    save(found, out)
    assert cut(out, [(2, "Ann")])[1] == ()


def test_naming_a_group_makes_a_folder_of_people(photos: Path, tmp_path: Path) -> None:
    model, out = FakeModel(), tmp_path / "out"
    save(cluster(walk([photos]), model), out)
    (photos / "b1.png").unlink()
    save_photo(photos / "a2.png", CLEO)
    people, skipped = cut(out, [(1, "Ann"), (2, "Ann")])
    assert [path.name for path, _ in skipped] == ["a2.png", "b1.png"]
    assert "has changed" in skipped[0][1]
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as bank:
        assert enroll(people, bank, model).added == 3
        assert [person.name for person in bank.people()] == ["Ann"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "holds no clusters.json"),
        ("[]", "is damaged"),
        ('{"groups": [{"group": 1, "faces": [{"path": 3}]}]}', "is damaged"),
        (
            '{"groups": [{"group": 1, "faces": [{"path": "x", "sha256": "y",'
            ' "box": [0, 0, Infinity, 1]}]}]}',
            "is damaged",
        ),
        (json.dumps({"model_id": "m", "groups": [{"group": 1, "faces": []}]}), "has no group 7"),
    ],
)
def test_what_cannot_be_named(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / FILE).write_text(content)
    with pytest.raises(BadInput, match=said):
        cut(tmp_path, [(7, "Ann")])
