"""`cellwatt loop`: the agent. It may propose plans and ask for their dispatch, and has no key and no way to a device."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg

from agents.checkpoints import open_checkpoints
from agents.deps import AgentDeps
from agents.embedded import NAME as EMBEDDED
from agents.embedded import Embedded, EmbeddedModel
from agents.loop import Loop, LoopSettings
from agents.model_client import ChatModel, Endpoint, EndpointModel, WithFallback
from agents.model_use import Budget, Budgets, Price, WhenReady
from agents.policy import PolicyPlanner
from agents.thread_store import ThreadStore
from edge.plan import ApprovalTier, Plan
from edge.safety.policy import load_policy, required_tier
from edge.safety.validator import validate
from edge.safety.verdict import Approved, Rejected
from knowledge.document_store import DocumentStore
from knowledge.documents import Document
from knowledge.embed import EmbeddingError, choose_embedder
from knowledge.imports import import_documents
from knowledge.passage_store import PassageStore
from telemetry.cluster_store import ClusterStore
from telemetry.db import open_async_pool
from telemetry.reading_store import ReadingStore
from telemetry.registry_store import RegistryStore
from tools.anomaly.incident_store import IncidentStore
from tools.deps import Deps, Fleet
from tools.forecast_inputs import ForecastInputs
from tools.forecasting.forecast_store import ForecastStore
from tools.forecasting.score_store import ScoreStore
from tools.forecasting.workers import workers
from tools.health_look import HealthLook
from tools.outage_chances import OutageChances
from tools.planning.dispatch_store import DispatchStore
from tools.planning.plan_store import PlanStore
from tools.profile_clusters import ProfileClusters
from tools.refresh_alerts import AlertRefresh, DailyLives, backup_hours
from tools.refresh_forecasts import ForecastRefresh
from tools.refresh_incidents import IncidentRefresh
from tools.score_forecasts import ForecastScoring
from ui.bootstrap import HISTORY_FOR_FORECASTS, Pool, fleet_view, served_forecasters
from ui.ops.llm_run import URL as LLM_URL
from ui.settings import DATABASE_URL, POLICY_FILE, ProcessSettings, SettingsError, need

_log = logging.getLogger(__name__)
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
    embedded = embedded_model(env)
    memory = Memory(pool, env)
    loop = Loop(
        deps=AgentDeps(
            tools=replace(
                tool_deps(
                    pool, settings, Path(need(env, POLICY_FILE)), dask=env.get("CELLWATT_DASK") or None
                ),
                library=memory.library,
            ),
            model=chat_model(env, embedded),
            clock=settings.clock,
            standing=threads.standing_objectives,
            remember=memory.remember,
            changed_incidents=IncidentStore(pool).changed,
        ),
        threads=threads,
        saver=saver,
        settings=LoopSettings(owner=_OWNER, cycle_every=_cycle_every(env), budgets=budgets_from(env)),
        notified=lambda: _notified(dsn),
    )
    watching = None if embedded is None else asyncio.create_task(embedded.watch())
    try:
        settings.say_ready()
        await loop.run(stop)
    finally:
        if watching is not None:
            watching.cancel()
        await saver_pool.close()
        await pool.close()


def tool_deps(pool: Pool, settings: ProcessSettings, policy_file: Path, *, dask: str | None = None) -> Deps:
    """Return everything that the agent's tools may reach; forecasts are fitted on the Dask cluster at `dask`, where set."""
    view = fleet_view(pool, settings.clock)
    readings, registry, incidents = ReadingStore(pool), RegistryStore(pool), IncidentStore(pool)
    policy = load_policy(policy_file)

    async def fleet() -> Fleet:
        return Fleet(state=await view.state(), limits=await view.limits(), tariffs=await registry.tariffs())

    def check(plan: Plan, fleet: Fleet, now: datetime) -> Approved | Rejected:
        return validate(plan, fleet.state, fleet.limits, now)

    def tier(plan: Plan, fleet: Fleet) -> ApprovalTier | None:
        return required_tier(plan, fleet.state, fleet.limits, policy)

    health = HealthLook(readings=readings, registry=registry)
    inputs = ForecastInputs(readings=readings, registry=registry)

    async def backup_h() -> Mapping[str, float]:
        seen = await fleet()
        return backup_hours(seen, seen.state.at)

    clusters = ProfileClusters(readings=readings, store=ClusterStore(pool))
    find = IncidentRefresh(
        backup_h=backup_h, readings=readings, registry=registry, store=incidents, clusters=clusters
    )
    chances = OutageChances(readings=readings)
    look_ahead = AlertRefresh(
        fleet=fleet,
        readings=readings,
        store=incidents,
        chances=chances,
        lives=DailyLives(health=health),
    )

    async def refresh_incidents(now: datetime) -> int:
        await find(now)
        await look_ahead(now)
        return len(await incidents.open())

    return Deps(
        now=settings.clock.now,
        fleet=fleet,
        refresh_forecasts=ForecastRefresh(
            inputs=inputs,
            store=ForecastStore(pool),
            forecasters=served_forecasters(jobs=-1 if dask else 1),
            clusters=clusters,
            workers=partial(workers, dask),
            scoring=ForecastScoring(inputs=inputs, scores=ScoreStore(pool)),
            past=HISTORY_FOR_FORECASTS,
        ),
        refresh_incidents=refresh_incidents,
        incidents=incidents.open,
        readings=readings,
        health=health,
        plans=PlanStore(pool),
        dispatch=DispatchStore(pool),
        check=check,
        tier=tier,
        outage_chances=chances,
    )


def embedded_model(env: Mapping[str, str]) -> WhenReady | None:
    """Return the embedded model where an installation gives its address and no endpoint is set; `LLM=none` leaves it out."""
    url = env.get(LLM_URL, "")
    if not url or env.get("OPENAI_BASE_URL") or env.get("LLM", "").lower() == "none":
        return None
    timeout = _timeout(env, "CELLWATT_EMBEDDED_TIMEOUT_S", 120.0)
    return WhenReady(model=EmbeddedModel(embedded=Embedded(base_url=url, model=EMBEDDED, timeout=timeout)))


def chat_model(env: Mapping[str, str], embedded: WhenReady | None = None) -> ChatModel:
    """Return the model that settings name, else the embedded one, the policy planner behind it; or the policy planner alone."""
    planner = PolicyPlanner()
    base_url, model = env.get("OPENAI_BASE_URL", ""), env.get("OPENAI_MODEL", "")
    if base_url and model:
        timeout = _timeout(env, "CELLWATT_ENDPOINT_TIMEOUT_S", 30.0)
        endpoint = Endpoint(
            base_url=base_url, api_key=env.get("OPENAI_API_KEY", "none"), model=model, timeout=timeout
        )
        return WithFallback(primary=EndpointModel(endpoint), fallback=planner, timeout=timeout)
    if embedded is not None:
        return WithFallback(primary=embedded, fallback=planner, timeout=embedded.model.embedded.timeout)
    return planner


def budgets_from(env: Mapping[str, str]) -> Budgets:
    """Return what the language model may use: CELLWATT_TOKENS_PER_THREAD, ..._PER_DAY, CELLWATT_MONEY_PER_..., and the price."""
    return Budgets(
        thread=Budget(
            tokens=_whole(env, "CELLWATT_TOKENS_PER_THREAD"), money=_figure(env, "CELLWATT_MONEY_PER_THREAD")
        ),
        day=Budget(
            tokens=_whole(env, "CELLWATT_TOKENS_PER_DAY"), money=_figure(env, "CELLWATT_MONEY_PER_DAY")
        ),
        price=Price(
            prompt_per_million=_figure(env, "OPENAI_PRICE_PER_MILLION_PROMPT") or 0.0,
            answer_per_million=_figure(env, "OPENAI_PRICE_PER_MILLION_ANSWER") or 0.0,
        ),
    )


def _figure(env: Mapping[str, str], name: str) -> float | None:
    if not (text := env.get(name, "")):
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise SettingsError(f"{name}: {text!r} is no figure of zero or more")
    return value


def _whole(env: Mapping[str, str], name: str) -> int | None:
    value = _figure(env, name)
    return None if value is None else int(value)


def _timeout(env: Mapping[str, str], name: str, default_s: float) -> timedelta:
    return timedelta(seconds=_figure(env, name) or default_s)


class Memory:
    """The library as the loop has it: to search, and to keep past incidents and decisions in."""

    def __init__(self, pool: Pool, env: Mapping[str, str]) -> None:
        """Choose the embedder that settings name."""
        self._embedder = choose_embedder(env).embedder
        self._documents = DocumentStore(pool)
        self.library = PassageStore(pool, self._embedder)

    async def remember(self, documents: Sequence[Document], at: datetime) -> None:
        """Keep documents; what has not changed costs a look. An embedder that fails ends no run: words find the page until it answers."""
        try:
            await import_documents(self._documents, documents, self._embedder, at=at)
        except EmbeddingError as error:
            _log.warning("what happened is kept without vectors for now", extra={"why": str(error)})


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
