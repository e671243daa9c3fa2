"""What the API works with, opened and closed together."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from argon2 import PasswordHasher
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from edge.safety.policy import ApprovalPolicy, load_policy
from knowledge.embed import Chosen
from telemetry.db import open_async_pool
from telemetry.model.clock import Clock, read_wall
from telemetry.reading_store import ReadingStore
from telemetry.registry_store import RegistryStore
from tools.anomaly.incident_store import IncidentStore
from tools.forecasting.forecast_store import ForecastStore
from tools.forecasting.score_store import ScoreStore
from tools.notify.notifier import NotifyDesk
from tools.planning.audit_store import AuditStore
from tools.planning.dispatch_store import DispatchStore
from tools.planning.plan_store import PlanStore
from ui.api.account_store import AccountStore
from ui.api.decision_store import DecisionStore
from ui.api.event_store import EventStore
from ui.api.fleet_feed import FleetFeed
from ui.api.fleet_store import FleetStore
from ui.api.gatekeeper import Gatekeeper
from ui.api.idempotency_store import IdempotencyStore
from ui.api.incident_store import IncidentDesk
from ui.api.library import Library
from ui.api.metrics import Metrics
from ui.api.model_use import ModelSettings
from ui.api.notice_hub import NoticeHub
from ui.api.notices import notifier, notify_desk
from ui.api.oidc import OidcSettings
from ui.api.oidc_provider import Provider
from ui.api.oidc_store import OidcStore
from ui.api.passwords import Passwords
from ui.api.registry_desk_store import RegistryDesk
from ui.api.settings import ApiSettings
from ui.api.thread_view_store import ThreadViewStore
from ui.api.throttle import Throttle
from ui.api.view_store import ViewStore

_CONNECTIONS = 12
_UPLOADS_AT_ONCE = 2
_TIDY_EVERY_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The stores, opened with the API's role, and what all requests share.

    Attributes:
        dsn: For the connections that a telemetry upload opens.
        clock: Domain time.
        wall: Wall time, for sessions and lock-outs.
        policy: Who must approve what, read afresh at each call.
        secret: Keys the forms of the approval page and what idempotency keys are bound to.
        browser_key: Signs which browser the console asks for; None where nobody is believed.
        model: Which planner the loop is set to, for people to see.
        provider: Whom people may sign in through, None where passwords are all there is.
    """

    dsn: str
    clock: Clock
    wall: Callable[[], datetime]
    settings: ApiSettings
    policy: Callable[[], ApprovalPolicy]
    secret: bytes
    browser_key: bytes | None
    pool: AsyncConnectionPool[AsyncConnection]
    passwords: Passwords
    gatekeeper: Gatekeeper
    logins: Throttle
    metrics: Metrics
    accounts: AccountStore
    idempotency: IdempotencyStore
    views: ViewStore
    decisions: DecisionStore
    threads: ThreadViewStore
    feed: FleetFeed
    hub: NoticeHub
    plans: PlanStore
    dispatch: DispatchStore
    readings: ReadingStore
    registry: RegistryStore
    registry_desk: RegistryDesk
    forecasts: ForecastStore
    scores: ScoreStore
    incidents: IncidentDesk
    expected: IncidentStore
    events: EventStore
    audit: AuditStore
    uploads: asyncio.Semaphore
    checks: asyncio.Semaphore
    library: Library
    notify: NotifyDesk
    model: ModelSettings
    sign_ins: OidcStore
    provider: Provider | None


@asynccontextmanager
async def open_services(
    dsn: str,
    *,
    clock: Clock,
    policy_file: Path,
    secret: bytes,
    settings: ApiSettings | None = None,
    wall: Callable[[], datetime] = read_wall,
    hasher: PasswordHasher | None = None,
    choose_embedder: Callable[[], Chosen] = lambda: Chosen(embedder=None),
    notify_file: Path | None = None,
    model: ModelSettings | None = None,
    oidc: OidcSettings | None = None,
    browser_key: bytes | None = None,
) -> AsyncIterator[Services]:
    """Open everything, keep the shared tasks running, and close it all at the end."""
    chosen = settings or ApiSettings()
    pool = await open_async_pool(dsn, application_name="cellwatt-api", min_size=2, max_size=_CONNECTIONS)
    pool.timeout = chosen.database_within.total_seconds()
    passwords = Passwords(at_once=chosen.logins_at_once, hasher=hasher or PasswordHasher())
    services = _wired(
        dsn,
        pool,
        clock,
        policy_file,
        secret,
        browser_key,
        chosen,
        wall,
        passwords,
        Library(pool, choose_embedder),
        notify_desk(pool, notify_file),
        model or ModelSettings(),
        None if oidc is None else Provider(oidc),
    )
    tasks = [
        asyncio.create_task(services.hub.run()),
        asyncio.create_task(services.feed.run()),
        asyncio.create_task(_tidy(services)),
        asyncio.create_task(notifier(pool, clock, wall, notify_file).run()),
    ]
    try:
        yield services
    finally:
        services.hub.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        services.passwords.close()
        if services.provider is not None:
            await services.provider.close()
        services.notify.courier.close()
        await pool.close()


def _wired(
    dsn: str,
    pool: AsyncConnectionPool[AsyncConnection],
    clock: Clock,
    policy_file: Path,
    secret: bytes,
    browser_key: bytes | None,
    settings: ApiSettings,
    wall: Callable[[], datetime],
    passwords: Passwords,
    library: Library,
    notify: NotifyDesk,
    model: ModelSettings,
    provider: Provider | None,
) -> Services:
    accounts, registry = AccountStore(pool), RegistryStore(pool)

    async def listen() -> AsyncConnection:
        return await AsyncConnection.connect(dsn, autocommit=True, application_name="cellwatt-api-listen")

    return Services(
        dsn=dsn,
        clock=clock,
        wall=wall,
        settings=settings,
        policy=lambda: load_policy(policy_file),
        secret=secret,
        browser_key=browser_key,
        pool=pool,
        passwords=passwords,
        gatekeeper=Gatekeeper(accounts, wall, settings),
        logins=Throttle(settings.login_rate_per_s, settings.login_burst, time.monotonic),
        metrics=Metrics(),
        accounts=accounts,
        idempotency=IdempotencyStore(pool),
        views=ViewStore(pool),
        decisions=DecisionStore(pool),
        threads=ThreadViewStore(pool),
        feed=FleetFeed(FleetStore(pool), registry, clock, settings),
        hub=NoticeHub(listen),
        plans=PlanStore(pool),
        dispatch=DispatchStore(pool),
        readings=ReadingStore(pool),
        registry=registry,
        registry_desk=RegistryDesk(pool),
        forecasts=ForecastStore(pool),
        scores=ScoreStore(pool),
        incidents=IncidentDesk(pool),
        expected=IncidentStore(pool),
        events=EventStore(pool),
        audit=AuditStore(pool),
        uploads=asyncio.Semaphore(_UPLOADS_AT_ONCE),
        checks=asyncio.Semaphore(1),
        library=library,
        notify=notify,
        model=model,
        sign_ins=OidcStore(pool),
        provider=provider,
    )


async def _tidy(services: Services) -> None:
    """Forget old answers, now and then."""
    while True:
        with suppress(psycopg.OperationalError):
            await services.idempotency.purge(services.clock.now() - services.settings.keep_answers)
        await asyncio.sleep(_TIDY_EVERY_S)
