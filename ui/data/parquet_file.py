"""Rows of the database to a Parquet file that `cellwatt import readings` reads back."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry.export_store import RowsPart

_TYPES: dict[str, Any] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "text": pa.string(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "text[]": pa.list_(pa.string()),
    "float4[]": pa.list_(pa.float32()),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "jsonb": pa.string(),
}


def write_parquet(path: Path, parts: Iterable[RowsPart], told: Callable[[int], None]) -> int:
    """Write rows and return how many; a reader sees the whole file or none.

    Args:
        path: Replaced at the end.
        parts: Of one table.
        told: Called with the rows written so far.
    """
    fresh = path.with_name(f".{path.name}.part")
    written = 0
    writer: pq.ParquetWriter | None = None
    try:
        for part in parts:
            schema = pa.schema(
                [(name, _TYPES[kind]) for name, kind in zip(part.names, part.types, strict=True)]
            )
            writer = writer or pq.ParquetWriter(fresh, schema, compression="zstd")
            writer.write_table(_table(part, schema))
            written += len(part.rows)
            told(written)
    except BaseException:
        if writer is not None:
            writer.close()
        fresh.unlink(missing_ok=True)
        raise
    if writer is not None:
        writer.close()
        fresh.replace(path)
    return written


def _table(part: RowsPart, schema: pa.Schema) -> pa.Table:
    columns = list(zip(*part.rows, strict=True)) or [()] * len(part.names)
    arrays = [
        pa.array([_plain(kind, value) for value in column], type=schema.field(place).type)
        for place, (kind, column) in enumerate(zip(part.types, columns, strict=True))
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _plain(kind: str, value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if kind == "jsonb" and value is not None else value
