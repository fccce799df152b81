"""The tables of the index, and how those of earlier formats become them."""

from __future__ import annotations

APPLICATION_ID = int.from_bytes(b"miea")
FORMAT = 4
_DROP_1_AND_2 = """
DROP TABLE face;
DROP TABLE photo;
DROP TABLE album;
"""
_CREATE = """
CREATE TABLE content (  -- what a file holds, wherever it lies
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    orientation INTEGER NOT NULL,
    reason TEXT,     -- why it is no photo, by
    judged_by TEXT   -- what read photos then
) STRICT;
CREATE TABLE photo (
    path TEXT PRIMARY KEY,
    content INTEGER NOT NULL REFERENCES content (id),
    bytes INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    device INTEGER
) STRICT;
CREATE INDEX photo_content ON photo (content);
CREATE TABLE way (  -- to look at a photo
    id INTEGER PRIMARY KEY,
    detector TEXT NOT NULL,
    mirror INTEGER NOT NULL,
    model_id TEXT NOT NULL,
    UNIQUE (detector, mirror, model_id)
) STRICT;
CREATE TABLE look (
    id INTEGER PRIMARY KEY,
    content INTEGER NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    way INTEGER NOT NULL REFERENCES way (id),
    UNIQUE (content, way)
) STRICT;
CREATE TABLE face (
    id INTEGER PRIMARY KEY,
    look INTEGER NOT NULL REFERENCES look (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    box BLOB NOT NULL,
    points BLOB NOT NULL,
    confidence REAL NOT NULL,
    turned INTEGER NOT NULL,
    sharpness REAL NOT NULL,
    worth REAL NOT NULL,
    vector BLOB NOT NULL
) STRICT;
CREATE INDEX face_look ON face (look);
CREATE INDEX face_key ON face (key);
CREATE TABLE thumb (  -- apart, so that faces are read without them
    face INTEGER PRIMARY KEY REFERENCES face (id) ON DELETE CASCADE,
    jpeg BLOB NOT NULL
) STRICT;
"""


_FROM_3 = """
CREATE TABLE correction (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    doing TEXT NOT NULL
) STRICT;
CREATE TABLE said (  -- see mien/collection/corrections.py
    correction INTEGER NOT NULL REFERENCES correction (id) ON DELETE CASCADE,
    face TEXT NOT NULL,
    what TEXT NOT NULL,
    other TEXT NOT NULL
) STRICT;
CREATE INDEX said_face ON said (face);
CREATE TABLE corrected (  -- where a face was of which something was said
    face TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    box BLOB NOT NULL
) STRICT;
CREATE INDEX corrected_sha256 ON corrected (sha256);
"""


def upgrade(version: int) -> str | None:
    """The SQL that makes the newest format of one, 0 being an empty file; None: it cannot.

    Formats 1 and 2 had no points of faces: their photos are looked at again.
    """
    if version not in range(FORMAT):
        return None
    drop = _DROP_1_AND_2 if version in (1, 2) else ""
    create = _CREATE if version < 3 else ""
    settings = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT};"
    return f"BEGIN IMMEDIATE; {drop} {create} {_FROM_3} {settings} COMMIT;"
