"""Alerts about feeders: when the import passes the limit, running plans counted. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from telemetry.model.incident import Severity
from telemetry.model.series import STEP
from telemetry.model.site import Feeder
from tools.alerts.alert import Alert, AlertKind
from tools.alerts.energy import hhmm, setpoint_w
from tools.deps import Fleet
from tools.outlook import floor_step, look_ahead, reach

HORIZON = timedelta(hours=24)


def feeder_limit(fleet: Fleet, now: datetime, horizon: timedelta = HORIZON) -> list[Alert]:
    """Return for each feeder when its forecast import passes its limit.

    Due is where the median forecast passes it; where only the upper quantile (0.975) does, the alert is mild and due
    at the worst hour. Relief counts as what running plans take from the sites' rectifiers. Feeders without a background
    forecast have no alert: nothing is known of them.
    """
    found = []
    for feeder in fleet.limits.feeders.values():
        start = floor_step(now)
        steps = reach(fleet, feeder, start, horizon)
        outlook = look_ahead(fleet, feeder, start, steps)
        if outlook.missing or not outlook.upper_w:
            continue
        relief = _relief_w(fleet, feeder, start, steps)
        upper = [w + r for w, r in zip(outlook.upper_w, relief, strict=True)]
        median = [w + r for w, r in zip(outlook.median_w, relief, strict=True)]
        over = [k for k in range(steps) if upper[k] > feeder.import_limit_w]
        if not over:
            continue
        sure = [k for k in over if median[k] > feeder.import_limit_w]
        worst = max(over, key=lambda k: upper[k])
        at = sure[0] if sure else worst
        found.append(
            _alert(
                fleet,
                feeder,
                now,
                start,
                first=over[0],
                at=at,
                row=median if sure else upper,
                sure=bool(sure),
            )
        )
    return found


def _alert(
    fleet: Fleet,
    feeder: Feeder,
    now: datetime,
    start: datetime,
    *,
    first: int,
    at: int,
    row: list[float],
    sure: bool,
) -> Alert:
    zone = next(
        (site.time_zone for site in fleet.limits.sites.values() if site.feeder_id == feeder.feeder_id), "UTC"
    )
    due = max(start + at * STEP, now)
    peak = max(row)
    peak_at = start + row.index(peak) * STEP
    likely = "is expected to pass" if sure else "may pass"
    return Alert(
        kind=AlertKind.FEEDER_LIMIT,
        subject_id=feeder.feeder_id,
        feeder_id=feeder.feeder_id,
        of_feeder=True,
        due_at=due,
        earliest_at=max(start + first * STEP, now),
        latest_at=None,
        field="import_w",
        expected=round(peak, 1),
        limit=feeder.import_limit_w,
        severity=Severity.WARNING if sure else Severity.INFO,
        says=f"The import {likely} the limit of {feeder.import_limit_w / 1e3:.0f} kW at {hhmm(due, zone, now)};"
        f" {peak / 1e3:.0f} kW at {hhmm(peak_at, zone, now)}.",
        more={"excess_w": round(peak - feeder.import_limit_w, 1)},
    )


def _relief_w(fleet: Fleet, feeder: Feeder, start: datetime, steps: int) -> list[float]:
    """Return what running plans add to the feeder's import by step, W; relief is negative."""
    sites = [site for site in fleet.limits.sites.values() if site.feeder_id == feeder.feeder_id]
    plans = fleet.state.live_plans
    return [
        sum(setpoint_w(site, plans, start + k * STEP) / site.rectifiers.efficiency for site in sites)
        for k in range(steps)
    ]
