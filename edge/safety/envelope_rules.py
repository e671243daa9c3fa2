"""S14, the part that needs no approver: a plan stays inside the envelope that it asks approval for."""

from collections.abc import Iterable
from datetime import datetime

from edge.plan import Plan, PlanId, SiteBounds
from edge.safety.case import Case, Power, charged_wh, discharged_wh, lineage_of, power_of
from edge.safety.limits import FleetState
from edge.safety.verdict import Broken, StepRule, at_plan, at_site, over, unmet
from telemetry.model.series import STEP, STEP_H
from telemetry.model.site import SiteId


def envelope_breaches(case: Case) -> list[Broken]:
    """Return how the plan, with what its lineage already did, leaves the envelope: window, sites, power, energy.

    Doing less, down to nothing, is inside any power band: a site that drops out must not void the approval by itself.
    """
    plan, envelope = case.plan, case.plan.envelope
    broken: list[Broken] = []
    if not (envelope.window_start <= plan.window_start and plan.window_end <= envelope.window_end):
        broken.append(unmet("S14", "envelope_window", at_plan(plan), "leaves the envelope's window"))
    bounds = {site.site_id: site for site in envelope.sites}
    if len(bounds) != len(envelope.sites):
        broken.append(unmet("S14", "envelope_sites", at_plan(plan), "its envelope names a site twice"))
    used = used_wh(_relatives(case))
    for site_id, power in case.powers.items():
        if site_id not in bounds:
            broken.append(unmet("S14", "envelope_sites", at_site(site_id), "is not in the envelope"))
        else:
            broken += _site_breaches(bounds[site_id], power, used.get(site_id, (0.0, 0.0)))
    return broken + _total_breaches(case, sum(out for out, _ in used.values()))


def _relatives(case: Case) -> list[tuple[Plan, datetime]]:
    """Return plans that spend from the same approval, each with the instant up to which it counts.

    An approval reaches from a plan to what supersedes it. A plan of another line has one of its own, even under an
    envelope that says the same; that it binds the same sites is S9's business.
    """
    plan, state = case.plan, case.state
    digest = plan.envelope.digest()
    line = lineage_of(plan, state)
    successors = [plan, *line]
    related = [(old, young.window_start) for young, old in zip(successors, line, strict=False)]
    seen: set[PlanId] = {old.plan_id for old in line}
    successor_start = {
        other.supersedes: other.window_start
        for other in (*state.live_plans, *state.superseded_plans)
        if other.supersedes
    }
    ours = origin_of(plan, state)
    for other in (*state.live_plans, *state.superseded_plans):
        if other.plan_id not in seen and origin_of(other, state) == ours:
            seen.add(other.plan_id)
            related.append((other, successor_start.get(other.plan_id, other.window_end)))
    return [(other, until) for other, until in related if other.envelope.digest() == digest]


def origin_of(plan: Plan, state: FleetState) -> PlanId:
    """Return the plan that a line began with, as far back as anything names one."""
    first = [plan, *lineage_of(plan, state)][-1]
    return first.plan_id if first.supersedes is None else first.supersedes


def used_wh(relatives: Iterable[tuple[Plan, datetime]]) -> dict[SiteId, tuple[float, float]]:
    """Return the energy, Wh, that each site's other plans under the envelope discharge and charge."""
    used: dict[SiteId, tuple[float, float]] = {}
    for other, until in relatives:
        steps = max(0, min(other.steps, (until - other.window_start) // STEP))
        for site_plan in other.sites:
            power = power_of(site_plan, other.steps)
            out, into = used.get(site_plan.site_id, (0.0, 0.0))
            out -= sum(min(0.0, w) for w in power.low_w[:steps]) * STEP_H
            into += sum(max(0.0, w) for w in power.high_w[:steps]) * STEP_H
            used[site_plan.site_id] = (out, into)
    return used


def _site_breaches(bounds: SiteBounds, power: Power, used: tuple[float, float]) -> list[Broken]:
    """Return how one site leaves its own bounds."""
    excess = {
        "envelope_discharge_power": (
            min(0.0, bounds.min_w) - min(power.low_w),
            "W",
            "discharges harder than the envelope lets it",
        ),
        "envelope_charge_power": (
            max(power.high_w) - max(0.0, bounds.max_w),
            "W",
            "charges harder than the envelope lets it",
        ),
        "envelope_discharge_energy": (
            used[0] + discharged_wh(power) - bounds.max_discharge_wh,
            "Wh",
            "discharges more energy than the envelope lets it",
        ),
        "envelope_charge_energy": (
            used[1] + charged_wh(power) - bounds.max_charge_wh,
            "Wh",
            "charges more energy than the envelope lets it",
        ),
    }
    place = at_site(bounds.site_id)
    return [
        over("S14", name, place, by, unit, text) for name, (by, unit, text) in excess.items() if not by <= 0.0
    ]


def _total_breaches(case: Case, used_discharge_wh: float) -> list[Broken]:
    """Return how all sites together leave the envelope's totals."""
    envelope, place = case.plan.envelope, at_plan(case.plan)
    low = [sum(column) for column in zip(*(power.low_w for power in case.powers.values()), strict=True)]
    high = [sum(column) for column in zip(*(power.high_w for power in case.powers.values()), strict=True)]
    least = StepRule(
        rule="S14",
        name="envelope_total",
        unit="W",
        text="discharges harder in total than the envelope",
        span=case.span,
    ).judge(place, [w - min(0.0, envelope.total_min_w) for w in low])
    most = StepRule(
        rule="S14",
        name="envelope_total",
        unit="W",
        text="charges harder in total than the envelope",
        span=case.span,
    ).judge(place, [max(0.0, envelope.total_max_w) - w for w in high])
    broken = [*least.broken, *most.broken]
    energy_wh = used_discharge_wh + sum(discharged_wh(power) for power in case.powers.values())
    if not energy_wh <= envelope.total_discharge_wh:
        excess = energy_wh - envelope.total_discharge_wh
        broken.append(
            over("S14", "envelope_energy", place, excess, "Wh", "discharges more energy than the envelope")
        )
    return broken
