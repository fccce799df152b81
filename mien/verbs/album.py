"""A photo collection that can be asked who is in it.

One SQLite file keeps what is costly: where the faces of each photo are, and their vectors.  Names
are never in it.  They are found anew each time it is asked, in a matrix product, so a change in the
facebank shows at once and no photo is looked at twice.  It is a cache: everything in it can be made
again from the photos.

A photo is known by its path while its size and time stay, and else by the hash of its bytes: one
that was moved is not looked at again.  What is in the file lasts until a photo is known to be
deleted.  What is only away, as on a disk that is not plugged in, is kept, and so is what cannot be
read at the moment; of a photo that was never read nothing is kept, so the next run tries again.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import numpy as np

from mien import files, images, sidecar
from mien.errors import BadInput, CannotWrite, UnknownPerson
from mien.facebank.rows import spelled
from mien.facebank.stores import Store
from mien.parallel import map_in_order
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.types import Match, Progress, Skipped, silent

APPLICATION_ID = int.from_bytes(b"miea")
FORMAT = 2
COMMIT_EVERY = 1.0  # seconds: what a kill may lose
_NAME = "\ufffc"  # stands for the photo in a reason that is kept
_NOWHERE = _NAME  # begins the path of a row whose photo has gone elsewhere, or for good
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS album (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    model_id TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS photo (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    orientation INTEGER NOT NULL,
    reason TEXT,
    sha256 TEXT,
    device INTEGER,
    judged_by TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS face (
    photo INTEGER NOT NULL REFERENCES photo (id) ON DELETE CASCADE,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    confidence REAL NOT NULL,
    vector BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS face_photo ON face (photo);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
COMMIT;
"""
_FROM_1_TO_2 = """
BEGIN IMMEDIATE;
ALTER TABLE photo ADD COLUMN sha256 TEXT;
ALTER TABLE photo ADD COLUMN device INTEGER;
ALTER TABLE photo ADD COLUMN judged_by TEXT;
PRAGMA user_version = 2;
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


class _Looked(NamedTuple):
    """What a photo's row says, and those of its faces."""

    sha256: str
    width: int
    height: int
    orientation: int
    reason: str | None  # why it cannot be looked at
    faces: Sequence[tuple[Any, ...]]


class _Row(NamedTuple):
    """What is kept of a photo, but for its faces."""

    number: int
    state: tuple[int, int]  # size and time
    device: int | None  # where the photo was when it was last seen
    sha256: str | None
    usable: bool  # looked at, or found to be bad by what reads photos today


@dataclass(frozen=True, slots=True)
class Update:
    """What became of the photos of a folder."""

    added: int  # looked at: new, or changed since
    kept: int  # known already, wherever they were
    removed: int  # deleted
    skipped: tuple[Skipped, ...]  # photos that cannot be read and folders that are away, and why


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
        self,
        folder: str | Path,
        *,
        choice: files.Choice = files.EVERYTHING,
        at_once: int = 1,
        progress: Progress = silent,
    ) -> Update:
        """Index what is new or changed in a folder, and drop what was deleted from it.

        A photo has changed if its size or its time has.  It is deleted if it is gone from a folder
        that holds others, or with a folder that was on the disk of the one above.  The photos of a
        folder that is empty, cannot be listed, or is a link to nothing are kept until `forget`.
        Whatever ends this loses what was found in the last second.

        Args:
            folder: holds photos, at any depth.
            choice: which of them to look at; of the others, what is known stays.
            at_once: how many photos to process at a time, in threads.
            progress: is given the photos to look at.

        Raises:
            BadInput: no such folder, or no photo in it, as where a disk is not plugged in: nothing
                is forgotten then.
        """
        root = _root(folder)
        rows = self._rows()
        walked = files.walk([root], choice=choice, known=rows)
        found = {path: _status(path) for path in walked}
        new = [path for path, status in found.items() if not _is_known(rows.get(path), status)]
        skipped = [
            Skipped(path, "its name is not UTF-8: rename it")
            for path in new
            if not files.is_text(path)
        ]
        todo = progress([path for path in new if files.is_text(path)], "looking")
        known = {row.sha256 for row in rows.values() if row.sha256 and row.usable}
        same: dict[Path, str] = {}  # photos that are known, by what they hold
        looked: list[tuple[Path, _Looked]] = []
        noted: set[Path] = set()

        def note() -> None:
            self._note(looked, found)
            noted.update(path for path, _ in looked)
            looked.clear()

        due = time.monotonic() + COMMIT_EVERY
        try:
            for path, look in map_in_order(lambda path: self._look(path, known), todo, at_once):
                try:
                    result = look()
                except BadInput as error:  # may pass: nothing is noted
                    skipped.append(Skipped(path, str(error)))
                    continue
                if isinstance(result, str):
                    same[path] = result
                else:
                    looked.append((path, result))
                if time.monotonic() >= due:
                    note()
                    due = time.monotonic() + COMMIT_EVERY
        finally:
            note()
        missing = [
            path
            for path in rows
            if path not in found
            and path.is_relative_to(root)
            and choice.takes(path.relative_to(root))
        ]
        gone, away = _gone_or_away(missing, rows)
        unseen = {path for path, _ in walked.skipped}
        gone -= {path for path in gone if not unseen.isdisjoint(path.parents)}

        def left(path: Path) -> bool:
            if path in found:
                return path in noted or same.get(path, rows[path].sha256) != rows[path].sha256
            return path in gone or not (
                path.is_relative_to(root)
                or _status(path)
                or files.away(path.parent, rows[path].device)
            )

        with self._in_words(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            gone -= self._follow(same, rows, left, found)
            numbers = [(rows[path].number,) for path in gone]
            self._db.executemany("DELETE FROM photo WHERE id = ?", numbers)
            self._db.execute("DELETE FROM photo WHERE path LIKE ?", (f"{_NOWHERE}%",))
            self._db.executemany(
                "UPDATE photo SET device = ? WHERE path = ? AND device IS NOT ?",
                [
                    (status.st_dev, str(path), status.st_dev)
                    for path, status in found.items()
                    if status and path in rows and rows[path].device != status.st_dev
                ],
            )
            bad = self._db.execute("SELECT path, reason FROM photo WHERE reason NOTNULL").fetchall()
        unread = {path for path, _ in skipped}
        skipped += [
            Skipped(Path(path), reason.replace(_NAME, path))
            for path, reason in bad
            if Path(path) in found and Path(path) not in unread
        ]
        places = {place for place, _ in away}
        skipped += [one for one in walked.skipped if one.path not in places]
        skipped += [
            Skipped(
                place,
                f"{place} {why}: {_kept(count)} until mien album --forget {place}",
            )
            for (place, why), count in away.items()
        ]
        return Update(
            len(noted),
            len(found) - len(new) + len(same),
            len(gone),
            tuple(
                Skipped(given := _given(path, root, folder), reason.replace(str(path), str(given)))
                for path, reason in skipped
            ),
        )

    def forget(self, folder: str | Path) -> int:
        """Drop what is kept of a folder's photos that are not there now; how many they were.

        Args:
            folder: need not be there, and may be a link to what is not.
        """
        folder = Path(folder).absolute()
        places = {  # a link in it may be one that `update` has gone through
            Path(os.path.realpath(part), folder.relative_to(part))
            for part in (folder, *folder.parents)
        }
        doomed = [
            (row.number,)
            for path, row in self._rows().items()
            if any(path.is_relative_to(place) for place in places) and not _status(path)
        ]
        with self._in_words(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM photo WHERE id = ?", doomed)
        return len(doomed)

    def ask(
        self,
        folder: str | Path,
        facebank: Store | None,
        people: Sequence[str] = (),
        *,
        choice: files.Choice = files.EVERYTHING,
        policy: Policy | None = None,
    ) -> list[AlbumPhoto]:
        """The photos of a folder in which all of these people are, by path.

        Args:
            folder: what `update` was given.
            facebank: who has a name; None: nobody.
            people: by name; nobody asks for every photo.
            choice: which of the photos to tell of.
            policy: the score a face needs to get a name; the model's own by default.

        Raises:
            UnknownPerson: somebody is not in the facebank.
            FacebankMismatch: its vectors are another model's.
        """
        known = facebank.people() if facebank else []
        asked = {spelled(name) for name in people}
        if strangers := asked - {person.name for person in known}:
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
            if Path(path).is_relative_to(root) and choice.takes(Path(path).relative_to(root))
        ]
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

    def _rows(self) -> dict[Path, _Row]:
        """What is kept of all photos, by path."""
        with self._in_words():
            rows = self._db.execute(
                "SELECT path, id, bytes, modified, device, sha256, reason ISNULL OR judged_by IS ?"
                " FROM photo",
                (images.readers(),),
            )
            return {Path(path): _Row(i, (size, at), *rest) for path, i, size, at, *rest in rows}

    def _look(self, path: Path, known: Container[str]) -> _Looked | str:
        """What is in a photo; or what it is known by.

        Raises:
            BadInput: it cannot be read now.
        """
        data = images.read_bytes(path)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 in known:
            return sha256
        try:
            image = images.decode(data, _NAME)
            turned = images.orientation(data)
            looked = self._model.look(image)
        except BadInput as error:
            return _Looked(sha256, 0, 0, 1, str(error), [])
        rows = [
            (*face.box.astype(float).tolist(), face.confidence, vector.tobytes())
            for face, vector in zip(looked.faces, looked.vectors.astype("<f4"), strict=True)
        ]
        return _Looked(sha256, image.shape[1], image.shape[0], turned, None, rows)

    def _note(
        self,
        looked: Iterable[tuple[Path, _Looked]],
        found: Mapping[Path, os.stat_result | None],
    ) -> None:
        """Keep what is in photos; what was at their paths may be elsewhere now."""
        with self._in_words(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for path, one in looked:
                self._clear(path)
                number = self._db.execute(
                    "INSERT INTO photo (path, bytes, modified, device, sha256, width, height,"
                    " orientation, reason, judged_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (str(path), *_state(found[path]), *one[:-1], images.readers()),
                ).lastrowid
                self._db.executemany(
                    "INSERT INTO face VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(number, *row) for row in one.faces],
                )

    def _follow(
        self,
        same: Mapping[Path, str],
        rows: Mapping[Path, _Row],
        left: Callable[[Path], bool],
        found: Mapping[Path, os.stat_result | None],
    ) -> set[Path]:
        """Give each photo that is known a row of what it holds; the paths whose rows moved.

        Args:
            same: the photos, and what they hold.
            rows: of all photos, as they were.
            left: whether the photo of a row is no longer at its path.
            found: what the photos' files are now.
        """
        holders: dict[str | None, list[Path]] = {}
        for path, row in rows.items():
            if row.usable:
                holders.setdefault(row.sha256, []).append(path)
        moved: dict[Path, Path] = {}
        copied: dict[Path, Path] = {}
        for path, sha256 in same.items():
            free = (one for one in holders[sha256] if one not in moved and left(one))
            if path in holders[sha256]:
                moved[path] = path
            elif (source := next(free, None)) is not None:
                moved[source] = path
            else:
                copied[path] = holders[sha256][0]
        for path in (*moved.values(), *copied):
            self._clear(path)
        for source, path in moved.items():
            self._db.execute(
                "UPDATE photo SET path = ?, bytes = ?, modified = ?, device = ? WHERE id = ?",
                (str(path), *_state(found[path]), rows[source].number),
            )
        for path, source in copied.items():
            number = self._db.execute(
                "INSERT INTO photo (path, bytes, modified, device, sha256, width, height,"
                " orientation, reason, judged_by) SELECT ?, ?, ?, ?, sha256, width, height,"
                " orientation, reason, judged_by FROM photo WHERE id = ?",
                (str(path), *_state(found[path]), rows[source].number),
            ).lastrowid
            self._db.execute(
                "INSERT INTO face SELECT ?, x1, y1, x2, y2, confidence, vector FROM face"
                " WHERE photo = ? ORDER BY rowid",
                (number, rows[source].number),
            )
        return set(moved)

    def _clear(self, path: Path) -> None:
        """Make room at a path: the photo that was there may be found elsewhere."""
        self._db.execute("UPDATE photo SET path = ? || id WHERE path = ?", (_NOWHERE, str(path)))

    def _prepare(self) -> None:
        for setting in ("foreign_keys = ON", "secure_delete = ON", "trusted_schema = OFF"):
            self._db.execute(f"PRAGMA {setting}")
        if self._pragma("page_count") == 0:
            self._db.executescript(_SCHEMA)
        if (self._pragma("application_id"), self._pragma("user_version")) == (APPLICATION_ID, 1):
            self._db.executescript(_FROM_1_TO_2)
        if (self._pragma("application_id"), self._pragma("user_version")) != (
            APPLICATION_ID,
            FORMAT,
        ):
            raise BadInput(
                f"{self.path} is not an album for this version of mien: choose another --index"
            )
        with suppress(sqlite3.OperationalError):  # not on every file server
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
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
    *,
    keywords: bool = False,
    parent: str = "",
    short: bool = False,
) -> tuple[int, tuple[Skipped, ...]]:
    """Leave the names in XMP sidecars; how many were changed, and which were left alone and why.

    A photo that is not there now gets none.

    Args:
        entries: of an album.
        keywords, parent, short: see `mien.sidecar.write`.
    """
    written, skipped = 0, []
    for entry in (one for one in entries if _status(one.path)):
        size = entry.width, entry.height
        if entry.orientation >= 5:  # the file has rows for columns
            size = size[::-1]
        regions = [
            sidecar.Region(face.match.person, _stored(entry, face))
            for face in entry.faces
            if face.match.person
        ]
        try:
            written += sidecar.write(
                entry.path, regions, size, keywords=keywords, parent=parent, short=short
            )
        except (BadInput, CannotWrite) as error:
            skipped.append(Skipped(entry.path, str(error)))
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


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _state(status: os.stat_result | None) -> tuple[int, int, int | None]:
    """Size and time of a file, by which a change shows, and its disk."""
    return (status.st_size, status.st_mtime_ns, status.st_dev) if status else (0, 0, None)


def _is_known(row: _Row | None, status: os.stat_result | None) -> bool:
    """Whether what is kept of a photo still holds."""
    return row is not None and row.usable and row.state == _state(status)[:2]


def _kept(count: int) -> str:
    return (
        f"{count} photos that were there are kept"
        if count > 1
        else ("1 photo that was there is kept")
    )


def _gone_or_away(
    missing: Iterable[Path], rows: Mapping[Path, _Row]
) -> tuple[set[Path], Counter[tuple[Path, str]]]:
    """Which of the photos that were not found are deleted, and how many each place keeps."""
    gone, away = set(), Counter[tuple[Path, str]]()
    why = cache(files.away)
    for path in missing:
        if place := why(path.parent, rows[path].device):
            away[place] += 1
        else:
            gone.add(path)
    return gone, away
