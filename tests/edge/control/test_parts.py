"""The pure parts of control: who counts, in which order, for how long, and what an answer changes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from edge.approvals import ApprovalRow, count_approvals
from edge.control.ack_desk import site_of, state_after
from edge.control.command_store import OpenCommand
from edge.control.ports import ControlSettings, domain_time
from edge.control.sender import retry_delay, spread
from edge.plan import AckVerdict, ApprovalTier, CommandId, PlanId
from telemetry.model.clock import Pace, PacedClock
from telemetry.model.site import FeederId, SiteId
from tests.edge.safety.examples import NOW

AUTO, ONE, TWO = ApprovalTier.AUTOMATIC, ApprovalTier.ONE_PERSON, ApprovalTier.TWO_PERSONS
ANN = ApprovalRow(
    plan_id=PlanId("plan-1"),
    envelope_digest="d",
    tier=ONE,
    approver="ann",
    approved_at=NOW - timedelta(hours=1),
    expires_at=NOW + timedelta(hours=1),
    written_by="cellwatt_api",
)
BOB = replace(ANN, approver="bob")
POLICY = replace(ANN, approver="policy", tier=AUTO, written_by="cellwatt_control")
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("tier", "rows", "missing"),
    [
        (AUTO, [], 1),
        (AUTO, [POLICY], 0),
        (AUTO, [ANN], 0),
        (ONE, [], 1),
        (ONE, [ANN], 0),
        (ONE, [POLICY], 1),
        (TWO, [ANN], 1),
        (TWO, [ANN, BOB], 0),
        (TWO, [ANN, POLICY], 1),
        (TWO, [ANN, replace(ANN, approver="  Ann ")], 1),
        (TWO, [ANN, replace(ANN, approver="ＡＮＮ")], 1),
        (ONE, [replace(ANN, envelope_digest="e")], 1),
        (ONE, [replace(ANN, expires_at=NOW)], 1),
        (ONE, [replace(ANN, expires_at=NOW + TICK)], 0),
        (ONE, [replace(ANN, approved_at=NOW)], 0),
        (ONE, [replace(ANN, approved_at=NOW + TICK)], 1),
        (ONE, [replace(ANN, written_by="cellwatt_control")], 1),
        (ONE, [replace(ANN, written_by="cellwatt_owner")], 1),
        (AUTO, [replace(POLICY, written_by="cellwatt_api")], 1),
        (ONE, [replace(ANN, approver="  ")], 1),
    ],
)
def test_who_counts(tier: ApprovalTier, rows: list[ApprovalRow], missing: int) -> None:
    count = count_approvals(rows, envelope_digest="d", tier=tier, now=NOW)
    assert count.missing == missing
    assert len(count.approvals) + len(count.not_counted) == len(rows)


def open_command(name: str, feeder: str, kind: str = "schedule") -> OpenCommand:
    return OpenCommand(
        command_id=CommandId(name),
        site_id=SiteId(name),
        feeder_id=FeederId(feeder),
        kind=kind,
        state="pending",
        attempts=0,
        accept_by=NOW,
    )


def test_feeders_take_turns_and_releases_go_first() -> None:
    commands = [
        open_command("a1", "a"),
        open_command("a2", "a"),
        open_command("a3", "a"),
        open_command("b1", "b"),
        open_command("r1", "a", "release"),
        open_command("c1", "c"),
    ]
    assert [command.command_id for command in spread(commands)] == ["r1", "a1", "b1", "c1", "a2", "a3"]


def test_retries_double_up_to_the_longest() -> None:
    settings = ControlSettings(first_retry=timedelta(seconds=3), longest_retry=timedelta(seconds=20))
    delays = [retry_delay(settings, times).total_seconds() for times in (1, 2, 3, 4, 5, 1000)]
    assert delays == [3.0, 6.0, 12.0, 20.0, 20.0, 20.0]


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 5.0), (60.0, 300.0), (0.0, 0.0)])
def test_wall_time_in_domain_time(speed: float, seconds: float) -> None:
    clock = PacedClock(lambda: Pace(wall=NOW, domain=NOW, speed=speed))
    assert domain_time(clock, timedelta(seconds=5)).total_seconds() == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("state", "verdict", "after"),
    [
        ("sent", AckVerdict.ACCEPTED, "acknowledged"),
        ("pending", AckVerdict.ACCEPTED, "acknowledged"),
        ("missing", AckVerdict.ACCEPTED, "acknowledged"),
        ("acknowledged", AckVerdict.LIMITED, "acknowledged"),
        ("acknowledged", AckVerdict.COMPLETED, "ended"),
        ("acknowledged", AckVerdict.SUPERSEDED, "ended"),
        ("sent", AckVerdict.REFUSED, "refused"),
        ("acknowledged", AckVerdict.REFUSED, "refused"),
        ("ended", AckVerdict.ACCEPTED, "ended"),
        ("refused", AckVerdict.ACCEPTED, "refused"),
        ("ended", AckVerdict.REFUSED, "ended"),
    ],
)
def test_an_answer_never_takes_a_command_back(state: str, verdict: AckVerdict, after: str) -> None:
    assert state_after(state, verdict) == after


@pytest.mark.parametrize(
    ("topic", "site"),
    [
        ("cbs/v1/site-1/ack", "site-1"),
        ("cbs/v1/site-1/event", None),
        ("cbs/v2/site-1/ack", None),
        ("cbs/v1/site-1/ack/more", None),
        ("cbs/v1/ack", None),
    ],
)
def test_the_topic_names_the_site(topic: str, site: str | None) -> None:
    assert site_of(topic) == site
