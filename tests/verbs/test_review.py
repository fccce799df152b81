"""What is asked about faces, and what each answer does, for good and until it is undone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeModel, save_photo

from mien.collection.album import album
from mien.collection.fill import look, update
from mien.collection.photo_index import PhotoIndex
from mien.errors import BadInput
from mien.facebank.facebank import Facebank
from mien.verbs import review as verb
from mien.verbs.cluster import cluster
from mien.verbs.enroll import rebuild
from mien.verbs.identify import Seen, identify
from mien.verbs.review import Review, Sure, write_page

ANNA, BERT, CLEO = 1, 2, 3  # seeds


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(verb, "POOR", 0)  # they are small
    for photo in range(3):
        save_photo(tmp_path / f"in/a{photo}.png", ANNA, shade=5 * photo)
    for photo in range(2):
        save_photo(tmp_path / f"in/b{photo}.png", BERT, shade=5 * photo)
    save_photo(tmp_path / "in/c.png", CLEO)
    return tmp_path / "in"


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def index(tmp_path: Path, photos: Path, model: FakeModel) -> Iterator[PhotoIndex]:
    with PhotoIndex(tmp_path / "index.db") as index:
        update(photos, model, index)
        yield index


@pytest.fixture
def bank(model: FakeModel) -> Iterator[Facebank]:
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as bank:
        yield bank


@pytest.fixture
def review(tmp_path: Path, index: PhotoIndex, bank: Facebank, model: FakeModel) -> Review:
    return Review(index, bank, model, tmp_path / "people")


def asked(review: Review, smallest: int = 2) -> list[list[str]]:
    questions = review.questions(smallest=smallest)
    return [sorted(one.path.name for one in question.faces) for question in questions]


def named(photos: Path, model: FakeModel, index: PhotoIndex, bank: Facebank) -> dict[str, str]:
    """Who is in which photo, by `album`, which `identify` says too."""
    entries = album(photos, model, index, bank)
    found = {one.path.name: name for one in entries for name in one.people}
    paths = sorted(photos.iterdir())
    seen = [one for one in identify(paths, model, bank, index=index) if isinstance(one, Seen)]
    same = {one.path.name: face.match.person for one in seen for face in one.faces}
    assert {path: name for path, name in same.items() if name} == found
    return found


A, B = {f"a{n}.png": "Ann" for n in range(3)}, {f"b{n}.png": "Ben" for n in range(2)}


def test_the_largest_group_comes_first_and_a_name_teaches_the_facebank(
    photos: Path, model: FakeModel, index: PhotoIndex, bank: Facebank, review: Review
) -> None:
    assert asked(review) == [["a0.png", "a1.png", "a2.png"], ["b0.png", "b1.png"]]
    question = review.questions()[0]
    assert (question.people, question.sure) == ((), Sure.UNSURE)
    assert review.confirm(question.faces, "Ann") == (3, ())
    assert [(one.name, one.photos) for one in bank.people()] == [("Ann", 3)]
    assert all(photo.path.is_file() for photo in bank.photos("Ann"))
    assert named(photos, model, index, bank) == A
    save_photo(photos / "a3.png", ANNA, shade=20)  # a second year's
    update(photos, model, index)
    assert asked(review) == [["b0.png", "b1.png"]]
    assert review.undo() == "3 faces named"
    assert bank.people() == [] and not list(review._folder.rglob("*.png"))
    assert len(asked(review)) == 2
    assert review.undo() is None


def test_a_rejected_suggestion_does_not_come_back(
    photos: Path, model: FakeModel, index: PhotoIndex, bank: Facebank, review: Review
) -> None:
    first, second = review.questions()
    review.confirm(first.faces[:1], "Ann")
    assert named(photos, model, index, bank) == A  # they are alike
    review.reject(first.faces[1:], "Ann")
    assert named(photos, model, index, bank) == {first.faces[0].path.name: "Ann"}
    bank.rename("Ann", "Anne")
    left = review.again(first)
    assert left and len(left.faces) == 2 and left.people == ()
    review.confirm(second.faces, "Ben")
    left = review.again(first)
    assert left and [one.person for one in left.people] == ["Ben"]
    review.confirm(first.faces, "Ben")  # moves the one that was Anne
    assert set(named(photos, model, index, bank).values()) == {"Ben"}
    assert [one.name for one in bank.people()] == ["Ben"]


def test_nobody_and_no_face_are_not_asked_again(
    photos: Path, model: FakeModel, index: PhotoIndex, bank: Facebank, review: Review
) -> None:
    first, second = review.questions()
    review.ignore(first.faces)
    review.no_face(second.faces)
    assert asked(review) == []
    (alone,) = asked(review, smallest=1)
    assert alone == ["c.png"]
    entries = {one.path.name: len(one.faces) for one in album(photos, model, index, bank)}
    assert (entries["a0.png"], entries["b0.png"]) == (1, 0)
    paths = sorted(photos.iterdir())
    assert not cluster(paths, model, index=index, facebank=bank).groups
    assert [len(one.faces) for one in look(paths, model, index)] == [1, 1, 1, 0, 0, 1]  # type: ignore[union-attr]
    review.undo()
    assert asked(review) == [["b0.png", "b1.png"]]


def test_groups_are_merged_and_split(
    photos: Path, model: FakeModel, index: PhotoIndex, review: Review
) -> None:
    first, second = review.questions()
    review.merge(first.faces, second.faces)
    assert [len(one) for one in asked(review)] == [5]
    found = cluster(sorted(photos.iterdir()), model, index=index, smallest=3)
    assert [len(one) for one in found.groups.values()] == [5]
    review.undo()
    review.split(first.faces[:2], first.faces[2:])
    assert [len(one) for one in asked(review)] == [2, 2]


def test_what_was_said_survives_another_model_and_a_facebank_made_anew(
    photos: Path, tmp_path: Path, index: PhotoIndex, bank: Facebank, review: Review
) -> None:
    first, second = review.questions()
    review.confirm(first.faces[:2], "Ann")
    review.reject(first.faces[2:], "Ann")
    review.ignore(second.faces)
    other = FakeModel("another")
    rebuild(tmp_path / "people", bank, other)
    (photos / "a0.png").rename(photos / "moved.png")
    update(photos, other, index)
    again = Review(index, bank, other, tmp_path / "people")
    entries = album(photos, other, index, bank)
    assert sum(one.people == ["Ann"] for one in entries) == 2
    assert sorted(asked(again, smallest=1), key=len) == [
        [one]
        for one in sorted(
            [
                "c.png",
                *(one.path.name for one in entries if _is_third(one.path, first.faces[2].path)),
            ]
        )
    ]


def _is_third(path: Path, third: Path) -> bool:
    return path.name == third.name or (third.name == "a0.png" and path.name == "moved.png")


def test_a_name_of_whom_nothing_can_be_learnt_is_refused(
    photos: Path, bank: Facebank, review: Review
) -> None:
    question = review.questions()[0]
    for one in question.faces:
        save_photo(one.path, CLEO, shade=9)
    with pytest.raises(BadInput, match="has changed"):
        review.confirm(question.faces, "Ann")
    with pytest.raises(BadInput, match="cannot be a person's name"):
        review.confirm(question.faces, "a/b")
    assert bank.people() == []


def test_the_page_shows_all_and_asks_nobody(
    tmp_path: Path, index: PhotoIndex, review: Review
) -> None:
    write_page(tmp_path / "page.html", review.questions(), index)
    text = (tmp_path / "page.html").read_text()
    assert text.count("data:image/jpeg;base64,/9j/") == 5
    assert "http" not in text
    assert (tmp_path / "page.html").stat().st_mode & 0o077 == 0
