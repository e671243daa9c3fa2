"""Messages to people, sent from the API's process: it belongs to people, and no model runs in it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from agents.thread_store import ThreadStore
from edge.plan import PlanId
from telemetry.model.clock import Clock
from tools.anomaly.incident_store import IncidentStore
from tools.notify.notifier import Notifier, NotifyDesk, Pace
from tools.notify.occasion import Occasion, of_incident, of_missing, of_plan
from tools.notify.outbox_store import Outbox
from tools.notify.sender import Courier
from tools.notify.settings import NotifySettings, load_settings
from tools.planning.dispatch_store import DispatchStore
from tools.planning.plan_store import PlanStore

FILE_NAME = "notify.toml"
Pool = AsyncConnectionPool[AsyncConnection]


def settings_reader(path: Path | None) -> Callable[[], NotifySettings | None]:
    """Return what reads the notification file afresh; no path: there is none."""
    return lambda: None if path is None else load_settings(path)


def notifier(
    pool: Pool, clock: Clock, wall: Callable[[], datetime], path: Path | None, *, pace: Pace | None = None
) -> Notifier:
    """Return what tells people of incidents, of plans that wait for a person, and of sites that did not answer."""
    incidents, threads, plans = IncidentStore(pool), ThreadStore(pool), PlanStore(pool)
    dispatch = DispatchStore(pool)

    async def occasions(now: datetime) -> Sequence[Occasion]:
        found = [of_incident(one) for one in await incidents.open()]
        found += [
            await _plan(plans, PlanId(one.plan_id), one.until, now)
            for one in await threads.waiting()
            if one.kind == "approval"
        ]
        found += [of_missing(one.plan_id, one.site_ids, one.since) for one in await dispatch.missing(now)]
        return [one for one in found if one is not None]

    return Notifier(
        outbox=Outbox(pool),
        occasions=occasions,
        settings=settings_reader(path),
        now=clock.now,
        wall=wall,
        pace=pace or Pace(),
    )


def notify_desk(pool: Pool, path: Path | None) -> NotifyDesk:
    """Return what the API shows of notifications, with the test button."""
    return NotifyDesk(outbox=Outbox(pool), settings=settings_reader(path), courier=Courier(at_once=2))


async def _plan(plans: PlanStore, plan_id: PlanId, until: datetime, now: datetime) -> Occasion | None:
    stored = await plans.fetch(plan_id)
    if stored is None or until <= now:
        return None
    plan = stored.plan
    return of_plan(
        plan_id,
        title=plan.objective.kind.value.replace("_", " "),
        body=f"{len(plan.sites)} sites, {plan.window_start:%Y-%m-%d %H:%M} to {plan.window_end:%H:%M} UTC.",
        asked_at=plan.created_at,
        expires_at=until,
    )
