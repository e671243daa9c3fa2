"""What wakes a cycle early, and that each thing does so once."""

from dataclasses import replace
from datetime import timedelta

from agents.wakes import Watchman, breaches
from edge.safety.limits import OperatingMode
from telemetry.model.incident import Incident, IncidentState, Severity
from telemetry.model.site import FeederId, SiteId
from tests.agents.worlds import NOW, SITE_IDS, World
from tools.deps import Fleet


def an_incident(name: str, severity: Severity = Severity.WARNING) -> Incident:
    return Incident(
        incident_id=name, site_id=SiteId(SITE_IDS[0]), kind="load", since=NOW, until=None, score=3.0,
        severity=severity, evidence={}, state=IncidentState.OPEN,
    )  # fmt: skip


def drawing(load_w: float, reporting: int = 4) -> Fleet:
    """A fleet whose feeder-1 sites draw so much each; 2000 W are expected, 2100 W at most."""
    fleet = World().fleet(NOW)
    readings = {
        name: replace(reading, load_w=load_w, at=NOW - timedelta(seconds=20 if number < reporting else 3600))
        for number, (name, reading) in enumerate(fleet.state.readings.items())
    }
    return replace(fleet, state=replace(fleet.state, readings=readings))


def test_a_load_above_the_upper_forecast_is_a_breach() -> None:
    assert breaches(drawing(2100.0), NOW) == {}
    assert breaches(drawing(2300.0), NOW)[FeederId("feeder-1")] == (
        "forecast breach on feeder-1: 9.2 kW measured, at most 8.4 kW expected"  # 4 x 2.3 and 4 x 2.1
    )


def test_a_feeder_most_of_whose_sites_are_silent_says_nothing() -> None:
    assert FeederId("feeder-1") in breaches(drawing(2300.0, reporting=2), NOW)
    assert FeederId("feeder-1") not in breaches(drawing(2300.0, reporting=1), NOW)


def test_each_incident_wakes_once_and_what_was_there_before_does_not() -> None:
    watchman, fleet = Watchman(), World().fleet(NOW)
    assert watchman.reasons(fleet, [an_incident("old")], NOW) == []
    new = [an_incident("old"), an_incident("new"), an_incident("small", Severity.INFO)]
    assert watchman.reasons(fleet, new, NOW) == ["incident new (load, warning) at cbs-0001"]
    assert watchman.reasons(fleet, new, NOW) == []


def test_a_breach_is_told_again_only_after_an_hour() -> None:
    watchman, fleet = Watchman(), drawing(2300.0)
    first = [one for one in watchman.reasons(fleet, [], NOW) if "feeder-1" in one]
    assert len(first) == 1
    assert not any("feeder-1" in one for one in watchman.reasons(fleet, [], NOW + timedelta(minutes=3)))
    assert watchman.quiet == timedelta(hours=1)


def test_a_change_of_mode_wakes() -> None:
    watchman, world = Watchman(), World()
    assert watchman.reasons(world.fleet(NOW), [], NOW) == []
    world.mode = OperatingMode.STORM
    assert watchman.reasons(world.fleet(NOW), [], NOW) == ["the operating mode became storm"]
