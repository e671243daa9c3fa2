"""Keeps the predictive alerts fresh: state and forecasts in, incidents with countdowns out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from telemetry.model.series import STEP
from telemetry.model.site import SiteId
from tools.alerts.alert import Alert
from tools.alerts.battery import Life, battery_end_of_life, battery_temperature
from tools.alerts.energy import reserve_breach, time_to_empty
from tools.alerts.feeders import feeder_limit
from tools.alerts.fold import fold
from tools.alerts.lifecycle import KINDS, Patience, folded, update_alerts
from tools.alerts.outage_risk import outage_risk
from tools.anomaly.incident_store import IncidentStore
from tools.deps import Fleet
from tools.health.remaining import RemainingLife
from tools.health.site_health import SiteHealth
from tools.outlook import floor_step
from tools.refresh_incidents import Series
from tools.site_needs import lasting_h, store_of

Floats = npt.NDArray[np.floating]
Lives = Callable[[datetime], Awaitable[Mapping[str, Life]]]
Chances = Callable[[Sequence[SiteId], datetime], Awaitable[Mapping[str, float]]]
_TEMPERATURE_PAST = timedelta(days=4)


async def no_lives(_: datetime) -> Mapping[str, Life]:
    """Return no battery's remaining life: none is known."""
    return {}


@dataclass(slots=True, kw_only=True)
class DailyLives:
    """Remaining lives from the batteries' health, worked out at the first look of each day: a battery ages slowly."""

    health: Callable[[datetime], Awaitable[Mapping[SiteId, SiteHealth]]]
    _kept: tuple[datetime, Mapping[str, Life]] | None = None

    async def __call__(self, now: datetime) -> Mapping[str, Life]:
        """Return the lives of the batteries whose end could be judged."""
        midnight = floor_step(now).replace(hour=0, minute=0)
        if self._kept is None or self._kept[0] != midnight:
            found = await self.health(now)
            lives = {
                str(name): Life(early=left.early, middle=left.middle, late=left.late, soh_frac=left.soh_frac)
                for name, one in found.items()
                if isinstance(left := one.remaining, RemainingLife)
            }
            self._kept = (midnight, lives)
        return self._kept[1]


@dataclass(slots=True, kw_only=True)
class AlertRefresh:
    """Looks ahead.

    Attributes:
        fleet: State and limits as of an instant.
        readings: Roll-ups.
        store: Incidents.
        chances: Tomorrow's chance of an outage by site, as far as it is known.
        lives: Remaining life by site, as far as it is known.
        max_reading_age: A site in an outage whose last reading is older is counted on from that reading for so long.
    """

    fleet: Callable[[], Awaitable[Fleet]]
    readings: Series
    store: IncidentStore
    chances: Chances
    lives: Lives = no_lives
    patience: Patience = field(default_factory=Patience)
    max_reading_age: timedelta = timedelta(hours=12)

    async def __call__(self, now: datetime) -> int:
        """Look ahead, keep what changed, and return how many alerts are open."""
        fleet = await self.fleet()
        now = max(now, fleet.state.at)
        found = await self.expected(fleet, now)
        known = [
            one
            for one in await self.store.since(now - self.patience.again - timedelta(days=1))
            if one.kind in KINDS
        ]
        changed = update_alerts(known, fold(found, folded(known)), now, self.patience)
        await self.store.put(changed)
        return sum(one.kind in KINDS for one in await self.store.open())

    async def expected(self, fleet: Fleet, now: datetime) -> list[Alert]:
        """Return every alert that stands now, before folding."""
        sites = {str(name): site for name, site in fleet.limits.sites.items()}
        past_c = await self._temperatures(list(fleet.limits.sites), now)
        lives = await self.lives(now)
        chances = await self.chances(list(fleet.limits.sites), now)
        return [
            *time_to_empty(fleet, now, self.max_reading_age),
            *reserve_breach(fleet, now),
            *feeder_limit(fleet, now),
            *battery_temperature(sites, past_c, now),
            *battery_end_of_life(sites, lives, now),
            *outage_risk(sites, chances, backup_hours(fleet, now), now),
        ]

    async def _temperatures(self, names: list[SiteId], now: datetime) -> dict[str, Floats]:
        end = floor_step(now)
        found = await self.readings.grid(("battery_c",), names, end - _TEMPERATURE_PAST, end)
        rows = found["battery_c"].astype(np.float64)
        return {str(name): row for name, row in zip(names, rows, strict=True)}


def backup_hours(fleet: Fleet, now: datetime) -> dict[str, float]:
    """Return the hours that each site would run on its battery now, at upper load."""
    found = {}
    for name, site in fleet.limits.sites.items():
        store = store_of(site, fleet.state.readings.get(name))
        load = fleet.state.load.get(name)
        if store is not None:
            offset = 0 if load is None else int((floor_step(now) - load.start) / STEP)
            found[str(name)] = lasting_h(fleet, name, offset, store.backup_wh)
    return found
