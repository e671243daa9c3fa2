"""How likely each site's mains are to fail tomorrow, told from its own past: worked out once a day."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from telemetry.model.site import SiteId
from tools.alerts.outage_history import DailyHistory
from tools.alerts.outage_risk import outage_days
from tools.alerts.outage_served import served_chance
from tools.outlook import floor_step
from tools.refresh_incidents import Series

HOW = (
    "how often mains failed at the site and in the fleet lately: by boosted trees where these told the last three weeks"
    " better, else by the site's rate (3, 14 and 60 days) drawn towards the fleet's"
)
_DAY = timedelta(days=1)
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class OutageChances:
    """Tomorrow's chances of an outage; the first look of each day (UTC) works them out.

    The days that have passed are kept: after the first look only the newest day's roll-ups are read.

    Attributes:
        readings: Roll-ups.
        past: How far back outages are counted.
        least_days: With fewer days of history no chance is told.
        at_once: How much of the past is read in one query.
    """

    readings: Series
    past: timedelta = timedelta(days=180)
    least_days: int = 14
    at_once: timedelta = timedelta(days=15)
    _kept: tuple[datetime, tuple[SiteId, ...], Mapping[str, float]] | None = None
    _days: tuple[tuple[SiteId, ...], DailyHistory] | None = None

    async def __call__(self, names: Sequence[SiteId], now: datetime) -> Mapping[str, float]:
        """Return site to chance, 0..1, of an outage on the day after `now`; sites with too short a past are left out."""
        midnight, asked = floor_step(now).replace(hour=0, minute=0), tuple(names)
        if self._kept is not None and self._kept[:2] == (midnight, asked):
            return self._kept[2]
        history = await self._history(asked, midnight)
        served = await asyncio.to_thread(served_chance, history)
        _log.info("outage chances", extra={"how": served.how, "trial": served.trial})
        days = history.seen.sum(axis=1)
        known = {
            str(name): float(served.chance[k]) for k, name in enumerate(asked) if days[k] >= self.least_days
        }
        self._kept = (midnight, asked, known)
        return known

    async def _history(self, asked: tuple[SiteId, ...], midnight: datetime) -> DailyHistory:
        """Return the days up to a midnight, those known already from memory; the newest of these is read again."""
        start = midnight - self.past
        parts: list[DailyHistory] = []
        if self._days is not None and self._days[0] == asked:
            old = self._days[1]
            first, last = (start.date() - old.first_day).days, old.days - 1
            reaches = (midnight.date() - old.first_day).days > last  # a clock that was set back starts anew
            if 0 <= first < last and reaches:
                parts, start = [_between(old, first, last)], start + (last - first) * _DAY
        while start < midnight:
            end = min(start + self.at_once, midnight)
            found = await self.readings.grid(("grid_w", "load_w"), asked, start, end)
            parts.append(await asyncio.to_thread(outage_days, found["grid_w"], found["load_w"], start.date()))
            start = end
        history = _joined(parts)
        self._days = (asked, history)
        return history


def _between(history: DailyHistory, first: int, last: int) -> DailyHistory:
    """Return columns [first, last)."""
    return replace(
        history,
        first_day=history.first_day + first * _DAY,
        seen=history.seen[:, first:last],
        failed=history.failed[:, first:last],
        deficit=history.deficit[:, first:last],
    )


def _joined(parts: Sequence[DailyHistory]) -> DailyHistory:
    """Return stretches of days that follow each other as one."""
    return replace(
        parts[0],
        seen=np.concatenate([one.seen for one in parts], axis=1),
        failed=np.concatenate([one.failed for one in parts], axis=1),
        deficit=np.concatenate([one.deficit for one in parts], axis=1),
    )
