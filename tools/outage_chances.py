"""How likely each site's mains are to fail tomorrow, told from its own past: worked out once a day."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from telemetry.model.site import SiteId
from tools.alerts.outage_history import chance_by_rate
from tools.alerts.outage_risk import outage_days
from tools.outlook import floor_step
from tools.refresh_incidents import Series

HOW = "how often the site's own mains failed lately (3, 14 and 60 days), drawn towards the fleet's share"


@dataclass(slots=True, kw_only=True)
class OutageChances:
    """Tomorrow's chances of an outage; the first look of each day (UTC) works them out.

    Attributes:
        readings: Roll-ups.
        past: How far back outages are counted.
        least_days: With fewer days of history no chance is told.
    """

    readings: Series
    past: timedelta = timedelta(days=60)
    least_days: int = 14
    _kept: tuple[datetime, tuple[SiteId, ...], Mapping[str, float]] | None = None

    async def __call__(self, names: Sequence[SiteId], now: datetime) -> Mapping[str, float]:
        """Return site to chance, 0..1, of an outage on the day after `now`; sites with too short a past are left out."""
        midnight, asked = floor_step(now).replace(hour=0, minute=0), tuple(names)
        if self._kept is not None and self._kept[:2] == (midnight, asked):
            return self._kept[2]
        start = midnight - self.past
        found = await self.readings.grid(("grid_w", "load_w"), asked, start, midnight)
        history = await asyncio.to_thread(outage_days, found["grid_w"], found["load_w"], start.date())
        days, chance = history.seen.sum(axis=1), chance_by_rate(history)
        known = {str(name): float(chance[k]) for k, name in enumerate(asked) if days[k] >= self.least_days}
        self._kept = (midnight, asked, known)
        return known
