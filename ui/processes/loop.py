"""`cellwatt loop`: the agent. It may propose plans and ask for their dispatch, and has no key and no way to a device."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from agents.checkpoints import open_checkpoints
from agents.deps import AgentDeps
from agents.loop import Loop, LoopSettings
from agents.model_client import ChatModel, Endpoint, EndpointModel, WithFallback
from agents.policy import PolicyPlanner
from agents.thread_store import ThreadStore
from edge.plan import ApprovalTier, Plan
from edge.safety.policy import load_policy, required_tier
from edge.safety.validator import validate
from edge.safety.verdict import Approved, Rejected
from telemetry.db import open_async_pool
from telemetry.reading_store import ReadingStore
from telemetry.registry_store import RegistryStore
from tools.anomaly.incident_store import IncidentStore
from tools.deps import Deps, Fleet
from tools.forecasting.forecast_store import ForecastStore
from tools.planning.dispatch_store import DispatchStore
from tools.planning.plan_store import PlanStore
from tools.refresh_forecasts import ForecastRefresh
from tools.refresh_incidents import IncidentRefresh
from ui.bootstrap import HISTORY_FOR_FORECASTS, Pool, fleet_view, served_forecasters
from ui.settings import DATABASE_URL, POLICY_FILE, ProcessSettings, need

_ENDPOINT_TIMEOUT = timedelta(seconds=30)
_OWNER = "loop"  # one loop per installation: its successor takes over its leases at once


async def run_loop(env: Mapping[str, str]) -> None:
    """Run until cancelled.

    Raises:
        SettingsError: A setting is missing.
    """
    settings = ProcessSettings.from_env(env)
    dsn = need(env, DATABASE_URL)
    pool = await open_async_pool(dsn, application_name="cellwatt-loop", max_size=8)
    saver, saver_pool = await open_checkpoints(dsn)
    threads = ThreadStore(pool)
    stop = asyncio.Event()
    loop = Loop(
        deps=AgentDeps(
            tools=tool_deps(pool, settings, Path(need(env, POLICY_FILE))),
            model=chat_model(env),
            clock=settings.clock,
            standing=threads.standing_objectives,
        ),
        threads=threads,
        saver=saver,
        settings=LoopSettings(owner=_OWNER, cycle_every=_cycle_every(env)),
        notified=lambda: _notified(dsn),
    )
    try:
        settings.say_ready()
        await loop.run(stop)
    finally:
        await saver_pool.close()
        await pool.close()


def tool_deps(pool: Pool, settings: ProcessSettings, policy_file: Path) -> Deps:
    """Return everything that the agent's tools may reach."""
    view = fleet_view(pool)
    readings, registry, incidents = ReadingStore(pool), RegistryStore(pool), IncidentStore(pool)
    policy = load_policy(policy_file)

    async def fleet(now: datetime) -> Fleet:
        return Fleet(state=await view.state(now), limits=await view.limits())

    def check(plan: Plan, fleet: Fleet, now: datetime) -> Approved | Rejected:
        return validate(plan, fleet.state, fleet.limits, now)

    def tier(plan: Plan, fleet: Fleet) -> ApprovalTier | None:
        return required_tier(plan, fleet.state, fleet.limits, policy)

    return Deps(
        now=settings.clock.now,
        fleet=fleet,
        refresh_forecasts=ForecastRefresh(
            readings=readings,
            registry=registry,
            store=ForecastStore(pool),
            forecasters=served_forecasters(),
            past=HISTORY_FOR_FORECASTS,
        ),
        refresh_incidents=IncidentRefresh(readings=readings, registry=registry, store=incidents),
        incidents=incidents.open,
        readings=readings,
        plans=PlanStore(pool),
        dispatch=DispatchStore(pool),
        check=check,
        tier=tier,
    )


def chat_model(env: Mapping[str, str]) -> ChatModel:
    """Return the model that settings name, the policy planner behind it; none named: the policy planner alone."""
    planner = PolicyPlanner()
    base_url, model = env.get("OPENAI_BASE_URL", ""), env.get("OPENAI_MODEL", "")
    if not base_url or not model:
        return planner
    endpoint = Endpoint(
        base_url=base_url, api_key=env.get("OPENAI_API_KEY", "none"), model=model, timeout=_ENDPOINT_TIMEOUT
    )
    return WithFallback(primary=EndpointModel(endpoint), fallback=planner, timeout=_ENDPOINT_TIMEOUT)


def _cycle_every(env: Mapping[str, str]) -> timedelta:
    return timedelta(minutes=float(env.get("CELLWATT_CYCLE_MINUTES", "15")))


async def _notified(dsn: str) -> AsyncIterator[None]:
    """Yield whenever a command was written to a thread; a lost connection is made again."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                await connection.execute("LISTEN thread_command")
                async for _ in connection.notifies():
                    yield None
        except psycopg.OperationalError:
            await asyncio.sleep(1.0)
