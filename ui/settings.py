"""Settings of the processes, from the environment; a missing value stops the process at start and says what to set.

`cellwatt up` sets all of them for its children. To start one process alone, `--state-dir` fills in what that
installation knows (`ui.ops.runtime`); in production they come from the service manager.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from telemetry.model.clock import Clock, FilePace, PacedClock, wall_clock
from telemetry.model.errors import ControlError
from telemetry.mqtt import MqttSettings

DATABASE_URL = "CELLWATT_DATABASE_URL"
MQTT_URL = "CELLWATT_MQTT_URL"
MQTT_AUTHORITY = "CELLWATT_MQTT_CA"
MQTT_CERTIFICATE = "CELLWATT_MQTT_CERTIFICATE"
MQTT_KEY = "CELLWATT_MQTT_KEY"
CLOCK_FILE = "CELLWATT_CLOCK_FILE"
SIGNING_SEED_FILE = "CELLWATT_SIGNING_SEED_FILE"
ROOT_SEED_FILE = "CELLWATT_ROOT_SEED_FILE"
ROOT_PUBLIC_KEY = "CELLWATT_ROOT_PUBLIC_KEY"
POLICY_FILE = "CELLWATT_APPROVAL_POLICY"
AUDIT_HEADS_FILE = "CELLWATT_AUDIT_HEADS"
KEY_SET_FOLDER = "CELLWATT_KEY_SETS"
SESSION_SECRET_FILE = "CELLWATT_SESSION_SECRET_FILE"  # noqa: S105 the name of a file
TRUSTED_PROXIES = (
    "CELLWATT_TRUSTED_PROXIES"  # addresses of proxies whose X-Forwarded-For is believed; none by default
)
API_PORT = "CELLWATT_API_PORT"
API_URL = "CELLWATT_API_URL"
CONSOLE_PORT = "CELLWATT_CONSOLE_PORT"
PKI_FOLDER = "CELLWATT_PKI_FOLDER"
STATE_FOLDER = "CELLWATT_STATE_FOLDER"
READY_FILE = "CELLWATT_READY_FILE"
NOTIFY_FILE = "CELLWATT_NOTIFY_FILE"  # who is told what; it need not exist
SPILL_FOLDER = "CELLWATT_SPILL_FOLDER"  # where ingest keeps messages while the database is away
INGEST_WORKER = "CELLWATT_INGEST_WORKER"  # number of an ingest worker, 0 (the default) to 15
INGEST_WORKERS = "CELLWATT_INGEST_WORKERS"  # how many ingest workers share the load; 1 is the default


class SettingsError(ControlError):
    """A setting is missing or cannot be used; the message names it."""


def need(env: Mapping[str, str], name: str) -> str:
    """Return a setting.

    Raises:
        SettingsError: It is not set.
    """
    value = env.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set; set it, or give --state-dir of an installation that runs")
    return value


def need_file(env: Mapping[str, str], name: str) -> Path:
    """Return the path of a file that a setting names.

    Raises:
        SettingsError: It is not set, or there is no such file.
    """
    path = Path(need(env, name))
    if not path.is_file():
        raise SettingsError(f"{name}: there is no file {path}")
    return path


def need_port(env: Mapping[str, str], name: str) -> int:
    """Return a TCP port.

    Raises:
        SettingsError: It is not set, or is no port.
    """
    text = need(env, name)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise SettingsError(f"{name}: {text!r} is not a port, 1..65535")
    return int(text)


def count_of(env: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return a whole number, the default where it is not set.

    Raises:
        SettingsError: It is not a number from `least` to `most`.
    """
    text = env.get(name, "") or str(default)
    if not text.isdecimal() or not least <= int(text) <= most:
        raise SettingsError(f"{name}: {text!r} is not a number from {least} to {most}")
    return int(text)


def mqtt_settings(
    env: Mapping[str, str], *, client_id: str, persistent_session: bool = False
) -> MqttSettings:
    """Return how this process reaches the broker.

    Raises:
        SettingsError: Something is missing, or the URL is not `mqtts://host:port`.
    """
    url = urlsplit(need(env, MQTT_URL))
    if url.scheme != "mqtts" or not url.hostname or not url.port:
        raise SettingsError(f"{MQTT_URL} must look like mqtts://host:8883")
    return MqttSettings(
        host=url.hostname,
        port=url.port,
        authority=need_file(env, MQTT_AUTHORITY),
        certificate=need_file(env, MQTT_CERTIFICATE),
        key=need_file(env, MQTT_KEY),
        client_id=client_id,
        persistent_session=persistent_session,
    )


def process_clock(env: Mapping[str, str]) -> PacedClock:
    """Return the clock of this process: the shared file's where one is set, else wall time."""
    path = env.get(CLOCK_FILE, "")
    return PacedClock(FilePace(Path(path))) if path else wall_clock()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """What every process has."""

    clock: Clock
    ready_file: Path | None

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "ProcessSettings":
        """Read them.

        Raises:
            SettingsError: One is missing or unusable.
        """
        ready = env.get(READY_FILE, "")
        return cls(clock=process_clock(env), ready_file=Path(ready) if ready else None)

    def say_ready(self, word: str = "ready") -> None:
        """Tell whoever started us that we serve now (or how far we are)."""
        if self.ready_file is not None:
            fresh = self.ready_file.with_suffix(".tmp")
            fresh.write_text(word)
            fresh.replace(self.ready_file)
