"""Plans and incidents for the console's benchmark, so that its lists are as long as after some weeks (simulated data)."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import psycopg

from edge.plan import Envelope, ExpectedEffect, Objective, ObjectiveKind, Plan, PlanId, SiteBounds, SitePlan
from edge.safety.verdict import Approved
from telemetry.db import open_async_pool
from telemetry.model.series import STEP, STEP_H
from telemetry.model.site import FeederId, SiteId
from tools.planning.plan_store import PlanStore
from ui.bench.api_store import fill_incidents, sites_by_feeder

_STEPS, _SITES_A_PLAN = 16, 40
_POWER_W = 800.0


def fill_lists(owner_dsn: str, *, plans: int, incidents: int) -> None:
    """Write plans of forty sites each, an hour apart, and open incidents, an hour apart."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        fill_incidents(owner, count=incidents, now=now)
        feeder_id, site_ids = next(iter(sites_by_feeder(owner).items()))
    made = [a_plan(k, feeder_id, site_ids[:_SITES_A_PLAN], now - timedelta(hours=k)) for k in range(plans)]
    asyncio.run(_put(owner_dsn, made, now))


async def _put(owner_dsn: str, plans: Sequence[Plan], now: datetime) -> None:
    pool = await open_async_pool(owner_dsn, application_name="cellwatt-bench")
    try:
        store = PlanStore(pool)
        for plan in plans:
            await store.insert(plan, thread_id=None, who="bench", at=now)
            await store.record_verdict(Approved(plan=plan, margins=(), passed=()), at=now, who="bench")
    finally:
        await pool.close()


def a_plan(number: int, feeder_id: str, site_ids: Sequence[str], start: datetime) -> Plan:
    """Return four hours of discharge at 800 W from each site."""
    objective = Objective(kind=ObjectiveKind.PEAK_SHAVING, feeder_ids=(FeederId(feeder_id),), target_w=None)
    ids = [SiteId(one) for one in site_ids]
    each_wh = _POWER_W * STEP_H * _STEPS
    bounds = tuple(
        SiteBounds(site_id=one, min_w=-_POWER_W, max_w=0.0, max_discharge_wh=each_wh, max_charge_wh=0.0)
        for one in ids
    )
    envelope = Envelope(
        objective=objective,
        window_start=start,
        window_end=start + _STEPS * STEP,
        sites=bounds,
        total_min_w=-_POWER_W * len(ids),
        total_max_w=0.0,
        total_discharge_wh=each_wh * len(ids),
        reserve_h=4.0,
        valid_until=start + timedelta(hours=12),
    )
    nothing: Mapping[str, float] = dict.fromkeys(
        ("relief_w", "discharge_wh", "charge_wh", "throughput_cycles", "score", "min_autonomy_margin_h"), 0.0
    )
    return Plan(
        plan_id=PlanId(f"plan-bench-{number:04d}"),
        supersedes=None,
        objective=objective,
        window_start=start,
        window_end=envelope.window_end,
        sites=tuple(SitePlan(site_id=one, schedule_w=(-_POWER_W,) * _STEPS) for one in ids),
        envelope=envelope,
        expected=ExpectedEffect(feeders=(), money=None, **nothing),
        bound=0.0,
        gap_frac=0.0,
        created_at=start - timedelta(hours=1),
        provenance={},
    )
