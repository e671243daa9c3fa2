from datetime import UTC, datetime
from pathlib import Path

import pytest

from telemetry.mqtt import MqttSettings
from ui import settings
from ui.ops.runtime import Installation, Runtime, RuntimeUnknownError
from ui.ops.secrets import StateDirectory
from ui.settings import ProcessSettings, SettingsError, mqtt_settings, need, need_file, need_port


def test_a_missing_setting_is_named_with_what_to_do() -> None:
    with pytest.raises(SettingsError, match="CELLWATT_DATABASE_URL is not set; set it, or give --state-dir"):
        need({}, settings.DATABASE_URL)


@pytest.mark.parametrize("text", ["0", "65536", "80a", "-1"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a port"):
        need_port({settings.API_PORT: text}, settings.API_PORT)


@pytest.mark.parametrize("url", ["mqtt://127.0.0.1:1883", "mqtts://127.0.0.1", "mqtts://:8883"])
def test_a_broker_without_tls_or_port_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="mqtts://host:8883"):
        mqtt_settings({settings.MQTT_URL: url}, client_id="x")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no file"):
        need_file({settings.MQTT_KEY: str(tmp_path / "none")}, settings.MQTT_KEY)


def test_readiness_is_told_in_a_file(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = ProcessSettings.from_env({settings.READY_FILE: str(ready)})
    process.say_ready("history 0.5")
    assert ready.read_text() == "history 0.5"
    process.say_ready()
    assert ready.read_text() == "ready"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    state = StateDirectory(tmp_path / "state")
    state.secrets.make_all()
    runtime = Runtime(
        owner_dsn=f"postgresql://cellwatt_owner:{state.secrets.database_passwords()['cellwatt_owner']}@127.0.0.1:5/cellwatt",
        mqtt_host="127.0.0.1",
        mqtt_port=8883,
        api_port=8000,
        console_port=8501,
        simulated_sites=24,
        seed=7,
        history_days=28,
        epoch=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Installation(state=state, runtime=runtime)


def test_what_one_start_keeps_the_next_one_knows_and_no_password_is_in_the_file(
    installation: Installation,
) -> None:
    installation.runtime.save(installation.state)
    assert Runtime.load(installation.state) == installation.runtime
    kept = (installation.state.path / "runtime.json").read_text()
    assert all(password not in kept for password in installation.state.secrets.database_passwords().values())


def test_without_a_start_nothing_is_known(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnknownError, match="cellwatt up"):
        Runtime.load(StateDirectory(tmp_path / "state"))


def test_each_process_gets_its_own_role_and_nothing_of_the_others(installation: Installation) -> None:
    passwords = installation.state.secrets.database_passwords()
    own = {
        "ingest": "cellwatt_ingest",
        "api": "cellwatt_api",
        "loop": "cellwatt_loop",
        "control": "cellwatt_control",
        "console": "",
        "simulate": "",
    }
    for process, role in own.items():
        env = installation.env(process, {"PATH": "/bin", "OPENAI_API_KEY": "key", "SECRET_OF_MINE": "no"})
        text = "\n".join(env.values())
        for name, password in passwords.items():
            assert (password in text) is (name == role), (process, name)
        assert ("command-signing-seed" in text) is (process == "control"), process
        assert ("browser-key" in text) is (process in {"api", "console"}), process
        assert ("OPENAI_API_KEY" in env) is (process == "loop"), process
        assert "SECRET_OF_MINE" not in env


def test_whose_word_for_an_address_is_taken_is_handed_to_the_two_that_are_asked(
    installation: Installation,
) -> None:
    inherited = {settings.TRUSTED_PROXIES: "127.0.0.1"}
    told = {
        name: installation.env(name, inherited).get(settings.TRUSTED_PROXIES)
        for name in ("api", "console", "loop")
    }
    assert told == {"api": "127.0.0.1", "console": "127.0.0.1", "loop": None}


def test_the_broker_settings_are_those_of_the_processs_own_certificate(installation: Installation) -> None:
    pki = installation.state.folder("pki")
    (pki / "clients").mkdir()
    for name in ("ca.crt", "clients/svc-ingest.crt", "clients/svc-ingest.key"):
        (pki / name).write_text("x")
    found = mqtt_settings(installation.env("ingest", {}), client_id="svc-ingest")
    assert isinstance(found, MqttSettings)
    assert (found.host, found.port, found.key) == ("127.0.0.1", 8883, pki / "clients" / "svc-ingest.key")
