"""The account of the command in force: what it asks, what the limits leave, what was delivered. Pure.

Powers in W at the battery terminals, charging positive. What the limits or the physics take away is `limited`: it is
counted in Wh and never repaid. What the loop misses while it settles is repaid within the same quarter of an hour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from edge.gateway.control import NO_ENERGY, Loop, Quarter, corrected_w
from edge.gateway.frequency import Response
from edge.gateway.limits import OwnLimits, Reason, allow, terminal_w
from edge.gateway.local import bounded_w
from edge.gateway.schedule import quarter_end, ramped_w, setpoint_at
from edge.modbus.port import FieldSample
from edge.plan import Command, ControlBounds, ScheduleBody

_NOTABLE_WH = 0.5  # less than this lost is noise, not worth an acknowledgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """The command in force with its account.

    `set_w` is the ramped and allowed setpoint, `asked_w` the one that the schedule names at `at`. `reason` is what
    holds it back now, `limited_told` whether that was acknowledged. `response` is a reserve's answer and account.
    `in_outage`: it was taken on in an outage and is for its isolated section alone.
    """

    command: Command
    digest: str
    envelope: bytes
    accepted_at: datetime
    at: datetime
    asked_w: float = 0.0
    set_w: float = 0.0
    quarter: Quarter = NO_ENERGY
    limited_wh: float = 0.0
    reason: Reason | None = None
    limited_told: bool = False
    response: Response | None = None
    in_outage: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the loop is to aim at now, and the duty after the account was kept."""

    duty: Duty
    target_w: float


def advance(
    duty: Duty,
    sample: FieldSample,
    loop: Loop,
    limits: OwnLimits,
    now: datetime,
    period: timedelta,
    ramp_w_per_s: float,
) -> Asked:
    """Book the stretch since the last step and return the power to aim at until the next one.

    Args:
        duty: As it was after the last step.
        sample: The scan made now.
        loop: As it was written after the last step.
        limits: The site's own.
        now: The instant of the scan.
        period: How long until the next step, expected.
        ramp_w_per_s: How fast a setpoint may grow, W/s.
    """
    elapsed = max(timedelta(0), now - duty.at)
    booked = _book(duty, sample, loop, now, elapsed)
    asked_w = _asked_w(duty.command, sample, limits, now)
    ramped = ramped_w(booked.set_w, asked_w, ramp_w_per_s, period.total_seconds())
    allowed = allow(asked_w, sample, limits)
    set_w = ramped if abs(ramped) < abs(allowed.power_w) else allowed.power_w
    left = quarter_end(now) - now
    wanted = allow(corrected_w(set_w, booked.quarter, left, period), sample, limits)
    reason = allowed.reason or loop.held
    return Asked(
        duty=replace(booked, at=now, asked_w=asked_w, set_w=set_w, reason=reason),
        target_w=wanted.power_w,
    )


def _book(duty: Duty, sample: FieldSample, loop: Loop, now: datetime, elapsed: timedelta) -> Duty:
    """Return the duty with the stretch up to now in its account; a quarter's end splits the stretch."""
    hours = elapsed.total_seconds() / 3600.0
    if hours == 0.0:
        return duty
    mean_w = mean_power_w(terminal_w(sample), loop.after_w)
    by_schedule = isinstance(duty.command.body, ScheduleBody)
    asked_w = setpoint_at(duty.command, duty.at + elapsed / 2) if by_schedule else duty.asked_w
    left_w = _left_w(duty, asked_w, mean_w, loop.held)
    limited_wh = duty.limited_wh + max(0.0, abs(asked_w) - abs(left_w)) * hours
    border = quarter_end(duty.at)
    if now < border:
        quarter = duty.quarter.add(left_w, mean_w, elapsed)
    else:
        quarter = NO_ENERGY.add(left_w, mean_w, now - border)
    return replace(duty, quarter=quarter, limited_wh=limited_wh)


def _asked_w(command: Command, sample: FieldSample, limits: OwnLimits, now: datetime) -> float:
    if isinstance(command.body, ControlBounds):
        inside = command.not_before <= now < command.valid_until
        return bounded_w(command.body, sample, limits.rectifier_efficiency) if inside else 0.0
    return setpoint_at(command, now)


def mean_power_w(found_w: float, after_w: float | None) -> float:
    """Return the mean power since the last write.

    The cabinet answers a write in well under a period, so the power found now held since then, save for the slow
    fall of the battery's voltage: halfway between what the write should have given and what is found, as long as the
    two agree to a tenth.
    """
    if after_w is None or not abs(after_w - found_w) <= 0.1 * abs(found_w):
        return found_w
    return 0.5 * (after_w + found_w)


def _left_w(duty: Duty, asked_w: float, mean_w: float, held: Reason | None) -> float:
    """Return the power that counts as commanded: what was asked, less what limits and physics took."""
    if duty.reason is None and held is None:
        return asked_w
    if held is not None:
        return min(0.0, max(asked_w, mean_w)) if asked_w < 0.0 else max(0.0, min(asked_w, mean_w))
    if asked_w * duty.asked_w <= 0.0:
        return asked_w  # the step changed in this stretch: the old limit says nothing about the new setpoint
    share = min(1.0, abs(duty.set_w / duty.asked_w))
    return asked_w * share


def tells_limited(duty: Duty) -> bool:
    """Return whether it is time for the one acknowledgement that says the command is being limited."""
    return not duty.limited_told and duty.reason is not None and duty.limited_wh > _NOTABLE_WH
