"""Which accepted commands are in force, one after the other; never two at the same time. Pure."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import datetime

from edge.envelope import KeySet, Unverified, Verified, verify_command
from edge.gateway.duty import Duty
from edge.gateway.frequency import Response
from edge.gateway.schedule import duty_end, energy_wh, has_begun, runs_to_its_end, starts_at
from edge.gateway.state_file import DutyRecord
from edge.plan import Acknowledgement, AckVerdict, Command, CommandId, GridReserve
from telemetry.model.site import SiteId

MOST_DUTIES = 4
_UNSAVED_H = 10.0 / 3600.0
Roster = tuple[Duty, ...]


def take_on(roster: Roster, fresh: Duty) -> tuple[Roster, Roster]:
    """Return the roster with a new duty, and what it supersedes: all that overlap it in time.

    Schedules that follow each other (the next plan accepted before the present one is over) live side by side; over
    `MOST_DUTIES` the one that starts last gives way.
    """
    start, end = starts_at(fresh.command), duty_end(fresh.command)
    out = tuple(duty for duty in roster if starts_at(duty.command) < end and start < duty_end(duty.command))
    kept = [duty for duty in roster if duty not in out]
    kept.sort(key=lambda duty: starts_at(duty.command))
    out += tuple(kept[MOST_DUTIES - 1 :])
    stays = (*kept[: MOST_DUTIES - 1], fresh)
    return tuple(sorted(stays, key=lambda duty: starts_at(duty.command))), out


def current(roster: Roster, now: datetime) -> Duty | None:
    """Return the duty that may act now."""
    return next(
        (duty for duty in roster if has_begun(duty.command, now) and now < duty_end(duty.command)), None
    )


def finished(roster: Roster, now: datetime) -> Roster:
    """Return the duties whose time is over."""
    return tuple(duty for duty in roster if now >= duty_end(duty.command))


def closing_ack(duty: Duty, site_id: SiteId, now: datetime, cause: str = "") -> Acknowledgement:
    """Return the last word on a duty.

    By its own end: `completed`, or `expired` where validity ran out before the last step. Ended by the site (`cause`:
    outage, device_fault, clock_jump, local_lock, fleet_stopped): `expired` with that cause, and what was still to
    come counts as limited.
    """
    limited_wh = duty.limited_wh
    if cause:
        verdict = AckVerdict.EXPIRED
        limited_wh += energy_wh(duty.command, max(now, duty.at), duty_end(duty.command))
    else:
        verdict = AckVerdict.COMPLETED if runs_to_its_end(duty.command) else AckVerdict.EXPIRED
    return say(duty, site_id, now, verdict, cause, limited_wh=limited_wh)


def say(
    duty: Duty,
    site_id: SiteId,
    now: datetime,
    verdict: AckVerdict,
    reason: str,
    *,
    limited_wh: float,
    read_back_v: float | None = None,
) -> Acknowledgement:
    """Return an acknowledgement about a duty."""
    return Acknowledgement(
        site_id=site_id,
        command_id=duty.command.command_id,
        digest=duty.digest,
        verdict=verdict,
        reason=reason,
        at=now,
        read_back_v=read_back_v,
        limited_wh=round(limited_wh, 3),
    )


def new_duty(verified: Verified, envelope: bytes, now: datetime, *, in_outage: bool = False) -> Duty:
    """Return the account of a command accepted now."""
    return Duty(
        command=verified.command,
        digest=verified.digest,
        envelope=envelope,
        accepted_at=now,
        at=now,
        in_outage=in_outage,
    )


def restore(
    records: tuple[DutyRecord, ...], keys: KeySet, seen_at: datetime | None, now: datetime
) -> tuple[Roster, tuple[DutyRecord, ...]]:
    """Return the duties that a restart takes up, and those that it gives up.

    Taken up is only what still verifies, and nothing if the clock went back. A key that has expired since then still
    counts: it was valid when the command was accepted. What was to feed an isolated section is never taken up: nobody
    saw whether outage and switch lasted.
    """
    if seen_at is not None and now < seen_at:
        return (), records
    duties: list[Duty] = []
    given_up: list[DutyRecord] = []
    for record in records:
        envelope = base64.b64decode(record.envelope)
        verified = verify_command(envelope, keys, record.accepted_at)
        if isinstance(verified, Unverified) or record.in_outage:
            given_up.append(record)
            continue
        duty = new_duty(verified, envelope, record.accepted_at)
        duties.append(
            replace(
                duty,
                at=now,
                limited_wh=record.limited_wh,
                limited_told=record.limited_told,
                response=_answer(verified.command, record, now),
            )
        )
    return tuple(duties), tuple(given_up)


def _answer(command: Command, record: DutyRecord, now: datetime) -> Response | None:
    """Return a reserve's account as it was remembered; its answer begins again from zero.

    It is remembered every ten seconds: what may be missing since then is added at full power.
    """
    body = command.body
    if not isinstance(body, GridReserve):
        return None
    return Response(
        at=now,
        triggered_at=record.triggered_at,
        up_wh=record.up_wh + (body.up_w * _UNSAVED_H if record.up_wh > 0.0 else 0.0),
        down_wh=record.down_wh + (body.down_w * _UNSAVED_H if record.down_wh > 0.0 else 0.0),
        given_wh=record.given_wh,
        taken_wh=record.taken_wh,
    )


def given_up_ack(record: DutyRecord, site_id: SiteId, now: datetime) -> Acknowledgement:
    """Return the last word on a duty that a restart could not believe any more: clock or key set had changed."""
    return Acknowledgement(
        site_id=site_id,
        command_id=CommandId(record.command_id),
        digest=record.digest,
        verdict=AckVerdict.EXPIRED,
        reason="not_restored",
        at=now,
        limited_wh=record.limited_wh,
    )
