"""From what is known of the fleet to the optimiser's problem. Pure.

Energy is counted as in `tools.site_needs`: what surely comes out at the terminals. So the problem's discharge efficiency
is 1 and its charge efficiency is the share of charged energy that surely comes back.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from telemetry.model.series import STEP, STEP_H
from telemetry.model.site import FeederId, Site, SiteId
from tools.deps import Fleet
from tools.eligible import ineligible
from tools.errors import ToolUnavailableError
from tools.goal import Constraint, PlanGoal, window_of
from tools.outlook import FeederOutlook, look_ahead
from tools.planning.problem import DispatchProblem, Floats, Objectives
from tools.site_needs import Needs, Store, needs_of, store_of

MARGIN_W = 2.0  # off every power limit: setpoints are whole watts and numbers are rounded
MARGIN_FRAC = 0.01  # of every floor, kept on top


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A site that may take part, with what it holds and needs.

    `committed_wh` is what live plans will still draw before this one; `raised_wh` and `lowered_w` come from rejections.
    """

    site: Site
    store: Store
    needs: Needs
    aux_ac_w: float
    committed_wh: float = 0.0
    raised_wh: float = 0.0
    lowered_w: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetProblem:
    """The problem with the names of its rows, and why the other sites of these feeders are left out."""

    problem: DispatchProblem
    site_ids: tuple[SiteId, ...]
    feeder_ids: tuple[FeederId, ...]
    outlooks: tuple[FeederOutlook, ...]
    start: datetime
    left_out: dict[SiteId, str]


def build_problem(
    fleet: Fleet, goal: PlanGoal, constraints: Sequence[Constraint], now: datetime
) -> FleetProblem:
    """Return the problem that the goal poses to the sites that may take part.

    Raises:
        ToolInputError: The goal's window makes no sense.
        ToolUnavailableError: A forecast is missing, or no site can take part.
    """
    start, end = window_of(goal)
    steps = (end - start) // STEP
    feeder_ids = tuple(FeederId(name) for name in goal.feeder_ids)
    outlooks = tuple(
        look_ahead(fleet, fleet.limits.feeders[feeder_id], start, steps) for feeder_id in feeder_ids
    )
    if missing := [name for outlook in outlooks for name in outlook.missing]:
        raise ToolUnavailableError(f"no forecast over the window for {', '.join(missing[:5])}")
    found, left_out = _candidates(fleet, goal, constraints, now, start, steps)
    if not found:
        why = next(iter(left_out.values()), "these feeders have no sites")
        raise ToolUnavailableError(f"no site of {', '.join(feeder_ids)} can take part: {why}")
    problem = _arrays(fleet, found, outlooks, steps, constraints)
    goals = _objectives(goal, problem)
    return FleetProblem(
        problem=replace(problem, objectives=goals),
        site_ids=tuple(one.site.site_id for one in found),
        feeder_ids=feeder_ids,
        outlooks=outlooks,
        start=start,
        left_out=left_out,
    )


def _candidates(
    fleet: Fleet,
    goal: PlanGoal,
    constraints: Sequence[Constraint],
    now: datetime,
    start: datetime,
    steps: int,
) -> tuple[list[Candidate], dict[SiteId, str]]:
    excluded = {
        one.where: one.because or "left out after a rejection" for one in constraints if one.kind == "exclude"
    }
    excluded |= dict.fromkeys(goal.exclude_site_ids, "left out on request")
    raised: dict[str, float] = defaultdict(float)
    lowered: dict[str, float] = defaultdict(float)
    for one in constraints:
        if one.kind == "raise_floor":
            raised[one.where] += one.amount
        elif one.kind == "lower_cap":
            lowered[one.where] += one.amount
    found: list[Candidate] = []
    left_out: dict[SiteId, str] = {}
    for site in fleet.limits.sites.values():
        if site.feeder_id not in goal.feeder_ids:
            continue
        verdict = excluded.get(site.site_id) or _bar(fleet, goal, site, now)
        candidate = None if verdict else _candidate(fleet, goal, site, start, steps, raised, lowered)
        if candidate is None or isinstance(candidate, str):
            left_out[site.site_id] = verdict or str(candidate)
        else:
            found.append(candidate)
    return found, left_out


def _bar(fleet: Fleet, goal: PlanGoal, site: Site, now: datetime) -> str:
    reasons = ineligible(fleet, site.site_id, now, charge_only=goal.objective == "recharge")
    if reasons:
        return reasons[0]
    start, end = window_of(goal)
    for live in fleet.state.live_plans:
        overlaps = live.window_start < end and start < live.window_end
        if overlaps and any(site.site_id == other.site_id for other in live.sites):
            return f"is bound by live plan {live.plan_id}"
    if site.bus.voltage_step_v > fleet.limits.policy.fine_voltage_step_v:
        return "its controller is too coarse for partial power"
    return ""


def _candidate(
    fleet: Fleet,
    goal: PlanGoal,
    site: Site,
    start: datetime,
    steps: int,
    raised: dict[str, float],
    lowered: dict[str, float],
) -> Candidate | str:
    reading = fleet.state.readings.get(site.site_id)
    store, load = store_of(site, reading), fleet.state.load.get(site.site_id)
    if store is None or reading is None or load is None:
        return "its battery's state is not known"
    needs = needs_of(fleet, site, (start - load.start) // STEP, steps, site.autonomy.autonomy_h)
    out = Candidate(
        site=site,
        store=store,
        needs=needs,
        aux_ac_w=reading.aux_ac_w or 0.0,
        committed_wh=_committed_wh(fleet, site.site_id, fleet.state.at),
        raised_wh=raised[site.site_id],
        lowered_w=lowered[site.site_id],
    )
    short = float(_floors(out).max()) - store.backup_wh + out.committed_wh
    if goal.objective != "recharge" and short >= 0.0:
        return f"holds {short / 1e3:.2f} kWh less than its backup reserve"
    return out


def _committed_wh(fleet: Fleet, site_id: SiteId, now: datetime) -> float:
    """Return what live plans will still draw from a site's battery, Wh; what they charge is not counted on."""
    drawn = 0.0
    for live in fleet.state.live_plans:
        past = max((now - live.window_start) // STEP, 0)
        for other in live.sites:
            if other.site_id == site_id:
                drawn += sum(max(-w, 0.0) for w in other.schedule_w[past:]) * STEP_H
    return drawn


def _floors(one: Candidate) -> Floats:
    """Return the energy to be held at the end of each step, margins included, Wh."""
    need = np.array(one.needs.floor_wh[1:]) * (1.0 + MARGIN_FRAC) + one.raised_wh
    before = np.array(one.needs.floor_wh[:-1]) * (1.0 + MARGIN_FRAC) + one.raised_wh
    return np.maximum(np.maximum(need, before), max(one.store.dispatch_floor_wh, 0.0) + 1.0)


def _arrays(
    fleet: Fleet,
    found: Sequence[Candidate],
    outlooks: Sequence[FeederOutlook],
    steps: int,
    constraints: Sequence[Constraint],
) -> DispatchProblem:
    policy = fleet.limits.policy
    off_feeder = {one.where: one.amount for one in constraints if one.kind == "lower_feeder"}
    fewer_low = {one.where: one.amount for one in constraints if one.kind == "limit_low"}
    backup = np.array([max(one.store.backup_wh - one.committed_wh, 0.0) for one in found])
    ceiling = np.array([max(one.store.ceiling_wh - 1.0, 0.0) for one in found])
    floor = np.minimum(np.array([_floors(one) for one in found]), ceiling[:, None])
    efficiency = np.array([one.site.rectifiers.efficiency for one in found])
    lowered = np.array([one.lowered_w for one in found])[:, None]
    lower_w = np.array([one.needs.lower_w for one in found])
    net_upper_w = np.array([one.needs.net_upper_w for one in found])
    classes, row = np.unique(
        np.array([[max(one.store.credit_frac, 0.501), one.site.rectifiers.efficiency] for one in found]),
        axis=0,
        return_inverse=True,
    )
    secure = np.array([one.site.rectifiers.secure_w for one in found])[:, None] - net_upper_w
    grid = np.array([one.site.grid_import_limit_w - one.aux_ac_w for one in found])[:, None]
    grid = grid - net_upper_w / efficiency[:, None]
    clusters = sorted({one.site.radio_cluster for one in found})
    reserve_load = np.maximum(net_upper_w.max(axis=1), 1.0)
    low = floor.max(axis=1) + policy.cluster_low_margin_h * reserve_load
    feeders = {outlook.feeder_id: number for number, outlook in enumerate(outlooks)}
    limit = [[o.limit_w - off_feeder.get(o.feeder_id, 0.0)] * steps for o in outlooks]
    export = [[fleet.limits.feeders[o.feeder_id].export_limit_w] * steps for o in outlooks]
    rate = np.array([[one.store.max_charge_w if one.store.credit_frac > 0.501 else 0.0] for one in found])
    return DispatchProblem(
        initial_wh=backup,
        usable_wh=np.maximum(np.maximum(ceiling, backup), 1.0),
        floor_wh=floor,
        ceiling_wh=np.repeat(ceiling[:, None], steps, axis=1),
        max_charge_w=_limit(np.repeat(rate, steps, axis=1), lowered),
        max_discharge_w=_limit(
            np.repeat(np.array([[one.store.max_discharge_w] for one in found]), steps, axis=1), lowered
        ),
        load_cap_w=_limit(lower_w, lowered),
        rectifier_headroom_w=_limit(secure, lowered),
        connection_headroom_w=_limit(grid, lowered),
        efficiency_class=row.reshape(-1).astype(np.int64),
        charge_efficiency=classes[:, 0].copy(),
        discharge_efficiency=np.ones(classes.shape[0]),
        rectifier_efficiency=classes[:, 1].copy(),
        ramp_w=np.array([max(one.site.ramp_w_per_step - 1.0, 1.0) for one in found]),
        start_w=np.zeros(len(found)),
        feeder=np.array([feeders[one.site.feeder_id] for one in found], dtype=np.int64),
        background_w=np.array([outlook.upper_w for outlook in outlooks]),
        import_limit_w=np.array(limit),
        export_limit_w=np.array(export),
        radio_cluster=np.array([clusters.index(one.site.radio_cluster) for one in found], dtype=np.int64),
        low_wh=low,
        low_share=np.array(
            [_low_share(found, name, policy.max_cluster_low_frac, fewer_low) for name in clusters]
        ),
        reserve_load_w=reserve_load,
        eligible=np.ones(len(found), dtype=bool),
        discharge_budget_wh=np.array([_budget_wh(fleet, one) for one in found]),
    )


def _low_share(found: Sequence[Candidate], cluster: str, frac: float, fewer: dict[str, float]) -> float:
    size = sum(one.site.radio_cluster == cluster for one in found)
    return max(frac - fewer.get(cluster, 0.0) / size, 0.0)


def _limit(power_w: Floats, lowered_w: Floats) -> Floats:
    return np.maximum(power_w - MARGIN_W - lowered_w, 0.0)


def _budget_wh(fleet: Fleet, one: Candidate) -> float:
    """Return what the day's cycles still allow, Wh; nothing where today's use is not known."""
    use = fleet.state.day_use.get(one.site.site_id)
    if use is None:
        return 0.0
    used = max(use.cycles, use.discharged_wh / one.store.full_wh)
    used += one.committed_wh / one.store.full_wh
    return max(one.site.battery.max_cycles_per_day - used, 0.0) * one.store.full_wh * (1.0 - MARGIN_FRAC)


def _objectives(goal: PlanGoal, problem: DispatchProblem) -> Objectives:
    ageing = np.full(problem.classes, 0.02)
    if goal.objective == "recharge":
        return Objectives(terminal_value_per_wh=1.0, ageing_per_wh=ageing)
    if goal.objective == "demand_response":
        wanted = np.full(problem.steps, -1e3 * (goal.relief_kw or 0.0))
        return Objectives(
            fleet_follow_w=wanted, fleet_follow_weight=np.ones(problem.steps), ageing_per_wh=ageing
        )
    excess = bool((problem.background_w > problem.import_limit_w).any())
    return Objectives(
        excess_weight=1.0 if excess else 0.0,
        peak_weight=0.05 if excess else STEP_H * problem.steps,
        ageing_per_wh=ageing,
    )
