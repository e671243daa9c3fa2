"""Keeps the forecasts fresh: history out of the roll-ups, one forecaster per quantity, results into the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from telemetry.model.series import Forecast, Quantity
from telemetry.model.site import Site, SiteId
from tools.errors import ToolUnavailableError
from tools.forecast_inputs import ForecastInputs
from tools.forecasting.clear_sky import Place, clear_sky_of
from tools.forecasting.cold_start import cold_start
from tools.forecasting.fleet_forecast import FleetForecast
from tools.forecasting.forecast_store import ForecastStore
from tools.forecasting.forecaster import Forecaster, NoForecastError
from tools.forecasting.history import LoadHistory
from tools.forecasting.selector import Selector
from tools.outlook import floor_step
from tools.score_forecasts import ForecastScoring


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRefresh:
    """Makes forecasts when the newest ones are older than `every`, after scoring the older ones.

    Attributes:
        inputs: Roll-ups, background load and the registry.
        store: Where forecasts are kept.
        forecasters: Which forecaster serves which quantity.
        scoring: Scores served forecasts; a subject it alarms is chosen for anew. None: nothing is scored.
        past: How much history is learnt from.
        steps: How far ahead, quarter hours.
        every: Forecasts younger than this are left as they are.
        clusters: Names each site's profile cluster as of an instant: a site without a past is forecast by that of its like.
        workers: Entered around every fit: where joblib's tasks run (`forecasting.workers.workers`).
    """

    inputs: ForecastInputs
    store: ForecastStore
    forecasters: Mapping[Quantity, Forecaster]
    scoring: ForecastScoring | None = None
    past: timedelta = timedelta(days=28)
    steps: int = 192
    every: timedelta = timedelta(hours=1)
    clusters: Callable[[datetime, Mapping[SiteId, Site]], Awaitable[Mapping[SiteId, int]]] | None = None
    workers: Callable[[], AbstractContextManager[None]] = nullcontext
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tried: dict[Quantity, tuple[datetime, frozenset[str]]] = field(default_factory=dict)

    async def __call__(self, now: datetime) -> int:
        """Bring every quantity up to date, and return how many forecasts were made.

        Raises:
            ToolUnavailableError: There is not enough history for the sites' load.
        """
        async with self._lock:
            return sum([await self._quantity(quantity, now) for quantity in self.forecasters])

    async def _quantity(self, quantity: Quantity, now: datetime) -> int:
        newest = await self.store.latest(quantity)
        subjects, zone = await self.inputs.subjects(quantity)
        fresh = {name for name, one in newest.items() if timedelta(0) <= now - one.made_at < self.every}
        at, asked = self._tried.get(quantity, (now - self.every, frozenset()))
        if timedelta(0) <= now - at < self.every:
            fresh |= asked  # a subject without enough past is not asked for again at every turn
        if subjects.keys() <= fresh:
            return 0
        alarmed = {} if self.scoring is None else await self.scoring(quantity, now)
        end = floor_step(now)
        start = end - self.past
        values = await self.inputs.values(quantity, list(subjects), start, end)
        history = LoadHistory(site_ids=tuple(subjects), values=values, start=start, zone=zone)
        forecaster = self.forecasters[quantity]
        if alarmed and isinstance(forecaster, Selector):
            forecaster = replace(forecaster, alarmed=alarmed)
        known = {one.site_id: one for one in subjects.values() if one is not None}
        groups = {} if self.clusters is None or not known else await self.clusters(now, known)
        try:
            made = await asyncio.to_thread(
                self._fanned, forecaster, quantity, history, list(subjects.values()), groups
            )
        except NoForecastError as error:
            if quantity is Quantity.PV_W:
                return 0  # sites with panels then count as having no forecast, and are kept out of plans
            raise ToolUnavailableError(f"no forecast of {quantity.value}: {error}") from error
        self._tried[quantity] = (now, frozenset(subjects))
        return await self.store.put(made)

    def _fanned(
        self,
        forecaster: Forecaster,
        quantity: Quantity,
        history: LoadHistory,
        sites: Sequence[Site | None],
        groups: Mapping[SiteId, int],
    ) -> list[Forecast]:
        with self.workers():
            return _made(forecaster, quantity, history, sites, self.steps, groups)


def _made(
    forecaster: Forecaster,
    quantity: Quantity,
    history: LoadHistory,
    sites: Sequence[Site | None],
    steps: int,
    groups: Mapping[SiteId, int],
) -> list[Forecast]:
    """Return the forecasts of a history's subjects, those without a past of their own by the profile of the others."""
    if not history.site_ids:
        raise NoForecastError("there is nothing to forecast")
    known = [one for one in sites if one is not None]
    if quantity is Quantity.PV_W:
        places = [Place(latitude=one.latitude, longitude=one.longitude) for one in known]
        sky = clear_sky_of(places, history.start, history.steps + steps, history.step)
        history = replace(history, regressors=(sky,))
    fleet: FleetForecast = forecaster.fit(history).predict(history.end, steps)
    if quantity is not Quantity.BACKGROUND_W and fleet.absent:
        expected_w = [
            one.pv_rated_w if quantity is Quantity.PV_W else one.autonomy.max_load_w for one in known
        ]
        # The shape of a load says nothing about panels.
        kinds = {str(name): label for name, label in groups.items()} if quantity is Quantity.LOAD_W else None
        fleet = cold_start(fleet, history, np.array(expected_w), kinds)
    return [fleet.for_site(name) for name in fleet.site_ids]
