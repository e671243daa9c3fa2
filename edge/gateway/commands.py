"""The decision on one command: pure, from values to a value.

The order of the checks is a contract: an attacker, or a confused centre, learns the first thing that is wrong.
What does not carry a valid signature is never acknowledged (its name proves nothing); it is reported as an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from edge.envelope import KeySet, Unverified, Verified, verify_command
from edge.gateway.acceptance import refuse_bounds, refuse_schedule
from edge.gateway.frequency import FastPath, refuse_reserve_command
from edge.gateway.limits import OwnLimits, Site
from edge.gateway.schedule import schedule_end
from edge.plan import (
    Acknowledgement,
    Command,
    CommandId,
    CommandKind,
    ControlBounds,
    GridReserve,
    ModeBody,
    ScheduleBody,
)
from telemetry.model.site import SiteId, SiteMode

_MODE_RANK = {SiteMode.MONITOR: 0, SiteMode.SHADOW: 1, SiteMode.REMOTE: 2}
DUTY_KINDS = frozenset({CommandKind.SCHEDULE, CommandKind.BOUNDS, CommandKind.GRID_RESERVE})
_FLEET_KINDS = frozenset({CommandKind.STOP, CommandKind.CLEAR})


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMark:
    """The last fleet command obeyed: its own counter within a key epoch, and whether the fleet is stopped."""

    epoch: int = -1
    sequence: int = -1
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the gateway remembers across a restart and decides from.

    `mode` is the mode in force, `highest_mode` the one that commissioning at the site allows. `acks` are the last
    acknowledgements by command.
    """

    site_id: SiteId
    mode: SiteMode
    highest_mode: SiteMode
    local_lock: bool
    in_outage: bool
    last_sequence: int
    island_gap: str | None = None  # what keeps an outage's export shut; nothing: open; None: none is declared
    fleet: FleetMark = field(default_factory=FleetMark)
    acks: Mapping[CommandId, Acknowledgement] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """The command is to be remembered, then done, then acknowledged."""

    verified: Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The command is not done. `verified` is None where nothing can be believed about it.

    `spends_sequence`: it was properly addressed and fresh, so the same bytes can never be accepted later.
    """

    reason: str
    detail: str = ""
    verified: Verified | None = None
    spends_sequence: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """The very same command was answered before: the same answer again, no action."""

    ack: Acknowledgement


Decision = Accept | Refuse | Repeat


def decide(
    envelope: bytes,
    keys: KeySet,
    standing: Standing,
    site: Site,
    limits: OwnLimits,
    now: datetime,
    fast: FastPath | None = None,
) -> Decision:
    """Return what to do with the bytes that came on the site's own command topic.

    `fast` is what commissioning measured of frequency meter and actuator; without it no reserve is accepted.
    """
    verified = verify_command(envelope, keys, now)
    if isinstance(verified, Unverified):
        return Refuse(reason=verified.reason, detail=verified.detail)
    command = verified.command
    if command.site_id != standing.site_id:
        return Refuse(reason="wrong_site", detail=str(command.site_id), verified=verified)
    known = standing.acks.get(command.command_id)
    if known is not None and known.digest == verified.digest:
        return Repeat(ack=known)
    if command.sequence <= standing.last_sequence:
        detail = f"sequence {command.sequence}, last {standing.last_sequence}"
        return Refuse(reason="stale_sequence", detail=detail, verified=verified)
    reason = _time_reason(command, limits, now) or _standing_reason(command, standing) or ""
    if not reason and isinstance(command.body, ScheduleBody):
        reason = refuse_schedule(command.body, command.valid_until, site, limits, now) or ""
    if not reason and isinstance(command.body, ControlBounds):
        until = command.valid_until
        reason = refuse_bounds(command.body, command.not_before, until, site, limits, now) or ""
    if not reason and isinstance(command.body, GridReserve):
        until = command.valid_until
        reason = (
            refuse_reserve_command(command.body, command.not_before, until, site, limits, fast, now) or ""
        )
    if reason:
        return Refuse(reason=str(reason), verified=verified, spends_sequence=True)
    return Accept(verified=verified)


def _time_reason(command: Command, limits: OwnLimits, now: datetime) -> str | None:
    if now > command.accept_by:
        return "too_late"
    if now >= command.valid_until:
        return "expired"
    latest = now + timedelta(hours=limits.max_lead_h)
    starts, ends = [command.not_before], [command.valid_until]
    if isinstance(command.body, ScheduleBody):
        starts.append(command.body.start)
        ends.append(schedule_end(command.body))
    if not max(starts) < min(ends) or min(ends) <= now:
        return "window_unsound"
    return "too_far_ahead" if max(*starts, command.accept_by) > latest else None


def _standing_reason(command: Command, standing: Standing) -> str | None:
    """Return why the site's standing forbids the command. Ways to less (release, a lower mode) pass mode and stop."""
    may_island = command.kind is CommandKind.SCHEDULE
    if isinstance(command.body, ModeBody):
        too_high = _MODE_RANK[command.body.mode] > _MODE_RANK[standing.highest_mode]
        checks = [(standing.local_lock, "local_lock"), (too_high, "mode_above_commissioned")]
    elif command.kind in {CommandKind.RELEASE, CommandKind.TEST}:
        checks = [(standing.local_lock, "local_lock")]
    else:
        checks = [
            (standing.mode is not SiteMode.REMOTE, "mode_not_remote"),
            (standing.local_lock, "local_lock"),
            (standing.fleet.stopped, "fleet_stopped"),
            (standing.in_outage and (standing.island_gap is None or not may_island), "in_outage"),
            (standing.in_outage and bool(standing.island_gap), "interlock"),
            (command.kind not in DUTY_KINDS, "kind_not_offered"),
        ]
    return next((reason for broken, reason in checks if broken), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOrder:
    """A stop or a clear that must be obeyed, with the mark to remember."""

    verified: Verified
    mark: FleetMark


def decide_fleet(envelope: bytes, keys: KeySet, mark: FleetMark, now: datetime) -> FleetOrder | Refuse:
    """Return what to do with the bytes on `cbs/v1/fleet/stop`.

    A stop is retained so that a site that was away obeys it too: neither `accept_by` nor `valid_until` ends it. A
    clear counts until its `valid_until`. The counter starts anew with each key epoch and never goes back to an
    older epoch.
    """
    verified = verify_command(envelope, keys, now)
    if isinstance(verified, Unverified):
        return Refuse(reason=verified.reason, detail=verified.detail)
    command = verified.command
    if command.kind not in _FLEET_KINDS:
        return Refuse(reason="wrong_site", detail=f"{command.kind} on the fleet topic", verified=verified)
    if (verified.epoch, command.sequence) <= (mark.epoch, mark.sequence):
        return Refuse(reason="stale_sequence", detail=f"fleet sequence {command.sequence}", verified=verified)
    if command.kind is CommandKind.CLEAR and now >= command.valid_until:
        return Refuse(reason="expired", verified=verified)
    stopped = command.kind is CommandKind.STOP
    return FleetOrder(
        verified=verified, mark=FleetMark(epoch=verified.epoch, sequence=command.sequence, stopped=stopped)
    )
