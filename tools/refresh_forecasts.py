"""Keeps the forecasts fresh: history out of the roll-ups, one forecaster per quantity, results into the store."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import numpy.typing as npt

from telemetry.model.series import STEP, Forecast, Quantity
from telemetry.model.site import Feeder, FeederId, Site, SiteId
from tools.errors import ToolUnavailableError
from tools.forecasting.forecast_store import ForecastStore
from tools.forecasting.forecaster import Forecaster, NoForecastError
from tools.forecasting.history import LoadHistory
from tools.outlook import floor_step

_LEAST_COMPLETE = 0.5  # a quarter hour with less of its samples counts as a gap


class Series(Protocol):
    """What is asked of `telemetry.reading_store.ReadingStore`."""

    async def grid(
        self, metrics: Sequence[str], site_ids: Sequence[SiteId], start: datetime, end: datetime
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return quarter-hour means by metric, shape (sites, steps), NaN where nothing was measured."""
        ...

    async def background(
        self, feeder_ids: Sequence[FeederId], start: datetime, end: datetime
    ) -> dict[FeederId, list[tuple[datetime, float]]]:
        """Return quarter-hour means of background load by feeder."""
        ...


class Registry(Protocol):
    """What is asked of `telemetry.registry_store.RegistryStore`."""

    async def sites(self) -> dict[SiteId, Site]:
        """Return all sites."""
        ...

    async def feeders(self) -> dict[FeederId, Feeder]:
        """Return all feeders."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRefresh:
    """Makes forecasts when the newest ones are older than `every`.

    Attributes:
        readings: Roll-ups and background load.
        registry: Sites and feeders.
        store: Where forecasts are kept.
        forecasters: Which forecaster serves which quantity.
        past: How much history is learnt from.
        steps: How far ahead, quarter hours.
        every: Forecasts younger than this are left as they are.
    """

    readings: Series
    registry: Registry
    store: ForecastStore
    forecasters: Mapping[Quantity, Forecaster]
    past: timedelta = timedelta(days=28)
    steps: int = 192
    every: timedelta = timedelta(hours=1)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, now: datetime) -> int:
        """Bring every quantity up to date, and return how many forecasts were made.

        Raises:
            ToolUnavailableError: There is not enough history for the sites' load.
        """
        async with self._lock:
            return sum([await self._quantity(quantity, now) for quantity in self.forecasters])

    async def _quantity(self, quantity: Quantity, now: datetime) -> int:
        newest = await self.store.latest(quantity)
        subjects, zone = await self._subjects(quantity)
        fresh = {name for name, one in newest.items() if timedelta(0) <= now - one.made_at < self.every}
        if set(subjects) <= fresh:
            return 0
        end = floor_step(now)
        start = end - self.past
        values = await self._values(quantity, subjects, start, end)
        history = LoadHistory(site_ids=tuple(subjects), values=values, start=start, zone=zone)
        try:
            made = await asyncio.to_thread(self._make, quantity, history, end)
        except NoForecastError as error:
            if quantity is Quantity.PV_W:
                return 0  # sites with panels then count as having no forecast, and are kept out of plans
            raise ToolUnavailableError(f"no forecast of {quantity.value}: {error}") from error
        return await self.store.put(made)

    async def _subjects(self, quantity: Quantity) -> tuple[list[str], str]:
        sites = await self.registry.sites()
        zone = next((site.time_zone for site in sites.values()), "UTC")
        if quantity is Quantity.BACKGROUND_W:
            return [str(name) for name in await self.registry.feeders()], zone
        wanted = [site for site in sites.values() if quantity is Quantity.LOAD_W or site.pv_rated_w > 0.0]
        return [str(site.site_id) for site in wanted], zone

    async def _values(
        self, quantity: Quantity, subjects: Sequence[str], start: datetime, end: datetime
    ) -> npt.NDArray[np.float64]:
        """Return quarter-hour means on one grid, shape (subjects, steps), NaN where too little was measured."""
        if quantity is Quantity.BACKGROUND_W:
            found = await self.readings.background([FeederId(name) for name in subjects], start, end)
            return on_grid([found[FeederId(name)] for name in subjects], start, end)
        grid = await self.readings.grid(
            [quantity.value, "completeness"], [SiteId(name) for name in subjects], start, end
        )
        enough = grid["completeness"] >= _LEAST_COMPLETE
        return np.where(enough, grid[quantity.value], np.nan).astype(np.float64)

    def _make(self, quantity: Quantity, history: LoadHistory, start: datetime) -> list[Forecast]:
        if not history.site_ids:
            raise NoForecastError("there is nothing to forecast")
        fleet = self.forecasters[quantity].fit(history).predict(start, self.steps)
        return [fleet.for_site(name) for name in fleet.site_ids]


def on_grid(
    series: Sequence[Sequence[tuple[datetime, float]]], start: datetime, end: datetime
) -> npt.NDArray[np.float64]:
    """Return quarter-hour means on one grid, shape (series, steps), NaN where nothing was measured."""
    values = np.full((len(series), (end - start) // STEP), np.nan)
    for number, rows in enumerate(series):
        for at, value in rows:
            column, rest = divmod(at - start, STEP)
            if not rest and 0 <= column < values.shape[1]:
                values[number, column] = value
    return values
