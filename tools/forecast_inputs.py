"""What forecasts are made of and scored against: subjects out of the registry, quarter-hour means out of the roll-ups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt

from telemetry.model.series import STEP, Quantity
from telemetry.model.site import Feeder, FeederId, Site, SiteId

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
class ForecastInputs:
    """Reads what is forecast."""

    readings: Series
    registry: Registry

    async def subjects(self, quantity: Quantity) -> tuple[Mapping[str, Site | None], str]:
        """Return what is forecast, by name (a feeder has no site), and the time zone of its calendar."""
        sites = await self.registry.sites()
        zone = next((site.time_zone for site in sites.values()), "UTC")
        if quantity is Quantity.BACKGROUND_W:
            return dict.fromkeys([str(name) for name in await self.registry.feeders()]), zone
        wanted = [site for site in sites.values() if quantity is Quantity.LOAD_W or site.pv_rated_w > 0.0]
        return {str(site.site_id): site for site in wanted}, zone

    async def values(
        self, quantity: Quantity, subjects: Sequence[str], start: datetime, end: datetime
    ) -> npt.NDArray[np.float64]:
        """Return quarter-hour means on one grid, W, shape (subjects, steps), NaN where too little was measured."""
        if quantity is Quantity.BACKGROUND_W:
            found = await self.readings.background([FeederId(name) for name in subjects], start, end)
            return on_grid([found.get(FeederId(name), []) for name in subjects], start, end)
        grid = await self.readings.grid(
            [quantity.value, "completeness"], [SiteId(name) for name in subjects], start, end
        )
        enough = grid["completeness"] >= _LEAST_COMPLETE
        return np.where(enough, grid[quantity.value], np.nan).astype(np.float64)


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
