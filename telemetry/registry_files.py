"""Registry files to rows: CSV and GeoJSON, each row with the line it begins on, each problem with file, line and column."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

_MOST_BYTES = 256 * 1024 * 1024
Cells = Mapping[str, Any]


class Problem(NamedTuple):
    """What is wrong, and where: `line` counts from 1 (0: the file as a whole), `column` is its heading."""

    file: str
    line: int
    column: str
    why: str

    def text(self) -> str:
        """Return it as people read it."""
        place = ":".join(str(part) for part in (self.file, self.line or "", self.column) if part != "")
        return f"{place}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a file: cells by column, empty ones left out."""

    file: str
    line: int
    cells: Cells


@dataclass(slots=True, kw_only=True)
class FolderRows:
    """The rows of a folder by table, and the problems met on the way."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_folder(folder: Path, columns: Mapping[str, frozenset[str]]) -> FolderRows:
    """Read every file of a registry folder.

    Args:
        folder: Holds `TABLE.csv` or `TABLE.geojson`, one of them for each table it has.
        columns: By table the columns that it may have.
    """
    found = FolderRows()
    if not folder.is_dir():
        found.problems.append(Problem(str(folder), 0, "", "there is no such folder"))
        return found
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.name.startswith(".") or path.suffix in {".md", ".txt"}:
            continue
        reader = _READERS.get(path.suffix.lower())
        if reader is None or path.stem not in columns:
            names = ", ".join(sorted(columns))
            why = f"not a registry file: name it TABLE.csv or TABLE.geojson, with TABLE one of {names}"
            found.problems.append(Problem(path.name, 0, "", why))
        elif path.stem in found.rows:
            found.problems.append(Problem(path.name, 0, "", f"{path.stem} is there twice"))
        else:
            found.rows[path.stem] = _read_file(path, reader, columns[path.stem], found.problems)
    if not found.rows and not found.problems:
        found.problems.append(Problem(str(folder), 0, "", "holds no registry file"))
    return found


def _read_file(path: Path, reader: "Reader", known: frozenset[str], problems: list[Problem]) -> list[Row]:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(path.name, 0, "", f"cannot be read: {error}"))
        return []
    if len(content) > _MOST_BYTES:
        problems.append(Problem(path.name, 0, "", f"is larger than {_MOST_BYTES // 2**20} MiB"))
        return []
    rows = []
    strangers: dict[str, int] = {}
    for item in reader(path.name, text):
        if isinstance(item, Problem):
            problems.append(item)
            continue
        for column in set(item.cells) - known:
            strangers.setdefault(column, item.line)
        rows.append(item)
    problems += [Problem(path.name, line, name, "unknown column") for name, line in sorted(strangers.items())]
    return rows


def _from_csv(name: str, text: str) -> Iterator[Row | Problem]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    last = 0
    try:
        for cells in reader:
            # A cell may hold line ends: a row begins after the end of the one before it.
            line, last = last + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                for column in sorted({one for one in header if header.count(one) > 1}):
                    yield Problem(name, line, column, "the column is there twice")
            elif len(cells) > len(header):
                yield Problem(name, line, "", f"has {len(cells)} cells, the heading {len(header)}")
            else:
                pairs = zip(header, cells, strict=False)
                yield Row(
                    file=name, line=line, cells={key: cell.strip() for key, cell in pairs if cell.strip()}
                )
    except csv.Error as error:
        yield Problem(name, reader.line_num, "", f"broken CSV: {error}")


def _from_geojson(name: str, text: str) -> Iterator[Row | Problem]:
    """Yield the point features; the text is read feature by feature, so that each knows its line."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield Problem(name, getattr(error, "lineno", 0), "", f"broken JSON: {error}")
        return
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list):
        yield Problem(name, 0, "features", "not a FeatureCollection")
        return
    for feature, line in zip(features, _feature_lines(text, len(features)), strict=True):
        yield _feature(name, line, feature)


def _feature_lines(text: str, count: int) -> list[int]:
    """Return the line on which each feature begins."""
    decoder = json.JSONDecoder()
    place = _list_begins(text) - 1
    lines: list[int] = []
    line, counted = 1, 0
    for _ in range(count):
        place += 1
        while text[place] in " \t\r\n,":
            place += 1
        line += text.count("\n", counted, place)
        counted = place
        lines.append(line)
        place = decoder.raw_decode(text, place)[1] - 1
    return lines


def _list_begins(text: str) -> int:
    """Return where the list of features has begun for certain: after the top level's key of that name."""
    decoder, place = json.JSONDecoder(), text.index("{") + 1
    while True:
        while text[place] in " \t\r\n,":
            place += 1
        key, place = decoder.raw_decode(text, place)
        place = text.index(":", place) + 1
        while text[place] in " \t\r\n":
            place += 1
        if key == "features":
            return place + 1
        place = decoder.raw_decode(text, place)[1]


def _feature(name: str, line: int, feature: Any) -> Row | Problem:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    if not isinstance(properties, dict):
        return Problem(name, line, "properties", "a feature needs properties")
    cells = {key: value for key, value in properties.items() if value not in (None, "")}
    if geometry is not None:
        point = geometry.get("coordinates") if isinstance(geometry, dict) else None
        if not (isinstance(geometry, dict) and geometry.get("type") == "Point" and isinstance(point, list)):
            return Problem(name, line, "geometry", "must be a Point")
        if len(point) < 2:
            return Problem(name, line, "geometry", "a Point has longitude and latitude")
        cells |= {"longitude": point[0], "latitude": point[1]}
    return Row(file=name, line=line, cells=cells)


Reader = Callable[[str, str], Iterator[Row | Problem]]
_READERS: Mapping[str, Reader] = {".csv": _from_csv, ".geojson": _from_geojson}
