"""From what is known of the fleet to the optimiser's problem. Pure.

Energy is counted as in `tools.site_needs`: what surely comes out at the terminals. So the problem's discharge efficiency
is 1 and its charge efficiency is the share of charged energy that surely comes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import floor

import numpy as np

from telemetry.model.series import STEP, STEP_H
from telemetry.model.site import FeederId, Site, SiteId
from tools.candidates import MARGIN_FRAC, Candidate, candidates, floors_wh
from tools.deps import Fleet
from tools.errors import ToolUnavailableError
from tools.goal import Constraint, PlanGoal, window_of
from tools.outlook import FeederOutlook, look_ahead
from tools.planning.problem import DispatchProblem, Floats, Objectives
from tools.rebound import others_ac_w, that_fit
from tools.site_needs import needs_of, store_of

MARGIN_W = 2.0  # off every power limit: setpoints are whole watts and numbers are rounded


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
    found, left_out = candidates(fleet, goal, constraints, now, start, steps)
    if goal.objective != "recharge":
        found, unfit = that_fit(fleet, found, constraints, start, steps)
        left_out |= unfit
    if not found:
        why = next(iter(left_out.values()), "these feeders have no sites")
        raise ToolUnavailableError(f"no site of {', '.join(feeder_ids)} can take part: {why}")
    problem = _arrays(fleet, found, outlooks, steps, constraints)
    if goal.objective == "recharge":
        ours = {one.site.site_id for one in found}
        others = np.array([others_ac_w(fleet, name, ours, start, steps) for name in feeder_ids])
        problem = replace(
            problem,
            max_discharge_w=np.zeros_like(problem.max_discharge_w),
            import_limit_w=problem.import_limit_w - others,
        )
    goals = _objectives(goal, problem)
    return FleetProblem(
        problem=replace(problem, objectives=goals),
        site_ids=tuple(one.site.site_id for one in found),
        feeder_ids=feeder_ids,
        outlooks=outlooks,
        start=start,
        left_out=left_out,
    )


def _arrays(
    fleet: Fleet,
    found: Sequence[Candidate],
    outlooks: Sequence[FeederOutlook],
    steps: int,
    constraints: Sequence[Constraint],
) -> DispatchProblem:
    policy = fleet.limits.policy
    off_feeder = {one.where: one.amount for one in constraints if one.kind == "lower_feeder"}
    backup = np.array([max(one.store.backup_wh - one.committed_wh, 0.0) for one in found])
    ceiling = np.array([max(one.store.ceiling_wh - 1.0, 0.0) for one in found])
    floors = np.minimum(np.array([floors_wh(one) for one in found]), ceiling[:, None])
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
    low = floors.max(axis=1) + policy.cluster_low_margin_h * reserve_load
    feeders = {outlook.feeder_id: number for number, outlook in enumerate(outlooks)}
    limit = [[o.limit_w - off_feeder.get(o.feeder_id, 0.0)] * steps for o in outlooks]
    export = [[fleet.limits.feeders[o.feeder_id].export_limit_w] * steps for o in outlooks]
    rate = np.array([[one.store.max_charge_w if one.store.credit_frac > 0.501 else 0.0] for one in found])
    return DispatchProblem(
        initial_wh=backup,
        usable_wh=np.maximum(np.maximum(ceiling, backup), 1.0),
        floor_wh=floors,
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
        low_share=_low_shares(fleet, found, clusters, outlooks[0].start, steps),
        reserve_load_w=reserve_load,
        eligible=np.ones(len(found), dtype=bool),
        discharge_budget_wh=np.array([_budget_wh(fleet, one) for one in found]),
    )


def _low_shares(
    fleet: Fleet, found: Sequence[Candidate], clusters: Sequence[str], start: datetime, steps: int
) -> Floats:
    """Return the share of each cluster's candidates that may be low: what its other sites leave of the policy's share."""
    ours = {one.site.site_id for one in found}
    by_cluster: dict[str, list[Site]] = {cluster: [] for cluster in clusters}
    for site in fleet.limits.sites.values():
        if site.radio_cluster in by_cluster:
            by_cluster[site.radio_cluster].append(site)
    shares: list[float] = []
    for members in by_cluster.values():
        others = [site for site in members if site.site_id not in ours]
        allowed = floor(fleet.limits.policy.max_cluster_low_frac * len(members) + 1e-9)
        allowed -= sum(_is_low(fleet, site, start, steps) for site in others)
        shares.append(min(max(allowed, 0) / (len(members) - len(others)), 1.0))
    return np.array(shares)


def _is_low(fleet: Fleet, site: Site, start: datetime, steps: int) -> bool:
    """Return whether a site that takes no part is near its floor anyway; what is not known counts as low."""
    store, load = store_of(site, fleet.state.readings.get(site.site_id)), fleet.state.load.get(site.site_id)
    if store is None or load is None:
        return True
    needs = needs_of(fleet, site, (start - load.start) // STEP, steps, site.autonomy.autonomy_h)
    spare_wh = fleet.limits.policy.cluster_low_margin_h * max(*needs.net_upper_w, 1.0)
    return store.backup_wh < max(needs.floor_wh) + spare_wh


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
