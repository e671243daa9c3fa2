"""The composition root: stores and engines put together, the same way for every process that needs them."""

from collections.abc import Mapping
from datetime import timedelta

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from edge.safety.limits import Policy
from telemetry.model.clock import Clock
from telemetry.model.series import Quantity
from telemetry.reading_store import ReadingStore
from telemetry.registry_store import RegistryStore
from tools.forecasting.forecast_store import ForecastStore
from tools.forecasting.forecaster import Forecaster
from tools.forecasting.prophet_model import ProphetModel
from tools.forecasting.pv import ClearSkyShare
from tools.forecasting.pv_boosted import LearnedPv
from tools.forecasting.ridge import BatchedRidge
from tools.forecasting.selector import Selector
from tools.forecasting.workers import FannedOut
from tools.planning.fleet_state import FleetView
from tools.planning.mode_store import ModeStore
from tools.planning.plan_store import PlanStore

Pool = AsyncConnectionPool[AsyncConnection]


def fleet_view(pool: Pool, clock: Clock) -> FleetView:
    """Return what puts the fleet's live state together from this process's own database role."""
    return FleetView(
        readings=ReadingStore(pool),
        registry=RegistryStore(pool),
        forecasts=ForecastStore(pool),
        plans=PlanStore(pool),
        mode=ModeStore(pool),
        policy=Policy(),
        clock=clock.now,
    )


def served_forecasters(jobs: int = 1) -> Mapping[Quantity, Forecaster]:
    """Return what forecasts each quantity; seasonal naive is in every selection and is never lost to.

    Prophet (95 ms of CPU a fit) takes part where there are few series: the feeders, whose peak decides. With `jobs`
    other than 1 the fits are joblib's tasks, on this machine or wherever `forecasting.workers` sends them.
    """
    ridge = BatchedRidge() if jobs == 1 else FannedOut(model=BatchedRidge(), jobs=jobs)
    return {
        Quantity.LOAD_W: Selector(candidates=(ridge,)),
        Quantity.PV_W: Selector(
            candidates=(ClearSkyShare(), LearnedPv(refit_days=14, members=1, max_rows=20_000)),
            quantity=Quantity.PV_W.value,
        ),
        Quantity.BACKGROUND_W: Selector(
            candidates=(BatchedRidge(), ProphetModel(jobs=jobs)),
            quantity=Quantity.BACKGROUND_W.value,
            folds=7,
        ),
    }


HISTORY_FOR_FORECASTS = timedelta(days=28)
