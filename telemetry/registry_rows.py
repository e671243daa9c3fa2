"""Rows of registry files to registry entries, every problem named with its file, line and column (pure)."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from telemetry.model.catalogue import AutonomyRule, BatteryType, Tariff
from telemetry.model.site import CriticalSite, Feeder, Site
from telemetry.registry_columns import PARTS, TABLES, CellError, Column
from telemetry.registry_files import FolderRows, Problem, Row

_WHERE = re.compile(r"^(?P<why>.*) - at `\$\.?(?P<where>.*)`$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the database holds already and rows may refer to."""

    feeders: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    tariffs: frozenset[str] = frozenset()
    profiles: dict[str, AutonomyRule] = field(default_factory=dict)
    battery_types: dict[str, BatteryType] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry to be written, and the row it comes from."""

    table: str  # of the database: feeder, autonomy_profile, battery_type, tariff, site, critical_site
    subject_id: str
    thing: Any
    row: Row


@dataclass(slots=True, kw_only=True)
class Entries:
    """All entries in the order in which they can be written, and every problem."""

    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def to_entries(folder: FolderRows, known: Known) -> Entries:
    """Return the entries of a folder's rows, what they refer to resolved, and all problems at once."""
    out = Entries(problems=list(folder.problems))
    limits = _by_owner(out, folder, "battery_limits", "battery_type_id", "battery_types")
    periods = _by_owner(out, folder, "tariff_periods", "tariff_id", "tariffs")
    _take(out, folder, "feeders", "feeder", "feeder_id", Feeder, lambda doc, _: doc)
    _take(
        out, folder, "autonomy_profiles", "autonomy_profile", "profile_id", AutonomyRule, lambda doc, _: doc
    )
    _take(
        out, folder, "battery_types", "battery_type", "battery_type_id", BatteryType,
        lambda doc, _: doc | {"bands": limits.get(doc["battery_type_id"], [])},
    )  # fmt: skip
    _take(
        out, folder, "tariffs", "tariff", "tariff_id", Tariff,
        lambda doc, _: doc | {"periods": periods.get(doc["tariff_id"], [])},
    )  # fmt: skip
    resolve = _Resolver(out, folder, known)
    _take(out, folder, "sites", "site", "site_id", Site, resolve.site)
    _take(out, folder, "critical_sites", "critical_site", "critical_site_id", CriticalSite, resolve.critical)
    out.problems.sort()
    return out


class _Resolver:
    """Puts in what rows refer to by name, and says what is not there; what is there and wrong was told already."""

    def __init__(self, out: Entries, folder: FolderRows, known: Known) -> None:
        self._problems = out.problems
        mine = {(entry.table, entry.subject_id): entry.thing for entry in out.entries}
        self._profiles = known.profiles | {
            name: one for (kind, name), one in mine.items() if kind == "autonomy_profile"
        }
        self._types = known.battery_types | {
            name: one for (kind, name), one in mine.items() if kind == "battery_type"
        }

        def named(table: str, key: str, stored: Iterable[str]) -> set[str]:
            return {str(row.cells.get(key)) for row in folder.rows.get(table, ())} | set(stored)

        self._feeders = named("feeders", "feeder_id", known.feeders)
        self._tariffs = named("tariffs", "tariff_id", known.tariffs)
        self._profile_names = named("autonomy_profiles", "profile_id", known.profiles)
        self._type_names = named("battery_types", "battery_type_id", known.battery_types)
        self._sites = named("sites", "site_id", known.sites)

    def site(self, doc: dict[str, Any], row: Row) -> dict[str, Any] | None:
        profile = self._profiles.get(doc.pop("autonomy_profile"))
        battery = self._types.get(doc.pop("battery_type"))
        sound = self._has(row, "feeder_id", self._feeders) & self._has(row, "tariff", self._tariffs)
        sound &= self._has(row, "autonomy_profile", self._profile_names)
        sound &= self._has(row, "battery_type", self._type_names)
        max_load_w, rated_wh = doc.pop("max_load_w"), doc.pop("rated_wh")
        proven = [None if one is None else datetime.fromisoformat(one) for one in
                  (doc.pop("calibrated_at"), doc.pop("capacity_tested_at"))]  # fmt: skip
        if not sound or profile is None or battery is None:
            return None
        parts: Mapping[str, tuple[str, Callable[[], object]]] = {
            "max_load_w": ("autonomy", lambda: profile.for_site(max_load_w)),
            "rated_wh": ("battery", lambda: battery.for_site(rated_wh, *proven)),
        }
        for column, (name, make) in parts.items():
            try:
                doc[name] = msgspec.to_builtins(make())
            except ValueError as error:
                self._problems.append(Problem(row.file, row.line, column, str(error)))
                sound = False
        return doc if sound else None

    def critical(self, doc: dict[str, Any], row: Row) -> dict[str, Any] | None:
        sound = self._has(row, "feeder_id", self._feeders)
        for site_id in doc["linked_site_ids"]:
            if site_id not in self._sites:
                self._problems.append(
                    Problem(row.file, row.line, "linked_site_ids", f"there is no {site_id!r}")
                )
                sound = False
        return doc if sound else None

    def _has(self, row: Row, column: str, known: set[str]) -> bool:
        if (name := str(row.cells[column])) in known:
            return True
        why = f"there is no {name!r}, in these files or in the database"
        self._problems.append(Problem(row.file, row.line, column, why))
        return False


def _by_owner(
    out: Entries, folder: FolderRows, table: str, owner: str, owners: str
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a table that are parts of another table's entries."""
    there = {str(row.cells.get(owner)) for row in folder.rows.get(owners, ())}
    found: dict[str, list[dict[str, Any]]] = {}
    for row, doc in _docs(out, folder, table):
        name = doc.pop(owner)
        if name not in there:
            out.problems.append(Problem(row.file, row.line, owner, f"{owners} has no {name!r}"))
        found.setdefault(name, []).append(doc)
    return found


def _take(
    out: Entries,
    folder: FolderRows,
    table: str,
    target: str,
    key: str,
    kind: type,
    settle: Callable[[dict[str, Any], Row], dict[str, Any] | None],
) -> None:
    seen: dict[str, Row] = {}
    for row, doc in _docs(out, folder, table):
        subject_id = doc[key]
        if (first := seen.setdefault(subject_id, row)) is not row:
            out.problems.append(Problem(row.file, row.line, key, f"{subject_id} is on line {first.line} too"))
            continue
        settled = settle(doc, row)
        if settled is None:
            continue
        try:
            thing: Any = msgspec.convert(settled, kind)
        except (msgspec.ValidationError, ValueError) as error:
            match = _WHERE.match(str(error))
            where, why = (match["where"], match["why"]) if match else ("", str(error))
            out.problems.append(Problem(row.file, row.line, _column_of(table, where, why), why))
        else:
            out.entries.append(Entry(table=target, subject_id=subject_id, thing=thing, row=row))


def _column_of(table: str, where: str, why: str) -> str:
    """Return the column that fills a place in an entry, or that the complaint of a part names; "" if none does."""
    paths = {column.path or name: name for name, column in TABLES[table].items()}
    if where in paths:
        return paths[where]
    for path, name in paths.items():
        part, _, key = path.rpartition(".")
        if part == where and re.search(rf"\b{re.escape(key)}\b", why):
            return name
    return ""


def _docs(out: Entries, folder: FolderRows, table: str) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Yield each row of a table whose every cell could be read."""
    for row in folder.rows.get(table, ()):
        absent = {part for part, first in PARTS.items() if table == "sites" and first not in row.cells}
        doc, problems = _read_row(row, TABLES[table], absent)
        out.problems += problems
        if not problems:
            yield row, doc


def _read_row(
    row: Row, columns: Mapping[str, Column], absent: set[str]
) -> tuple[dict[str, Any], Sequence[Problem]]:
    doc: dict[str, Any] = dict.fromkeys(absent)
    problems = []
    for name, column in columns.items():
        part, _, rest = (column.path or name).rpartition(".")
        if part in absent:
            if name in row.cells:
                why = f"means nothing without {PARTS[part]}"
                problems.append(Problem(row.file, row.line, name, why))
            continue
        if name not in row.cells:
            if column.default is ...:
                problems.append(Problem(row.file, row.line, name, "is missing"))
            elif part != "recharge":
                _place(doc, part, rest, column.default)
            continue
        try:
            _place(doc, part, rest, column.read(row.cells[name]))
        except CellError as error:
            problems.append(Problem(row.file, row.line, name, str(error)))
    return doc, problems


def _place(doc: dict[str, Any], part: str, key: str, value: Any) -> None:
    (doc.setdefault(part, {}) if part else doc)[key] = value
