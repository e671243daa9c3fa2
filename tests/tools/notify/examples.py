"""Named good examples that the tests vary."""

from datetime import UTC, datetime

from telemetry.model.incident import Incident, IncidentChange, IncidentState, Severity
from telemetry.model.site import SiteId
from tools.notify.occasion import Occasion
from tools.notify.settings import NotifySettings, parse_settings

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
INCIDENT = Incident(
    incident_id="inc-1", site_id=SiteId("cbs-0001"), kind="battery_voltage", since=NOON, until=None, score=6.0,
    severity=Severity.CRITICAL, state=IncidentState.OPEN,
    evidence={"field": "bus_v", "expected": 51.2, "observed": 49.7, "backup_at_stake_h": 0.75, "check_first": "string currents"},
    history=(IncidentChange(at=NOON, who="detector", state=IncidentState.OPEN, why="battery_voltage"),),
)  # fmt: skip
OCCASION = Occasion(
    subject_id="inc-1",
    kind="battery_voltage",
    severity=Severity.CRITICAL,
    opened_at=NOON,
    waits=True,
    title="critical: battery voltage at cbs-0001",
    body="Since 2026-03-10 12:00 UTC.",
    path="/m/incidents/inc-1",
)


def settings(*urls: str, more: str = "") -> NotifySettings:
    """Return settings with one target for each address, named t0, t1, ..."""
    parts = [f'[[target]]\nname = "t{k}"\nurl = "{url}"' for k, url in enumerate(urls)]
    return parse_settings("\n".join(['public_url = "https://cw.example/"', more, *parts]))
