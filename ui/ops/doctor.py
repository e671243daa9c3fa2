"""`cellwatt doctor`: finds what is wrong with a machine or an installation, and says what to do next.

It changes nothing: no folder, secret or certificate is made by looking.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ui.ops.doctor_machine import (
    check_chromium,
    check_disk,
    check_memory,
    check_mosquitto,
    check_packages,
    check_python,
    check_user,
    pinned_versions,
    required_packages,
)
from ui.ops.finding import Finding, Level, problem, warning

CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
_MARKS = {Level.OK: "ok     ", Level.WARNING: "warning", Level.PROBLEM: "PROBLEM"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What to look at.

    Attributes:
        state_dir: Of the installation.
        env: Settings, as the processes would read them.
        now: Aware UTC wall time.
        packages: Names of what must be installed; by default what the project's `cloud` extra asks for.
    """

    state_dir: Path
    env: Mapping[str, str]
    now: datetime
    packages: Sequence[str] | None = None


def diagnose(what: Examination, progress: Callable[[str], None] = lambda _: None) -> Iterator[Finding]:
    """Yield what each check found, in the order in which things build on one another.

    Args:
        what: What to look at.
        progress: Told what is looked at next.
    """
    machine = _machine(what, progress)
    yield from machine
    if any(each.check == "packages" and each.level is Level.PROBLEM for each in machine):
        yield warning(
            "installation", "not looked at: that needs the packages", "mend the packages, then ask again"
        )
        return
    # These need the packages that were looked at above.
    from ui.ops.doctor_services import check_model, check_postgres_binaries

    yield check_postgres_binaries(what.env)
    yield check_model(what.env)
    if not what.state_dir.is_dir():
        yield warning(
            "installation",
            f"nothing has run in {what.state_dir} yet",
            "start with `cellwatt up` (or `make run`)",
        )
        return
    try:
        yield from _installation(what, progress)
    except PermissionError as error:
        yield problem("installation", str(error), f"ask as the user who owns {what.state_dir}")


def _machine(what: Examination, progress: Callable[[str], None]) -> list[Finding]:
    progress("machine")
    found = [
        check_python(sys.version_info[:3]),
        check_user(),
        check_memory(Path("/proc/meminfo").read_text() if Path("/proc/meminfo").exists() else ""),
        check_disk(what.state_dir),
        check_mosquitto(what.env, what.state_dir),
        check_chromium(what.env),
    ]
    progress("packages (each is imported once)")
    names = required_packages() if what.packages is None else what.packages
    return [*found, *check_packages(names, pinned_versions(CONSTRAINTS))]


def _installation(what: Examination, progress: Callable[[str], None]) -> Iterator[Finding]:
    from ui.ops.doctor_keys import check_keys
    from ui.ops.doctor_state import (
        check_certificates,
        check_clock,
        check_modes,
        check_policy,
        check_processes,
        check_secrets,
    )

    state = what.state_dir
    progress("installation")
    yield from check_modes(state)
    yield from check_secrets(state)
    yield from check_certificates(state, what.now)
    yield check_clock(state, what.now)
    yield check_keys(state, what.now)
    yield check_policy(state / "approval_policy.toml")
    processes = check_processes(state)
    yield from processes
    progress("database and broker")
    running = not any(each.detail == "nothing is running" for each in processes)
    yield from _services(what, running=running)


def _services(what: Examination, *, running: bool) -> Iterator[Finding]:
    """Ask the database and the broker: those that run here, or those that somebody else runs."""
    from ui.ops.doctor_services import broker_address, check_broker, check_database, check_schema

    path = what.state_dir / "runtime.json"
    try:
        runtime: dict[str, Any] = json.loads(path.read_bytes())
        dsn, host, port = str(runtime["owner_dsn"]), str(runtime["mqtt_host"]), int(runtime["mqtt_port"])
        address = broker_address(what.env, host, port)
    except FileNotFoundError:
        yield warning("runtime", f"{path} is missing: nothing has come up here", "start with `cellwatt up`")
        return
    except (ValueError, KeyError, TypeError) as error:
        yield problem(
            "runtime", f"{path} or MQTT_URL cannot be used: {error}", f"delete {path} and start again"
        )
        return
    later = "start with `cellwatt up`, then ask again"
    if running or what.env.get("DATABASE_URL"):
        dsn = what.env.get("DATABASE_URL") or dsn
        yield from check_database(dsn, what.state_dir / "secrets")
        yield check_schema(dsn, what.state_dir / "secrets")
        if running:
            yield _partitions(what, dsn)
    else:
        yield warning("database", "not asked: it is not running", later)
    if running or what.env.get("MQTT_URL"):
        yield from check_broker(address, what.state_dir / "pki")
    else:
        yield warning("broker", "not asked: it is not running", later)


def _partitions(what: Examination, dsn: str) -> Finding:
    from telemetry.model.clock import ClockError, FilePace
    from telemetry.retention import RetentionError, RetentionPolicy
    from ui.ops.doctor_data import check_partitions

    try:
        now = FilePace(what.state_dir / "clock.json")().at(what.now)
        keep_days = RetentionPolicy.from_env(what.env).readings.days
    except (ClockError, RetentionError, OSError) as error:
        return warning("partitions", f"not looked at: {error}", "mend that first")
    return check_partitions(dsn, what.state_dir / "secrets", now, keep_days)


def line(finding: Finding) -> str:
    """Return a finding for people."""
    said = f"{_MARKS[finding.level]}  {finding.check:<13} {finding.detail}"
    return f"{said}\n{'':24}-> {finding.remedy}" if finding.remedy else said


def summary(findings: Sequence[Finding]) -> str:
    """Return the last line."""
    problems, warnings = (
        sum(each.level is level for each in findings) for level in (Level.PROBLEM, Level.WARNING)
    )
    return f"{problems} problems, {warnings} warnings, {len(findings) - problems - warnings} checks fine"


def as_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings for programs."""
    sound = not any(each.level is Level.PROBLEM for each in findings)
    return {"ok": sound, "findings": [asdict(each) for each in findings]}


def run_doctor(what: Examination, *, json_to: Path | None, quiet: bool) -> int:
    """Look, print, and return the exit status: 1 where there is a problem.

    Args:
        what: What to look at.
        json_to: A file for the findings.
        quiet: Print JSON on the standard output, and nothing for people.
    """
    findings = []
    show_progress = sys.stderr.isatty() and not quiet
    for each in diagnose(
        what,
        lambda now: print(f"\r\x1b[Klooking at: {now}", end="", file=sys.stderr) if show_progress else None,
    ):
        findings.append(each)
        if not quiet:
            print(f"\r\x1b[K{line(each)}" if show_progress else line(each), flush=True)
    document = as_document(findings)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    print(text if quiet else summary(findings))
    if json_to is not None:
        json_to.write_text(text + "\n")
    return 0 if document["ok"] else 1
