"""Store and forward: telemetry messages on disk until the centre says that they are safe. Bounded.

One row is one MQTT message (several readings of one boot), so that what is sent again is what was sent before, and
a day of a site is 8,640 rows. One file serves all sites of a process. The journal is written ahead (WAL) without an
fsync per row: a power cut may cost the last seconds before it, never what was already confirmed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from telemetry.model.errors import ControlError
from telemetry.model.site import SiteId


class BufferFileError(ControlError):
    """The buffer cannot be opened or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One message in the buffer: readings `first` to `last` of one boot."""

    row: int
    boot_id: str
    first: int
    last: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Readings that the bound pushed out before they were safe."""

    boot_id: str
    first: int
    last: int


_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA wal_autocheckpoint = 1000;
CREATE TABLE IF NOT EXISTS message (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    site_id TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS message_of_site ON message (site_id, row);
"""


class Buffer:
    """The messages of one or more sites that the centre has not confirmed, oldest first."""

    def __init__(self, path: Path, max_rows_per_site: int = 60_480) -> None:
        """Open the file; the default bound is a week of messages of ten seconds (about 60 MB a site)."""
        self._max_rows = max_rows_per_site
        self._counts: dict[SiteId, int] = {}
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.executescript(_SCHEMA)
            for site_id, count in self._db.execute("SELECT site_id, count(*) FROM message GROUP BY site_id"):
                self._counts[SiteId(site_id)] = count
        except sqlite3.Error as error:
            raise BufferFileError(f"{path}: {error}") from error

    def add(self, site_id: SiteId, message: Stored) -> tuple[int, Lost | None]:
        """Keep a message and return its row; over the bound the oldest goes, and is named."""
        try:
            cursor = self._db.execute(
                "INSERT INTO message (site_id, boot_id, first, last, payload) VALUES (?, ?, ?, ?, ?)",
                (site_id, message.boot_id, message.first, message.last, message.payload),
            )
            row = int(cursor.lastrowid or 0)
            self._counts[site_id] = self._counts.get(site_id, 0) + 1
            lost = self._drop_oldest(site_id) if self._counts[site_id] > self._max_rows else None
        except sqlite3.Error as error:
            raise BufferFileError(str(error)) from error
        return row, lost

    def _drop_oldest(self, site_id: SiteId) -> Lost:
        row, boot_id, first, last = self._db.execute(
            "SELECT row, boot_id, first, last FROM message WHERE site_id = ? ORDER BY row LIMIT 1", (site_id,)
        ).fetchone()
        self._db.execute("DELETE FROM message WHERE row = ?", (row,))
        self._counts[site_id] -= 1
        return Lost(boot_id=boot_id, first=first, last=last)

    def confirm(self, site_id: SiteId, marks: Mapping[str, int]) -> int:
        """Forget what is safe: every message of a boot whose last reading is at or under the mark."""
        gone = 0
        for boot_id, mark in marks.items():
            gone += self._db.execute(
                "DELETE FROM message WHERE site_id = ? AND boot_id = ? AND last <= ?",
                (site_id, boot_id, mark),
            ).rowcount
        if gone:
            self._counts[site_id] = self._counts.get(site_id, 0) - gone
        return gone

    def after(self, site_id: SiteId, row: int, most: int) -> list[Stored]:
        """Return the oldest messages above a row, in the order in which they were kept."""
        rows = self._db.execute(
            "SELECT row, boot_id, first, last, payload FROM message WHERE site_id = ? AND row > ? "
            "ORDER BY row LIMIT ?",
            (site_id, row, most),
        ).fetchall()
        return [
            Stored(row=number, boot_id=boot_id, first=first, last=last, payload=payload)
            for number, boot_id, first, last, payload in rows
        ]

    def count(self, site_id: SiteId) -> int:
        """Return how many messages of a site wait."""
        return self._counts.get(site_id, 0)

    def close(self) -> None:
        self._db.close()
