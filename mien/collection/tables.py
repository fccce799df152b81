"""The tables of the index, and how those of earlier formats become them."""

from __future__ import annotations

APPLICATION_ID = int.from_bytes(b"miea")
FORMAT = 3
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


def upgrade(version: int) -> str | None:
    """The SQL that makes the newest format of one, 0 being an empty file; None: it cannot.

    Formats 1 and 2 had no points of faces: their photos are looked at again.
    """
    if version not in (0, 1, 2):
        return None
    drop = _DROP_1_AND_2 if version else ""
    settings = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT};"
    return f"BEGIN IMMEDIATE; {drop} {_CREATE} {settings} COMMIT;"
