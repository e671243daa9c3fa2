"""Alerts about tomorrow's outages: where they are likely, and whether the battery would carry the site. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from telemetry.model.incident import Severity
from telemetry.model.site import Site
from tools.alerts.alert import Alert, AlertKind
from tools.alerts.outage_history import DailyHistory

Floats = npt.NDArray[np.floating]

DAY_STEPS = 96
ABSENT_SHARE = 0.05
LIKELY_FRAC = 0.25
LONG_OUTAGE_H = 4.0
"""A chance from which tomorrow's outage is told, and the length that a battery should carry [I]."""


def outage_days(grid_w: Floats, load_w: Floats, first_day: date) -> DailyHistory:
    """Return which days had an outage, from whole days of quarter-hour roll-ups that begin at midnight.

    A quarter hour without mains draws next to nothing from the grid while the site's load goes on.

    Args:
        grid_w: Shape (sites, steps), NaN for gaps.
        load_w: Same shape.
        first_day: Of column 0.
    """
    days = grid_w.shape[1] // DAY_STEPS
    known = np.isfinite(grid_w) & np.isfinite(load_w) & (load_w > 0.0)
    absent = known & (grid_w < ABSENT_SHARE * np.where(known, load_w, 1.0))
    shape = (len(grid_w), days, DAY_STEPS)
    quarters = absent[:, : days * DAY_STEPS].reshape(shape).sum(axis=2)
    seen = known[:, : days * DAY_STEPS].reshape(shape).sum(axis=2) >= DAY_STEPS // 2
    return DailyHistory(
        first_day=first_day, seen=seen, failed=seen & (quarters > 0), deficit=quarters.astype(np.float64)
    )


def outage_risk(
    sites: Mapping[str, Site], chances: Mapping[str, float], backup_h: Mapping[str, float], now: datetime
) -> list[Alert]:
    """Return for each site whose mains are likely to fail tomorrow what its battery would carry.

    Args:
        sites: The registry.
        chances: Site to the chance of an outage tomorrow, 0..1.
        backup_h: Site to hours of backup as it stands, where known.
        now: Aware UTC.
    """
    found = []
    for name, chance in chances.items():
        site = sites.get(name)
        if site is None or not chance >= LIKELY_FRAC:
            continue
        zone = ZoneInfo(site.time_zone)
        tomorrow = (now.astimezone(zone) + timedelta(days=1)).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        hours = backup_h.get(name)
        short = hours is not None and hours < LONG_OUTAGE_H
        carried = "" if hours is None else f" The battery would carry the site for {hours:.1f} h."
        found.append(
            Alert(
                kind=AlertKind.OUTAGE_RISK,
                subject_id=site.site_id,
                feeder_id=site.feeder_id,
                due_at=tomorrow.astimezone(now.tzinfo),
                earliest_at=tomorrow.astimezone(now.tzinfo),
                latest_at=(tomorrow + timedelta(days=1)).astimezone(now.tzinfo),
                field="chance_frac",
                expected=round(chance, 3),
                limit=LIKELY_FRAC,
                severity=Severity.WARNING if short else Severity.INFO,
                says=f"Mains are likely to fail tomorrow ({chance:.0%}).{carried}",
                chance_frac=round(chance, 3),
                backup_h=None if hours is None else round(hours, 2),
            )
        )
    return found
