"""The command `review`: name the faces that have no name, the most first."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import console, options
from mien.cli.index import opened
from mien.cli.render import Answer, Column, Table
from mien.errors import BadInput, MienError

if TYPE_CHECKING:
    from mien.verbs.review import Asked, Question, Review

_HELP = (
    "a name; Enter or y: yes; n: not them; i: ignore; x: no face; - 2 5: faces 2 and 5 are others;"
    " m 7: as question 7; Enter or s: skip; u: undo; q: quit"
)


def review(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="Whose photos; all that are known by default."),
    ] = None,
    *,
    ask: Annotated[
        bool, typer.Option("--ask/--list", help="Ask in the terminal, or only list what to ask.")
    ] = True,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last answer back.")] = False,
    page: Annotated[
        Path, typer.Option(metavar="FILE", help="Where to write the page with the pictures.")
    ] = Path("mien-review.html"),
    smallest: Annotated[
        int, typer.Option(metavar="N", min=1, help="Faces that a group must have.")
    ] = 2,
    facebank: options.FacebankPath,
    index: options.IndexPath = None,
    threshold: options.Threshold = None,
    fpir: options.Fpir = None,
    model: options.ModelName = options.DEFAULT_MODEL,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
    calibration: options.Calibration = None,
) -> Answer:
    """Name the faces that have no name: what names most is asked first.

    First mien album FOLDER looks at the photos.  Answers are kept, and heeded by all commands.
    """
    from mien.collection.fill import update
    from mien.facebank.stores import create_store, own_file
    from mien.parallel import at_once, threads_each
    from mien.recognition.model import load
    from mien.verbs.review import Review, write_page

    many = at_once()
    network = load(model, detector=detector, calibration=calibration, threads=threads_each(many))
    policy = network.policy(threshold=threshold, fmr=fpir)
    people = own_file(facebank).parent / "people"
    with (
        create_store(facebank, model_id=network.model_id, dim=network.dim) as bank,
        opened(index, False, facebank, bank, network, required=True) as kept,
    ):
        assert kept
        session = Review(kept, bank, network, people, policy=policy)
        if undo:
            done = session.undo()
            return Answer({"undone": done}, [f"undone: {done}" if done else "nothing to undo"])
        if folder:
            update(folder, network, kept, at_once=many, progress=console.progress)
        questions = session.questions(folder, smallest=smallest)
        if questions:
            write_page(page, questions, kept)
            console.note(f"the faces are in {page}")
        if not ask or not questions:
            return Answer(
                {"page": page if questions else None, "questions": list(map(_entry, questions))},
                [Table(_COLUMNS, [*enumerate(questions, 1)])],
                [console.counted(len(questions), "question")],
            )
        named = _ask(session, questions)
    return Answer({"page": page, "named": named}, [f"{console.counted(named, 'face')} named"])


def _ask(session: Review, questions: list[Question]) -> int:
    """Ask until there is nothing left, or no answer; how many faces were named."""
    console.note(_HELP)
    named = 0
    for number, first in enumerate(questions, 1):
        question = session.again(first)
        while question:
            try:
                answer = _read(number, question)
            except EOFError:
                return named
            if answer == "q":
                return named
            try:
                done, left = _answer(session, questions, question, answer)
            except MienError as error:
                console.note(str(error))
                continue
            named += done
            question = session.again(replace(question, faces=left)) if left else None
    return named


def _read(number: int, question: Question) -> str:
    from mien.verbs.review import suggestion

    near = ", ".join(f"{one.person} {one.score:.2f}" for one in question.people)
    faces = console.counted(len(question.faces), "face")
    text = f"{number}. {faces}, such as {question.faces[0].path}"
    text += f"; nearest {near}" if near else ""
    print(
        console.printable(f"{text}\n{suggestion(question)} "), end="", file=sys.stderr, flush=True
    )
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip()


def _answer(
    session: Review, questions: list[Question], question: Question, answer: str
) -> tuple[int, tuple[Asked, ...]]:
    """Do what an answer says: how many faces it has named, and those that are left to ask about."""
    from mien.verbs.review import Sure

    faces, guess = question.faces, question.people[0].person if question.people else None
    word, *rest = answer.split() or [""]
    if answer == "s" or (answer == "" and (guess is None or question.sure is Sure.UNSURE)):
        return 0, ()
    if answer in ("", "y", "n"):
        if guess is None:
            raise BadInput("there is nobody to suggest yet: give a name")
        if answer == "n":
            session.reject(faces, guess)
            return 0, faces
        return _name(session, faces, guess)
    if answer == "i":
        session.ignore(faces)
    elif answer == "x":
        session.no_face(faces)
    elif answer == "u":
        console.note(f"undone: {session.undo()}")
        return 0, faces
    elif word == "m" and rest:
        others = [questions[place].faces for place in _numbers(rest, len(questions))]
        session.merge(faces, *others)
        return 0, tuple({one.key: one for some in (faces, *others) for one in some}.values())
    elif word == "-" and rest:
        places = _numbers(rest, len(faces))
        stay = tuple(one for place, one in enumerate(faces) if place not in places)
        session.split(stay, [faces[place] for place in places])
        return 0, stay
    else:
        return _name(session, faces, answer)
    return 0, ()


def _name(session: Review, faces: tuple[Asked, ...], person: str) -> tuple[int, tuple[Asked, ...]]:
    _, skipped = session.confirm(faces, person)
    console.note_skipped(skipped)
    return len(faces), ()


def _numbers(words: list[str], most: int) -> list[int]:
    try:
        places = [int(word) - 1 for word in words]
    except ValueError as error:
        raise BadInput(f"{' '.join(words)} are no numbers: give some from 1 to {most}") from error
    if not all(0 <= place < most for place in places):
        raise BadInput(f"{' '.join(words)}: give numbers from 1 to {most}")
    return places


def _entry(question: Question) -> dict[str, object]:
    return {
        "sure": str(question.sure),
        "people": [{"person": one.person, "score": one.score} for one in question.people],
        "faces": [
            {"path": one.path, "box": one.seen.face.box, "key": one.key} for one in question.faces
        ],
    }


_COLUMNS: dict[str, Column] = {
    "QUESTION": "{0}",
    "FACES": lambda one: str(len(one[1].faces)),
    "SUGGESTION": lambda one: (
        f"{one[1].people[0].person}? ({one[1].sure})" if one[1].people else "-"
    ),
    "SUCH AS": "{1.faces[0].path}",
}
