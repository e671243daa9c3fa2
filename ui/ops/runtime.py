"""What one running installation knows about itself, and the environment that each of its processes gets.

A process gets its own database role and its own keys, and nothing of the others'.
"""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry.db import role_dsn
from telemetry.model.errors import ControlError
from ui import settings
from ui.browser_address import KEY_FILE
from ui.ops.files import write_atomic
from ui.ops.ingest_workers import ingest_processes
from ui.ops.pki import CONTROL, INGEST_WORKERS, Identity, ingest_worker
from ui.ops.secrets import DatabaseRole, StateDirectory

# What a child may inherit from our own environment; everything else of ours stays with us.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "VIRTUAL_ENV", "CI")
_MODEL = (
    "OPENAI_",
    "EMBEDDINGS_",
    "LLM",
    "CELLWATT_LLM_",
    "CELLWATT_CYCLE_MINUTES",
    "CELLWATT_TOKENS_",
    "CELLWATT_MONEY_",
    "CELLWATT_EMBEDDED_",
    "CELLWATT_ENDPOINT_",
)  # how the names begin
# What the API may show of it to operators: never the key.
_SHOWN = ("OPENAI_BASE_URL", "OPENAI_MODEL", "LLM", "CELLWATT_LLM_URL")
_SHOWN_LIMITS = ("OPENAI_PRICE_PER_MILLION_", "CELLWATT_TOKENS_PER_", "CELLWATT_MONEY_PER_")
_SIGN_IN = "CELLWATT_OIDC_"
_MAP = "CELLWATT_MAP_STYLE"


class RuntimeUnknownError(ControlError):
    """No installation has run in this state directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Addresses of a running installation (no secrets) and what it simulates."""

    owner_dsn: str
    mqtt_host: str
    mqtt_port: int
    api_port: int
    console_port: int
    simulated_sites: int
    seed: int
    history_days: int
    epoch: datetime  # when this installation first started, domain time

    def save(self, state: StateDirectory) -> None:
        """Keep it in the state directory; the owner's password is left out."""
        doc = asdict(self) | {
            "owner_dsn": role_dsn(self.owner_dsn, DatabaseRole.OWNER, "-"),
            "epoch": self.epoch.isoformat(),
        }
        write_atomic(state.path / "runtime.json", json.dumps(doc, indent=1).encode())

    @classmethod
    def load(cls, state: StateDirectory) -> "Runtime":
        """Return what the last start kept.

        Raises:
            RuntimeUnknownError: There was none.
        """
        path = state.path / "runtime.json"
        if not path.exists():
            raise RuntimeUnknownError(
                f"{state.path} has no running installation; start one with `cellwatt up`"
            )
        doc = json.loads(path.read_bytes())
        password = state.secrets.database_password(DatabaseRole.OWNER)
        known = {
            "owner_dsn": role_dsn(doc["owner_dsn"], DatabaseRole.OWNER, password),
            "epoch": datetime.fromisoformat(doc["epoch"]),
        }
        return cls(**{**doc, **known})

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def console_url(self) -> str:
        """Where the console answers."""
        return f"http://127.0.0.1:{self.console_port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A state directory with what runs in it."""

    state: StateDirectory
    runtime: Runtime

    @property
    def clock_file(self) -> Path:
        """The pace that every process follows."""
        return self.state.path / "clock.json"

    @property
    def policy_file(self) -> Path:
        """The approval policy: no file, nobody may."""
        return self.state.path / "approval_policy.toml"

    @property
    def notify_file(self) -> Path:
        """Who is told what, with secrets; no file, nobody."""
        return self.state.path / "notify.toml"

    def ready_file(self, name: str) -> Path:
        """Where a process says how far it is."""
        return self.state.folder("ready") / name

    def dsn(self, role: DatabaseRole) -> str:
        """Return how a role connects."""
        if role is DatabaseRole.OWNER:
            return self.runtime.owner_dsn
        return role_dsn(self.runtime.owner_dsn, role, self.state.secrets.database_password(role))

    def root_public_b64(self) -> str:
        """Return the root's public key, which every gateway is given."""
        root = Ed25519PrivateKey.from_private_bytes(self.state.secrets.root_signing_seed())
        return base64.b64encode(root.public_key().public_bytes_raw()).decode()

    def env(self, process: str, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return the whole environment of one process.

        Raises:
            KeyError: There is no such process.
        """
        common = {name: inherited[name] for name in _INHERITED if name in inherited}
        common[settings.CLOCK_FILE] = str(self.clock_file)
        common[settings.READY_FILE] = str(self.ready_file(process))
        common["PYTHONUNBUFFERED"] = "1"
        mine: dict[str, dict[str, str]] = {
            **{
                name: self._ingest(number, inherited)
                for number, name in enumerate(ingest_processes(INGEST_WORKERS))
            },
            "api": {
                **self._api(),
                **{
                    name: text
                    for name, text in inherited.items()
                    if name in {*_SHOWN, settings.TRUSTED_PROXIES}
                    or name.startswith((*_SHOWN_LIMITS, _SIGN_IN))
                },
            },
            "loop": {
                **self._database(DatabaseRole.LOOP),
                settings.POLICY_FILE: str(self.policy_file),
                **{name: text for name, text in inherited.items() if name.startswith(_MODEL)},
            },
            "mcp": {
                **self._database(DatabaseRole.LOOP),
                settings.POLICY_FILE: str(self.policy_file),
                settings.API_URL: self.runtime.api_url,
            },
            "control": self._control(),
            "console": {
                settings.API_URL: self.runtime.api_url,
                settings.CONSOLE_PORT: str(self.runtime.console_port),
                KEY_FILE: str(self._secret_file("browser-key")),
                **{
                    name: text for name, text in inherited.items() if name in {_MAP, settings.TRUSTED_PROXIES}
                },
            },
            "simulate": self._simulate(),
        }
        return common | mine[process]

    def _ingest(self, number: int, inherited: Mapping[str, str]) -> dict[str, str]:
        return {
            **self._database(DatabaseRole.INGEST),
            **self._mqtt(ingest_worker(number)),
            settings.SPILL_FOLDER: str(self.state.folder("spill")),
            settings.INGEST_WORKER: str(number),
            settings.INGEST_WORKERS: inherited.get(settings.INGEST_WORKERS, "1"),
            **{name: text for name, text in inherited.items() if name.startswith("CELLWATT_KEEP_")},
        }

    def _database(self, role: DatabaseRole) -> dict[str, str]:
        return {settings.DATABASE_URL: self.dsn(role)}

    def _mqtt(self, name: str) -> dict[str, str]:
        pki = self.state.path / "pki"
        identity = Identity(
            name=name,
            authority=pki / "ca.crt",
            certificate=pki / "clients" / f"{name}.crt",
            key=pki / "clients" / f"{name}.key",
        )
        return {
            settings.MQTT_URL: f"mqtts://{self.runtime.mqtt_host}:{self.runtime.mqtt_port}",
            settings.MQTT_AUTHORITY: str(identity.authority),
            settings.MQTT_CERTIFICATE: str(identity.certificate),
            settings.MQTT_KEY: str(identity.key),
        }

    def _api(self) -> dict[str, str]:
        return {
            **self._database(DatabaseRole.API),
            settings.API_PORT: str(self.runtime.api_port),
            settings.SESSION_SECRET_FILE: str(self._secret_file("session-secret")),
            KEY_FILE: str(self._secret_file("browser-key")),
            settings.NOTIFY_FILE: str(self.notify_file),
            settings.POLICY_FILE: str(self.policy_file),
        }

    def _control(self) -> dict[str, str]:
        return {
            **self._database(DatabaseRole.CONTROL),
            **self._mqtt(CONTROL),
            settings.SIGNING_SEED_FILE: str(self._secret_file("command-signing-seed")),
            settings.ROOT_SEED_FILE: str(self._secret_file("root-signing-seed")),
            settings.POLICY_FILE: str(self.policy_file),
            settings.KEY_SET_FOLDER: str(self.state.path / "key_sets"),
            settings.AUDIT_HEADS_FILE: str(self.state.path / "audit_heads.jsonl"),
        }

    def _simulate(self) -> dict[str, str]:
        return {
            settings.MQTT_URL: f"mqtts://{self.runtime.mqtt_host}:{self.runtime.mqtt_port}",
            settings.PKI_FOLDER: str(self.state.path / "pki"),
            settings.ROOT_PUBLIC_KEY: self.root_public_b64(),
            settings.STATE_FOLDER: str(self.state.folder("gateways")),
            "CELLWATT_SITES": str(self.runtime.simulated_sites),
            "CELLWATT_SEED": str(self.runtime.seed),
            "CELLWATT_HISTORY_DAYS": str(self.runtime.history_days),
            "CELLWATT_EPOCH": self.runtime.epoch.isoformat(),
        }

    def _secret_file(self, name: str) -> Path:
        return self.state.path / "secrets" / name
