"""Rules about the plan as a whole: S9 overlap, S11 times, S13 mode in force, S15 numbers, S16 unknown things."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import isfinite

from edge.plan import ObjectiveKind, Plan, SitePlan
from edge.safety.case import Case, live_until
from edge.safety.eligibility import LARGEST, on_quarter
from edge.safety.limits import FleetState, Limits, OperatingMode
from edge.safety.verdict import Broken, at_plan, at_site, over, unmet
from telemetry.model.series import MAX_STEPS, STEP_H

# As far as a forecast reaches, and beyond every legal duty (72 h in California). The floor is summed over so many hours:
# without this bound an absurd promise would take the machine's memory before it was refused.
MAX_RESERVE_H = MAX_STEPS * STEP_H
ALLOWED_KINDS = {
    OperatingMode.NORMAL: frozenset(ObjectiveKind),
    OperatingMode.STORM: frozenset({ObjectiveKind.RECHARGE}),
    OperatingMode.EMERGENCY: frozenset({ObjectiveKind.EMERGENCY_SUPPORT, ObjectiveKind.RECHARGE}),
}


def sane(numbers: Iterable[object]) -> bool:
    """Return whether all are real numbers of a size that can be calculated with."""
    return all(
        isinstance(number, float | int) and not isinstance(number, bool) and -LARGEST <= number <= LARGEST
        for number in numbers
    )


def sane_row(row: tuple[float, ...]) -> bool:
    """Return the same for a long row, quickly."""
    try:
        return all(map(isfinite, row)) and min(row) >= -LARGEST and max(row) <= LARGEST
    except (TypeError, ValueError):
        return False


def window_breaches(plan: Plan, limits: Limits, now: datetime) -> list[Broken]:
    """S11: window, step, duration and expiry make sense; without this nothing else can be judged."""
    place = at_plan(plan)
    instants = {
        "window_start": plan.window_start,
        "window_end": plan.window_end,
        "created_at": plan.created_at,
        "envelope window_start": plan.envelope.window_start,
        "envelope window_end": plan.envelope.window_end,
        "valid_until": plan.envelope.valid_until,
        "now": now,
    }
    naive = [name for name, at in instants.items() if at.utcoffset() is None]
    if naive:
        return [unmet("S11", "aware", place, f"{name} names no time zone") for name in naive]
    broken: list[Broken] = []
    if not (on_quarter(plan.window_start) and on_quarter(plan.window_end)):
        broken.append(
            unmet("S11", "grid", place, "its window does not begin and end on a quarter of an hour")
        )
    if not plan.window_start < plan.window_end:
        broken.append(unmet("S11", "empty_window", place, "its window ends before it begins"))
    policy = limits.policy
    broken += _late(
        "duration", plan, plan.window_end - plan.window_start, policy.max_duration, "lasts too long"
    )
    broken += _late("past", plan, now - plan.window_start, timedelta(0), "its window has already begun")
    broken += _late("lead", plan, plan.window_start - now, policy.max_lead, "begins too far ahead")
    broken += _late("created", plan, plan.created_at - now, timedelta(0), "was made in the future")
    valid = plan.envelope.valid_until - now
    broken += _late(
        "validity", plan, valid, policy.max_envelope_validity, "its envelope is valid for too long"
    )
    if not timedelta(0) < valid:
        broken.append(unmet("S11", "expired", place, "its envelope is no longer valid"))
    return broken


def _late(name: str, plan: Plan, is_: timedelta, most: timedelta, words: str) -> list[Broken]:
    if is_ <= most:
        return []
    return [over("S11", name, at_plan(plan), (is_ - most).total_seconds(), "s", words)]


def number_breaches(plan: Plan, steps: int) -> list[Broken]:
    """S15: finite numbers, at least one site, no site twice, a setpoint for every step, one kind of order per site."""
    place = at_plan(plan)
    broken = [
        unmet("S15", "duplicate_site", at_site(site_id), "is in the plan more than once")
        for site_id, times in Counter(site.site_id for site in plan.sites).items()
        if times > 1
    ]
    if not plan.sites:
        broken.append(unmet("S15", "no_site", place, "names no site"))
    if not sane(_plan_numbers(plan)):
        broken.append(unmet("S15", "number", place, "holds a number that is none"))
    elif not 0.0 <= plan.envelope.reserve_h <= MAX_RESERVE_H:
        broken.append(unmet("S15", "reserve_hours", place, f"promises backup outside 0..{MAX_RESERVE_H:g} h"))
    for site in plan.sites:
        broken += _site_number_breaches(site, steps)
    return broken


def _plan_numbers(plan: Plan) -> list[object]:
    envelope, expected = plan.envelope, plan.expected
    numbers: list[object] = [plan.bound, plan.gap_frac, envelope.reserve_h, envelope.total_min_w]
    numbers += [envelope.total_max_w, envelope.total_discharge_wh]
    numbers += [
        objective.target_w
        for objective in (plan.objective, envelope.objective)
        if objective.target_w is not None
    ]
    numbers += [expected.relief_w, expected.discharge_wh, expected.charge_wh, expected.throughput_cycles]
    numbers += [expected.score, expected.min_autonomy_margin_h]
    if expected.money is not None:
        money = expected.money
        numbers += [money.energy, money.refill, money.demand, money.wear]
    for feeder in expected.feeders:
        numbers += [feeder.peak_without_w, feeder.peak_with_w, feeder.limit_w]
    for site in envelope.sites:
        numbers += [site.min_w, site.max_w, site.max_discharge_wh, site.max_charge_wh]
    return numbers


def _site_number_breaches(site: SitePlan, steps: int) -> list[Broken]:
    place = at_site(site.site_id)
    orders = bool(site.schedule_w) + (site.grid_reserve is not None) + (site.bounds is not None)
    if orders != 1:
        return [unmet("S15", "one_order", place, f"has {orders} orders, not exactly one")]
    if site.schedule_w:
        if len(site.schedule_w) != steps:
            return [unmet("S15", "steps", place, f"has {len(site.schedule_w)} setpoints for {steps} steps")]
        sound = sane_row(site.schedule_w)
    elif site.bounds is not None:
        sound = sane((site.bounds.min_w, site.bounds.max_w, site.bounds.grid_import_limit_w))
        sound = sound and site.bounds.min_w <= site.bounds.max_w and site.bounds.grid_import_limit_w >= 0.0
    else:
        reserve = site.grid_reserve
        sound = reserve is not None and sane(
            (
                reserve.up_w,
                reserve.down_w,
                reserve.droop_hz,
                reserve.dead_band_hz,
                reserve.activation_s,
                reserve.energy_wh,
            )
        )
    return [] if sound else [unmet("S15", "number", place, "is asked for something that is no sane number")]


def unknown_breaches(plan: Plan, state: FleetState, limits: Limits) -> list[Broken]:
    """S16: whatever the plan names is known, and where two things say the same they agree."""
    place = at_plan(plan)
    broken = [
        unmet("S16", "unknown_feeder", place, f"feeder {feeder_id} is not in the registry")
        for feeder_id in plan.objective.feeder_ids
        if feeder_id not in limits.feeders
    ]
    for site_plan in plan.sites:
        site = limits.sites.get(site_plan.site_id)
        if site is None:
            continue  # told by the site's own eligibility
        if site.feeder_id not in limits.feeders:
            broken.append(
                unmet("S16", "unknown_feeder", at_site(site.site_id), "its feeder is not in the registry")
            )
        elif plan.objective.feeder_ids and site.feeder_id not in plan.objective.feeder_ids:
            broken.append(
                unmet("S16", "foreign_feeder", at_site(site.site_id), "is on a feeder not named as the aim")
            )
    if plan.supersedes is not None and plan.supersedes not in {live.plan_id for live in state.live_plans}:
        broken.append(unmet("S16", "unknown_plan", place, f"supersedes {plan.supersedes}, which is not live"))
    if state.mode not in ALLOWED_KINDS:
        broken.append(unmet("S16", "unknown_mode", place, f"nobody knows the mode {state.mode!r}"))
    if plan.objective != plan.envelope.objective:
        broken.append(unmet("S16", "objective", place, "its envelope was drawn for another objective"))
    return broken


def overlap_breaches(plan: Plan, state: FleetState) -> list[Broken]:
    """S9: no site is in another live plan at the same time, except in the plan that this one supersedes."""
    ours = {site.site_id for site in plan.sites}
    until = live_until(plan, state)
    broken: list[Broken] = []
    for live in state.live_plans:
        theirs = {site.site_id for site in live.sites}
        if live.plan_id == plan.supersedes:
            if not ours & theirs:
                broken.append(
                    unmet("S9", "stranger", at_plan(plan), f"supersedes {live.plan_id}, which shares no site")
                )
        elif plan.window_start < until[live.plan_id] and live.window_start < plan.window_end:
            broken += [
                unmet("S9", "overlap", at_site(site_id), f"is bound by live plan {live.plan_id} at that time")
                for site_id in sorted(ours & theirs)
            ]
    return broken


def mode_breaches(case: Case) -> list[Broken]:
    """S13: in a storm only recharge, in an emergency only emergency support or recharge; recharge never discharges."""
    plan, mode = case.plan, case.state.mode
    broken: list[Broken] = []
    if plan.objective.kind not in ALLOWED_KINDS.get(mode, frozenset()):
        broken.append(
            unmet("S13", "mode", at_plan(plan), f"{plan.objective.kind} is not allowed in mode {mode}")
        )
    if plan.objective.kind is ObjectiveKind.RECHARGE:
        broken += [
            unmet("S13", "recharge_only", at_site(site_id), "would discharge in a plan that is for recharge")
            for site_id, power in case.powers.items()
            if power.discharges
        ]
    return broken
