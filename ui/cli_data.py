"""`cellwatt import` and `cellwatt export`: their arguments, and what they call."""

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from telemetry.model.errors import ControlError

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from ui.data.registry_import import RegistryImport
    from ui.ops.runtime import Installation

Answer = TypeVar("Answer")
_SHOWN = 50  # problems; the rest is counted
_WHAT = {
    "readings": "readings, one row each",
    "rollups": "quarter-hour roll-ups",
    "hours": "hourly roll-ups",
}


def add_data_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", default_state: Path
) -> None:
    """Add the commands."""
    take = commands.add_parser(
        "import",
        help="take readings, a registry or documents in from files",
        description="Good rows are stored, bad ones are named; to do it again changes nothing.",
    )
    kinds = take.add_subparsers(title="what to take in", required=True, metavar="WHAT")
    readings = kinds.add_parser(
        "readings",
        help="CSV (gzipped or not) or Parquet, as `cellwatt export` writes it",
        description="Columns: site_id, at, boot_id, sequence and the fields of a reading, or feeder_id, at, background_w. "
        "Exits with 1 where a row was refused.",
    )
    readings.add_argument("file", type=Path, metavar="FILE")
    readings.set_defaults(run=_import_readings)
    registry = kinds.add_parser(
        "registry",
        help="sites, feeders, critical sites, tariffs, autonomy profiles, battery types: CSV or GeoJSON",
        description="All of it is written or nothing, and every problem is named with file, line and column. "
        "deploy/registry/example has one of each file.",
    )
    registry.add_argument("folder", type=Path, metavar="DIR")
    registry.add_argument("--check", action="store_true", help="only look, write nothing")
    registry.set_defaults(run=_import_registry)
    documents = kinds.add_parser(
        "documents",
        help="Markdown, PDF, DOCX or CSV into the library",
        description="A document that is there already is passed over, one that changed is replaced.",
    )
    documents.add_argument("path", type=Path, metavar="PATH", help="a file, or a folder with all in it")
    documents.set_defaults(run=_import_documents)
    export = commands.add_parser(
        "export",
        help="write readings or roll-ups to a Parquet file",
        description="Rows in order of site and time, all of one instant of the database.",
    )
    export.add_argument("what", choices=tuple(_WHAT), help="; ".join(f"{k}: {v}" for k, v in _WHAT.items()))
    export.add_argument("--to", type=Path, required=True, metavar="FILE", help="written whole or not at all")
    for name in ("start", "end"):
        export.add_argument(
            f"--{name}", type=datetime.fromisoformat, help="ISO 8601 with offset; by default all"
        )
    export.add_argument("--site", action="append", metavar="SITE_ID", help="may be given several times")
    export.set_defaults(run=_export)
    for one in (readings, registry, documents, export):
        one.add_argument(
            "--state-dir", type=Path, default=default_state, help="the installation (default: %(default)s)"
        )


def _import_readings(args: argparse.Namespace) -> int:
    from ui.data.readings_import import import_readings
    from ui.ops.steps import steps_for

    installation = _installation(args.state_dir)
    steps = steps_for(sys.stderr)
    with steps.step(f"readings of {args.file.name}") as step:
        done = import_readings(
            _api_dsn(installation),
            args.file,
            who=_who(),
            now=_now(installation),
            reach=step.reach,
            say=step.say,
        )
    steps.close()
    print(f"{done.rows} rows, {done.stored} stored, {done.refused} refused")
    for bad in done.bad[:_SHOWN]:
        print(f"{args.file.name}:{bad.row}:{bad.field}: {bad.why}", file=sys.stderr)
    if done.refused > _SHOWN:
        print(f"and {done.refused - min(_SHOWN, len(done.bad))} more", file=sys.stderr)
    return 1 if done.refused else 0


def _import_registry(args: argparse.Namespace) -> int:
    from ui.data.registry_import import import_registry

    installation = _installation(args.state_dir)
    at = _now(installation)
    done = _with_pool(
        installation,
        lambda pool: import_registry(pool, args.folder, who=_who(), at=at, keep=not args.check),
    )
    return _tell_registry(done, check=args.check)


def _tell_registry(done: "RegistryImport", *, check: bool) -> int:
    for problem in done.problems:
        print(problem.text(), file=sys.stderr)
    if done.problems:
        print(f"{len(done.problems)} problems, nothing was written", file=sys.stderr)
        return 1
    word = "would be " if check else ""
    for verb, counts in (("added", done.added), ("changed", done.changed)):
        for table, count in sorted(counts.items()):
            print(f"{count} {table} {word}{verb}")
    print(f"{done.unchanged} unchanged")
    return 0


def _import_documents(args: argparse.Namespace) -> int:
    from knowledge.document_store import DocumentStore
    from knowledge.documents import DocumentError
    from knowledge.embed import choose_embedder
    from knowledge.imports import ImportReport, Step, import_documents, read_documents
    from ui.ops.steps import steps_for

    installation = _installation(args.state_dir)
    at = _now(installation)
    chosen = choose_embedder(os.environ)
    steps = steps_for(sys.stderr)
    with steps.step(f"documents of {args.path.name}") as shown:

        def told(step: Step) -> None:
            shown.say(f"{step.stage} {step.done} of {step.total}")
            shown.reach(step.done / max(1, step.total))

        try:
            documents, failed = read_documents(args.path, told)
        except DocumentError as error:
            raise ControlError(str(error)) from error

        async def take(pool: "AsyncConnectionPool[AsyncConnection]") -> ImportReport:
            return await import_documents(
                DocumentStore(pool), documents, chosen.embedder, at=at, progress=told
            )

        report = _with_pool(installation, take)
    steps.close()
    print(
        f"{len(report.added)} added, {len(report.replaced)} replaced, {len(report.unchanged)} unchanged,"
        f" {len(report.twins)} left out as copies, {len(failed)} unreadable;"
        f" {report.passages} passages, {report.embedded} embedded"
    )
    if chosen.note:
        print(chosen.note, file=sys.stderr)
    for name, why in failed:
        print(f"{name}: {why}", file=sys.stderr)
    return 1 if failed else 0


def _export(args: argparse.Namespace) -> int:
    from ui.data.export import export_parquet
    from ui.ops.steps import steps_for

    for name in ("start", "end"):
        if (at := getattr(args, name)) is not None and at.tzinfo is None:
            raise ControlError(f"--{name} needs an offset, for instance 2026-11-24T17:00+01:00")
    if not args.to.absolute().parent.is_dir():
        raise ControlError(f"--to {args.to}: there is no folder {args.to.parent}")
    installation = _installation(args.state_dir)
    steps = steps_for(sys.stderr)
    with steps.step(f"{args.what} to {args.to.name}") as step:
        written = export_parquet(
            _api_dsn(installation), args.what, args.to,
            start=args.start, end=args.end, site_ids=args.site, reach=step.reach,
        )  # fmt: skip
    steps.close()
    print(f"{written} rows in {args.to}")
    return 0


def _installation(state_dir: Path) -> "Installation":
    from ui.ops.files import UnsafeFileError
    from ui.ops.runtime import Installation, Runtime
    from ui.ops.secrets import StateDirectory

    if not state_dir.is_dir():
        raise ControlError(f"there is no installation in {state_dir}; name it with --state-dir")
    try:
        state = StateDirectory(state_dir)
        return Installation(state=state, runtime=Runtime.load(state))
    except UnsafeFileError as error:
        raise ControlError(str(error)) from error


def _api_dsn(installation: "Installation") -> str:
    """Return how the API's role connects, which may do what these commands do.

    Raises:
        ControlError: The database does not answer.
    """
    import psycopg

    from ui.ops.secrets import DatabaseRole

    dsn = installation.dsn(DatabaseRole.API)
    try:
        psycopg.connect(dsn, connect_timeout=5).close()  # a pool would go on trying, and say so each time
    except psycopg.OperationalError as error:
        last = (str(error).strip().splitlines() or ["no message"])[0]
        raise ControlError(f"the database does not answer; is the installation running? ({last})") from error
    return dsn


def _with_pool(
    installation: "Installation", act: "Callable[[AsyncConnectionPool[AsyncConnection]], Awaitable[Answer]]"
) -> Answer:
    from telemetry.db import open_async_pool

    dsn = _api_dsn(installation)

    async def run() -> Answer:
        pool = await open_async_pool(dsn, application_name="cellwatt-import", max_size=2)
        try:
            return await act(pool)
        finally:
            await pool.close()

    return asyncio.run(run())


def _now(installation: "Installation") -> datetime:
    """Return the installation's domain time."""
    from telemetry.model.clock import FilePace, PacedClock

    path = installation.clock_file
    return PacedClock(FilePace(path)).now() if path.exists() else datetime.now(UTC)


def _who() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
