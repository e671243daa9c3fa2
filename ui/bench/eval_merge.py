"""The parts that a slow evaluation is run in: each file keeps records, one for every case, and says what they are records of."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ui.bench.harness import BenchmarkError

_KIND = "records_of"


def kind_of_records(what: str) -> dict[str, str]:
    """Return the record that stands before the others."""
    return {_KIND: what}


def records_of(paths: Sequence[Path], what: str) -> list[dict[str, Any]]:
    """Return the records of several result files.

    Raises:
        BenchmarkError: A file cannot be read, or holds no records of this.
    """
    found: list[dict[str, Any]] = []
    for path in paths:
        try:
            first, *rest = json.loads(path.read_text()).get("records", [{}])
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"--merge {path}: {error}") from error
        if first.get(_KIND) != what:
            raise BenchmarkError(f"--merge {path}: it holds no records of {what}")
        found += rest
    return found
