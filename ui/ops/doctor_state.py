"""What an installation keeps on disk: modes, secrets, certificates, clock, policy, processes. Reads, never writes."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from edge.safety.policy import load_policy
from telemetry.model.clock import ClockError, FilePace
from ui.ops.files import PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE, UnsafeFileError, require_private
from ui.ops.finding import Finding, fine, problem, warning
from ui.ops.secret_files import SecretFileError, read_seed
from ui.ops.secrets import DatabaseRole
from ui.ops.supervisor import ProcessState, ProcessStatus, read_status

SEEDS = ("session-secret", "command-signing-seed", "root-signing-seed")
_SOON = timedelta(days=30)
_MANY_RESTARTS = 3
_RENEW = "stop and start again: `cellwatt up` issues certificates anew 30 days before their end"
_SHOWN = 5  # of one kind; the rest is counted


def check_modes(state: Path) -> list[Finding]:
    """Nobody else may open secrets and keys, or enter the folders that hold them."""
    folders = [path for name in ("", "secrets", "pki", "pki/clients") if (path := state / name).is_dir()]
    looked = [(path, PRIVATE_FOLDER_MODE) for path in folders]
    looked += [(path, PRIVATE_FILE_MODE) for path in _private_files(state)]
    findings = []
    for path, mode in looked:
        try:
            require_private(path, mode=mode)
        except UnsafeFileError as error:
            fault = str(error).removesuffix(f"; {error.remedy}")
            findings.append(problem("modes", fault, error.remedy.removeprefix("run: ")))
        except FileNotFoundError:
            continue  # renewed or removed since it was listed
    return _shortened(findings) or [fine("modes", f"{len(looked)} files and folders are closed to others")]


def _private_files(state: Path) -> Iterator[Path]:
    yield from sorted(path for path in (state / "secrets").glob("*") if path.is_file())
    yield from sorted((state / "pki").glob("*.key"))
    yield from sorted((state / "pki" / "clients").glob("*.key"))


def _shortened(findings: list[Finding]) -> list[Finding]:
    if len(findings) <= _SHOWN:
        return findings
    last = findings[_SHOWN - 1]
    more = f"{last.detail} (and {len(findings) - _SHOWN} more like it)"
    return [*findings[: _SHOWN - 1], problem(last.check, more, last.remedy)]


def check_secrets(state: Path) -> list[Finding]:
    """Every secret is there and is what it should be."""
    restore = (
        "restore the state directory's `secrets` from a backup; a new secret does not fit what it opened"
    )
    folder = state / "secrets"
    texts = ("admin-password", *(f"database-{role.value}" for role in DatabaseRole))
    findings = [
        problem("secrets", f"{folder / name} is missing", restore)
        for name in (*texts, *SEEDS)
        if not (folder / name).is_file()
    ]
    findings += [
        problem("secrets", f"{folder / name} is empty", restore)
        for name in texts
        if (folder / name).is_file() and not (folder / name).read_bytes().strip()
    ]
    for name in SEEDS:
        try:
            read_seed(folder / name)
        except SecretFileError as error:
            findings.append(problem("secrets", str(error), restore))
        except (UnsafeFileError, FileNotFoundError):
            continue  # said above, or by the check of modes
    return findings or [fine("secrets", f"{len(texts) + len(SEEDS)} secrets are there")]


def check_certificates(state: Path, now: datetime) -> list[Finding]:
    """Every certificate is our authority's, has its key, and lives on for more than 30 days.

    Args:
        state: The state directory.
        now: Aware UTC wall time: TLS goes by it.
    """
    pki = state / "pki"
    try:
        authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    except (OSError, ValueError) as error:
        return [problem("certificates", f"the authority {pki / 'ca.crt'} cannot be read: {error}", _RENEW)]
    findings = _life("the authority", authority, now)
    findings += _revocations(pki / "ca.crl", now)
    paths = [path for path in (pki / "server.crt", *sorted((pki / "clients").glob("*.crt"))) if path.exists()]
    ends = [authority.not_valid_after_utc]
    for path in paths:
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature) as error:
            why = str(error) or "another authority signed it"
            findings.append(problem("certificates", f"{path.name} is not our authority's: {why}", _RENEW))
            continue
        if not path.with_suffix(".key").exists():
            findings.append(problem("certificates", f"{path.name} has no key beside it", _RENEW))
        findings += _life(path.name, certificate, now)
        ends.append(certificate.not_valid_after_utc)
    days = (min(ends) - now).days
    return _shortened(findings) or [
        fine("certificates", f"{len(paths)} certificates, the first ends in {days} days")
    ]


def _life(name: str, certificate: x509.Certificate, now: datetime) -> list[Finding]:
    end = certificate.not_valid_after_utc
    if end <= now:
        return [problem("certificates", f"{name} expired on {end:%Y-%m-%d}", _RENEW)]
    if certificate.not_valid_before_utc > now:
        begin = certificate.not_valid_before_utc
        return [
            problem("certificates", f"{name} is valid from {begin:%Y-%m-%d} only", "set the machine's clock")
        ]
    if end - now <= _SOON:
        return [warning("certificates", f"{name} expires in {(end - now).days} days", _RENEW)]
    return []


def _revocations(path: Path, now: datetime) -> list[Finding]:
    if not path.exists():
        return []
    try:
        end = x509.load_pem_x509_crl(path.read_bytes()).next_update_utc
    except ValueError as error:
        return [problem("certificates", f"{path} cannot be read: {error}", _RENEW)]
    if end is not None and end <= now:
        return [
            problem("certificates", "the list of revocations has run out: a broker refuses everybody", _RENEW)
        ]
    return []


def check_clock(state: Path, now: datetime) -> Finding:
    """The clock file can be read, and time goes on."""
    path = state / "clock.json"
    if not path.exists():
        return warning("clock", "there is no clock file", "start once with `cellwatt up`")
    try:
        pace = FilePace(path)()
    except ClockError as error:
        return problem(
            "clock", str(error), f"restore it from a backup, or delete {path}: time then starts anew"
        )
    at = f"domain time {pace.at(now).isoformat(timespec='seconds')}, speed {pace.speed:g}"
    if pace.speed == 0.0:
        return warning("clock", f"{at}: time stands still", "start with another --speed")
    return fine("clock", at)


def check_policy(path: Path) -> Finding:
    """There is an approval policy and it can be read; else nobody may approve anything."""
    policy = load_policy(path)
    if policy.why:
        return problem(
            "policy",
            f"nobody may approve: {policy.why}",
            f"write {path}; the one of a new installation is an example",
        )
    return fine("policy", f"tiers: {', '.join(policy.tiers)}")


def check_processes(state: Path) -> list[Finding]:
    """Every process that the supervisor speaks of lives."""
    logs = state / "logs"
    try:
        status = read_status(state / "status.json")
    except (ValueError, KeyError, TypeError) as error:
        return [problem("processes", f"{state / 'status.json'} cannot be read: {error}", "start again")]
    if status is None or not status.alive:
        return [warning("processes", "nothing is running", "start with `cellwatt up`")]
    findings = [
        problem(
            "processes",
            f"{each.name} {_what_happened(each)}, {each.restarts} restarts",
            f"look at the end of {logs / (each.name + '.log')}",
        )
        for each in status.processes
        if each.state is not ProcessState.RUNNING or not _lives(each.pid)
    ]
    findings += [
        warning(
            "processes", f"{each.name} was restarted {each.restarts} times", f"look at {logs / each.name}.log"
        )
        for each in status.processes
        if each.state is ProcessState.RUNNING and _lives(each.pid) and each.restarts >= _MANY_RESTARTS
    ]
    return findings or [fine("processes", f"{len(status.processes)} processes run")]


def _what_happened(each: ProcessStatus) -> str:
    ended = "" if each.exit_status is None else f" (ended with status {each.exit_status})"
    return (
        f"is {each.state.value.replace('_', ' ')}{ended}"
        if each.state is not ProcessState.RUNNING
        else "is gone"
    )


def _lives(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except PermissionError:
        return True  # somebody else's, which is to say alive
    except (ProcessLookupError, FileNotFoundError):
        return False
