"""Alerts about batteries: leaving their temperature window, and the end of their life. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from telemetry.model.battery import Battery
from telemetry.model.incident import Severity
from telemetry.model.series import STEP
from telemetry.model.site import Site
from tools.alerts.alert import Alert, AlertKind
from tools.alerts.energy import hhmm
from tools.outlook import floor_step

Floats = npt.NDArray[np.floating]
DAY_STEPS = 96
PERSIST_H = 12.0
"""How long today's difference from yesterday is expected to last, hours: it fades by 1/e in this time [I]."""
WIDTH = 1.6449
"""Spreads to either side of the expectation for a 90 % interval, were errors normal."""
REPLACE_WITHIN = timedelta(days=183)
REPLACE_SOON = timedelta(days=61)


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """When a battery falls to its end of life: one in ten by `early`, half by `middle`, nine in ten by `late`."""

    early: datetime
    middle: datetime
    late: datetime
    soh_frac: float


def window_c(battery: Battery) -> tuple[float, float]:
    """Return between which temperatures a battery may be charged, degC: outside it cannot be filled again."""
    usable = [band for band in battery.bands if band.charge_c_rate > 0.0]
    return min(band.from_c for band in usable), max(band.to_c for band in usable)


def expected_c(past_c: Floats, steps: int) -> tuple[Floats, Floats] | None:
    """Return the expected battery temperature by quarter hour and its 90 % half width, degC.

    Yesterday's course, shifted by today's difference from it, which fades. The width is what the same rule would have
    erred by over the days that are there.

    Args:
        past_c: Quarter-hour means, the latest last, NaN for gaps; None is returned for less than two days or a latest
            hour without values.
        steps: How far ahead, at most a day.
    """
    if past_c.shape[0] < 2 * DAY_STEPS + 1:
        return None
    ahead = _persisted(past_c, len(past_c), steps)
    if ahead is None:
        return None
    errors = []
    for end in range(len(past_c) - DAY_STEPS, 2 * DAY_STEPS - 1, -8):
        then = _persisted(past_c[:end], end, steps)
        seen = past_c[end : end + steps]
        if then is not None:
            errors.append(np.where(np.isfinite(seen), seen - then[: len(seen)], np.nan))
    if not errors:
        return ahead, np.full(steps, 3.0)  # one day says nothing of the rule's error: 3 degC stand in [I]
    known = np.concatenate(errors)
    spread = float(np.sqrt(np.nanmean(known**2))) if np.isfinite(known).any() else 3.0
    return ahead, np.full(steps, WIDTH * max(spread, 0.3))


def _persisted(past_c: Floats, end: int, steps: int) -> Floats | None:
    recent = past_c[end - 4 : end]
    before = past_c[end - DAY_STEPS - 4 : end - DAY_STEPS] if end >= DAY_STEPS + 4 else past_c[:0]
    if not (np.isfinite(recent).any() and np.isfinite(before).any()):
        return None
    shift = float(np.nanmean(recent) - np.nanmean(before))
    yesterday = past_c[end - DAY_STEPS : end - DAY_STEPS + steps]
    level = float(np.nanmean(past_c[end - DAY_STEPS : end]))
    course = np.where(np.isfinite(yesterday), yesterday, level)
    fade = np.exp(-np.arange(1, len(course) + 1) * 0.25 / PERSIST_H)
    return np.asarray(course + shift * fade)


def battery_temperature(
    sites: Mapping[str, Site], past_c: Mapping[str, Floats], now: datetime, steps: int = 48
) -> list[Alert]:
    """Return for each site when its battery leaves the window in which it may be charged.

    A battery outside its window now is due now. Where no band holds the temperature at all it may not even be
    discharged, which is critical: there is no backup then.

    Args:
        sites: The registry.
        past_c: Site to quarter-hour means of battery temperature, the latest ending at `now`.
        now: Aware UTC.
        steps: How far ahead, quarter hours.
    """
    found = []
    for name, site in sites.items():
        row = past_c.get(name)
        course = None if row is None else expected_c(row, steps)
        if course is None:
            continue
        alert = _leaving(site, course[0], course[1], floor_step(now), now)
        if alert is not None:
            found.append(alert)
    return found


def _leaving(site: Site, course: Floats, width: Floats, start: datetime, now: datetime) -> Alert | None:
    low, high = window_c(site.battery)
    outside = (course < low) | (course >= high)
    if not outside.any():
        return None
    first = int(np.argmax(outside))
    may = (course - width < low) | (course + width >= high)
    surely = (course + width < low) | (course - width >= high)
    due = max(start + first * STEP, now)
    limit = high if course[first] >= high else low
    worst = float(course[outside].max() if limit == high else course[outside].min())
    unusable = site.battery.band_at(worst) is None
    return Alert(
        kind=AlertKind.BATTERY_TEMPERATURE,
        subject_id=site.site_id,
        feeder_id=site.feeder_id,
        due_at=due,
        earliest_at=min(max(start + int(np.argmax(may)) * STEP, now), due),
        latest_at=max(start + int(np.argmax(surely)) * STEP, due)
        if surely.any() and int(np.argmax(surely)) >= first
        else None,
        field="battery_c",
        expected=round(worst, 1),
        limit=limit,
        severity=Severity.CRITICAL if unusable else Severity.WARNING,
        says=f"The battery leaves its charging window ({low:g} to {high:g} degC) at {hhmm(due, site.time_zone, now)},"
        f" {worst:.0f} degC expected at worst"
        + ("; it may not be discharged then either." if unusable else "."),
        backup_h=0.0 if unusable else None,
    )


def battery_end_of_life(sites: Mapping[str, Site], lives: Mapping[str, Life], now: datetime) -> list[Alert]:
    """Return for each battery that reaches its end of life within half a year in which month it does."""
    found = []
    for name, life in lives.items():
        site = sites.get(name)
        if site is None or life.middle - now > REPLACE_WITHIN:
            continue
        due = max(life.middle, now)
        found.append(
            Alert(
                kind=AlertKind.BATTERY_END_OF_LIFE,
                subject_id=site.site_id,
                feeder_id=site.feeder_id,
                due_at=due,
                earliest_at=min(max(life.early, now), due),
                latest_at=max(life.late, due),
                field="soh_frac",
                expected=round(life.soh_frac, 3),
                limit=0.8,
                severity=Severity.WARNING if due - now <= REPLACE_SOON else Severity.INFO,
                says=f"The battery reaches its end of life in {due:%B %Y}"
                f" (between {max(life.early, now):%B %Y} and {life.late:%B %Y}); {life.soh_frac:.0%} now.",
            )
        )
    return found
