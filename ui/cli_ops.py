"""`cellwatt doctor` and `cellwatt audit`: their arguments, and what they call."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from telemetry.model.errors import ControlError

if TYPE_CHECKING:
    from tools.planning.audit_store import AuditStore

_TO_STDOUT = Path("-")
Answer = TypeVar("Answer")


def add_ops_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", default_state: Path
) -> None:
    """Add the commands."""
    doctor = commands.add_parser(
        "doctor",
        help="find what is wrong and say what to do next (exit 1: a problem)",
        description="Look at this machine, the packages, the installation, its database, broker and model endpoint. "
        "Changes nothing.",
    )
    doctor.add_argument(
        "--state-dir", type=Path, default=default_state, help="the installation (default: %(default)s)"
    )
    doctor.add_argument(
        "--json",
        type=Path,
        nargs="?",
        const=_TO_STDOUT,
        metavar="FILE",
        help="for programs: there, or printed",
    )
    doctor.set_defaults(run=_doctor)
    audit = commands.add_parser(
        "audit",
        help="check, read and take out the trail of decisions",
        description="The trail is append-only and chained; its heads are signed into a file outside the database. "
        "`verify` exits 1 where something was changed, removed or cut off.",
    )
    kinds = audit.add_subparsers(title="what to do", required=True, metavar="WHAT")
    words: Mapping[str, tuple[str, Callable[[argparse.Namespace], int]]] = {
        "verify": ("check the chain and its signed heads", _audit_verify),
        "show": ("show all that happened to a plan", _audit_show),
        "export": ("write every entry as a JSON line", _audit_export),
    }
    for name, (text, run) in words.items():
        one = kinds.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == "show":
            one.add_argument("plan", help="its id")
        if name == "export":
            one.add_argument("--to", type=Path, metavar="FILE", help="by default it is printed")
        one.add_argument(
            "--state-dir", type=Path, default=default_state, help="the installation (default: %(default)s)"
        )
        one.set_defaults(run=run)


def _doctor(args: argparse.Namespace) -> int:
    from ui.ops.doctor import Examination, run_doctor

    quiet = args.json == _TO_STDOUT
    what = Examination(state_dir=args.state_dir, env=os.environ, now=datetime.now(UTC))
    return run_doctor(what, json_to=None if quiet else args.json, quiet=quiet)


def _audit_verify(args: argparse.Namespace) -> int:
    from ui.ops.audit_cli import heads_content, verify_audit
    from ui.ops.audit_keys import publics_in_force

    heads = heads_content(args.state_dir / "audit_heads.jsonl")
    publics = publics_in_force(args.state_dir)
    report = _with_trail(args.state_dir, lambda store: verify_audit(store, heads, publics))
    print(report.text())
    return 0 if report.sound else 1


def _audit_show(args: argparse.Namespace) -> int:
    from ui.ops.audit_cli import show_plan

    print(_with_trail(args.state_dir, lambda store: show_plan(store, args.plan)))
    return 0


def _audit_export(args: argparse.Namespace) -> int:
    from ui.ops.audit_cli import export_audit

    if args.to is None:
        _with_trail(args.state_dir, lambda store: export_audit(store, sys.stdout.write))
        return 0
    with args.to.open("w", encoding="utf-8") as stream:
        written = _with_trail(args.state_dir, lambda store: export_audit(store, stream.write))
    print(f"{written} entries in {args.to}")
    return 0


def _with_trail(state_dir: Path, ask: "Callable[[AuditStore], Awaitable[Answer]]") -> Answer:
    """Ask the trail of an installation, with a role that may read it and cannot change what it holds.

    Raises:
        ControlError: There is no installation, or its database does not answer.
    """
    import psycopg

    from ui.ops.files import UnsafeFileError
    from ui.ops.runtime import Installation, Runtime
    from ui.ops.secrets import DatabaseRole, StateDirectory

    if not state_dir.is_dir():
        raise ControlError(f"there is no installation in {state_dir}; name it with --state-dir")
    try:
        state = StateDirectory(state_dir)
        dsn = Installation(state=state, runtime=Runtime.load(state)).dsn(DatabaseRole.API)
        psycopg.connect(dsn, connect_timeout=5).close()  # a pool would go on trying, and say so each time
        return asyncio.run(_ask(dsn, ask))
    except UnsafeFileError as error:
        raise ControlError(str(error)) from error
    except psycopg.OperationalError as error:
        last = (str(error).strip().splitlines() or ["no message"])[0]
        raise ControlError(f"the database does not answer; is the installation running? ({last})") from error


async def _ask(dsn: str, ask: "Callable[[AuditStore], Awaitable[Answer]]") -> Answer:
    from telemetry.db import open_async_pool
    from tools.planning.audit_store import AuditStore

    pool = await open_async_pool(dsn, application_name="cellwatt-audit", max_size=1)
    try:
        return await ask(AuditStore(pool))
    finally:
        await pool.close()
