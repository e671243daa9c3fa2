"""Which sites may take part in a plan, what they hold and need, and why the others are left out. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from telemetry.model.series import STEP, STEP_H
from telemetry.model.site import Site, SiteId
from tools.deps import Fleet
from tools.eligible import ineligible
from tools.goal import Constraint, PlanGoal, window_of
from tools.planning.problem import Floats
from tools.site_needs import Needs, Store, needs_of, store_of

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learnt:
    """What rejections add, by place; in `high_clusters` no candidate may come near its floor any more."""

    excluded: dict[str, str]
    raised_wh: defaultdict[str, float]
    lowered_w: defaultdict[str, float]
    high_clusters: frozenset[str]


def _learnt(constraints: Sequence[Constraint]) -> _Learnt:
    raised: defaultdict[str, float] = defaultdict(float)
    lowered: defaultdict[str, float] = defaultdict(float)
    for one in constraints:
        if one.kind == "raise_floor":
            raised[one.where] += one.amount
        elif one.kind == "lower_cap":
            lowered[one.where] += one.amount
    return _Learnt(
        excluded={
            one.where: one.because or "left out after a rejection"
            for one in constraints
            if one.kind == "exclude"
        },
        raised_wh=raised,
        lowered_w=lowered,
        high_clusters=frozenset(one.where for one in constraints if one.kind == "limit_low"),
    )


def candidates(
    fleet: Fleet,
    goal: PlanGoal,
    constraints: Sequence[Constraint],
    now: datetime,
    start: datetime,
    steps: int,
) -> tuple[list[Candidate], dict[SiteId, str]]:
    """Return the sites of the goal's feeders that may take part, and why the others may not."""
    learnt = _learnt(constraints)
    bound, drawn_wh = _live(fleet, *window_of(goal))
    excluded = bound | learnt.excluded | dict.fromkeys(goal.exclude_site_ids, "left out on request")
    found: list[Candidate] = []
    left_out: dict[SiteId, str] = {}
    for site in fleet.limits.sites.values():
        if site.feeder_id not in goal.feeder_ids:
            continue
        verdict = excluded.get(site.site_id) or _bar(fleet, goal, site, now)
        candidate = (
            None if verdict else _candidate(fleet, goal, site, start, steps, learnt, drawn_wh[site.site_id])
        )
        if candidate is None or isinstance(candidate, str):
            left_out[site.site_id] = verdict or str(candidate)
        else:
            found.append(candidate)
    return found, left_out


def _bar(fleet: Fleet, goal: PlanGoal, site: Site, now: datetime) -> str:
    reasons = ineligible(fleet, site.site_id, now, charge_only=goal.objective == "recharge")
    if reasons:
        return reasons[0]
    if site.bus.voltage_step_v > fleet.limits.policy.fine_voltage_step_v:
        return "its controller is too coarse for partial power"
    return ""


def _candidate(
    fleet: Fleet,
    goal: PlanGoal,
    site: Site,
    start: datetime,
    steps: int,
    learnt: _Learnt,
    committed_wh: float,
) -> Candidate | str:
    reading = fleet.state.readings.get(site.site_id)
    store, load = store_of(site, reading), fleet.state.load.get(site.site_id)
    if store is None or reading is None or load is None:
        return "its battery's state is not known"
    needs = needs_of(fleet, site, (start - load.start) // STEP, steps, site.autonomy.autonomy_h)
    raised_wh = learnt.raised_wh[site.site_id]
    if site.radio_cluster in learnt.high_clusters:
        raised_wh += (
            fleet.limits.policy.cluster_low_margin_h * max(*needs.net_upper_w, 1.0) * (1.0 + MARGIN_FRAC)
        )
    out = Candidate(
        site=site,
        store=store,
        needs=needs,
        aux_ac_w=reading.aux_ac_w or 0.0,
        committed_wh=committed_wh,
        raised_wh=raised_wh,
        lowered_w=learnt.lowered_w[site.site_id],
    )
    short = float(floors_wh(out).max()) - store.backup_wh + out.committed_wh
    if goal.objective != "recharge" and short >= 0.0:
        return f"holds {short / 1e3:.2f} kWh less than its backup reserve"
    return out


def _live(fleet: Fleet, start: datetime, end: datetime) -> tuple[dict[str, str], defaultdict[str, float]]:
    """Return which live plan binds a site between two instants, and what live plans will still draw from each, Wh.

    What they charge is not counted on.
    """
    bound: dict[str, str] = {}
    drawn: defaultdict[str, float] = defaultdict(float)
    for live in fleet.state.live_plans:
        past = max((fleet.state.at - live.window_start) // STEP, 0)
        overlaps = live.window_start < end and start < live.window_end
        for other in live.sites:
            drawn[other.site_id] += sum(max(-w, 0.0) for w in other.schedule_w[past:]) * STEP_H
            if overlaps:
                bound[other.site_id] = f"is bound by live plan {live.plan_id}"
    return bound, drawn


def floors_wh(one: Candidate) -> Floats:
    """Return the energy to be held at the end of each step, margins included, Wh."""
    need = np.array(one.needs.floor_wh[1:]) * (1.0 + MARGIN_FRAC) + one.raised_wh
    before = np.array(one.needs.floor_wh[:-1]) * (1.0 + MARGIN_FRAC) + one.raised_wh
    return np.maximum(np.maximum(need, before), max(one.store.dispatch_floor_wh, 0.0) + 1.0)
