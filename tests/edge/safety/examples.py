"""A small, valid world to build test inputs from: change one thing with `replace` and see what the rules say.

The numbers are powers of two or sums of a few, so that limits are met exactly and results can be worked out by hand:
one site draws 1024 W (896..1152 W), holds 11776 Wh above its disconnect and must keep 4 h.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from edge.plan import (
    Approval,
    ApprovalTier,
    Envelope,
    ExpectedEffect,
    Objective,
    ObjectiveKind,
    Plan,
    PlanId,
    SiteBounds,
    SitePlan,
)
from edge.safety.limits import DayUse, FleetState, Limits, OperatingMode, Policy
from telemetry.model.battery import LFP_BANDS, Battery, Chemistry
from telemetry.model.reading import Reading, SiteState, SiteStatus
from telemetry.model.series import QUANTILES, STEP, STEP_H, Forecast, Quantity
from telemetry.model.site import (
    AutonomyProfile,
    Bus,
    DispatchPath,
    Feeder,
    FeederId,
    Inverter,
    RadioClusterId,
    RechargeTerms,
    Rectifiers,
    Site,
    SiteId,
    SiteMode,
)

NOW = datetime(2026, 3, 10, 11, 50, tzinfo=UTC)
START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
FEEDER = FeederId("feeder-1")
SITE = SiteId("site-1")
STEPS = 16
LOAD_SPREAD_W = (-128.0, -96.0, -64.0, -32.0, 0.0, 32.0, 64.0, 96.0, 128.0)

BATTERY = Battery(
    chemistry=Chemistry.LFP,
    rated_wh=16384.0,
    soc_min_frac=0.25,
    soc_max_frac=0.9375,
    disconnect_soc_frac=0.125,
    backstop_soc_frac=0.1875,
    soc_error_frac=0.03125,
    charge_efficiency=0.9375,
    discharge_efficiency=1.0,
    bands=LFP_BANDS,
    max_cycles_per_day=1.0,
    calibrated_at=NOW - timedelta(days=10),
    capacity_tested_at=NOW - timedelta(days=100),
)
AUTONOMY = AutonomyProfile(name="Norway, town", jurisdiction="NO", autonomy_h=4.0, max_load_w=1280.0)
BUS = Bus(
    float_v=54.0,
    backstop_v=47.0,
    voltage_step_v=0.01,
    device_reverts=True,
    continuity_proven_at=NOW - timedelta(days=30),
)
# Surely open and at full power one step after a release: 2048 W.
TERMS = RechargeTerms(max_delay_s=600.0, ramp_s=300.0, c_rate=0.125)
INVERTER = Inverter(
    rated_w=2048.0, certificate="EN 50549-1", transfer_switch_interlocked=False, agreement_expires_at=None
)


def a_site(site_id: str = SITE, feeder_id: str = FEEDER, cluster: str = "cluster-1") -> Site:
    """Return a commissioned, simulated site in mode remote: 3 modules of 2048 W, 8 kW connection, no PV."""
    return Site(
        site_id=SiteId(site_id),
        name=f"Site {site_id}",
        latitude=59.9,
        longitude=10.7,
        time_zone="Europe/Oslo",
        feeder_id=FeederId(feeder_id),
        radio_cluster=RadioClusterId(cluster),
        mode=SiteMode.REMOTE,
        simulated=True,
        dispatch_path=DispatchPath.ISC,
        autonomy=AUTONOMY,
        battery=BATTERY,
        rectifiers=Rectifiers(module_w=2048.0, count=3, efficiency=0.9375),
        bus=BUS,
        grid_import_limit_w=8192.0,
        ramp_w_per_step=1024.0,
        pv_rated_w=0.0,
        inverter=None,
        genset=None,
        tariff="flat",
        maintenance=None,
        commissioned_at=NOW - timedelta(days=60),
        recharge=TERMS,
    )


def a_feeder(feeder_id: str = FEEDER) -> Feeder:
    """Return a feeder of 256 kW import and 64 kW export."""
    return Feeder(
        feeder_id=FeederId(feeder_id),
        name=f"Feeder {feeder_id}",
        substation="substation-1",
        import_limit_w=262144.0,
        export_limit_w=65536.0,
    )


def a_reading(site_id: str = SITE) -> Reading:
    """Return a reading one minute old: SoC 0.875, SoH 1, 25 degC, mains present."""
    return Reading(
        site_id=SiteId(site_id),
        boot_id="boot-1",
        sequence=7,
        at=NOW - timedelta(minutes=1),
        grid_v=230.0,
        grid_hz=50.0,
        load_w=1024.0,
        bus_v=54.0,
        battery_a=0.0,
        battery_w=0.0,
        soc_frac=0.875,
        soh_frac=1.0,
        battery_c=25.0,
        mains_ok=True,
    )


def a_status(site_id: str = SITE) -> SiteStatus:
    """Return a status one minute old: online, in float, no local lock."""
    return SiteStatus(
        site_id=SiteId(site_id),
        at=NOW - timedelta(minutes=1),
        online=True,
        state=SiteState.FLOAT,
        local_lock=False,
        last_sequence=3,
    )


def a_forecast(
    subject_id: str = SITE,
    quantity: Quantity = Quantity.LOAD_W,
    median_w: float | Sequence[float] = 1024.0,
    spread_w: Sequence[float] = LOAD_SPREAD_W,
    steps: int = 384,
) -> Forecast:
    """Return a forecast from START; the energy of several steps is half as uncertain as its steps together."""
    medians = [median_w] * steps if isinstance(median_w, float | int) else list(median_w)
    values, cumulative = [], []
    for spread in spread_w:
        values.append(tuple(median + spread for median in medians))
        total, sums = 0.0, []
        for median in medians:
            total += (median + 0.5 * spread) * STEP_H
            sums.append(total)
        cumulative.append(tuple(sums))
    return Forecast(
        subject_id=subject_id,
        quantity=quantity,
        made_at=NOW - timedelta(hours=1),
        start=START,
        values_w=tuple(values),
        cumulative_wh=tuple(cumulative),
        model="example",
        version="1",
    )


def a_background(feeder_id: str = FEEDER, median_w: float = 131072.0) -> Forecast:
    """Return a flat background load of 128 kW +- 4 kW."""
    spread = tuple(4096.0 * (level - 0.5) / 0.475 for level in QUANTILES)
    return a_forecast(feeder_id, Quantity.BACKGROUND_W, median_w, spread)


def limits_of(
    sites: Iterable[Site] = (), feeders: Iterable[Feeder] = (), policy: Policy | None = None
) -> Limits:
    """Return limits over these sites and feeders; by default the one site on the one feeder."""
    return Limits(
        sites={site.site_id: site for site in sites or [a_site()]},
        feeders={feeder.feeder_id: feeder for feeder in feeders or [a_feeder()]},
        policy=policy or Policy(),
    )


def state_of(site_ids: Iterable[str] = (SITE,), feeder_ids: Iterable[str] = (FEEDER,)) -> FleetState:
    """Return a state in which every named site is well, in normal mode, without live plans."""
    ids = [SiteId(site_id) for site_id in site_ids]
    return FleetState(
        at=NOW,
        mode=OperatingMode.NORMAL,
        readings={site_id: a_reading(site_id) for site_id in ids},
        statuses={site_id: a_status(site_id) for site_id in ids},
        quality_score=dict.fromkeys(ids, 1.0),
        load={site_id: a_forecast(site_id) for site_id in ids},
        pv={},
        background={FeederId(feeder_id): a_background(feeder_id) for feeder_id in feeder_ids},
        day_use=dict.fromkeys(ids, DayUse(cycles=0.0, discharged_wh=0.0)),
        live_plans=(),
    )


def schedule_of(site_id: str, *parts: tuple[int, float]) -> SitePlan:
    """Return a schedule of (steps, W) parts."""
    row = tuple(w for steps, w in parts for _ in range(steps))
    return SitePlan(site_id=SiteId(site_id), schedule_w=row)


def bounds_of(site: SitePlan) -> SiteBounds:
    """Return bounds that fit a site's schedule exactly."""
    row = site.schedule_w or (0.0,)
    return SiteBounds(
        site_id=site.site_id,
        min_w=min(row),
        max_w=max(row),
        max_discharge_wh=-sum(w for w in row if w < 0.0) * STEP_H,
        max_charge_wh=sum(w for w in row if w > 0.0) * STEP_H,
    )


def a_plan(
    *sites: SitePlan,
    kind: ObjectiveKind = ObjectiveKind.PEAK_SHAVING,
    start: datetime = START,
    feeder_ids: tuple[FeederId, ...] = (FEEDER,),
    plan_id: str = "plan-1",
) -> Plan:
    """Return a plan of these site plans whose envelope fits it exactly; by default 4 h of 512 W from the one site."""
    parts = sites or (schedule_of(SITE, (STEPS, -512.0)),)
    steps = max(len(part.schedule_w) for part in parts) or STEPS
    objective = Objective(kind=kind, feeder_ids=feeder_ids, target_w=None)
    totals = [
        sum(column) for column in zip(*(part.schedule_w for part in parts if part.schedule_w), strict=False)
    ]
    bounds = tuple(bounds_of(part) for part in parts)
    envelope = Envelope(
        objective=objective,
        window_start=start,
        window_end=start + steps * STEP,
        sites=bounds,
        total_min_w=min(totals, default=0.0),
        total_max_w=max(totals, default=0.0),
        total_discharge_wh=sum(bound.max_discharge_wh for bound in bounds),
        reserve_h=0.0,
        valid_until=NOW + timedelta(hours=12),
    )
    return Plan(
        plan_id=PlanId(plan_id),
        supersedes=None,
        objective=objective,
        window_start=start,
        window_end=start + steps * STEP,
        sites=tuple(parts),
        envelope=envelope,
        expected=ExpectedEffect(
            feeders=(),
            relief_w=0.0,
            discharge_wh=0.0,
            charge_wh=0.0,
            throughput_cycles=0.0,
            score=0.0,
            min_autonomy_margin_h=0.0,
        ),
        bound=0.0,
        gap_frac=0.0,
        created_at=NOW - timedelta(minutes=1),
        provenance={},
    )


def an_approval(plan: Plan, *people: str, tier: ApprovalTier = ApprovalTier.ONE_PERSON) -> Approval:
    """Return a yes to the plan's envelope, one minute old, good for an hour."""
    return Approval(
        plan_id=plan.plan_id,
        envelope_digest=plan.envelope.digest(),
        tier=tier,
        approvers=people or ("ann",),
        approved_at=NOW - timedelta(minutes=1),
        expires_at=NOW + timedelta(hours=1),
    )


def a_policy_table(**changes: object) -> Mapping[str, object]:
    """Return the tables of an approval policy: small simulated plans by itself, larger ones by one or two persons."""
    scope = {
        "max_total_w": 1024.0,
        "max_sites": 4,
        "max_depth_frac": 0.25,
        "objectives": [kind.value for kind in ObjectiveKind],
        "modes": ["normal"],
        "simulated_only": True,
        "max_validity_h": 24.0,
    }
    one = {**scope, "max_total_w": 8192.0, "max_sites": 16, "max_depth_frac": 0.5, "simulated_only": False}
    two = {
        **one,
        "max_total_w": 1e6,
        "max_sites": 10000,
        "max_depth_frac": 1.0,
        "modes": ["normal", "emergency"],
    }
    return {"version": 1, "automatic": scope, "one_person": one, "two_persons": two, **changes}


def with_reading(state: FleetState, site_id: str = SITE, /, **changes: Any) -> FleetState:
    """Return the state with one site's reading changed."""
    key = SiteId(site_id)
    return replace(state, readings={**state.readings, key: replace(state.readings[key], **changes)})


def with_status(state: FleetState, site_id: str = SITE, /, **changes: Any) -> FleetState:
    """Return the state with one site's status changed."""
    key = SiteId(site_id)
    return replace(state, statuses={**state.statuses, key: replace(state.statuses[key], **changes)})


def names(verdict: object) -> set[str]:
    """Return the broken rules of a verdict as `S1 autonomy_floor`; empty if it is approved."""
    return {f"{one.rule} {one.name}" for one in getattr(verdict, "broken", ())}


def flat(state: FleetState, site_id: str = SITE, median_w: float = 1024.0) -> FleetState:
    """Return the state with a site whose load is known to the watt."""
    key = SiteId(site_id)
    return replace(state, load={**state.load, key: a_forecast(key, median_w=median_w, spread_w=(0.0,) * 9)})


def with_site(limits: Limits, site_id: str = SITE, /, **changes: Any) -> Limits:
    """Return the limits with one site changed."""
    key = SiteId(site_id)
    return replace(limits, sites={**limits.sites, key: replace(limits.sites[key], **changes)})


def with_battery(limits: Limits, site_id: str = SITE, /, **changes: Any) -> Limits:
    """Return the limits with one site's battery changed."""
    battery = replace(limits.sites[SiteId(site_id)].battery, **changes)
    return with_site(limits, site_id, battery=battery)


def with_envelope(plan: Plan, /, **changes: Any) -> Plan:
    """Return the plan with its envelope changed."""
    return replace(plan, envelope=replace(plan.envelope, **changes))
