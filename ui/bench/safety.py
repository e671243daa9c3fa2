"""How long the trusted core takes to judge a plan for a whole (simulated) fleet, and whether that grows in line with it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import cos, pi
from random import Random
from resource import RUSAGE_SELF, getrusage
from time import perf_counter, process_time
from typing import Any

from edge.plan import Envelope, ExpectedEffect, Objective, ObjectiveKind, Plan, PlanId, SiteBounds, SitePlan
from edge.safety.limits import DayUse, FleetState, Limits, OperatingMode
from edge.safety.validator import validate
from edge.safety.verdict import Approved, Rejected
from telemetry.model.battery import LFP_BANDS, Battery, Chemistry
from telemetry.model.reading import Reading, SiteState, SiteStatus
from telemetry.model.series import QUANTILES, STEP, STEP_H, Forecast, Quantity
from telemetry.model.site import (
    AutonomyProfile,
    Bus,
    DispatchPath,
    Feeder,
    FeederId,
    RadioClusterId,
    RechargeTerms,
    Rectifiers,
    Site,
    SiteId,
    SiteMode,
)

_START = datetime(2026, 3, 10, tzinfo=UTC)
_NOW = _START - timedelta(minutes=10)
_SHAPES = 200  # load shapes; sites of one shape share its rows, so that the fleet fits in memory
_HORIZON = 216  # steps: a day, a day of recharge and 4 h of autonomy, with some to spare


def run(seed: int = 0, sites: int = 10_000, feeders: int = 20, steps: int = 96) -> dict[str, Any]:
    """Return the time to judge one plan for `sites` x `steps`, approved and rejected, and how it grows with sites."""
    small = max(1, sites // 4)
    part = _timed(seed, small, max(1, feeders // 4), steps)
    whole = _timed(seed, sites, feeders, steps)
    growth = (whole["cpu_s"] / sites) / (part["cpu_s"] / small)
    figures = {
        "sites": sites,
        "steps": steps,
        "feeders": feeders,
        "validate_wall_s": whole["wall_s"],
        "validate_cpu_s": whole["cpu_s"],
        "approved": whole["approved"],
        "reject_wall_s": whole["reject_wall_s"],
        "breaches_found": whole["breaches_found"],
        "sites_with_breach": whole["sites_with_breach"],
        "cpu_per_site_growth_x4": growth,
        "peak_rss_mb": getrusage(RUSAGE_SELF).ru_maxrss / 1024.0,
        "data": "simulated",
    }
    goals = {
        "validate_wall_s": {"op": "<=", "value": 15.0, "gating": True},
        "approved": {"op": "==", "value": True, "gating": True},
        "sites_with_breach": {"op": "==", "value": sites, "gating": True},
        "cpu_per_site_growth_x4": {"op": "<=", "value": 1.5, "gating": True},
    }
    return {"figures": figures, "goals": goals}


def _timed(seed: int, sites: int, feeders: int, steps: int) -> dict[str, Any]:
    plan, state, limits = fleet_case(seed, sites, feeders, steps)
    wall, cpu = perf_counter(), process_time()
    verdict = validate(plan, state, limits, _NOW)
    timed = {"wall_s": perf_counter() - wall, "cpu_s": process_time() - cpu}
    # The same plan on nearly empty batteries: now every site must be refused, and named.
    empty = {key: replace(reading, soc_frac=0.25) for key, reading in state.readings.items()}
    wall = perf_counter()
    refused = validate(plan, replace(state, readings=empty), limits, _NOW)
    timed["reject_wall_s"] = perf_counter() - wall
    broken = refused.broken if isinstance(refused, Rejected) else ()
    timed["approved"] = isinstance(verdict, Approved)
    timed["breaches_found"] = len(broken)
    timed["sites_with_breach"] = len({one.where for one in broken if one.scope == "site"})
    return timed


def fleet_case(seed: int, sites: int, feeders: int, steps: int) -> tuple[Plan, FleetState, Limits]:
    """Return a plan for a simulated fleet, with its state and limits: peak shaving, then recharge, at every site."""
    random = Random(seed)  # noqa: S311 (a simulated fleet)
    shapes = [_load_rows(random) for _ in range(_SHAPES)]
    ids = [SiteId(f"site-{number:05d}") for number in range(sites)]
    feeder_ids = [FeederId(f"feeder-{number:02d}") for number in range(feeders)]
    fleet = {
        site_id: _site(site_id, feeder_ids[number % feeders], number // 8, random)
        for number, site_id in enumerate(ids)
    }
    per_feeder_w = 4000.0 * sites / feeders
    limits = Limits(
        sites=fleet,
        feeders={
            feeder_id: Feeder(
                feeder_id=feeder_id,
                name=feeder_id,
                substation="simulated",
                import_limit_w=4.0 * per_feeder_w,
                export_limit_w=per_feeder_w,
            )
            for feeder_id in feeder_ids
        },
    )
    state = FleetState(
        at=_NOW,
        mode=OperatingMode.NORMAL,
        readings={site_id: _reading(site_id) for site_id in ids},
        statuses={site_id: _status(site_id) for site_id in ids},
        quality_score=dict.fromkeys(ids, 1.0),
        load={
            site_id: _forecast(site_id, Quantity.LOAD_W, shapes[number % _SHAPES])
            for number, site_id in enumerate(ids)
        },
        pv={},
        background={
            feeder_id: _forecast(feeder_id, Quantity.BACKGROUND_W, _flat_rows(2.0 * per_feeder_w))
            for feeder_id in feeder_ids
        },
        day_use=dict.fromkeys(ids, DayUse(cycles=0.0, discharged_wh=0.0)),
        live_plans=(),
    )
    return _plan(ids, feeder_ids, steps, random), state, limits


_Rows = tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]


def _load_rows(random: Random) -> _Rows:
    base, swing, noise = (
        random.uniform(1200.0, 1800.0),
        random.uniform(100.0, 300.0),
        random.uniform(60.0, 120.0),
    )
    middle = [base - swing * cos(2.0 * pi * step / 96.0) for step in range(_HORIZON)]
    return _rows(middle, noise)


def _flat_rows(middle_w: float) -> _Rows:
    return _rows([middle_w] * _HORIZON, 0.02 * middle_w)


def _rows(middle_w: list[float], spread_w: float) -> _Rows:
    values, sums = [], []
    for level in QUANTILES:
        offset = spread_w * (level - 0.5) / 0.475
        values.append(tuple(w + offset for w in middle_w))
        total, row = 0.0, []
        for step, w in enumerate(middle_w, 1):
            total += w * STEP_H
            row.append(total + offset * STEP_H * float(step) ** 0.75)
        sums.append(tuple(row))
    return tuple(values), tuple(sums)


def _forecast(subject_id: str, quantity: Quantity, rows: _Rows) -> Forecast:
    return Forecast(
        subject_id=subject_id,
        quantity=quantity,
        made_at=_NOW - timedelta(hours=1),
        start=_START,
        values_w=rows[0],
        cumulative_wh=rows[1],
        model="simulated",
        version="1",
    )


def _site(site_id: SiteId, feeder_id: FeederId, cluster: int, random: Random) -> Site:
    return Site(
        site_id=site_id,
        name=site_id,
        latitude=60.0,
        longitude=10.0,
        time_zone="UTC",
        feeder_id=feeder_id,
        radio_cluster=RadioClusterId(f"cluster-{cluster}"),
        mode=SiteMode.REMOTE,
        simulated=True,
        dispatch_path=DispatchPath.ISC,
        autonomy=AutonomyProfile(name="4 h", jurisdiction="NO", autonomy_h=4.0, max_load_w=3000.0),
        battery=Battery(
            chemistry=Chemistry.LFP,
            rated_wh=random.uniform(19_000.0, 24_000.0),
            soc_min_frac=0.2,
            soc_max_frac=0.95,
            disconnect_soc_frac=0.05,
            backstop_soc_frac=0.1,
            soc_error_frac=0.05,
            charge_efficiency=0.98,
            discharge_efficiency=0.98,
            bands=LFP_BANDS,
            max_cycles_per_day=1.0,
            calibrated_at=_NOW - timedelta(days=7),
            capacity_tested_at=_NOW - timedelta(days=70),
        ),
        rectifiers=Rectifiers(module_w=3000.0, count=3, efficiency=0.96),
        bus=Bus(
            float_v=54.0,
            backstop_v=47.0,
            voltage_step_v=0.01,
            device_reverts=True,
            continuity_proven_at=_NOW - timedelta(days=30),
        ),
        grid_import_limit_w=10_000.0,
        ramp_w_per_step=1000.0,
        pv_rated_w=0.0,
        inverter=None,
        genset=None,
        tariff="flat",
        maintenance=None,
        commissioned_at=_NOW - timedelta(days=100),
        recharge=RechargeTerms(),
    )


def _reading(site_id: SiteId) -> Reading:
    return Reading(
        site_id=site_id,
        boot_id="boot",
        sequence=1,
        at=_NOW - timedelta(seconds=30),
        load_w=1500.0,
        bus_v=54.0,
        soc_frac=0.9,
        soh_frac=0.98,
        battery_c=25.0,
        mains_ok=True,
    )


def _status(site_id: SiteId) -> SiteStatus:
    return SiteStatus(
        site_id=site_id,
        at=_NOW - timedelta(seconds=30),
        online=True,
        state=SiteState.FLOAT,
        local_lock=False,
        last_sequence=1,
    )


def _plan(ids: list[SiteId], feeder_ids: list[FeederId], steps: int, random: Random) -> Plan:
    objective = Objective(kind=ObjectiveKind.PEAK_SHAVING, feeder_ids=tuple(feeder_ids), target_w=None)
    parts = [SitePlan(site_id=site_id, schedule_w=_schedule(steps, random)) for site_id in ids]
    totals = [sum(column) for column in zip(*(part.schedule_w for part in parts), strict=True)]
    bounds = tuple(
        SiteBounds(
            site_id=part.site_id, min_w=-800.0, max_w=800.0, max_discharge_wh=24_000.0, max_charge_wh=24_000.0
        )
        for part in parts
    )
    end = _START + steps * STEP
    envelope = Envelope(
        objective=objective,
        window_start=_START,
        window_end=end,
        sites=bounds,
        total_min_w=min(totals),
        total_max_w=max(totals),
        total_discharge_wh=24_000.0 * len(ids),
        reserve_h=4.0,
        valid_until=_NOW + timedelta(hours=24),
    )
    nothing: Mapping[str, float] = dict.fromkeys(
        ("relief_w", "discharge_wh", "charge_wh", "throughput_cycles", "score", "min_autonomy_margin_h"), 0.0
    )
    return Plan(
        plan_id=PlanId("bench"),
        supersedes=None,
        objective=objective,
        window_start=_START,
        window_end=end,
        sites=tuple(parts),
        envelope=envelope,
        expected=ExpectedEffect(feeders=(), money=None, **nothing),
        bound=0.0,
        gap_frac=0.0,
        created_at=_NOW,
        provenance={},
    )


def _schedule(steps: int, random: Random) -> tuple[float, ...]:
    """Return discharge in the third quarter of the window, recharge at the same energy in the last."""
    power_w = random.uniform(150.0, 350.0)
    quarter = steps // 4
    return (0.0,) * (steps - 2 * quarter) + (-power_w,) * quarter + (power_w,) * quarter
