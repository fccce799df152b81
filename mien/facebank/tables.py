"""The tables of a facebank's file, and how an older file becomes a newer one."""

from __future__ import annotations

import sqlite3
from itertools import chain

from mien.facebank.sqlite import MEMORY, bad, unlock

APPLICATION_ID = int.from_bytes(b"mien")  # in the file's header: this database is a facebank

# A file's format is how many of these have run on it (PRAGMA user_version).  What has shipped
# never changes: a new format appends.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE facebank (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            model_id TEXT NOT NULL,
            dim INTEGER NOT NULL
        ) STRICT""",
        """CREATE TABLE photo (
            id INTEGER PRIMARY KEY,
            person TEXT NOT NULL,
            sha256 TEXT NOT NULL UNIQUE,
            folder TEXT NOT NULL,
            file TEXT NOT NULL,
            confidence REAL NOT NULL,
            size REAL NOT NULL,
            added TEXT NOT NULL,
            vector BLOB NOT NULL
        ) STRICT""",
        "CREATE INDEX photo_person ON photo (person)",
    ),
    (
        "DROP INDEX photo_person",
        "ALTER TABLE facebank RENAME TO facebank_1",
        "ALTER TABLE photo RENAME TO photo_1",
        """CREATE TABLE facebank (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            model_id TEXT NOT NULL,
            dim INTEGER NOT NULL,
            log_rows INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            photos INTEGER NOT NULL,
            photos_checksum INTEGER NOT NULL,
            changes INTEGER NOT NULL,
            unerased INTEGER NOT NULL
        ) STRICT""",
        """CREATE TABLE photo (
            id INTEGER PRIMARY KEY,
            person TEXT NOT NULL,
            sha256 TEXT NOT NULL UNIQUE,
            folder TEXT NOT NULL,
            file TEXT NOT NULL,
            confidence REAL NOT NULL,
            size REAL NOT NULL,
            added TEXT NOT NULL,
            vector BLOB NOT NULL,
            checksum INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX photo_person ON photo (person)",
        """CREATE TABLE log (
            id INTEGER PRIMARY KEY,
            at TEXT NOT NULL,
            command TEXT NOT NULL,
            action TEXT NOT NULL,
            person TEXT,
            count INTEGER NOT NULL,
            checksum INTEGER NOT NULL
        ) STRICT""",
        """CREATE TRIGGER photo_added AFTER INSERT ON photo BEGIN
            UPDATE facebank SET changes = changes + 1, photos = photos + 1,
                photos_checksum = photos_checksum + new.checksum;
        END""",
        """CREATE TRIGGER photo_changed AFTER UPDATE ON photo BEGIN
            UPDATE facebank SET changes = changes + 1,
                photos_checksum = photos_checksum - old.checksum + new.checksum;
        END""",
        """CREATE TRIGGER photo_removed AFTER DELETE ON photo BEGIN
            UPDATE facebank SET changes = changes + 1, photos = photos - 1,
                photos_checksum = photos_checksum - old.checksum;
        END""",
        """INSERT INTO facebank
            SELECT id, model_id, dim, 0, row_checksum(model_id, dim, 0), 0, 0, 0, 1
            FROM facebank_1""",
        """INSERT INTO photo
            SELECT *, photo_checksum(
                id, person, sha256, folder, file, confidence, size, added, vector
            ) FROM photo_1""",
        "DROP TABLE facebank_1",
        "DROP TABLE photo_1",
    ),
)


def upgrade(db: sqlite3.Connection, path: str) -> None:
    """Bring a facebank to the newest format, within the caller's transaction."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version and db.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        raise bad(path, f"it has format {version}, and its pages are damaged")
    for statement in chain.from_iterable(MIGRATIONS[version:]):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def tables(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """What a database holds, but for what SQLite adds by itself."""
    return db.execute(
        "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " ORDER BY name"
    ).fetchall()


def newest() -> list[tuple[str, str]]:
    """What a database of the newest format holds."""
    db, _ = unlock(MEMORY, "")
    try:
        upgrade(db, MEMORY)
        return tables(db)
    finally:
        db.close()
