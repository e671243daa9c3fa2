"""Mosquitto with mutual TLS: every client is who its certificate says, and may use its own topics only.

Two facts about mosquitto that a reader of the access rules must know: a SUBSCRIBE to a forbidden topic is answered
"granted" and then nothing is delivered, and a forbidden PUBLISH over MQTT 3.1.1 is confirmed and dropped (MQTT 5 says
"not authorized"). The user name is the certificate's common name and the client id is replaced by it, so that no client
can take over another's session by using its client id.
"""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from telemetry.mqtt import MqttSettings
from ui.ops.files import write_atomic
from ui.ops.mosquitto_binary import MosquittoBinary, find_mosquitto
from ui.ops.pki import CHECK, CONTROL, INGEST_WORKERS, CertificateAuthority, Identity, ingest_worker
from ui.ops.ports import free_port
from ui.ops.privilege import give, owned_folder, unprivileged_user
from ui.ops.process import ProcessSpec, RunAs, log_tail, spawn, stop

_PORT_TRIES = 5
_READY_WITHIN = timedelta(seconds=15)
_DEFAULT_TLS_PORT = 8883
# MQTT 3.1.1 CONNECT: clean session, keep-alive 5 s, empty client id; the answer is CONNACK, accepted.
_CONNECT = bytes.fromhex("100c00044d515454040200050000")
_CONNACK = bytes.fromhex("20020000")
_DISCONNECT = bytes.fromhex("e000")

# %u is the common name of the client's certificate. The patterns hold for every client: a substation's meter is one
# more name that reports on `feeder`, and whoever reads that topic checks that the name is a feeder's.
_SITE_RULES = """\
pattern write cbs/v1/%u/telemetry
pattern write cbs/v1/%u/state
pattern write cbs/v1/%u/event
pattern write cbs/v1/%u/ack
pattern write cbs/v1/%u/feeder
pattern read cbs/v1/%u/command
pattern read cbs/v1/%u/stored
pattern read cbs/v1/fleet/#
"""
_INGEST_RULES = """\
topic read cbs/v1/+/telemetry
topic read cbs/v1/+/state
topic read cbs/v1/+/event
topic read cbs/v1/+/feeder
topic write cbs/v1/+/stored
"""
_CONTROL_RULES = """\
topic write cbs/v1/+/command
topic readwrite cbs/v1/fleet/#
topic read cbs/v1/+/ack
topic read cbs/v1/+/state
"""
_CHECK_RULES = """\
topic readwrite cbs/check/#
topic read $SYS/#
"""


class BrokerStartError(Exception):
    """The broker cannot be started; the message holds the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where a broker answers."""

    host: str
    port: int

    def settings(self, identity: Identity) -> MqttSettings:
        """Return how a client with this certificate connects."""
        return MqttSettings(
            host=self.host,
            port=self.port,
            authority=identity.authority,
            certificate=identity.certificate,
            key=identity.key,
            client_id=identity.name,
        )


def access_rules() -> str:
    """Return the access file: sites by pattern, each service by name."""
    services = [(ingest_worker(number), _INGEST_RULES) for number in range(INGEST_WORKERS)]
    services += [(CONTROL, _CONTROL_RULES), (CHECK, _CHECK_RULES)]
    return "\n".join([_SITE_RULES, *(f"user {name}\n{rules}" for name, rules in services)])


def configuration(port: int) -> str:
    """Return mosquitto.conf; its paths are relative to the broker's folder."""
    return f"""\
listener {port} 127.0.0.1
cafile ca.crt
crlfile ca.crl
certfile server.crt
keyfile server.key
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file access.conf
persistence true
persistence_location ./
# A kill -9 loses what came since the last save; gateways send again what ingest has not stored.
autosave_interval 15
# The default of 1,000 loses messages silently while a reader is away; 0 bytes means that only the count limits.
max_queued_messages 200000
max_queued_bytes 0
# Sent to one client and not acknowledged yet: ingest acknowledges after commit, in batches.
max_inflight_messages 4000
persistent_client_expiration 14d
max_packet_size 1048576
set_tcp_nodelay true
log_dest stderr
log_type error
log_type warning
log_type notice
log_timestamp_format %Y-%m-%dT%H:%M:%S
"""


class EmbeddedBroker:
    """One mosquitto on 127.0.0.1 for the life of a `with` block (or from `start` to `stop`)."""

    def __init__(
        self,
        folder: Path,
        authority: CertificateAuthority,
        *,
        progress: Callable[[str], None] = lambda _: None,
        log_path: Path | None = None,
        preferred_port: int | None = None,
        search_path: str | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            folder: Holds `run` (configuration and queue); exists, private.
            authority: Issues the broker's certificate and is the one that clients must be signed by.
            progress: Called with each step.
            log_path: By default `mosquitto.log` in the folder.
            preferred_port: Taken if it is free.
            search_path: Where to look for mosquitto; None takes PATH.
        """
        self._folder = folder
        self._run = folder / "run"
        self._authority = authority
        self._progress = progress
        self._log_path = log_path or folder / "mosquitto.log"
        self._preferred_port = preferred_port
        self._search_path = os.environ.get("PATH", "") if search_path is None else search_path
        self._process: subprocess.Popen[bytes] | None = None
        self._spec: ProcessSpec | None = None
        self.address = BrokerAddress(host="127.0.0.1", port=0)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def host(self) -> str:
        """Where it answers."""
        return self.address.host

    @property
    def port(self) -> int:
        """Where it answers; another at each start unless one was preferred."""
        return self.address.port

    def settings(self, identity: Identity) -> MqttSettings:
        """Return how a client with this certificate connects."""
        return self.address.settings(identity)

    @property
    def spec(self) -> ProcessSpec:
        """How the running broker was started, for a supervisor that adopts it."""
        if self._spec is None:
            raise BrokerStartError("the broker was not started")
        return self._spec

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running broker, for a supervisor that adopts it."""
        if self._process is None:
            raise BrokerStartError("the broker was not started")
        return self._process

    def start(self) -> None:
        """Write the configuration, start the broker, wait until it accepts a client.

        Raises:
            BrokerAbsentError: No mosquitto can be had.
            BrokerStartError: It ends at once or does not answer.
        """
        # Its own `user` option would make the kernel forget to end it with its parent: the user is dropped before.
        run_as = unprivileged_user(("mosquitto",), owner_of=self._run)
        binary = find_mosquitto(
            self._folder, search_path=self._search_path, run_as=run_as, progress=self._progress
        )
        owned_folder(self._run, run_as)
        try:
            self._start_server(binary, run_as)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop; sessions and retained messages are saved first."""
        if self._process is not None and self._spec is not None:
            stop(self._process, self._spec)
            self._process = None

    def _start_server(self, binary: MosquittoBinary, run_as: RunAs | None) -> None:
        for attempt in range(_PORT_TRIES):
            port = free_port(self._preferred_port if attempt == 0 else None)
            self._spec = ProcessSpec(
                name="mosquitto",
                argv=(str(binary.path), "-c", "mosquitto.conf"),
                env=_environment(binary),
                cwd=self._run,
                log_path=self._log_path,
                run_as=run_as,
            )
            self._write_files(port)
            for path in self._run.iterdir():
                give(path, run_as)
            self._progress(f"starting mosquitto on port {port}")
            self._process = spawn(self._spec)
            self.address = BrokerAddress(host="127.0.0.1", port=port)
            if self._wait_ready(self._process):
                return
            if "Address already in use" not in (tail := log_tail(self._log_path)):
                break
        raise BrokerStartError(f"mosquitto does not start; the end of {self._log_path}:\n{tail}")

    def _write_files(self, port: int) -> None:
        server = self._authority.server()
        write_atomic(self._run / "ca.crt", self._authority.path.read_bytes())
        write_atomic(self._run / "ca.crl", self._authority.revocations_path.read_bytes())
        write_atomic(self._run / "server.crt", server.certificate.read_bytes())
        write_atomic(self._run / "server.key", server.key.read_bytes())
        write_atomic(self._run / "access.conf", access_rules().encode())
        write_atomic(self._run / "mosquitto.conf", configuration(port).encode())

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> bool:
        check = self._authority.service(CHECK)
        deadline = time.monotonic() + _READY_WITHIN.total_seconds()
        while process.poll() is None and time.monotonic() < deadline:
            if answers(self.address, check):
                return True
            time.sleep(0.02)
        return False


def answers(address: BrokerAddress, identity: Identity) -> bool:
    """Whether a broker there proves itself and accepts this client."""
    context = ssl.create_default_context(cafile=str(identity.authority))
    context.load_cert_chain(identity.certificate, identity.key)
    return _accepts(address, context)


def answers_a_stranger(address: BrokerAddress, authority: Path) -> bool:
    """Whether a broker there accepts a client that shows no certificate, which it must not."""
    return _accepts(address, ssl.create_default_context(cafile=str(authority)))


def _accepts(address: BrokerAddress, context: ssl.SSLContext) -> bool:
    try:
        with (
            socket.create_connection((address.host, address.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as connection,
        ):
            connection.sendall(_CONNECT)
            accepted = connection.recv(4) == _CONNACK
            connection.sendall(_DISCONNECT)
            return accepted
    except OSError:
        return False


@contextmanager
def broker_from_env(
    env: Mapping[str, str],
    folder: Path,
    authority: CertificateAuthority,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[EmbeddedBroker | BrokerAddress]:
    """Yield the broker that `MQTT_URL` names, or an embedded one for the life of the block."""
    if url := env.get("MQTT_URL"):
        yield external_address(url)
    else:
        with EmbeddedBroker(folder, authority, progress=progress) as broker:
            yield broker


def external_address(url: str) -> BrokerAddress:
    """Return the address in an `mqtts://host[:port]` URL.

    Raises:
        ValueError: Another scheme: a broker without TLS cannot tell sites apart.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"mqtts", "ssl"} or not parts.hostname:
        raise ValueError("MQTT_URL must look like mqtts://host:8883; sites are known by their certificates")
    return BrokerAddress(host=parts.hostname, port=parts.port or _DEFAULT_TLS_PORT)


def _environment(binary: MosquittoBinary) -> dict[str, str]:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    return environment | ({"LD_LIBRARY_PATH": binary.library_path} if binary.library_path else {})
