"""Puts together what a verdict may depend on: live readings, forecasts, live plans, the mode in force."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from edge.plan import Plan
from edge.safety.limits import DayUse, FleetState, Limits, OperatingMode, Policy
from telemetry.model.reading import Reading, SiteStatus
from telemetry.model.series import Forecast, Quantity
from telemetry.model.site import Feeder, FeederId, Site, SiteId


class Readings(Protocol):
    """What is asked of `telemetry.reading_store.ReadingStore`."""

    async def latest(self, site_ids: Sequence[SiteId] | None = None) -> dict[SiteId, Reading]: ...
    async def statuses(self) -> dict[SiteId, SiteStatus]: ...
    async def quality_scores(self) -> dict[SiteId, float]: ...
    async def discharged_since(self, start: datetime) -> dict[SiteId, float]: ...


class Registry(Protocol):
    """What is asked of `telemetry.registry_store.RegistryStore`."""

    async def sites(self) -> dict[SiteId, Site]: ...
    async def feeders(self) -> dict[FeederId, Feeder]: ...


class Forecasts(Protocol):
    """What is asked of the forecast store: the newest forecast of each subject."""

    async def latest(self, quantity: Quantity) -> Mapping[str, Forecast]: ...


class LivePlans(Protocol):
    """What is asked of the plan store."""

    async def live(self, at: datetime, recharge: timedelta) -> tuple[Plan, ...]: ...

    async def superseded(self, live: Sequence[Plan]) -> tuple[Plan, ...]: ...


class Mode(Protocol):
    """What is asked of the mode store."""

    async def mode(self) -> OperatingMode: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """Assembles `FleetState` and `Limits` from the stores; each call reads afresh.

    `clock` tells the domain instant. `recharge` is how long after its window a plan still counts as live: its batteries are being filled again.
    """

    readings: Readings
    registry: Registry
    forecasts: Forecasts
    plans: LivePlans
    mode: Mode
    policy: Policy
    clock: Callable[[], datetime]
    recharge: timedelta = timedelta(hours=12)

    async def limits(self) -> Limits:
        """Return what the registry and the policy allow."""
        sites, feeders = await asyncio.gather(self.registry.sites(), self.registry.feeders())
        return Limits(sites=sites, feeders=feeders, policy=self.policy)

    async def state(self) -> FleetState:
        """Return the live state of the whole fleet; its `at` is the end of the look.

        Sites go on talking while we look, so some readings are younger than the look's begin. Judged by that instant
        they would be of the future, which the rules refuse (S7): judge by `at`, or by a later one.
        """
        began = self.clock()
        sites = await self.registry.sites()
        latest, statuses, scores, day_use = await asyncio.gather(
            self.readings.latest(),
            self.readings.statuses(),
            self.readings.quality_scores(),
            self._day_use(sites, began),
        )
        load, pv, background, plans, mode = await asyncio.gather(
            self.forecasts.latest(Quantity.LOAD_W),
            self.forecasts.latest(Quantity.PV_W),
            self.forecasts.latest(Quantity.BACKGROUND_W),
            self.plans.live(began, self.recharge),
            self.mode.mode(),
        )
        superseded = await self.plans.superseded(plans)
        return FleetState(
            at=self.clock(),
            mode=mode,
            readings=latest,
            statuses=statuses,
            quality_score=scores,
            load={SiteId(name): forecast for name, forecast in load.items()},
            pv={SiteId(name): forecast for name, forecast in pv.items()},
            background={FeederId(name): forecast for name, forecast in background.items()},
            day_use=day_use,
            live_plans=plans,
            superseded_plans=superseded,
        )

    async def _day_use(self, sites: Mapping[SiteId, Site], now: datetime) -> dict[SiteId, DayUse]:
        """Return today's use of each battery, the day beginning at the site's own midnight."""
        by_midnight: dict[datetime, list[Site]] = defaultdict(list)
        for site in sites.values():
            by_midnight[midnight(now, site.time_zone)].append(site)
        use: dict[SiteId, DayUse] = {}
        for start, mine in by_midnight.items():
            given = await self.readings.discharged_since(start)
            for site in mine:
                wh = given.get(site.site_id, 0.0)
                use[site.site_id] = DayUse(cycles=wh / site.battery.rated_wh, discharged_wh=wh)
        return use


def midnight(now: datetime, time_zone: str) -> datetime:
    """Return when the local day of `now` began."""
    local = now.astimezone(ZoneInfo(time_zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0)
