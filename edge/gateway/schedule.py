"""What setpoint a schedule asks for at an instant, and when it is over. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from edge.plan import Command, ScheduleBody

QUARTER = timedelta(minutes=15)


def schedule_end(body: ScheduleBody) -> datetime:
    """Return the instant after the last step."""
    return body.start + timedelta(seconds=body.step_s) * len(body.setpoint_w)


def setpoint_at(command: Command, at: datetime) -> float:
    """Return the setpoint in force, W: zero before the start, before `not_before` and after the end."""
    body = command.body
    if not isinstance(body, ScheduleBody) or not command.not_before <= at < command.valid_until:
        return 0.0
    index = (at - body.start) // timedelta(seconds=body.step_s)
    return body.setpoint_w[index] if 0 <= index < len(body.setpoint_w) else 0.0


def starts_at(command: Command) -> datetime:
    """Return the first instant at which the command asks for anything."""
    if isinstance(command.body, ScheduleBody):
        return max(command.not_before, command.body.start)
    return command.not_before


def has_begun(command: Command, at: datetime) -> bool:
    """Return whether the command may already act."""
    return at >= starts_at(command)


def duty_end(command: Command) -> datetime:
    """Return when the command has nothing left to ask: its last step's end or its expiry, whichever is first."""
    if not isinstance(command.body, ScheduleBody):
        return command.valid_until
    return min(command.valid_until, schedule_end(command.body))


def runs_to_its_end(command: Command) -> bool:
    """Return whether the last step ends before the command expires: completed rather than expired.

    Bounds have no steps: they are completed when their validity ends.
    """
    return not isinstance(command.body, ScheduleBody) or schedule_end(command.body) <= command.valid_until


def energy_wh(command: Command, start: datetime, end: datetime) -> float:
    """Return the magnitude of the energy that the schedule asks for between two instants, Wh."""
    body = command.body
    if not isinstance(body, ScheduleBody):
        return 0.0
    step = timedelta(seconds=body.step_s)
    total_wh = 0.0
    for index, setpoint_w in enumerate(body.setpoint_w):
        first = max(start, command.not_before, body.start + step * index)
        last = min(end, command.valid_until, body.start + step * (index + 1))
        if last > first:
            total_wh += abs(setpoint_w) * (last - first).total_seconds() / 3600.0
    return total_wh


def quarter_end(at: datetime) -> datetime:
    """Return the end of the quarter of an hour (UTC) that holds the instant: where energy is settled."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + ((at - midnight) // QUARTER + 1) * QUARTER


def ramped_w(previous_w: float, wanted_w: float, ramp_w_per_s: float, elapsed_s: float) -> float:
    """Return the setpoint on its way to the wanted one; a drop in magnitude to zero is never delayed."""
    if wanted_w == 0.0:
        return 0.0
    most_w = ramp_w_per_s * elapsed_s
    start_w = previous_w if previous_w * wanted_w > 0.0 else 0.0
    return max(start_w - most_w, min(start_w + most_w, wanted_w))


def next_edge(command: Command, at: datetime) -> datetime | None:
    """Return the next instant at which the setpoint may change, or None after the last."""
    body = command.body
    edges = [command.not_before, duty_end(command)]
    if isinstance(body, ScheduleBody):
        step = timedelta(seconds=body.step_s)
        index = max(0, (at - body.start) // step + 1)
        if index <= len(body.setpoint_w):
            edges.append(body.start + step * index)
    return min((edge for edge in edges if edge > at), default=None)
