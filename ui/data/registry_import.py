"""A folder of registry files into the database: all of it or nothing, and every problem at once."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from telemetry.registry_columns import COLUMNS
from telemetry.registry_files import Problem, read_folder
from telemetry.registry_rows import Entries, Known, to_entries
from telemetry.registry_store import RegistryStore, to_doc
from ui.api.registry_desk_store import Asked, Conflict, Doc, Put, RegistryDesk, Settle
from ui.api.registry_input import settle_site


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryImport:
    """What an import did, by table: added, changed and unchanged entries; with a problem nothing was written."""

    added: dict[str, int]
    changed: dict[str, int]
    unchanged: int
    problems: tuple[Problem, ...]


async def import_registry(
    pool: AsyncConnectionPool[AsyncConnection], folder: Path, *, who: str, at: datetime, keep: bool = True
) -> RegistryImport:
    """Read a folder and write what changed, each change with a version and an audit entry.

    Args:
        pool: Of the API's role.
        folder: See `telemetry.registry_columns.TABLES` for the files and columns.
        who: For the trail.
        at: Domain instant.
        keep: False: check against the database and write nothing.
    """
    store = RegistryStore(pool)
    known = Known(
        feeders=frozenset(await store.feeders()),
        sites=frozenset(await store.sites()),
        tariffs=frozenset(await store.tariffs()),
        profiles={str(name): one for name, one in (await store.autonomy_profiles()).items()},
        battery_types={str(name): one for name, one in (await store.battery_types()).items()},
    )
    found = to_entries(read_folder(folder, COLUMNS), known)
    asked = [
        Asked(table=one.table, subject_id=one.subject_id, settle=_settle(one.table, to_doc(one.thing)))
        for one in found.entries
    ]
    # Also with a problem in a file, what the database would object to is told at once.
    done = await RegistryDesk(pool).put_all(asked, who=who, at=at, keep=keep and not found.problems)
    return _report(found, done)


def _settle(table: str, doc: Doc) -> Settle:
    if table == "site":
        return lambda before: settle_site(doc, before)
    return lambda _: doc


def _report(found: Entries, done: list[Put | Conflict]) -> RegistryImport:
    added: dict[str, int] = {}
    changed: dict[str, int] = {}
    unchanged = 0
    problems = list(found.problems)
    for entry, outcome in zip(found.entries, done, strict=True):
        if isinstance(outcome, Conflict):
            problems.append(Problem(entry.row.file, entry.row.line, outcome.field, outcome.why))
        elif not outcome.changed:
            unchanged += 1
        else:
            counts = added if outcome.made else changed
            counts[entry.table] = counts.get(entry.table, 0) + 1
    return RegistryImport(added=added, changed=changed, unchanged=unchanged, problems=tuple(sorted(problems)))
