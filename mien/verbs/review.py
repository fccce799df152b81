"""What to ask of people about faces, and what their answers do.

What is asked first is what names most faces.  An answer is kept as a correction in the index; a
name also teaches the facebank, by cut-outs of the best faces in a folder that can be enrolled.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import numpy as np

from mien import files, formats, images
from mien.collection.corrections import (
    IS,
    IS_NOT,
    NO_FACE,
    NOBODY,
    OTHER,
    SAME,
    TAUGHT,
    Names,
    Saying,
    anchors,
    said,
    say,
)
from mien.collection.fill import real_folder
from mien.collection.photo_index import PhotoIndex
from mien.collection.rows import IndexedFace, Way
from mien.errors import BadInput
from mien.facebank.rows import Photo, person_name, template
from mien.facebank.stores import Store
from mien.recognition import align
from mien.recognition.clustering import POOR, group
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.types import Embeddings, Match, Skipped

MOST = 30  # faces that teach a person: more hardly change their mean
LIKELY = 0.1  # share of strangers who may be suggested as somebody whom they are likely to be
SHOWN = 24  # faces of a question on the page


class Sure(StrEnum):
    """How sure a suggestion is."""

    SURE = "sure"  # as when a face gets a name
    LIKELY = "likely"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A face that is asked about."""

    path: Path
    sha256: str  # of the photo
    seen: IndexedFace
    vector: Embeddings = field(repr=False)  # (D,)

    @property
    def key(self) -> str:
        """What the face is known by."""
        return self.seen.key


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Who are these? Faces that seem to show one person, the best first."""

    faces: tuple[Asked, ...]
    people: tuple[Match, ...]  # the nearest, best first
    sure: Sure  # that it is the first of them

    @property
    def keys(self) -> list[str]:
        """What the faces are known by."""
        return [one.key for one in self.faces]


class Review:
    """The questions about the faces of an index, and their answers.

    Args:
        index: has the faces, and keeps the answers.
        facebank: learns whom they show.
        model: found the faces.
        people: the folder that cut-outs go to, in a folder for each person.
        policy: the score a face needs to get a name; the model's own by default.
    """

    def __init__(
        self,
        index: PhotoIndex,
        facebank: Store,
        model: Model,
        people: str | Path,
        *,
        policy: Policy | None = None,
    ) -> None:
        facebank.require(model.model_id)
        self._index, self._facebank, self._model = index, facebank, model
        self._folder = Path(people).absolute()
        self._policy = policy or model.policy()

    def questions(self, folder: str | Path | None = None, *, smallest: int = 2) -> list[Question]:
        """What there is to ask, what names most faces first.

        Args:
            folder: whose photos' faces; all by default.
            smallest: how many faces a group must have; those that are likely somebody are asked
                about whatever their number.
        """
        told, names = said(self._index), self._names()
        found: list[Asked] = []
        photos: list[int] = []
        root = real_folder(folder) if folder else None
        for number, photo in enumerate(self._index.photos(Way.of(self._model), root)):
            keys = [one.key for one in photo.faces]
            matches = names.match(keys, photo.vectors)
            for seen, vector, match in zip(photo.faces, photo.vectors, matches, strict=True):
                if match.person is None and seen.key not in told.nobody:
                    found.append(Asked(photo.path, photo.sha256, seen, vector))
                    photos.append(number)
        if not found:
            return []
        place = {one.key: number for number, one in enumerate(found)}
        same, apart = (
            [(place[one], place[other]) for one, other in pairs if {one, other} <= place.keys()]
            for pairs in (told.same, told.apart)
        )
        labels = group(
            np.stack([one.vector for one in found]),
            self._policy,
            photos=photos,
            poor=np.array([one.seen.worth < POOR for one in found], bool),
            same=same,
            apart=apart,
        )
        groups: dict[int, list[Asked]] = {}
        for one, label in zip(found, labels.tolist(), strict=True):
            groups.setdefault(label, []).append(one)
        asked = [self._question(members, names) for members in groups.values()]
        return sorted(
            (
                one
                for one in asked
                if len(one.faces) >= smallest or (one.people and one.sure is not Sure.UNSURE)
            ),
            key=lambda one: -len(one.faces),
        )

    def again(self, question: Question) -> Question | None:
        """The question as it is after other answers; None where it needs none any longer."""
        names, nobody = self._names(), said(self._index).nobody
        vectors = np.stack([one.vector for one in question.faces])
        matches = names.match(question.keys, vectors)
        left = [
            one
            for one, match in zip(question.faces, matches, strict=True)
            if match.person is None and one.key not in nobody
        ]
        return self._question(left, names) if left else None

    def confirm(self, faces: Sequence[Asked], person: str) -> tuple[int, tuple[Skipped, ...]]:
        """These are this person, whoever they were before.

        Returns:
            How many of the faces teach the facebank, and the photos that could not be used and why.

        Raises:
            BadInput: the name cannot be one, or nothing can be learnt of somebody who is new.
        """
        person = person_name(person)
        self._unteach(faces, person)
        known = {one.name: one.photos for one in self._facebank.people()}.get(person, 0)
        taught, skipped = self._teach(faces, person, max(1, MOST - known))
        if not taught and not known:
            why = f"; the first, {skipped[0].reason}" if skipped else ""
            raise BadInput(f"none of {len(faces)} faces can be learnt as {person}{why}")
        photos = anchors(self._facebank, person)
        sayings = [Saying(one.key, IS, sha256) for one in faces for sha256 in photos]
        sayings += [Saying(key, TAUGHT, sha256) for key, sha256 in taught.items()]
        say(self._index, f"{len(faces)} faces named", sayings)
        return len(taught), skipped

    def reject(self, faces: Sequence[Asked], person: str) -> None:
        """These are not this person.

        Raises:
            UnknownPerson: nobody has that name.
        """
        photos = anchors(self._facebank, person)
        self._unteach(faces, None)
        sayings = [Saying(one.key, IS_NOT, sha256) for one in faces for sha256 in photos]
        say(self._index, f"a suggestion for {len(faces)} faces rejected", sayings)

    def ignore(self, faces: Sequence[Asked]) -> None:
        """These are nobody whom anybody wants to name."""
        self._unteach(faces, None)
        sayings = [Saying(one.key, NOBODY) for one in faces]
        say(self._index, f"{len(faces)} faces ignored", sayings)

    def no_face(self, faces: Sequence[Asked]) -> None:
        """These are no faces; they are not found again."""
        self._unteach(faces, None)
        sayings = [Saying(one.key, NO_FACE) for one in faces]
        say(self._index, f"{len(faces)} that are no faces", sayings)

    def merge(self, *groups: Sequence[Asked]) -> None:
        """Some groups are one person, whose name need not be known."""
        chain = [one.key for members in groups for one in members]
        sayings = [Saying(one, SAME, other) for one, other in pairwise(chain)]
        say(self._index, f"{len(groups)} groups merged", sayings)

    def split(self, *groups: Sequence[Asked]) -> None:
        """Each group is a person of its own."""
        chains = [[one.key for one in members] for members in groups if members]
        sayings = [Saying(*two) for two in _chained(chains)]
        sayings += [
            Saying(face, OTHER, other[0])
            for chain in chains
            for other in chains
            if other is not chain
            for face in chain
        ]
        say(self._index, f"a group split into {len(groups)}", sayings)

    def undo(self) -> str | None:
        """Take the last answer back, and what the facebank has learnt of it; what it was."""
        undone = self._index.undo()
        if undone is None:
            return None
        doing, sayings = undone
        self._forget([other for _, what, other in sayings if what == TAUGHT])
        return doing

    def _names(self) -> Names:
        threshold = self._policy.threshold_among(one.photos for one in self._facebank.people())
        return Names(self._facebank, threshold, said(self._index))

    def _question(self, members: Sequence[Asked], names: Names) -> Question:
        faces = tuple(sorted(members, key=lambda one: -one.seen.worth))
        mean = template(np.stack([one.vector for one in faces]))
        people = tuple(names.nearest([one.key for one in faces], mean))
        best = people[0].score if people else -1.0
        counts = [one.photos for one in self._facebank.people()]
        known = self._policy.impostors
        likely = known.threshold_among(counts, LIKELY) if known else self._policy.threshold
        gain = known.gain(len(faces)) if known else 1.0  # a mean of faces is like more people
        sure = Sure.UNSURE
        if best >= likely * gain:
            sure = Sure.LIKELY
        if best >= self._policy.threshold_among(counts) * gain:
            sure = Sure.SURE
        return Question(faces, people, sure)

    def _teach(
        self, faces: Sequence[Asked], person: str, most: int
    ) -> tuple[dict[str, str], tuple[Skipped, ...]]:
        """Cut the best faces out and enrol them: the hash of each by its face's key."""
        taught: dict[str, str] = {}
        skipped = []
        for one in sorted(faces, key=lambda one: -one.seen.worth):
            if len(taught) == most:
                break
            face = one.seen.face
            try:
                data = images.read_bytes(one.path)
                if hashlib.sha256(data).hexdigest() != one.sha256:
                    raise BadInput(f"{one.path} has changed: run mien review again")
                piece = align.cut_out(images.decode(data), face.box.tolist())
                png = formats.marked(images.encode(piece, ".png"), "cut-out")
                file = f"{person}/{one.key[:24]}.png"
                files.write_atomically(self._folder / file, png, private=True)
            except BadInput as error:
                skipped.append(Skipped(one.path, str(error)))
                continue
            sha256 = hashlib.sha256(png).hexdigest()
            photo = Photo(person, sha256, str(self._folder), file, face.confidence, face.size)
            self._facebank.add([photo], one.vector[None])
            taught[one.key] = sha256
        return taught, tuple(skipped)

    def _unteach(self, faces: Sequence[Asked], person: str | None) -> None:
        """Have the facebank forget what it has learnt of faces as anybody else."""
        keys = {one.key for one in faces}
        learnt = [
            other
            for _, face, what, other in self._index.corrections()
            if what == TAUGHT and face in keys
        ]
        photos = [photo for one in learnt if (photo := self._facebank.photo(one))]
        self._forget([photo.sha256 for photo in photos if photo.person != person])

    def _forget(self, sha256s: Sequence[str]) -> None:
        photos = [photo for one in sha256s if (photo := self._facebank.photo(one))]
        self._facebank.delete_photos(photo.sha256 for photo in photos)
        for photo in photos:
            if Path(photo.folder) == self._folder:
                photo.path.unlink(missing_ok=True)


def _chained(chains: Sequence[Sequence[str]]) -> Iterator[tuple[str, str, str]]:
    for chain in chains:
        yield from ((one, SAME, other) for one, other in pairwise(chain))


def write_page(path: str | Path, questions: Sequence[Question], index: PhotoIndex) -> None:
    """Leave one page that shows the faces of questions, by their numbers from 1."""
    sections = []
    for number, question in enumerate(questions, 1):
        thumbs = index.thumbs(question.keys[:SHOWN])
        shown = "".join(
            f'<figure><img alt="" src="data:image/jpeg;base64,'
            f'{base64.b64encode(thumbs.get(key, b"")).decode()}"><figcaption>{place}</figcaption>'
            "</figure>"
            for place, key in enumerate(question.keys[:SHOWN], 1)
        )
        more = len(question.faces) - SHOWN
        guess = html.escape(suggestion(question))
        sections.append(
            f'<section id="q{number}"><h2>{number}. {guess}</h2>{shown}'
            + (f"<p>and {more} more</p>" if more > 0 else "")
            + "</section>"
        )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>mien: who are they?</title>'
        "<style>body{font:16px system-ui,sans-serif;margin:2em auto;max-width:62em;padding:0 1em}"
        "figure{display:inline-block;margin:.2em;text-align:center}figcaption{color:#555}</style>\n"
        f"<h1>{len(questions)} questions</h1>\n" + "\n".join(sections) + "</html>\n"
    )
    files.write_atomically(path, page.encode(), private=True)


def suggestion(question: Question) -> str:
    """What is asked, such as `Ann? (likely)`."""
    if not question.people:
        return "Who is it?"
    return f"{question.people[0].person}? ({question.sure})"
