"""What a gateway must not forget: written to disk, with fsync and one rename, before it acts on it."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import msgspec

from telemetry.model.errors import ControlError
from telemetry.model.site import SiteMode

MAX_ACKS = 64


class StateFileError(ControlError):
    """The state file cannot be read or written: a gateway that may have forgotten a command must not start."""


class AckRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One acknowledgement; `sent` once the broker has confirmed it."""

    command_id: str
    payload: str
    sent: bool = False


class DutyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An accepted command that is in force, its signed bytes, what was limited so far, a reserve's account.

    `in_outage`: taken on in an outage, so that no restart takes it up.
    """

    envelope: str
    command_id: str
    digest: str
    accepted_at: datetime
    limited_wh: float = 0.0
    limited_told: bool = False
    triggered_at: datetime | None = None
    up_wh: float = 0.0
    down_wh: float = 0.0
    given_wh: float = 0.0
    taken_wh: float = 0.0
    in_outage: bool = False


class Remembered(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that outlives a restart; `key_set` is the root-signed bytes in force."""

    v: int = 1
    last_sequence: int = -1
    mode: SiteMode | None = None
    fleet_epoch: int = -1
    fleet_sequence: int = -1
    fleet_stopped: bool = False
    key_set: str | None = None
    acks: tuple[AckRecord, ...] = ()
    duties: tuple[DutyRecord, ...] = ()
    day: str = ""
    discharged_wh: float = 0.0
    seen_at: datetime | None = None


class StateFile:
    """One small JSON file, replaced whole. Absent means a new gateway; unreadable means stop and ask."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Remembered:
        """Return what was remembered.

        Raises:
            StateFileError: The file is there but cannot be read.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Remembered)
        except FileNotFoundError:
            return Remembered()
        except (OSError, msgspec.MsgspecError) as error:
            raise StateFileError(f"{self._path}: {error}") from error

    def save(self, remembered: Remembered) -> None:
        """Write it so that after a power cut either the old or the new is there, whole.

        Raises:
            StateFileError: The disk refuses.
        """
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(remembered))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StateFileError(f"{self._path}: {error}") from error
