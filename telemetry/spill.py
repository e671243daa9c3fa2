"""A bounded queue on disk for messages that the database cannot take now; what `append` accepted survives a kill -9.

Segments of at most a few megabytes, each a run of records `length, checksum, body`, read in the order of writing. A
segment is deleted when its last record has been taken: after a crash up to one segment is read again, which is harmless
for readings (their key makes them unique). A torn record at the end of the newest segment was never accepted.
"""

import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from telemetry.model.errors import ControlError

_log = logging.getLogger(__name__)
_RECORD = struct.Struct("<II")  # bytes of the body, CRC-32 of the body
_HEAD = struct.Struct("<qH")  # microseconds of arrival since 1970, bytes of the topic
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SUFFIX = ".spill"


class SpillError(ControlError):
    """The folder cannot be used: another worker holds it, or it cannot be written."""


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message as it arrived."""

    topic: str
    payload: bytes
    arrived_at: datetime  # domain time


@dataclass(frozen=True, slots=True, kw_only=True)
class SpillLimits:
    """How much disk the queue may take, and its segments' size."""

    max_bytes: int = 512 * 1024 * 1024  # at 900 B a message of four readings about 570,000 messages
    segment_bytes: int = 8 * 1024 * 1024


@dataclass(slots=True)
class _Segment:
    path: Path
    size: int
    records: int


class Spill:
    """The queue of one worker. All methods belong to one thread at a time."""

    def __init__(self, folder: Path, limits: SpillLimits) -> None:
        """Open the folder and find what an earlier run left.

        Raises:
            SpillError: Another process has it open, or it cannot be made.
        """
        self._folder = folder
        self._limits = limits
        self.damaged = 0  # segments with an unreadable part that was accepted once
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SpillError(f"{folder} is in use by another worker") from error
        except OSError as error:
            raise SpillError(f"{folder}: {error}") from error
        self._segments: list[_Segment] = []
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            self._recover(path)
        self._number = max((int(each.path.stem) for each in self._segments), default=0)
        self._open = False  # whether the last segment may still be appended to: never one of an earlier run

    def __len__(self) -> int:
        """Messages that wait."""
        return sum(segment.records for segment in self._segments)

    @property
    def size_bytes(self) -> int:
        """Disk that the queue takes."""
        return sum(segment.size for segment in self._segments)

    def append(self, messages: Sequence[Message]) -> bool:
        """Put all messages at the end and return whether they are safe on disk: all of them, or none.

        False says that the bound is reached, or that the disk will not take them; nothing was kept then.
        """
        data = b"".join(_to_record(message) for message in messages)
        if self.size_bytes + len(data) > self._limits.max_bytes:
            return False
        if not self._open or self._segments[-1].size >= self._limits.segment_bytes:
            self._number += 1
            path = self._folder / f"{self._number:012d}{_SUFFIX}"
            self._segments.append(_Segment(path=path, size=0, records=0))
            self._open = True
        segment = self._segments[-1]
        try:
            _write(segment.path, segment.size, data, self._folder if segment.size == 0 else None)
        except OSError as error:
            _log.error("the spill cannot be written", extra={"error": str(error)})
            self._give_up(segment)
            return False
        segment.size += len(data)
        segment.records += len(messages)
        return True

    def oldest(self) -> list[Message]:
        """Return the messages of the oldest segment, in order; `drop_oldest` when they are safe elsewhere."""
        if not self._segments:
            return []
        if len(self._segments) == 1:
            self._open = False  # what comes now goes to a segment of its own
        messages, _ = _read(self._segments[0].path)
        return messages

    def drop_oldest(self) -> None:
        """Delete the oldest segment: each of its messages is safe elsewhere."""
        segment = self._segments.pop(0)
        self._open = self._open and bool(self._segments)
        segment.path.unlink()
        _sync_folder(self._folder)

    def close(self) -> None:
        """Let another process open the folder; what waits stays on disk."""
        os.close(self._lock)

    def _recover(self, path: Path) -> None:
        messages, whole = _read(path)
        size = path.stat().st_size
        if whole < size:
            # The end of a write that a crash cut short was never accepted. More than that only a bad disk explains;
            # the bytes are kept aside for whoever wants to look.
            self.damaged += 1
            _log.error("a spill segment is unreadable at its end", extra={"path": str(path), "from": whole})
            with path.open("rb") as opened:
                opened.seek(whole)
                path.with_suffix(".damaged").write_bytes(opened.read())
            with path.open("r+b") as opened:
                opened.truncate(whole)
                os.fsync(opened.fileno())
        if messages:
            self._segments.append(_Segment(path=path, size=whole, records=len(messages)))
        else:
            path.unlink()

    def _give_up(self, segment: _Segment) -> None:
        """After a failed write or fsync the file is trusted as far as it was before, and no further."""
        self._open = False
        try:
            if segment.size == 0:
                self._segments.pop()
                segment.path.unlink(missing_ok=True)
            else:
                os.truncate(segment.path, segment.size)
        except OSError as error:
            _log.error("a spill segment cannot be cut back", extra={"error": str(error)})


def _to_record(message: Message) -> bytes:
    topic = message.topic.encode()
    micros = (message.arrived_at - _EPOCH) // timedelta(microseconds=1)
    body = _HEAD.pack(micros, len(topic)) + topic + message.payload
    return _RECORD.pack(len(body), zlib.crc32(body)) + body


def _to_message(body: bytes) -> Message:
    micros, length = _HEAD.unpack_from(body)
    end = _HEAD.size + length
    return Message(
        topic=body[_HEAD.size : end].decode(),
        payload=body[end:],
        arrived_at=_EPOCH + timedelta(microseconds=micros),
    )


def _read(path: Path) -> tuple[list[Message], int]:
    """Return the messages of a segment and how many of its bytes are whole records."""
    data = path.read_bytes()
    place, messages = 0, list[Message]()
    while place + _RECORD.size <= len(data):
        length, checksum = _RECORD.unpack_from(data, place)
        body = data[place + _RECORD.size : place + _RECORD.size + length]
        if len(body) < length or length < _HEAD.size or zlib.crc32(body) != checksum:
            break
        messages.append(_to_message(body))
        place += _RECORD.size + length
    return messages, place


def _write(path: Path, at: int, data: bytes, made_in: Path | None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        view, place = memoryview(data), at
        while view:
            written = os.pwrite(descriptor, view, place)
            view, place = view[written:], place + written
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if made_in is not None:
        _sync_folder(made_in)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
