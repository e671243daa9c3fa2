"""Who is told what and when, without a clock, a database or a network."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from telemetry.model.incident import IncidentState, Severity
from tests.tools.notify.examples import INCIDENT, NOON, OCCASION
from tools.notify.occasion import of_incident, of_plan
from tools.notify.rules import Told, due
from tools.notify.settings import NotifySettingsError, load_settings, parse_settings

FILE = """
public_url = "https://cw.example"
[quiet]
from = "22:00"
to = "06:30"
zone = "Europe/Rome"
[[target]]
name = "phone"
url = "json://127.0.0.1/a"
[[target]]
name = "mail"
url = "json://127.0.0.1/b"
at_least = "info"
quiet = false
[[target]]
name = "chief"
url = "json://127.0.0.1/c"
direct = false
[[escalation]]
to = "chief"
after_min = 15
"""
SETTINGS = parse_settings(FILE)
PHONE = Told(subject_id="inc-1", target="phone", at=NOON)
MAIL = Told(subject_id="inc-1", target="mail", at=NOON)
MILD = replace(OCCASION, severity=Severity.WARNING)


def targets(*occasions: object, told: tuple[Told, ...] = (), at: datetime = NOON) -> list[str]:
    return [one.target for one in due(occasions, told, SETTINGS, at)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        (Severity.INFO, ["mail"]),
        (Severity.WARNING, ["phone", "mail"]),
        (Severity.CRITICAL, ["phone", "mail"]),
    ],
)
def test_each_target_is_told_from_its_severity_on(severity: Severity, expected: list[str]) -> None:
    assert targets(replace(OCCASION, severity=severity)) == expected


def test_a_target_is_told_once_even_if_the_incident_grows_worse() -> None:
    assert targets(replace(OCCASION, severity=Severity.CRITICAL), told=(PHONE, MAIL)) == []


# Rome is at UTC+1 in March: quiet from 21:00 UTC to 05:30 UTC.
@pytest.mark.parametrize(
    ("hour", "minute", "phone"),
    [(20, 59, True), (21, 0, False), (23, 30, False), (5, 29, False), (5, 30, True)],
)
def test_in_quiet_hours_a_warning_waits_and_is_told_when_they_end(
    hour: int, minute: int, phone: bool
) -> None:
    at = NOON.replace(hour=hour, minute=minute)
    assert ("phone" in targets(replace(MILD, opened_at=at), at=at)) is phone
    assert "mail" in targets(replace(MILD, opened_at=at), at=at)
    assert "phone" in targets(replace(OCCASION, opened_at=at), at=at)  # critical gets through


@pytest.mark.parametrize(("minutes", "escalated"), [(14.9, False), (15.0, True)])
def test_what_nobody_takes_up_goes_to_the_chief_after_a_quarter_of_an_hour(
    minutes: float, escalated: bool
) -> None:
    at = NOON + timedelta(minutes=minutes)
    assert targets(OCCASION, told=(PHONE, MAIL), at=at) == (["chief"] if escalated else [])
    assert targets(replace(OCCASION, waits=False), told=(PHONE, MAIL), at=at) == []
    assert targets(MILD, told=(PHONE, MAIL), at=at) == []


def test_four_at_once_come_as_one_message_with_the_gravest_first() -> None:
    many = [replace(MILD, subject_id=f"inc-{k}", title=f"matter {k}") for k in range(3)]
    many.append(replace(OCCASION, subject_id="inc-worst", title="worst"))
    assert targets(*many[:3]) == ["phone"] * 3 + ["mail"] * 3
    phone, mail = due(many, (), SETTINGS, NOON)
    assert phone.subject_ids == ("inc-worst", "inc-0", "inc-1", "inc-2")
    assert phone.title == "critical: 4 new matters"
    assert phone.body.splitlines()[0] == "- worst"
    assert phone.link == "https://cw.example/m"
    assert phone.message_id != mail.message_id


def test_what_was_old_before_anybody_could_be_told_is_left_alone() -> None:
    assert targets(OCCASION, at=NOON + timedelta(hours=24)) != []
    assert targets(OCCASION, at=NOON + timedelta(hours=24, seconds=1)) == []


def test_a_message_says_what_was_seen_what_is_at_stake_and_where_to_look() -> None:
    occasion = of_incident(INCIDENT)
    assert occasion is not None
    assert occasion.title == "critical: battery voltage at cbs-0001"
    assert occasion.body.splitlines() == [
        "Since 2026-03-10 12:00 UTC.",
        "bus_v: 49.7 where 51.2 was expected.",
        "Backup left if this is true: 0.8 h.",
        "Check first: string currents",
    ]
    [message, _] = due([occasion], (), SETTINGS, NOON)
    assert message.link == "https://cw.example/m/incidents/inc-1"
    assert of_incident(replace(INCIDENT, state=IncidentState.CLOSED)) is None
    acknowledged = of_incident(replace(INCIDENT, state=IncidentState.ACKNOWLEDGED))
    assert acknowledged is not None
    assert not acknowledged.waits


def test_a_plan_that_waits_is_told_with_its_page_and_its_deadline() -> None:
    plan = of_plan(
        "plan-7", title="peak shaving", body="11 sites.", asked_at=NOON, expires_at=NOON + timedelta(hours=1)
    )
    [message, _] = due([plan], (), SETTINGS, NOON)
    assert message.title == "approval asked: peak shaving"
    assert message.body == "11 sites.\nDecide before 2026-03-10 13:00 UTC."
    assert message.link == "https://cw.example/m/plans/plan-7"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[[target]]\nname = "a"\nurl = "json://u:hunter2@x"\nshout = true', "target.0.shout"),
        ('[[target]]\nname = "a"\nurl = "json://u:hunter2@x', "not TOML"),
        ('[[escalation]]\nto = "nobody"\nafter_min = 5', "which is no target"),
        ('[quiet]\nfrom = "22:00"\nto = "06:00"\nzone = "Mars/Olympus"', "no such time zone"),
    ],
)
def test_a_faulty_file_is_named_without_its_secrets(text: str, fault: str) -> None:
    with pytest.raises(NotifySettingsError) as told:
        parse_settings(text)
    assert fault in str(told.value)
    assert "hunter2" not in str(told.value)
    assert told.value.__cause__ is None


def test_a_file_that_others_may_read_is_refused(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "notify.toml"
    assert load_settings(path) is None
    path.write_text(FILE)
    path.chmod(0o640)
    with pytest.raises(NotifySettingsError, match="others may open it"):
        load_settings(path)
    path.chmod(0o600)
    assert load_settings(path) == SETTINGS
    assert "json://" not in repr(SETTINGS)
