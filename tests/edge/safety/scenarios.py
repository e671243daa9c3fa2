"""Random and adversarial plans for random small fleets (simulated), for comparing the validator with brute force."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random

from edge.plan import ObjectiveKind, Plan, SitePlan
from edge.safety.limits import DayUse, FleetState, Limits
from telemetry.model.battery import VRLA_BANDS, Chemistry
from telemetry.model.series import QUANTILES, STEP, STEP_H, Forecast, Quantity
from telemetry.model.site import FeederId, RechargeTerms, Site, SiteId
from tests.edge.safety.examples import (
    NOW,
    START,
    a_feeder,
    a_plan,
    a_reading,
    a_site,
    limits_of,
    state_of,
)

HORIZON = 16 + 1 + 96 + 32


def wrong_together(
    subject_id: str, quantity: Quantity, middle_w: Sequence[float], spread_w: Sequence[float]
) -> Forecast:
    """Return a forecast whose errors all go one way at once: sums of quantiles are quantiles of sums."""
    values, sums = [], []
    for level in QUANTILES:
        share = (level - 0.5) / 0.475
        row = [max(0.0, middle + share * spread) for middle, spread in zip(middle_w, spread_w, strict=True)]
        total, running = 0.0, []
        for w in row:
            total += w * STEP_H
            running.append(total)
        values.append(tuple(row))
        sums.append(tuple(running))
    return Forecast(
        subject_id=subject_id,
        quantity=quantity,
        made_at=NOW - timedelta(hours=1),
        start=START - 2 * STEP,
        values_w=tuple(values),
        cumulative_wh=tuple(sums),
        model="example",
        version="1",
    )


def _course(random: Random, low_w: float, high_w: float, steps: int) -> list[float]:
    """Return a bounded random walk."""
    w, course = random.uniform(low_w, high_w), []
    for _ in range(steps):
        w = min(high_w, max(low_w, w + random.uniform(-0.1, 0.1) * (high_w - low_w)))
        course.append(w)
    return course


def random_site(random: Random, number: int, feeder_id: str, cluster: str) -> Site:
    """Return a site of a random size, chemistry and autonomy, some with PV or a narrow connection."""
    site = a_site(f"site-{number}", feeder_id, cluster)
    battery = replace(
        site.battery,
        rated_wh=random.uniform(8_000.0, 30_000.0),
        soc_error_frac=random.choice([0.03, 0.05]),
        discharge_efficiency=random.choice([1.0, 0.97]),
        max_cycles_per_day=random.choice([0.3, 1.0, 2.0]),
    )
    if random.random() < 0.2:
        battery = replace(battery, chemistry=Chemistry.VRLA, bands=VRLA_BANDS, soc_error_frac=0.1)
    return replace(
        site,
        battery=battery,
        time_zone=random.choice(["Europe/Oslo", "UTC", "Australia/Adelaide", "America/Los_Angeles"]),
        autonomy=replace(
            site.autonomy, autonomy_h=random.choice([0.25, 1.0, 2.0, 4.0, 4.1, 6.0]), max_load_w=1800.0
        ),
        pv_rated_w=random.choice([0.0, 0.0, 1500.0]),
        grid_import_limit_w=random.choice([2500.0, 4000.0, 8000.0]),
        ramp_w_per_step=random.choice([400.0, 1000.0, 3000.0]),
        recharge=random_terms(random),
    )


def random_terms(random: Random) -> RechargeTerms:
    """Return slow or quick terms, some with a share of the feeder that is nothing in some hours."""
    share = [random.choice([0.0, 400.0, 1500.0, 5000.0]) for _ in range(24)]
    return RechargeTerms(
        max_delay_s=random.choice([0.0, 300.0, 600.0, 1500.0]),
        ramp_s=random.choice([60.0, 300.0, 600.0]),
        c_rate=random.choice([0.05, 0.1, 0.1, 0.2]),
        feeder_share_w=tuple(share) if random.random() < 0.4 else (),
    )


def random_case(random: Random) -> tuple[Plan, FleetState, Limits]:
    """Return a random plan over at most 8 sites and 4 h, with its state and limits."""
    count, steps = random.randint(1, 8), random.randint(2, 16)
    feeders = ["feeder-1", "feeder-2"][: random.randint(1, 2)]
    clusters = random.randint(1, 3)
    sites = [
        random_site(random, number, random.choice(feeders), f"cluster-{random.randrange(clusters)}")
        for number in range(count)
    ]
    ids = [site.site_id for site in sites]
    state = state_of(ids, feeders)
    readings, load, pv, day_use = {}, {}, {}, {}
    for site in sites:
        key = site.site_id
        readings[key] = replace(
            a_reading(key),
            soc_frac=random.uniform(0.35, 1.0),
            soh_frac=random.uniform(0.75, 1.05),
            battery_c=random.choice([8.0, 22.0, 30.0, 30.0, 30.0]),
            aux_ac_w=random.choice([None, 300.0]),
        )
        middle = _course(random, 500.0, 1600.0, HORIZON)
        load[key] = wrong_together(key, Quantity.LOAD_W, middle, [0.1 * w for w in middle])
        if site.pv_rated_w > 0.0:
            sun = _course(random, 0.0, 1000.0, HORIZON)
            pv[key] = wrong_together(key, Quantity.PV_W, sun, [0.3 * w for w in sun])
        day_use[key] = DayUse(cycles=random.choice([0.0, 0.1]), discharged_wh=random.choice([0.0, 900.0]))
    background, limits = {}, {}
    for feeder_id in feeders:
        middle = _course(random, 50_000.0, 100_000.0, HORIZON)
        background[FeederId(feeder_id)] = wrong_together(
            feeder_id, Quantity.BACKGROUND_W, middle, [0.03 * w for w in middle]
        )
        limits[feeder_id] = replace(
            a_feeder(feeder_id),
            import_limit_w=random.choice([90_000.0, 115_000.0, 140_000.0]),
            export_limit_w=random.choice([0.0, 10_000.0]),
        )
    state = replace(state, readings=readings, load=load, pv=pv, day_use=day_use, background=background)
    chosen = sorted(random.sample(ids, random.randint(1, count)))
    plan = a_plan(
        *(SitePlan(site_id=key, schedule_w=random_schedule(random, steps)) for key in chosen),
        kind=ObjectiveKind.DEMAND_RESPONSE,
        feeder_ids=tuple(FeederId(feeder_id) for feeder_id in feeders),
    )
    if random.random() < 0.3:
        state = replace(state, live_plans=_live_plans(random, ids, steps))
    return plan, state, limits_of(sites, limits.values())


def _live_plans(random: Random, ids: Sequence[SiteId], steps: int) -> tuple[Plan, ...]:
    """Return another plan that ends where ours begins, or begins after ours has ended."""
    length = random.randint(1, 4)
    start = START - length * STEP if random.random() < 0.5 else START + (steps + random.randint(0, 3)) * STEP
    parts = [
        SitePlan(site_id=key, schedule_w=(random.choice([-300.0, -150.0, 200.0]),) * length)
        for key in random.sample(list(ids), random.randint(1, len(ids)))
    ]
    return (a_plan(*parts, start=start, plan_id="live"),)


def random_schedule(random: Random, steps: int) -> tuple[float, ...]:
    """Return discharge then recharge, recharge alone, blocks or noise."""
    power, split = random.uniform(50.0, 1500.0), random.randint(0, steps)
    match random.randrange(5):
        case 0:
            return (-power,) * split + (0.0,) * (steps - split)
        case 1:
            return (-power,) * split + (power * random.uniform(0.0, 1.0),) * (steps - split)
        case 2:
            return (0.0,) * split + (power,) * (steps - split)
        case 3:
            return tuple(random.choice([-power, 0.0, 0.5 * power]) for _ in range(steps))
        case _:
            return tuple(random.uniform(-power, 0.3 * power) for _ in range(steps))


def scaled(plan: Plan, factor: float) -> Plan:
    """Return the plan with all setpoints multiplied, in an envelope that fits."""
    parts = [
        SitePlan(site_id=part.site_id, schedule_w=tuple(factor * w for w in part.schedule_w))
        for part in plan.sites
    ]
    return a_plan(*parts, kind=plan.objective.kind, feeder_ids=plan.objective.feeder_ids)
