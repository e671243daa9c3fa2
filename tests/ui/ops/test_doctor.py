"""Each check of `cellwatt doctor` on a sound installation and on broken ones: the finding is named, with what to do."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.control.key_folder import KeyFolder
from edge.control.signer import Signer
from edge.envelope import public_bytes
from telemetry.model.clock import Pace, write_pace
from tests.services import PASSWORDS, Broker, Database, DatabaseServer
from tests.ui.ops.waiting import wait_for
from ui.ops.broker import BrokerAddress
from ui.ops.doctor import Examination, as_document, diagnose, line, run_doctor
from ui.ops.doctor_keys import check_keys
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
from ui.ops.doctor_services import (
    check_broker,
    check_database,
    check_model,
    check_postgres_binaries,
    check_schema,
)
from ui.ops.doctor_state import (
    check_certificates,
    check_clock,
    check_modes,
    check_policy,
    check_processes,
    check_secrets,
)
from ui.ops.files import private_folder
from ui.ops.finding import Finding, Level
from ui.ops.mosquitto_binary import find_mosquitto
from ui.ops.pki import CHECK, CONTROL, CertificateAuthority
from ui.ops.policy_file import write_demo_policy
from ui.ops.ports import free_port
from ui.ops.process import ProcessSpec, spawn, stop
from ui.ops.runtime import Runtime
from ui.ops.secret_files import read_seed
from ui.ops.secrets import DatabaseRole, StateDirectory
from ui.ops.supervisor import ProcessState, ProcessStatus, write_status

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
DOMAIN = NOW - timedelta(days=1)  # the installation's own time
GIB = 2**30


def private_key(state: Path, name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(read_seed(state / "secrets" / name))


def root(state: Path) -> Ed25519PrivateKey:
    return private_key(state, "root-signing-seed")


def signer(state: Path) -> Signer:
    return Signer(private_key(state, "command-signing-seed"))


def key_folder(state: Path) -> KeyFolder:
    return KeyFolder(state / "key_sets", public_bytes(root(state)))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A sound installation that does not run."""
    directory = StateDirectory(tmp_path / "state")
    directory.secrets.make_all()
    authority = CertificateAuthority(directory.path / "pki", now=NOW)
    authority.server()
    for name in (CHECK, CONTROL):
        authority.service(name)
    authority.site("site-1")
    write_pace(directory.path / "clock.json", Pace(wall=NOW, domain=DOMAIN, speed=60.0))
    write_demo_policy(directory.path / "approval_policy.toml")
    key_folder(directory.path).ensure(signer(directory.path), root(directory.path), DOMAIN)
    runtime = Runtime(
        owner_dsn="postgresql://127.0.0.1:1/cellwatt",
        mqtt_host="127.0.0.1",
        mqtt_port=1,
        api_port=8000,
        console_port=8501,
        simulated_sites=1,
        seed=7,
        history_days=1,
        epoch=NOW,
    )
    runtime.save(directory)
    return directory.path


def only(findings: list[Finding], level: Level, detail: str) -> Finding:
    """Return the one finding of this level, whose detail holds the text."""
    found = [each for each in findings if each.level is level]
    assert len(found) == 1, findings
    assert detail in found[0].detail
    return found[0]


def levels(findings: list[Finding]) -> set[Level]:
    return {each.level for each in findings}


def test_a_sound_installation_is_fine(state: Path) -> None:
    found = [
        *check_modes(state),
        *check_secrets(state),
        *check_certificates(state, NOW),
        check_clock(state, NOW + timedelta(minutes=1)),
        check_keys(state, NOW),
        check_policy(state / "approval_policy.toml"),
    ]
    assert levels(found) == {Level.OK}
    assert [each.detail for each in found][1:4] == [
        "9 secrets are there",
        "4 certificates, the first ends in 365 days",
        "domain time 2026-03-09T13:00:00+00:00, speed 60",  # one minute later is one hour on, a day behind
    ]


@pytest.mark.parametrize(
    ("path", "mode", "remedy"),
    [
        ("secrets/root-signing-seed", 0o640, "chmod 600"),
        ("secrets/database-cellwatt_control", 0o604, "chmod 600"),
        ("secrets", 0o750, "chmod 700"),
        (".", 0o711, "chmod 700"),
        ("pki/ca.key", 0o644, "chmod 600"),
        ("pki/clients/site-1.key", 0o660, "chmod 600"),
        ("pki/clients", 0o755, "chmod 700"),
    ],
)
def test_what_others_may_open_is_found(state: Path, path: str, mode: int, remedy: str) -> None:
    (state / path).chmod(mode)
    found = only(check_modes(state), Level.PROBLEM, f"has mode {mode:04o}")
    assert found.remedy == f"{remedy} {state / path}".removesuffix("/.")


def test_certificates_may_be_read_by_all(state: Path) -> None:
    (state / "pki" / "ca.crt").chmod(0o644)
    assert levels(check_modes(state)) == {Level.OK}


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away takes root")
def test_a_secret_of_another_user_is_found(state: Path) -> None:
    os.chown(state / "secrets" / "admin-password", 65534, 65534)
    assert "chown" in only(check_modes(state), Level.PROBLEM, "belongs to user 65534").remedy


def test_many_of_a_kind_are_counted(state: Path) -> None:
    for path in (state / "secrets").iterdir():
        path.chmod(0o644)
    found = check_modes(state)
    assert len(found) == 5
    assert found[-1].detail.endswith("(and 5 more like it)")  # ten secrets, five lines


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("database-cellwatt_owner", None, "is missing"),
        ("root-signing-seed", None, "is missing"),
        ("database-cellwatt_api", b"\n", "is empty"),
        ("command-signing-seed", b"not base64!", "is not base64"),
        ("session-secret", b"QUJD", "holds 3 bytes where 32 belong"),
    ],
)
def test_a_secret_that_is_not_one_is_found(state: Path, name: str, content: bytes | None, said: str) -> None:
    path = state / "secrets" / name
    path.unlink() if content is None else path.write_bytes(content)
    found = only(check_secrets(state), Level.PROBLEM, said)
    assert name in found.detail
    assert "backup" in found.remedy


@pytest.mark.parametrize(
    ("after", "level", "said"),
    [
        (timedelta(days=334), Level.OK, "the first ends in 31 days"),
        (timedelta(days=335), Level.WARNING, "expires in 30 days"),
        (timedelta(days=365), Level.PROBLEM, "expired on 2027-03-10"),
        (timedelta(days=-1), Level.PROBLEM, "is valid from 2026-03-10 only"),
    ],
)
def test_what_is_left_of_a_certificate(state: Path, after: timedelta, level: Level, said: str) -> None:
    found = [each for each in check_certificates(state, NOW + after) if "authority" not in each.detail]
    assert levels(found) == {level}
    assert all(said in each.detail for each in found)


def test_the_authoritys_own_end_and_that_of_its_revocations_are_found(state: Path) -> None:
    found = check_certificates(state, NOW + timedelta(days=3650))
    assert any("the authority expired" in each.detail for each in found)
    assert any("revocations has run out" in each.detail for each in found)


def test_certificates_of_others_and_broken_ones_are_found(state: Path, tmp_path: Path) -> None:
    stranger = CertificateAuthority(tmp_path / "other", now=NOW).site("site-1")
    (state / "pki" / "clients" / "site-1.crt").write_bytes(stranger.certificate.read_bytes())
    only(check_certificates(state, NOW), Level.PROBLEM, "site-1.crt is not our authority's")
    (state / "pki" / "clients" / "site-1.crt").write_text("torn")
    only(check_certificates(state, NOW), Level.PROBLEM, "site-1.crt is not our authority's")
    (state / "pki" / "clients" / "site-1.crt").unlink()
    (state / "pki" / "server.key").unlink()
    only(check_certificates(state, NOW), Level.PROBLEM, "server.crt has no key")
    (state / "pki" / "ca.crt").unlink()
    only(check_certificates(state, NOW), Level.PROBLEM, "cannot be read")


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        (None, Level.WARNING, "no clock file"),
        ("{", Level.PROBLEM, "clock file"),
        ('{"wall": "2026-03-10T12:00:00+00:00", "domain": "x", "speed": 1}', Level.PROBLEM, "clock file"),
        (
            '{"wall": "2026-03-10T12:00:00+00:00", "domain": "2026-03-10T12:00:00+00:00", "speed": 0}',
            Level.WARNING,
            "time stands still",
        ),
    ],
)
def test_a_clock_that_does_not_go_is_found(state: Path, text: str | None, level: Level, said: str) -> None:
    path = state / "clock.json"
    path.unlink() if text is None else path.write_text(text)
    assert said in only([check_clock(state, NOW)], level, said).detail


@pytest.mark.parametrize(
    "text", [None, "version = 2\n", "[automatic\n", "version = 1\n[automatic]\nmax_sites = 3\n"]
)
def test_without_a_sound_policy_nobody_may(state: Path, text: str | None) -> None:
    path = state / "approval_policy.toml"
    path.unlink() if text is None else path.write_text(text)
    only([check_policy(path)], Level.PROBLEM, "nobody may approve")


@pytest.mark.parametrize(
    ("before_end", "level", "said"),
    [
        (timedelta(days=31), Level.OK, "vouches for control's key for 31 days"),
        (timedelta(days=30), Level.WARNING, "ends in 30 days"),
        (timedelta(days=5000), Level.PROBLEM, "key set 1 lets it begin on"),
        (timedelta(0), Level.PROBLEM, "gateways refuse control's key: key set 1 ended it on"),
    ],
)
def test_what_is_left_of_controls_key(state: Path, before_end: timedelta, level: Level, said: str) -> None:
    current = key_folder(state).in_force()
    assert current is not None
    then = current.keys.keys[0].not_after - before_end
    write_pace(state / "clock.json", Pace(wall=NOW, domain=then, speed=1.0))  # keys go by domain time
    only([check_keys(state, NOW)], level, said)


def test_keys_that_do_not_fit_together_are_found(state: Path, tmp_path: Path) -> None:
    seed = state / "secrets" / "command-signing-seed"
    kept = seed.read_bytes()
    seed.write_bytes(base64.b64encode(b"x" * 32))
    assert "rotate-key" in only([check_keys(state, NOW)], Level.PROBLEM, "key set 1 does not know it").remedy
    seed.write_text("torn")
    only([check_keys(state, NOW)], Level.WARNING, "not looked at")
    seed.write_bytes(kept)
    stranger = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    for path in (state / "key_sets").iterdir():
        path.unlink()
    only([check_keys(state, NOW)], Level.WARNING, "no key set yet")
    KeyFolder(state / "key_sets", public_bytes(stranger)).ensure(signer(state), stranger, NOW)
    only([check_keys(state, NOW)], Level.PROBLEM, "key set")


def process(name: str, pid: int | None, state: ProcessState, restarts: int = 0) -> ProcessStatus:
    return ProcessStatus(name=name, pid=pid, state=state, restarts=restarts, since=NOW, exit_status=-9)


def test_processes_that_fell_are_found(state: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    rows = [
        process("api", os.getpid(), ProcessState.RUNNING),
        process("loop", gone.pid, ProcessState.RUNNING),
        process("ingest", None, ProcessState.BACKING_OFF, restarts=2),
        process("control", os.getpid(), ProcessState.RUNNING, restarts=3),
    ]
    write_status(state / "status.json", rows)  # this test stands for the supervisor: it lives
    found = check_processes(state)
    assert [(each.level, each.detail) for each in found] == [
        (Level.PROBLEM, "loop is gone, 0 restarts"),
        (Level.PROBLEM, "ingest is backing off (ended with status -9), 2 restarts"),
        (Level.WARNING, "control was restarted 3 times"),
    ]
    assert found[0].remedy.endswith("logs/loop.log")


def test_an_installation_that_does_not_run_is_said_not_to(state: Path) -> None:
    only(check_processes(state), Level.WARNING, "nothing is running")
    write_status(state / "status.json", [process("api", os.getpid(), ProcessState.RUNNING)])
    assert levels(check_processes(state)) == {Level.OK}
    status = json.loads((state / "status.json").read_text())
    status["supervisor"]["started_ticks"] += 1  # its number went to another process
    (state / "status.json").write_text(json.dumps(status))
    only(check_processes(state), Level.WARNING, "nothing is running")
    (state / "status.json").write_text("{")
    only(check_processes(state), Level.PROBLEM, "cannot be read")


@pytest.mark.parametrize(
    ("found", "level"), [((3, 10, 14), Level.PROBLEM), ((3, 11, 0), Level.OK), ((3, 13, 1), Level.OK)]
)
def test_an_old_python_is_found(found: tuple[int, int, int], level: Level) -> None:
    assert check_python(found).level is level


def test_packages_that_are_missing_different_or_broken_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert levels(check_packages(["rich", "msgspec"], {})) == {Level.OK}
    only(check_packages(["no-such-thing"], {}), Level.PROBLEM, "no-such-thing is not installed")
    only(check_packages(["rich"], {"rich": "0.0.1"}), Level.WARNING, "tested was 0.0.1")
    # A distribution that is installed and whose module lacks a system library.
    info = tmp_path / "broken_wheel-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-wheel\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("broken_wheel\n")
    (tmp_path / "broken_wheel.py").write_text(
        "raise OSError('libgomp.so.1: cannot open shared object file')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = only(check_packages(["broken-wheel"], {}), Level.PROBLEM, "broken_wheel cannot be imported")
    assert "libgomp" in found.detail
    (tmp_path / "broken_wheel.py").write_text("import os\nos.abort()\n")
    only(check_packages(["broken-wheel"], {}), Level.PROBLEM, "ended Python with status -6")
    only(check_packages([], {}), Level.PROBLEM, "cellwatt itself is not installed")


def test_what_must_be_installed_comes_from_the_project_and_its_pins() -> None:
    names = required_packages()
    assert {"psycopg", "prophet", "langgraph"} <= set(names)
    assert not {"pytest", "cellwatt"} & set(names)
    pins = pinned_versions(Path(__file__).parents[3] / "constraints.txt")
    assert {name.lower().replace("_", "-").replace(".", "-") for name in names} <= set(pins)
    assert pinned_versions(Path("absent")) == {}


def disk_level(folder: Path, free_bytes: int) -> Level:
    return check_disk(folder / "not" / "yet", lambda _: free_bytes).level


def test_room_is_judged_from_both_sides(tmp_path: Path) -> None:
    free = {GIB - 1: Level.PROBLEM, GIB: Level.WARNING, 5 * GIB - 1: Level.WARNING, 5 * GIB: Level.OK}
    assert {n: disk_level(tmp_path, n) for n in free} == free
    kib = {
        511 * 1024: Level.PROBLEM,
        512 * 1024: Level.WARNING,
        2 * 1024**2 - 1: Level.WARNING,
        2 * 1024**2: Level.OK,
    }
    assert {n: check_memory(f"MemFree: 1 kB\nMemAvailable:  {n} kB\n").level for n in kib} == kib
    assert check_memory("").level is Level.WARNING


def test_root_is_warned_and_told_which_users_are_missing() -> None:
    assert check_user(1000, lambda _: False).level is Level.OK
    assert check_user(0, lambda _: True).level is Level.WARNING
    assert "without the users mosquitto" in check_user(0, lambda name: name == "postgres").detail


def script(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_programs_are_looked_for_and_tried(tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path)}
    script(tmp_path, "mosquitto", "error while loading shared libraries")
    assert "does not run" in check_mosquitto(env, tmp_path).detail
    script(tmp_path, "mosquitto", "mosquitto version 2.0.11")
    assert check_mosquitto(env, tmp_path).level is Level.OK
    assert check_mosquitto({"PATH": "", "MQTT_URL": "mqtts://broker:8883"}, tmp_path).level is Level.OK
    assert check_chromium({"PATH": ""}).level is Level.WARNING
    chromium = script(tmp_path, "chromium", "")
    assert check_chromium(env).detail == str(chromium)
    assert check_postgres_binaries({}).detail.endswith("with pgvector")


@pytest.mark.database
def test_each_role_is_really_logged_in(database: Database, tmp_path: Path) -> None:
    secrets = private_folder(tmp_path / "secrets")
    for role in DatabaseRole:
        (secrets / f"database-{role.value}").write_text(PASSWORDS[role] + "\n")
    assert levels(check_database(database.owner_dsn, secrets)) == {Level.OK}
    (secrets / "database-cellwatt_control").write_text("another")
    found = only(check_database(database.owner_dsn, secrets), Level.PROBLEM, "cellwatt_control cannot log in")
    assert "another" not in found.detail
    nowhere = f"postgresql://127.0.0.1:{free_port()}/cellwatt"
    assert all("no answer from 127.0.0.1" in each.detail for each in check_database(nowhere, secrets))


@pytest.mark.database
def test_a_schema_of_another_release_is_found(
    database: Database, postgres_server: DatabaseServer, tmp_path: Path
) -> None:
    secrets = private_folder(tmp_path / "secrets")
    (secrets / "database-cellwatt_owner").write_text(PASSWORDS[DatabaseRole.OWNER])
    assert check_schema(database.owner_dsn, secrets).level is Level.OK
    with postgres_server.fresh(migrated=False) as empty:
        only([check_schema(empty.owner_dsn, secrets)], Level.WARNING, "still to run: 0001_")
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        owner.execute("UPDATE schema_migration SET checksum = 'other' WHERE version = 1")
    only([check_schema(database.owner_dsn, secrets)], Level.PROBLEM, "was edited after it ran")
    (secrets / "database-cellwatt_owner").write_text("another")
    only([check_schema(database.owner_dsn, secrets)], Level.WARNING, "the owner cannot log in")


@pytest.mark.broker
def test_the_broker_is_asked_with_a_certificate_and_without(broker: Broker, state: Path) -> None:
    pki = broker.authority.path.parent
    assert levels(check_broker(broker.address, pki)) == {Level.OK}
    only(check_broker(broker.address, state / "pki"), Level.PROBLEM, "does not accept our client certificate")
    only(
        check_broker(BrokerAddress(host="127.0.0.1", port=free_port()), pki), Level.PROBLEM, "nobody answers"
    )
    (state / "pki" / "clients" / f"{CHECK}.crt").write_text("torn")
    only(check_broker(broker.address, state / "pki"), Level.PROBLEM, "cannot be used")
    (state / "pki" / "clients" / f"{CHECK}.crt").unlink()
    only(check_broker(broker.address, state / "pki"), Level.WARNING, f"no certificate of {CHECK}")


@pytest.mark.broker
def test_a_broker_that_lets_everybody_in_is_found(broker: Broker, tmp_path: Path) -> None:
    binary = find_mosquitto(tmp_path, search_path=os.environ.get("PATH", ""), run_as=None)
    server, port = broker.authority.server(), free_port()
    config = tmp_path / "open.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\ncafile {broker.authority.path}\n"
        f"certfile {server.certificate}\nkeyfile {server.key}\n"
        + ("user root\n" if os.geteuid() == 0 else "")
    )
    spec = ProcessSpec(
        name="open", argv=(str(binary.path), "-c", str(config)), log_path=tmp_path / "open.log", cwd=tmp_path
    )
    running = spawn(spec)
    try:
        address, pki = BrokerAddress(host="127.0.0.1", port=port), broker.authority.path.parent
        assert wait_for(lambda: "nobody" not in check_broker(address, pki)[0].detail, within_s=10.0)
        found = only(check_broker(address, pki), Level.PROBLEM, "lets in clients without a certificate")
        assert "require_certificate" in found.remedy
    finally:
        stop(running, spec)


@pytest.fixture
def endpoint() -> Iterator[Callable[[int, Any], str]]:
    """A model endpoint on this machine that answers as it is told; the address stands for all calls."""
    answer: list[tuple[int, bytes]] = []
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, body = answer[-1]
            self.send_response(status if self.headers["Authorization"] == "Bearer key-1" else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()

    def answering(status: int, body: Any) -> str:
        answer.append((status, json.dumps(body).encode()))
        return f"http://127.0.0.1:{server.server_port}/v1/"

    yield answering
    server.shutdown()
    server.server_close()
    thread.join()
    assert set(asked) == {"/v1/models"}


def test_the_model_endpoint_is_asked_for_its_models(endpoint: Callable[[int, Any], str]) -> None:
    env = {
        "OPENAI_BASE_URL": endpoint(200, {"data": [{"id": "small"}, {"id": "big"}]}),
        "OPENAI_MODEL": "small",
        "OPENAI_API_KEY": "key-1",
    }
    assert check_model(env).level is Level.OK
    only([check_model({**env, "OPENAI_MODEL": "huge"})], Level.PROBLEM, "has no huge")
    refused = only([check_model({**env, "OPENAI_API_KEY": "key-2"})], Level.PROBLEM, "refuses the key (401)")
    assert "key-2" not in line(refused)
    endpoint(404, {})
    only([check_model(env)], Level.WARNING, "does not list its models (404)")


def test_model_settings_that_do_not_fit_together_are_found() -> None:
    assert check_model({}).level is Level.OK
    only([check_model({"OPENAI_API_KEY": "key-1"})], Level.WARNING, "is set and not used")
    url = f"http://127.0.0.1:{free_port()}/v1"
    only([check_model({"OPENAI_BASE_URL": url})], Level.PROBLEM, "OPENAI_MODEL is not")
    found = only(
        [check_model({"OPENAI_BASE_URL": url, "OPENAI_MODEL": "m"})], Level.PROBLEM, "cannot be reached"
    )
    assert "works without a model" in found.remedy


def test_looking_makes_nothing_and_broken_packages_end_it(tmp_path: Path) -> None:
    nowhere = tmp_path / "absent"
    what = Examination(state_dir=nowhere, env=os.environ, now=NOW, packages=["rich"])
    found = list(diagnose(what))
    assert not nowhere.exists()
    assert found[-1].detail.startswith("nothing has run in")
    what = Examination(state_dir=nowhere, env=os.environ, now=NOW, packages=["no-such-thing"])
    assert [each.check for each in diagnose(what)][-2:] == ["packages", "installation"]


def test_a_whole_look_at_a_broken_installation_names_each_fault(state: Path) -> None:
    (state / "secrets" / "session-secret").chmod(0o644)
    (state / "approval_policy.toml").unlink()
    before = sorted(state.rglob("*"))
    what = Examination(state_dir=state, env={"PATH": os.environ["PATH"]}, now=NOW, packages=["rich"])
    found = list(diagnose(what))
    assert sorted(state.rglob("*")) == before
    assert {each.check for each in found if each.level is Level.PROBLEM} == {"modes", "policy"}
    assert [each.detail for each in found[-2:]] == ["not asked: it is not running"] * 2
    document = as_document(found)
    assert document["ok"] is False
    assert {"check": "modes", "level": "problem"}.items() <= next(
        each for each in document["findings"] if each["level"] == "problem"
    ).items()
    (state / "runtime.json").write_text("{}")
    only([each for each in diagnose(what) if each.check == "runtime"], Level.PROBLEM, "cannot be used")
    (state / "runtime.json").unlink()
    only([each for each in diagnose(what) if each.check == "runtime"], Level.WARNING, "is missing")


def test_what_is_not_fine_says_what_to_do_and_what_is_fine_does_not() -> None:
    with pytest.raises(ValueError, match="remedy"):
        Finding(check="x", level=Level.PROBLEM, detail="broken")
    with pytest.raises(ValueError, match="remedy"):
        Finding(check="x", level=Level.OK, detail="fine", remedy="do")


def test_the_exit_status_goes_by_what_was_found(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what = Examination(state_dir=state, env={"PATH": os.environ["PATH"]}, now=NOW, packages=["rich"])
    assert run_doctor(what, json_to=None, quiet=False) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 problems, ")
    (state / "clock.json").write_text("{")
    path = tmp_path / "doctor.json"
    assert run_doctor(what, json_to=path, quiet=False) == 1
    checks = {each["check"]: each["level"] for each in json.loads(path.read_text())["findings"]}
    assert (checks["clock"], checks["policy"]) == ("problem", "ok")
    said = capsys.readouterr().out
    assert "PROBLEM  clock" in said
    assert "-> restore it from a backup" in said
    assert run_doctor(what, json_to=None, quiet=True) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
