"""Readings out of files of any size: CSV (gzipped or not) and Parquet, judged part by part."""

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from telemetry.model.errors import ControlError
from telemetry.model.reading import FieldQuality, Reading, Verdict
from ui.api.upload import BadRow, Objection, Sender, Sorted, UploadRow, csv_row, place_of, take

AT_ONCE = 20_000
_QUALITY = "quality"  # an export has it: verdicts of earlier, as JSON
_KNOWN = frozenset(UploadRow.__struct_fields__) | {_QUALITY}
Cells = Mapping[str, Any]
Item = tuple[UploadRow | Objection, str]


class ReadingsFileError(ControlError):
    """A file as a whole cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some rows in a row, sorted, and how far into the file they reach, 0..1."""

    rows: Sorted
    reached: float


def read_parts(path: Path, sender: Sender, now: datetime, at_once: int = AT_ONCE) -> Iterator[Part]:
    """Yield a file's rows in parts; rows count from 1 through the whole file, the heading apart.

    Raises:
        ReadingsFileError: It is no CSV and no Parquet, or broken.
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        rows = _from_parquet(path)
    elif name.endswith((".csv", ".csv.gz")):
        rows = _from_csv(path)
    else:
        raise ReadingsFileError(f"{path}: give a .csv, .csv.gz or .parquet file")
    part = Sorted()
    reached = 0.0
    in_part = 0
    for (found, quality), reached in rows:
        part.rows += 1
        in_part += 1
        _add(part, found, quality, sender, now)
        if in_part == at_once:
            yield Part(rows=part, reached=reached)
            part, in_part = Sorted(rows=part.rows), 0
    yield Part(rows=part, reached=1.0)


def _add(part: Sorted, found: UploadRow | Objection, quality: str, sender: Sender, now: datetime) -> None:
    if not isinstance(found, UploadRow):
        part.bad.append(BadRow(part.rows, *found))
        return
    taken = len(part.readings)
    take(part, found, sender, now)
    if quality and len(part.readings) > taken:
        number, reading = part.readings.pop()
        try:
            part.readings.append((number, _with_verdicts(reading, quality)))
        except (ValueError, TypeError, AttributeError):
            part.bad.append(BadRow(number, _QUALITY, "is no JSON of verdicts by field"))


def _with_verdicts(reading: Reading, quality: str) -> Reading:
    """Return the reading with the verdicts of an export: what was set aside then has no value now to judge."""
    told = {
        name: FieldQuality(verdict=Verdict(verdict), reason=str(reason), raw=raw)
        for name, (verdict, reason, raw) in json.loads(quality).items()
    }
    return replace(reading, quality={**told, **reading.quality})


def _from_csv(path: Path) -> Iterator[tuple[Item, float]]:
    try:
        size = max(1, path.stat().st_size)
        with path.open("rb") as raw, _plain(path, raw) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            reader = csv.DictReader(text, strict=True)
            _check_columns(path, reader.fieldnames or ())
            for row in reader:
                quality = str(row.pop(_QUALITY, "") or "")
                yield (csv_row(row), quality), raw.tell() / size
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ReadingsFileError(f"{path}: {error}") from error


def _plain(path: Path, raw: BinaryIO) -> AbstractContextManager[BinaryIO]:
    return (
        cast("AbstractContextManager[BinaryIO]", gzip.open(raw)) if path.suffix == ".gz" else nullcontext(raw)
    )


def _from_parquet(path: Path) -> Iterator[tuple[Item, float]]:
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names)
            total, done = max(1, file.metadata.num_rows), 0
            for batch in file.iter_batches(batch_size=5_000):
                for row in batch.to_pylist():
                    done += 1
                    yield _parquet_row(row), done / total
    except (OSError, pa.ArrowException) as error:
        raise ReadingsFileError(f"{path}: {error}") from error


def _parquet_row(row: dict[str, Any]) -> Item:
    quality = str(row.pop(_QUALITY, "") or "")
    try:
        cells = {name: value for name, value in row.items() if value is not None}
        return msgspec.convert(cells, UploadRow), quality
    except (msgspec.ValidationError, ValueError) as error:
        return place_of(str(error)), quality


def _check_columns(path: Path, names: "list[str] | tuple[str, ...] | Any") -> None:
    strangers = sorted(set(names) - _KNOWN)
    if strangers or not names:
        raise ReadingsFileError(
            f"{path}: unknown columns {', '.join(strangers[:5]) or '(none at all)'}; there are {', '.join(sorted(_KNOWN))}"
        )
