"""Alerts about stored energy: time to empty in an outage, and the backup reserve ahead. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from edge.plan import Plan
from telemetry.model.incident import Severity
from telemetry.model.reading import Reading
from telemetry.model.series import LOWER, MEDIAN, STEP, STEP_H, UPPER
from telemetry.model.site import Site
from tools.alerts.alert import Alert, AlertKind
from tools.deps import Fleet
from tools.outlook import floor_step
from tools.site_needs import Store, needs_of, store_of

CRITICAL_H = 1.0
WARNING_H = 4.0
"""Hours of backup left that make an alert critical, or a warning [I]; the same as for incidents."""
HORIZON_STEPS = 96
LOOK_H = 96.0


def hhmm(at: datetime, site_zone: str, now: datetime) -> str:
    """Return an instant as a person at the site reads it: `18:40`, with the date where it is another day."""
    zone = ZoneInfo(site_zone)
    local, today = at.astimezone(zone), now.astimezone(zone).date()
    return f"{local:%H:%M}" if local.date() == today else f"{local:%H:%M on %d %b}"


def severity_by_backup(hours: float) -> Severity:
    """Return how grave it is to have so many hours of backup left; NaN is critical."""
    if not hours > CRITICAL_H:
        return Severity.CRITICAL
    return Severity.WARNING if hours <= WARNING_H else Severity.INFO


def in_outage(reading: Reading) -> bool:
    """Whether a site runs on its battery because its mains are absent and no genset carries it."""
    return reading.mains_ok is False and not (reading.genset_w or 0.0) > 0.0


def time_to_empty(fleet: Fleet, now: datetime, max_age: timedelta) -> list[Alert]:
    """Return for each site in an outage when its battery ends at upper, median and lower load.

    The SoC's own error is taken off before counting. Readings older than `max_age` say nothing about now and are
    counted from the instant at which they were read.
    """
    found = []
    for site, reading, store in _stores(fleet):
        if not in_outage(reading) or now - reading.at > max_age:
            continue
        hours = [_hours(fleet, site, reading.at, store.backup_wh, level) for level in (UPPER, MEDIAN, LOWER)]
        earliest, due, latest = (reading.at + timedelta(hours=h) for h in hours)
        open_ended = hours[2] >= LOOK_H
        left_h = max((due - now) / timedelta(hours=1), 0.0)
        worst_h = max((earliest - now) / timedelta(hours=1), 0.0)
        when = hhmm(due, site.time_zone, now)
        found.append(
            Alert(
                kind=AlertKind.TIME_TO_EMPTY,
                subject_id=site.site_id,
                feeder_id=site.feeder_id,
                due_at=due,
                earliest_at=earliest,
                latest_at=None if open_ended else latest,
                field="backup_wh",
                expected=0.0,
                limit=0.0,
                severity=max(severity_by_backup(worst_h), Severity.WARNING, key=list(Severity).index),
                says=f"Mains absent: the battery is empty at {when}, {hhmm(earliest, site.time_zone, now)} at the earliest.",
                backup_h=round(worst_h, 2),
                more={"backup_wh": round(store.backup_wh, 1), "left_h": round(left_h, 2)},
            )
        )
    return found


def reserve_breach(fleet: Fleet, now: datetime, steps: int = HORIZON_STEPS) -> list[Alert]:
    """Return for each site with mains when the energy it holds falls below what its autonomy asks.

    The need rises and falls with the load to come; running plans take out and put in what they say. A site below its
    reserve now is due now. Sites in an outage are left to `time_to_empty`: there the reserve is there to be used.
    """
    found = []
    start = floor_step(now)
    for site, reading, store in _stores(fleet):
        if in_outage(reading) or site.autonomy.autonomy_h <= 0.0:
            continue
        load = fleet.state.load.get(site.site_id)
        if load is None:
            continue
        offset = int((start - load.start) / STEP)
        floor = needs_of(fleet, site, offset, steps, site.autonomy.autonomy_h).floor_wh
        held = _held(site, store, fleet.state.live_plans, start, steps)
        first = next((k for k in range(steps + 1) if held[k] < floor[k]), None)
        if first is None:
            continue
        due = max(start + first * STEP, now)
        short_wh = floor[first] - held[first]
        hours = _hours(fleet, site, due, max(held[first], 0.0), UPPER)
        when = "now" if first == 0 else f"at {hhmm(due, site.time_zone, now)}"
        found.append(
            Alert(
                kind=AlertKind.RESERVE_BREACH,
                subject_id=site.site_id,
                feeder_id=site.feeder_id,
                due_at=due,
                earliest_at=due,
                latest_at=None,
                field="backup_wh",
                expected=round(held[first], 1),
                limit=round(floor[first], 1),
                severity=max(severity_by_backup(hours), Severity.WARNING, key=list(Severity).index),
                says=f"The backup reserve is breached {when}: {held[first] / 1e3:.1f} kWh held,"
                f" {floor[first] / 1e3:.1f} kWh asked for {site.autonomy.autonomy_h:g} h.",
                backup_h=round(hours, 2),
                more={"short_wh": round(short_wh, 1)},
            )
        )
    return found


def _stores(fleet: Fleet) -> list[tuple[Site, Reading, Store]]:
    found = []
    for site in fleet.limits.sites.values():
        reading = fleet.state.readings.get(site.site_id)
        store = store_of(site, reading)
        if reading is not None and store is not None:
            found.append((site, reading, store))
    return found


def _hours(fleet: Fleet, site: Site, at: datetime, backup_wh: float, level: float) -> float:
    """Return how long the energy lasts from an instant at one load quantile, PV at the opposite one; at most 96 h.

    Where the forecast ends the last known day is repeated; without a forecast the profile's highest load stands in.
    """
    load, pv = fleet.state.load.get(site.site_id), fleet.state.pv.get(site.site_id)
    sun = {UPPER: LOWER, MEDIAN: MEDIAN, LOWER: UPPER}[level]
    left, hours = max(backup_wh, 0.0), 0.0
    begin = floor_step(at)
    share = 1.0 - (at - begin) / STEP
    for k in range(int(LOOK_H / STEP_H)):
        w = (
            site.autonomy.max_load_w
            if load is None
            else _value(load.quantile_w(level), load.start, begin + k * STEP)
        )
        p = 0.0 if pv is None else _value(pv.quantile_w(sun), pv.start, begin + k * STEP)
        need = max(w, 0.0) - max(p, 0.0)
        length = STEP_H * (share if k == 0 else 1.0)
        if need > 0.0 and left <= need * length:
            return hours + left / need
        left -= max(need, 0.0) * length
        hours += length
    return LOOK_H


def _value(row: Sequence[float], start: datetime, at: datetime) -> float:
    """Return a forecast's value at an instant; past its end the same hour of its last day, before its start the first."""
    k = int((at - start) / STEP)
    if k >= len(row):
        back = 96 if len(row) >= 96 else 1
        k = len(row) - back + (k - len(row)) % back
    return row[max(k, 0)]


def _held(site: Site, store: Store, plans: Sequence[Plan], start: datetime, steps: int) -> list[float]:
    """Return the energy above the disconnect at the start of each step and at the end, as running plans change it, Wh."""
    held = [store.backup_wh]
    powers = [setpoint_w(site, plans, start + k * STEP) for k in range(steps)]
    for w in powers:
        gain = w * STEP_H * (store.credit_frac if w > 0.0 else 1.0)
        held.append(min(held[-1] + gain, max(store.ceiling_wh, held[-1])))
    return held


def setpoint_w(site: Site, plans: Sequence[Plan], at: datetime) -> float:
    """Return what running plans ask of a site's battery at an instant, W, charging positive."""
    for plan in plans:
        if not plan.window_start <= at < plan.window_end:
            continue
        for one in plan.sites:
            if one.site_id == site.site_id and one.schedule_w:
                return one.schedule_w[int((at - plan.window_start) / STEP)]
    return 0.0
