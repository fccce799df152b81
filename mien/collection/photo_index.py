"""The index: what was found in photos, so that none is looked at twice.

One SQLite file keeps what is costly: where the faces of each photo are, what they are worth, and
their vectors.  It keeps them by the hash of a photo's bytes, to which paths lead: a photo that is
moved or copied is known.  Names are never in it.  They are found anew each time, in a matrix
product, so a change in the facebank shows at once.

What was found with another detector, or with the mirrored face, is kept beside; a model replaces
what another one of the same detector has left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeAlias

import numpy as np
from platformdirs import user_data_path

from mien import images
from mien.boxes import overlap
from mien.collection.rows import (
    FACE,
    IndexedPhoto,
    NoPhoto,
    State,
    Way,
    from_row,
    state_of,
    to_row,
    vectors_of,
)
from mien.collection.sqlite import in_words, open_index, rekey
from mien.errors import BadInput, CannotWrite
from mien.facebank import encryption_key as keys
from mien.facebank.facebank import Facebank
from mien.facebank.sqlite import MEMORY, is_plain
from mien.facebank.stores import Store, own_file
from mien.types import Face, Skipped

COMMIT_EVERY = 1.0  # seconds: what a kill may lose
NAME = "index.db"  # of the file, beside the facebank
_STATE = """
    SELECT path, bytes, modified, device, sha256,
        look.id NOTNULL OR (reason NOTNULL AND judged_by IS ?)
    FROM photo JOIN content ON content.id = photo.content
        LEFT JOIN look ON look.content = content.id AND look.way = ?
"""
Noted: TypeAlias = tuple[Path, os.stat_result | None, IndexedPhoto | NoPhoto | str, Way]
EMPTY: Mapping[Path, int] = MappingProxyType({})
_IS_FACE = "key NOT IN (SELECT face FROM said WHERE what = 'no face')"
_SAME = 0.5  # IoU from which two boxes in a photo are one face
_PLACE = """
    INSERT INTO photo (path, content, bytes, modified, device)
        SELECT ?, id, ?, ?, ? FROM content WHERE sha256 = ?
    ON CONFLICT (path) DO UPDATE SET content = excluded.content, bytes = excluded.bytes,
        modified = excluded.modified, device = excluded.device
"""


class PhotoIndex:
    """The index in a file that is made if there is none; a context manager.

    Any method raises BadInput where the file is something else or damaged, and CannotWrite where
    it cannot be written.

    Args:
        path: the file; None: nothing of it is stored.
        key: what it is encrypted with, as the facebank beside it is; "" is nothing.  A file that is
            there and not encrypted becomes so.
    """

    def __init__(self, path: str | Path | None, *, key: str = "") -> None:
        self.path = Path(path or MEMORY)
        self._noted: list[Noted] = []
        self._due = time.monotonic() + COMMIT_EVERY
        self._db = open_index(self.path, key)

    def __repr__(self) -> str:
        return f"PhotoIndex({str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which then has all that was noted; unless it cannot be written."""
        with suppress(CannotWrite):
            self.commit()
        self._db.close()

    def state(self, path: Path, way: Way) -> State | None:
        """What is kept of a file, if anything is."""
        found = self._read(_STATE + "WHERE path = ?", images.readers(), self._way(way), str(path))
        return State(*found[0][1:]) if found else None

    def states(self, way: Way, root: Path) -> dict[Path, State]:
        """What is kept of the files below a folder, by path."""
        rows = self._read(_STATE + _BELOW, images.readers(), self._way(way), *_below(root))
        return {Path(path): State(*rest) for path, *rest in rows}

    def known(self, way: Way) -> set[str]:
        """The hashes of photos that need not be looked at in this way."""
        rows = self._read(_STATE, images.readers(), self._way(way))
        return {row[4] for row in rows if row[5]}

    def bad(self, root: Path) -> list[Skipped]:
        """The files below a folder that are no photos, and why."""
        rows = self._read(
            "SELECT path, sha256, reason FROM photo JOIN content ON content.id = photo.content"
            f" {_BELOW} AND reason NOTNULL",
            *_below(root),
        )
        return [NoPhoto(Path(path), *rest).skipped for path, *rest in rows]

    def find(self, path: Path, sha256: str, way: Way) -> IndexedPhoto | NoPhoto | None:
        """What a file's bytes hold; None where that is not known.

        Args:
            path: of the file.
            sha256: of its bytes.
            way: in which they were looked at.
        """
        found = self._read(
            "SELECT width, height, orientation, look.id, reason, judged_by FROM content"
            " LEFT JOIN look ON look.content = content.id AND look.way = ? WHERE sha256 = ?",
            self._way(way),
            sha256,
        )
        if not found:
            return None
        *size, look, reason, judged_by = found[0]
        if look is None:
            known = reason is not None and judged_by == images.readers()
            return NoPhoto(path, sha256, reason) if known else None
        query = (
            f"SELECT {FACE}, jpeg FROM face JOIN thumb ON face = id WHERE look = ? AND {_IS_FACE}"
            " ORDER BY id"
        )
        return self._photo((path, sha256, *size), self._read(query, look), way.dim)

    def photos(self, way: Way, root: Path | None = None) -> Iterator[IndexedPhoto]:
        """The photos that were looked at, by path, without thumbs; few are in memory at a time.

        Args:
            way: in which they were looked at.
            root: a folder, the photos below which are wanted; all by default.
        """
        where, values = (_BELOW, _below(root)) if root else ("", ())
        query = (
            f"SELECT path, sha256, width, height, orientation, {FACE} FROM photo"
            " JOIN content ON content.id = photo.content JOIN look ON look.content = content.id"
            f" AND way = ? LEFT JOIN face ON look = look.id AND {_IS_FACE} {where}"
            " ORDER BY path, face.id"
        )
        with in_words(self.path):
            rows = self._db.execute(query, (self._way(way), *values))
            for (path, *about), group in groupby(rows, lambda row: row[:5]):
                faces = [row[5:] for row in group]
                yield self._photo((Path(path), *about), faces if faces[0][0] else [], way.dim)

    def thumbs(self, keys: Iterable[str]) -> dict[str, bytes]:
        """JPEGs of faces, 96 x 96, by what the faces are known by."""
        query = "SELECT key, jpeg FROM thumb JOIN face ON id = face WHERE key = ?"
        return {key: jpeg for one in keys for key, jpeg in self._read(query, one)}

    def faces(self, sha256: str, way: Way) -> list[Face] | None:
        """The faces that a look has found with the same detector for another model, if one has."""
        looks = self._read(
            "SELECT look.id FROM look JOIN way ON way.id = way"
            " JOIN content ON content.id = look.content"
            " WHERE sha256 = ? AND detector = ? AND mirror = ?",
            sha256,
            *way[:2],
        )
        if not looks:
            return None
        rows = self._read(f"SELECT {FACE} FROM face WHERE look = ? ORDER BY id", *looks[0])
        return [from_row(row).face for row in rows]

    def of_other_models(self, way: Way) -> int:
        """How many photos only another model has looked at, with the same detector."""
        ((count,),) = self._read(
            "SELECT count(*) FROM look JOIN way ON way.id = way"
            " WHERE detector = ? AND mirror = ? AND model_id <> ?",
            *way[:3],
        )
        return int(count)

    def note(
        self,
        path: Path,
        status: os.stat_result | None,
        what: IndexedPhoto | NoPhoto | str,
        way: Way,
    ) -> None:
        """Keep what is in a file, where it is, and what it was when it was looked at.

        It is written with what comes in the same second, or by `commit`.

        Args:
            path: of the file.
            status: of the file.
            what: is in it; of a photo that is known the hash of its bytes is enough.
            way: in which it was looked at.
        """
        self._noted.append((path, status, what, way))
        if time.monotonic() >= self._due:
            self.commit()

    def commit(self) -> None:
        """Write what was noted."""
        noted, self._noted = self._noted, []
        self._due = time.monotonic() + COMMIT_EVERY
        if not noted:
            return
        with in_words(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for path, status, what, way in noted:
                if isinstance(what, IndexedPhoto):
                    self._keep(what, way)
                elif isinstance(what, NoPhoto):
                    self._content(what.sha256, (0, 0, 1), what.reason)
                sha256 = what if isinstance(what, str) else what.sha256
                self._db.execute(_PLACE, (str(path), *state_of(status), sha256))

    def _keep(self, photo: IndexedPhoto, way: Way) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO way (detector, mirror, model_id) VALUES (?, ?, ?)", way[:3]
        )
        content = self._content(photo.sha256, (photo.width, photo.height, photo.orientation), None)
        self._db.execute(
            "DELETE FROM look WHERE content = ? AND way IN"
            " (SELECT id FROM way WHERE detector = ? AND mirror = ?)",
            (content, *way[:2]),
        )
        look = self._db.execute(
            "INSERT INTO look (content, way) VALUES (?, ?)", (content, self._way(way))
        ).lastrowid
        for one, vector in zip(photo.faces, photo.vectors, strict=True):
            face = self._db.execute(
                f"INSERT INTO face (look, {FACE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (look, *to_row(one, vector)),
            ).lastrowid
            self._db.execute("INSERT INTO thumb VALUES (?, ?)", (face, one.thumb))

    def _content(self, sha256: str, size: tuple[int, int, int], reason: str | None) -> int:
        """The row of what a file holds, which is made or brought up to date."""
        self._db.execute(
            "INSERT INTO content (sha256, width, height, orientation, reason, judged_by)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (sha256) DO UPDATE SET width = excluded.width,"
            " height = excluded.height, orientation = excluded.orientation,"
            " reason = excluded.reason, judged_by = excluded.judged_by",
            (sha256, *size, reason, images.readers()),
        )
        found = self._db.execute("SELECT id FROM content WHERE sha256 = ?", (sha256,))
        return int(found.fetchone()[0])

    def corrections(self) -> list[tuple[int, str, str, str]]:
        """All that was said of faces, the oldest first; see `mien.collection.corrections`."""
        found = self._read(
            "SELECT correction, face, what, other FROM said ORDER BY correction, rowid"
        )
        return [(int(one), str(face), str(what), str(other)) for one, face, what, other in found]

    def write_correction(self, at: str, doing: str, said: Sequence[Sequence[str]]) -> int:
        """Keep a correction; its number.

        Args:
            at: when it was made.
            doing: what for.
            said: of which faces what, and what else that concerns.
        """
        with in_words(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            query = "INSERT INTO correction (at, doing) VALUES (?, ?)"
            number = int(self._db.execute(query, (at, doing)).lastrowid or 0)
            self._db.executemany(
                "INSERT INTO said VALUES (?, ?, ?, ?)", [(number, *one) for one in said]
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO corrected SELECT key, sha256, box FROM face"
                " JOIN look ON look.id = look JOIN content ON content.id = look.content"
                " WHERE key = ?",
                [one[:1] for one in said],
            )
        return number

    def undo(self) -> tuple[str, list[tuple[str, str, str]]] | None:
        """Take the last correction back: what it was for, and what it said; None: there is none."""
        last = self._read("SELECT id, doing FROM correction ORDER BY id DESC LIMIT 1")
        if not last:
            return None
        number, doing = last[0]
        said = self._read("SELECT face, what, other FROM said WHERE correction = ?", number)
        with in_words(self.path), self._db:
            self._db.execute("DELETE FROM correction WHERE id = ?", (number,))
        return str(doing), [(str(face), str(what), str(other)) for face, what, other in said]

    def as_corrected(self, photo: IndexedPhoto) -> IndexedPhoto:
        """A photo whose faces are known as they were when something was said of them."""
        rows = self._read("SELECT face, box FROM corrected WHERE sha256 = ?", photo.sha256)
        if not rows or not photo.faces:
            return photo
        there = np.stack([np.frombuffer(box, "<f4") for _, box in rows])
        shares = overlap(np.stack([one.face.box for one in photo.faces]), there)
        faces = tuple(
            replace(one, key=rows[int(share.argmax())][0]) if share.max() > _SAME else one
            for one, share in zip(photo.faces, shares, strict=True)
        )
        return replace(photo, faces=faces)

    def drop(self, gone: Iterable[Path], devices: Mapping[Path, int] = EMPTY) -> None:
        """Forget files, and what no file holds any longer.

        Args:
            gone: the files.
            devices: of others, the disk on which they are now.
        """
        with in_words(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM photo WHERE path = ?", [(str(one),) for one in gone])
            self._db.executemany(
                "UPDATE photo SET device = ? WHERE path = ?",
                [(device, str(path)) for path, device in devices.items()],
            )
            self._db.execute("DELETE FROM content WHERE id NOT IN (SELECT content FROM photo)")

    def elsewhere(self, sha256s: Iterable[str], root: Path) -> dict[Path, int | None]:
        """The files outside of a folder that hold the same as some in it, and their disks."""
        outside: dict[Path, int | None] = {}
        for sha256 in sha256s:
            rows = self._read(
                "SELECT path, device FROM photo JOIN content ON content.id = photo.content"
                " WHERE sha256 = ?",
                sha256,
            )
            outside |= {Path(path): device for path, device in rows}
        return {path: device for path, device in outside.items() if not path.is_relative_to(root)}

    def forget(self, folder: str | Path) -> int:
        """Drop what is kept of a folder's photos that are not there now; how many they were.

        Nothing of it is left in the file.

        Args:
            folder: need not be there, and may be a link to what is not.
        """
        folder = Path(folder).absolute()
        places = {  # a link in it may be one that has been gone through
            Path(os.path.realpath(part), folder.relative_to(part))
            for part in (folder, *folder.parents)
        }
        doomed = {
            Path(path)
            for place in places
            for (path,) in self._read(f"SELECT path FROM photo {_BELOW}", *_below(place))
            if not os.path.exists(path)  # noqa: PTH110 - pathlib's may fail
        }
        self.drop(doomed)
        if doomed:
            with in_words(self.path):
                self._db.execute("VACUUM")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return len(doomed)

    def _way(self, way: Way) -> int:
        query = "SELECT id FROM way WHERE detector = ? AND mirror = ? AND model_id = ?"
        found = self._read(query, *way[:3])
        return int(found[0][0]) if found else -1

    def _photo(self, about: Sequence[Any], rows: Sequence[Sequence[Any]], dim: int) -> IndexedPhoto:
        try:
            path, sha256, width, height, turned = about
            faces = tuple(map(from_row, rows))
            return IndexedPhoto(path, sha256, width, height, turned, faces, vectors_of(rows, dim))
        except ValueError as error:
            raise BadInput(f"{self.path} is damaged: delete it, and it will be rebuilt") from error

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with in_words(self.path):
            return self._db.execute(query, values).fetchall()


_BELOW = "WHERE path >= ? AND path < ?"


def _below(root: Path) -> tuple[str, str]:
    """The values of `_BELOW`: the first path below a folder, and the first one after all these."""
    prefix = str(root).rstrip(os.sep) + os.sep
    return prefix, prefix[:-1] + chr(ord(os.sep) + 1)


def beside(facebank: str) -> Path:
    """Where the index is by default: beside the facebank's file, or in the user's data folder."""
    try:
        return own_file(facebank).parent / NAME
    except BadInput:  # it is in a database of others
        return user_data_path("mien") / NAME


def key_for(facebank: Store | None) -> str:
    """What an index is encrypted with: what the facebank is, or else what the environment says."""
    return facebank.key if isinstance(facebank, Facebank) else keys.given() or ""


def rekey_beside(facebank: str, key: str, new_key: str) -> None:
    """Change what the index beside a facebank is encrypted with, as the facebank's has changed."""
    if (path := beside(facebank)).exists():
        with in_words(path):
            rekey(path, "" if is_plain(path) else key, new_key)
