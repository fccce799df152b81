"""A photo collection that can be asked who is in it.

One SQLite file keeps what is costly: where the faces of each photo are, and their vectors.  Names
are never in it.  They are found anew each time it is asked, in a matrix product, so a change in the
facebank shows at once and no photo is looked at twice.  It is a cache: everything in it can be made
again from the photos.
"""

from __future__ import annotations

import csv
import html
import io
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import numpy as np

from mien import files, images, sidecar
from mien.errors import BadInput, CannotWrite, UnknownPerson
from mien.facebank.stores import Store
from mien.parallel import map_in_order
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.types import Match, Progress, Skipped, silent

APPLICATION_ID = int.from_bytes(b"miea")
FORMAT = 1
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE album (id INTEGER PRIMARY KEY CHECK (id = 1), model_id TEXT NOT NULL) STRICT;
CREATE TABLE photo (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    orientation INTEGER NOT NULL,
    reason TEXT
) STRICT;
CREATE TABLE face (
    photo INTEGER NOT NULL REFERENCES photo (id) ON DELETE CASCADE,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    confidence REAL NOT NULL,
    vector BLOB NOT NULL
) STRICT;
CREATE INDEX face_photo ON face (photo);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class AlbumFace:
    """A face in the album, and who it is."""

    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the upright photo
    confidence: float
    match: Match


@dataclass(frozen=True, slots=True)
class AlbumPhoto:
    """A photo in the album."""

    path: Path
    width: int  # in pixels, upright
    height: int
    orientation: int  # how the file is stored; see `mien.images.orientation`
    faces: tuple[AlbumFace, ...]

    @property
    def people(self) -> list[str]:
        """Who is in it, by name."""
        return sorted({face.match.person for face in self.faces if face.match.person})


class _Row(NamedTuple):
    """What a photo's row says, and those of its faces."""

    width: int
    height: int
    orientation: int
    reason: str | None  # why it cannot be looked at
    faces: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Update:
    """What became of the photos of a folder."""

    added: int  # looked at: new, or changed since
    kept: int
    removed: int  # gone from the folder
    skipped: tuple[Skipped, ...]  # that cannot be read, and why


class Album:
    """The faces of a collection, in one file that is made if there is none; a context manager.

    Any method raises BadInput where the file is something else or damaged, and CannotWrite where
    it cannot be written.

    Args:
        path: the file.
        model: finds and embeds the faces.

    Raises:
        BadInput: also, where another model made its vectors.
    """

    def __init__(self, path: str | Path, model: Model) -> None:
        path = Path(path)
        self.path, self._model = path, model
        try:
            files.make_folder(path.parent, private=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise CannotWrite(
                f"{path} cannot be created ({error.strerror}): choose another --index"
            ) from error
        with self._in_words():
            self._db = sqlite3.connect(path, isolation_level=None)
        try:
            with self._in_words():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._db.close()

    def update(
        self, folder: str | Path, *, at_once: int = 1, progress: Progress = silent
    ) -> Update:
        """Index what is new or changed in a folder, and drop what is gone from it.

        A photo has changed if its size or its time has.  Each is in the file as soon as those
        before it are.

        Args:
            folder: holds photos, at any depth.
            at_once: how many photos to process at a time, in threads.
            progress: is given the photos to look at.

        Raises:
            BadInput: no such folder, or no photo in it, as where a disk is not plugged in: nothing
                is forgotten then.
        """
        root = _root(folder)
        states = {path: _state(path) for path in files.walk([root])}
        with self._in_words():
            held = {
                Path(path): (number, size, modified)
                for number, path, size, modified in self._db.execute(
                    "SELECT id, path, bytes, modified FROM photo"
                )
                if Path(path).is_relative_to(root)
            }
        new = [
            path for path, state in states.items() if path not in held or held[path][1:] != state
        ]
        unnamed = [path for path in new if not _is_text(path)]
        todo = progress([path for path in new if _is_text(path)], "looking")
        for path, looked in map_in_order(self._look, todo, at_once):
            self._note(path, states[path], looked())
        gone = [number for path, (number, *_) in held.items() if path not in states]
        with self._in_words(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM photo WHERE id = ?", [(one,) for one in gone])
        with self._in_words():
            rows = self._db.execute("SELECT path, reason FROM photo WHERE reason NOTNULL")
            unread = [(Path(path), reason) for path, reason in rows]
        skipped = [
            Skipped(given := _given(path, root, folder), reason.replace(str(path), str(given)))
            for path, reason in unread
            if path.is_relative_to(root)
        ]
        skipped += [Skipped(path, "its name is not UTF-8: rename it") for path in unnamed]
        return Update(len(new) - len(unnamed), len(states) - len(new), len(gone), tuple(skipped))

    def ask(
        self,
        folder: str | Path,
        facebank: Store | None,
        people: Sequence[str] = (),
        *,
        policy: Policy | None = None,
    ) -> list[AlbumPhoto]:
        """The photos of a folder in which all of these people are, by path.

        Args:
            folder: what `update` was given.
            facebank: who has a name; None: nobody.
            people: by name; nobody asks for every photo.
            policy: the score a face needs to get a name; the model's own by default.

        Raises:
            UnknownPerson: somebody is not in the facebank.
            FacebankMismatch: its vectors are another model's.
        """
        known = facebank.people() if facebank else []
        if strangers := set(people) - {person.name for person in known}:
            raise UnknownPerson(f"nobody is called {min(strangers)}: see mien people")
        root = _root(folder)
        with self._in_words():
            photos = self._db.execute(
                "SELECT id, path, width, height, orientation FROM photo WHERE reason ISNULL"
            ).fetchall()
            rows = self._db.execute(
                "SELECT photo, x1, y1, x2, y2, confidence, vector FROM face ORDER BY rowid"
            ).fetchall()
        faces: dict[int, list[AlbumFace]] = {}
        for row, match in zip(rows, self._matches(rows, facebank, policy), strict=True):
            number, x1, y1, x2, y2, confidence, _ = row
            faces.setdefault(number, []).append(AlbumFace((x1, y1, x2, y2), confidence, match))
        entries = [
            AlbumPhoto(
                _given(path, root, folder), width, height, turned, tuple(faces.get(number, ()))
            )
            for number, path, width, height, turned in photos
            if Path(path).is_relative_to(root)
        ]
        asked = set(people)
        return sorted(
            (entry for entry in entries if asked <= set(entry.people)), key=lambda one: one.path
        )

    def _matches(
        self, rows: Sequence[tuple[Any, ...]], facebank: Store | None, policy: Policy | None
    ) -> list[Match]:
        if not rows or facebank is None:
            return [Match(None, -1.0)] * len(rows)
        facebank.require(self._model.model_id)
        data = b"".join(row[-1] for row in rows)
        if len(data) != len(rows) * self._model.dim * 4:
            raise BadInput(f"{self.path} is damaged: delete it, and the album will be rebuilt")
        vectors = np.frombuffer(data, "<f4").reshape(len(rows), -1)
        policy = policy or self._model.policy()
        threshold = policy.threshold_among(person.photos for person in facebank.people())
        return facebank.search(vectors, threshold)

    def _look(self, path: Path) -> _Row:
        try:
            data = images.read_bytes(path)
            image = images.decode(data, str(path))
            turned = images.orientation(data)
            looked = self._model.look(image)
        except BadInput as error:
            return _Row(0, 0, 1, str(error), [])
        rows = [
            (*face.box.astype(float).tolist(), face.confidence, vector.tobytes())
            for face, vector in zip(looked.faces, looked.vectors.astype("<f4"), strict=True)
        ]
        return _Row(image.shape[1], image.shape[0], turned, None, rows)

    def _note(self, path: Path, state: tuple[int, int], looked: _Row) -> None:
        with self._in_words(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM photo WHERE path = ?", (str(path),))
            number = self._db.execute(
                "INSERT INTO photo (path, bytes, modified, width, height, orientation, reason)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (str(path), *state, *looked[:-1]),
            ).lastrowid
            self._db.executemany(
                "INSERT INTO face VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(number, *row) for row in looked.faces],
            )

    def _prepare(self) -> None:
        for setting in ("foreign_keys = ON", "secure_delete = ON", "trusted_schema = OFF"):
            self._db.execute(f"PRAGMA {setting}")
        if self._pragma("page_count") == 0:
            self._db.executescript(_SCHEMA)
        if (self._pragma("application_id"), self._pragma("user_version")) != (
            APPLICATION_ID,
            FORMAT,
        ):
            raise BadInput(
                f"{self.path} is not an album for this version of mien: choose another --index"
            )
        own = self._model.model_id
        self._db.execute("INSERT OR IGNORE INTO album VALUES (1, ?)", (own,))
        (made_by,) = self._db.execute("SELECT model_id FROM album").fetchone()
        if made_by != own:
            raise BadInput(
                f"{self.path} was made with the model {made_by}, not {own}: choose another --index,"
                " or delete it"
            )

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise CannotWrite(
                f"{self.path} cannot be used ({error}): wait for the process that uses it, free"
                " some space, or choose another --index"
            ) from error
        except sqlite3.DatabaseError as error:
            raise BadInput(
                f"{self.path} is not an album or is damaged ({error}): choose another --index, or"
                " delete it"
            ) from error


def write_csv(path: str | Path, entries: Sequence[AlbumPhoto]) -> None:
    """Leave a table with a row for each face, and one for each photo without any."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "width", "height", "person", "score", "x1", "y1", "x2", "y2"])
    for entry in entries:
        photo = (entry.path, entry.width, entry.height)
        for face in entry.faces:
            score = f"{face.match.score:.6f}"
            rows.writerow([*photo, face.match.person or "", score, *(f"{v:.1f}" for v in face.box)])
        if not entry.faces:
            rows.writerow([*photo, *[""] * 6])
    files.write_atomically(path, text.getvalue().encode(), private=True)


def write_sidecars(
    entries: Sequence[AlbumPhoto],
) -> tuple[int, tuple[Skipped, ...]]:
    """Leave the names in XMP sidecars; how many were changed, and which were left alone and why."""
    written, skipped = 0, []
    for entry in entries:
        size = entry.width, entry.height
        if entry.orientation >= 5:  # the file has rows for columns
            size = size[::-1]
        regions = [
            sidecar.Region(face.match.person, _stored(entry, face))
            for face in entry.faces
            if face.match.person
        ]
        try:
            written += sidecar.write(entry.path, regions, size)
        except (BadInput, CannotWrite) as error:
            skipped.append(Skipped(sidecar.path_of(entry.path), str(error)))
    return written, tuple(skipped)


def write_page(path: str | Path, entries: Sequence[AlbumPhoto]) -> None:
    """Leave a page that shows everyone's photos, which stay where they are and are linked to."""
    people = sorted({name for entry in entries for name in entry.people})
    groups = [(name, [entry for entry in entries if name in entry.people]) for name in people]
    groups.append(("Nobody with a name", [entry for entry in entries if not entry.people]))
    here = Path(os.path.realpath(Path(path).parent))
    links, sections = [], []
    for number, (name, photos) in enumerate(groups):
        if photos:
            title = html.escape(name)
            links.append(f'<a href="#p{number}">{title}</a> {len(photos)}')
            shown = "".join(_figure(entry, here) for entry in photos)
            sections.append(f'<h2 id="p{number}">{title}</h2>\n{shown}')
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Album</title><style>'
        "body{font:16px system-ui,sans-serif;margin:2em}figure{display:inline-block;margin:.5em;"
        "vertical-align:top;width:15em}img{width:15em;height:11em;object-fit:cover}"
        "figcaption{color:#555;overflow-wrap:anywhere}</style>\n"
        f"<h1>{len(entries)} photos</h1>\n<p>{' · '.join(links)}</p>\n"
        + "\n".join(sections)
        + "</html>\n"
    )
    files.write_atomically(path, page.encode(), private=True)


def _figure(entry: AlbumPhoto, here: Path) -> str:
    photo = Path(os.path.realpath(entry.path.parent), entry.path.name)
    target = quote(os.path.relpath(photo, here))
    names = html.escape(", ".join(entry.people))
    return (
        f'<figure><a href="{target}"><img src="{target}" alt="{names}" loading="lazy"></a>'
        f"<figcaption>{names} <small>{html.escape(entry.path.name)}</small></figcaption></figure>\n"
    )


def _stored(entry: AlbumPhoto, face: AlbumFace) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = face.box
    shares = (x1 / entry.width, y1 / entry.height, x2 / entry.width, y2 / entry.height)
    return images.as_stored(shares, entry.orientation)


def _root(folder: str | Path) -> Path:
    if not Path(folder).is_dir():
        raise BadInput(f"{folder} is not a folder: name one that holds photos")
    return Path(os.path.realpath(folder))


def _given(path: str | Path, root: Path, folder: str | Path) -> Path:
    """A photo's path as whoever asks about a folder would write it."""
    return Path(folder, Path(path).relative_to(root))


def _state(path: Path) -> tuple[int, int]:
    """Size and time of a file, by which a change shows; zeros where there are none to be had."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _is_text(path: Path) -> bool:
    """Whether a path can be kept as text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
