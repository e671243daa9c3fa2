"""Uploaded telemetry to rows to store: JSON, NDJSON or CSV, each bad row named with its field and why (pure)."""

import csv
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple

import msgspec

from telemetry.decode import is_out_of_time
from telemetry.model.reading import FeederReading, Reading
from telemetry.model.site import FeederId, SiteId
from telemetry.quality import judge
from telemetry.wire import Count, Name, ReadingWire

BOOT = "rest"  # of rows that name none
_ERRORS_SHOWN = 1_000
_ALARM_LETTERS = 200
_GZIP_MAGIC = b"\x1f\x8b"
_WHERE = re.compile(r"^(?P<why>.*) - at `\$\.?(?P<where>.*)`$", re.DOTALL)
_FIELDS = tuple(name for name in ReadingWire.__struct_fields__ if name not in {"sequence", "at"})


class UploadRow(ReadingWire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row: a reading of a site, or with `feeder_id` and `background_w` one of a feeder's meter.

    A row is known again by site, instant, boot and sequence; whoever counts neither boots nor sequences leaves them out.
    """

    site_id: Name | None = None
    feeder_id: Name | None = None
    background_w: float | None = None
    boot_id: Name = BOOT
    sequence: Count = 0


class UploadError(Exception):
    """The upload as a whole cannot be read; `status` is the HTTP status that says so."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class BadRow(NamedTuple):
    """Why a row is not stored; rows count from 1, header lines apart."""

    row: int
    field: str
    why: str


@dataclass(slots=True, kw_only=True)
class Sorted:
    """The rows of an upload: what to store, and what is wrong with the rest."""

    rows: int = 0
    readings: list[tuple[int, Reading]] = field(default_factory=list)
    feeder: list[tuple[int, FeederReading]] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """For whom the sender may speak: `site_id` alone if it is set, else every known site and feeder."""

    site_id: str
    sites: frozenset[str]
    feeders: frozenset[str]


def sort_rows(body: bytes, content_type: str, sender: Sender, now: datetime, most: int) -> Sorted:
    """Return an upload's rows, judged, and the bad ones with why.

    Args:
        body: Unpacked.
        content_type: `application/json`, `application/x-ndjson` or `text/csv`.
        sender: For whom it may speak.
        now: Domain instant of arrival.
        most: The most rows.

    Raises:
        UploadError: No row can be read, or there are too many.
    """
    kind = content_type.partition(";")[0].strip().lower()
    readers = {
        "application/json": _from_json,
        "application/x-ndjson": _from_lines,
        "application/jsonl": _from_lines,
        "text/csv": _from_csv,
    }
    if kind not in readers:
        raise UploadError(415, f"send {', '.join(readers)}, not {kind or 'nothing'}")
    out = Sorted()
    for found in readers[kind](body):
        out.rows += 1
        if out.rows > most:
            raise UploadError(413, f"an upload may hold {most} rows")
        if isinstance(found, UploadRow):
            take(out, found, sender, now)
        else:
            out.bad.append(BadRow(out.rows, *found))
    return out


def shown(bad: list[BadRow]) -> tuple[list[BadRow], int]:
    """Return the errors to show, in order of row, and how many are left out."""
    ordered = sorted(bad)
    return ordered[:_ERRORS_SHOWN], max(0, len(ordered) - _ERRORS_SHOWN)


def unpacked(body: bytes, most: int) -> bytes:
    """Return the plain bytes of a body that may be gzipped.

    Raises:
        UploadError: Its gzip is broken, or it is too large.
    """
    if body[:2] != _GZIP_MAGIC:
        return body
    try:
        inflate = zlib.decompressobj(wbits=31)
        plain = inflate.decompress(body, most + 1)
    except zlib.error as error:
        raise UploadError(422, f"the gzip is broken: {error}") from error
    if len(plain) > most:
        raise UploadError(413, f"an upload may hold {most} bytes unpacked")
    if not inflate.eof:
        raise UploadError(422, "the gzip ends in mid-stream")
    return plain


def take(out: Sorted, row: UploadRow, sender: Sender, now: datetime) -> None:
    """Put the row that `out.rows` counts among what is stored, judged, or among the bad ones."""
    if (problem := _objection(row, sender, now)) is not None:
        out.bad.append(BadRow(out.rows, *problem))
    elif row.feeder_id is not None:
        assert row.background_w is not None
        out.feeder.append(
            (
                out.rows,
                FeederReading(feeder_id=FeederId(row.feeder_id), at=row.at, background_w=row.background_w),
            )
        )
    else:
        site_id = SiteId(row.site_id or sender.site_id)
        values = {name: getattr(row, name) for name in _FIELDS}
        reading = Reading(site_id=site_id, boot_id=row.boot_id, sequence=row.sequence, at=row.at, **values)
        out.readings.append((out.rows, judge(reading, now)))


Objection = tuple[str, str]


def _objection(row: UploadRow, sender: Sender, now: datetime) -> Objection | None:
    if row.feeder_id is not None:
        return _feeder_objection(row, sender) or _value_objection(row, now)
    site_id = row.site_id or sender.site_id
    if not site_id:
        return ("site_id", "a row names its site_id, or a feeder_id")
    if sender.site_id and site_id != sender.site_id:
        return ("site_id", f"this token writes {sender.site_id} only")
    if site_id not in sender.sites:
        return ("site_id", f"there is no site {site_id}")
    if row.background_w is not None:
        return ("background_w", "belongs to a row with a feeder_id")
    return _value_objection(row, now)


def _feeder_objection(row: UploadRow, sender: Sender) -> Objection | None:
    if sender.site_id:
        return ("feeder_id", f"this token writes {sender.site_id} only")
    if row.site_id is not None:
        return ("feeder_id", "a row is a site's or a feeder's, not both")
    if row.feeder_id not in sender.feeders:
        return ("feeder_id", f"there is no feeder {row.feeder_id}")
    if row.background_w is None:
        return ("background_w", "a feeder's row needs it")
    return None


def _value_objection(row: UploadRow, now: datetime) -> Objection | None:
    if is_out_of_time(row.at, now):
        return ("at", "beyond any clock's error, or older than 400 days")
    for name in (*_FIELDS, "background_w"):
        value = getattr(row, name)
        numbers = value if name == "string_a" and value is not None else (value,)
        # Larger numbers than a float4 holds are as good as infinite.
        if any(isinstance(one, float) and not (isfinite(one) and abs(one) < 1e30) for one in numbers):
            return (name, "must be a finite number")
    if any(len(alarm) > _ALARM_LETTERS or "\0" in alarm for alarm in row.alarms):
        return ("alarms", f"an alarm has at most {_ALARM_LETTERS} letters and no NUL")
    return None


_JSON_ROW = msgspec.json.Decoder(UploadRow)
_JSON_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    rows: list[msgspec.Raw]


_JSON_ENVELOPE = msgspec.json.Decoder(_Envelope)


def _from_json(body: bytes) -> Iterator[UploadRow | Objection]:
    try:
        rows = _JSON_LIST.decode(body) if body.lstrip()[:1] == b"[" else _JSON_ENVELOPE.decode(body).rows
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UploadError(422, f'send {{"rows": [...]}}: {error}') from error
    for row in rows:
        yield _json_row(bytes(row))


def _from_lines(body: bytes) -> Iterator[UploadRow | Objection]:
    for line in body.splitlines():
        if line.strip():
            yield _json_row(line)


def _json_row(raw: bytes) -> UploadRow | Objection:
    try:
        return _JSON_ROW.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return place_of(str(error))


def _from_csv(body: bytes) -> Iterator[UploadRow | Objection]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UploadError(422, f"the CSV is not UTF-8: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    known = set(UploadRow.__struct_fields__)
    try:
        strangers = [name for name in reader.fieldnames or [] if name not in known]
        if strangers or not reader.fieldnames:
            raise UploadError(422, f"unknown columns {strangers[:5]}; there are {', '.join(sorted(known))}")
        for row in reader:
            yield csv_row(row)
    except csv.Error as error:
        raise UploadError(422, f"the CSV is broken at line {reader.line_num}: {error}") from error


def csv_row(row: Mapping[str | None, Any]) -> UploadRow | Objection:
    """Return a row of CSV cells by column; `alarms` and `string_a` are divided by semicolons."""
    if None in row:
        return ("", "has more cells than the header")
    cells: dict[str, Any] = {str(name): cell for name, cell in row.items() if cell not in {None, ""}}
    for name in ("string_a", "alarms"):
        if name in cells:
            cells[name] = cells[name].split(";")
    try:
        return msgspec.convert(cells, UploadRow, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        return place_of(str(error))


def place_of(message: str) -> Objection:
    """Return the field that a msgspec error names, and why."""
    if (match := _WHERE.match(message)) is not None:
        return (match["where"], match["why"])
    named = re.search(r"field `(\w+)`", message)
    return (named[1] if named else "", message)
