"""What people have said of faces: kept for good, heeded everywhere, and undone by one call.

A face is known by the hash of its photo and its box, whatever model looks at it.  Whose it is is
said by photos of the facebank: it shows the person of those, or not.  So no name is in the index,
and who is renamed or deleted in the facebank is so here.  What was said last of a face counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mien.collection.photo_index import PhotoIndex
from mien.facebank.rows import best_of, now
from mien.facebank.stores import Store
from mien.types import Embeddings, Match

IS, IS_NOT = "is", "is not"  # the person of a facebank's photo
NOBODY = "nobody"  # whom anybody wants to name
NO_FACE = "no face"
SAME, OTHER = "same", "other"  # person as another face
TAUGHT = "taught"  # the facebank, by a cut-out of the face
ANCHORS = 5  # photos of the facebank that stand for their person


class Saying(NamedTuple):
    """One thing that was said of a face."""

    face: str  # its key
    what: str
    other: str = ""  # the hash of a facebank's photo, or the key of another face


@dataclass(slots=True)
class Said:
    """All that was said, and not undone."""

    shown: dict[str, list[str]] = field(default_factory=dict)  # by face: photos of its person
    not_shown: dict[str, set[str]] = field(default_factory=dict)
    nobody: set[str] = field(default_factory=set)
    same: list[tuple[str, str]] = field(default_factory=list)
    apart: list[tuple[str, str]] = field(default_factory=list)


def say(index: PhotoIndex, doing: str, sayings: Iterable[Saying]) -> int:
    """Keep what is said of faces as one correction; its number.

    Args:
        index: has the faces.
        doing: in a few words, for who undoes it; no name.
        sayings: what is said.
    """
    return index.write_correction(now(), doing, list(sayings))


def said(index: PhotoIndex) -> Said:
    """All that was said of the faces of an index."""
    found = Said()
    last: dict[str, int] = {}  # the correction that a face's name is from
    for number, face, what, other in index.corrections():
        if what in (IS, NOBODY):
            if last.get(face) != number:
                found.shown.pop(face, None)
            last[face] = number
            found.nobody.discard(face)
            if what == NOBODY:
                found.nobody.add(face)
            else:
                found.shown.setdefault(face, []).append(other)
        elif what == IS_NOT:
            found.not_shown.setdefault(face, set()).add(other)
        elif what in (SAME, OTHER):
            (found.same if what == SAME else found.apart).append((face, other))
    return found


class Names:
    """Whose faces are: by what was said of them, else by the facebank.

    Args:
        facebank: who has a name.
        threshold: the score that earns one.
        what: was said.
    """

    def __init__(self, facebank: Store, threshold: float, what: Said | None = None) -> None:
        self._facebank, self._threshold, self._said = facebank, threshold, what or Said()
        self._people: dict[str, str | None] = {}
        self._others: dict[str, list[str]] = {}  # by face: faces of other people
        for one, other in self._said.apart:
            self._others.setdefault(one, []).append(other)
            self._others.setdefault(other, []).append(one)

    def person(self, anchors: Iterable[str]) -> str | None:
        """Whom the first of some photos shows that the facebank still has."""
        for sha256 in anchors:
            if sha256 not in self._people:
                photo = self._facebank.photo(sha256)
                self._people[sha256] = photo.person if photo else None
            if name := self._people[sha256]:
                return name
        return None

    def rejected(self, face: str) -> set[str]:
        """Whom a face does not show."""
        shown = [self._said.shown.get(other, []) for other in self._others.get(face, ())]
        anchors = [*([one] for one in self._said.not_shown.get(face, ())), *shown]
        return {name for one in anchors if (name := self.person(one))}

    def match(self, faces: Sequence[str], vectors: Embeddings, k: int = 1) -> list[Match]:
        """The person of each face, by its key and its vector; one that was given has score 1.

        Args:
            faces: their keys.
            vectors: (N, D).
            k: how many people each match has as its `nearest`.
        """
        if not faces:
            return []
        matches = self._facebank.search(vectors, self._threshold, k)
        for place, face in enumerate(faces):
            if name := self.person(self._said.shown.get(face, ())):
                matches[place] = Match(name, 1.0, matches[place].nearest)
            elif face in self._said.nobody:
                matches[place] = Match(None, matches[place].score, matches[place].nearest)
            elif no := self.rejected(face):
                near = self._facebank.nearest(vectors[place : place + 1], len(no) + k)[0]
                left = [one for one in near if one.person not in no][:k]
                matches[place] = best_of(left, self._threshold)
        return matches

    def nearest(self, faces: Sequence[str], vector: Embeddings, count: int = 3) -> list[Match]:
        """The people whom faces of one person may show, best first.

        Args:
            faces: their keys.
            vector: (D,), of them all.
            count: of people.
        """
        no = set().union(*map(self.rejected, faces))
        near = self._facebank.nearest(vector[None], len(no) + count)
        return [one for one in near[0] if one.person not in no][:count]


def anchors(facebank: Store, person: str) -> list[str]:
    """The photos that stand for a person in the facebank."""
    return [photo.sha256 for photo in facebank.photos(person)[:ANCHORS]]
