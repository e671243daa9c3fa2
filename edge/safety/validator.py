"""Is this plan safe? Re-simulates it from live state and names every broken rule; never repairs one."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from edge.plan import Plan
from edge.safety.case import Case, Power, case_of
from edge.safety.cluster_rules import ClusterCount, cluster_low
from edge.safety.eligibility import ineligible_reasons
from edge.safety.envelope_rules import envelope_breaches
from edge.safety.feeder_rules import FeederSum, feeder_export, feeder_import, feeder_rebound, headroom_of
from edge.safety.limits import FleetState, Limits
from edge.safety.plan_rules import (
    mode_breaches,
    number_breaches,
    overlap_breaches,
    unknown_breaches,
    window_breaches,
)
from edge.safety.recharge import recharge_of, recharge_outcomes
from edge.safety.report import Ledger
from edge.safety.site_rules import (
    autonomy_floor,
    daily_cycles,
    power_limits,
    ramp,
    reserve_activation,
    soc_ceiling,
    within_load,
)
from edge.safety.track import Track, outlook_for, track_of
from edge.safety.verdict import Approved, Broken, Outcome, Rejected
from telemetry.model.site import FeederId, RadioClusterId, Site

# Without a sane window there are no steps to simulate.
_STOPPERS = frozenset({"aware", "grid", "empty_window", "duration", "past", "lead"})
_SITE_RULES = (autonomy_floor, power_limits, within_load, soc_ceiling, ramp, daily_cycles)


def validate(
    plan: Plan, state: FleetState, limits: Limits, now: datetime, *, allow_shadow: bool = False
) -> Approved | Rejected:
    """Return whether the plan keeps every rule from S1 to S21 that needs no approver.

    Args:
        plan: The plan as proposed.
        state: The live facts.
        limits: What the registry allows.
        now: The instant of the decision, aware.
        allow_shadow: Let sites in `shadow` take part, for a plan that is reported and never sent.
    """
    ledger = Ledger()
    ledger.blame(window_breaches(plan, limits, now))
    if ledger.names & _STOPPERS:
        return Rejected(plan=plan, broken=tuple(ledger.broken))
    ledger.blame(number_breaches(plan, plan.steps))
    ledger.blame(unknown_breaches(plan, state, limits))
    ledger.blame(overlap_breaches(plan, state))
    if "S15" in ledger.rules:
        for site_plan in plan.sites:
            ledger.blame(ineligible_reasons(site_plan.site_id, state, limits, now, allow_shadow=allow_shadow))
        return Rejected(plan=plan, broken=tuple(ledger.broken))
    case = case_of(plan, state, limits, now)
    ledger.blame(mode_breaches(case))
    ledger.blame(envelope_breaches(case))
    for site_id, power in case.powers.items():
        charge_only = not power.discharges
        ledger.blame(
            ineligible_reasons(
                site_id, state, limits, now, charge_only=charge_only, allow_shadow=allow_shadow
            )
        )
    _judge_physics(case, ledger)
    if ledger.broken:
        return Rejected(plan=plan, broken=tuple(ledger.broken))
    return Approved(plan=plan, margins=tuple(ledger.margins), passed=ledger.passed())


def _judge_physics(case: Case, ledger: Ledger) -> None:
    """Judge every site, feeder and radio cluster that the plan touches, feeder by feeder to bound the memory."""
    clusters: dict[RadioClusterId, ClusterCount] = {}
    touched = {site.radio_cluster for site in _sites_of(case)}
    for feeder_id, sites in _by_feeder(case, touched).items():
        known = False
        sums = FeederSum.empty(case)
        for site in sites:
            track = track_of(site, case, case.powers.get(site.site_id) or _idle(case))
            _count_low(site, track, clusters, touched, case)
            if track is None:
                outlook = outlook_for(site, None, case)
                sums.add_unknown(site, outlook, case.commitments.get(site.site_id, ()), case)
                continue
            sums.add_base(track)
            if site.site_id not in case.powers:
                sums.add_outsider(track, case)
                continue
            known = True
            recharge = recharge_of(track, case)
            sums.add_plan(track, recharge, case)
            ledger.note(_site_outcomes(track, case))
            if track.power.discharges:
                ledger.note(recharge_outcomes(track, recharge, case))
            ledger.margin(track)
        if known:
            _judge_feeder(feeder_id, sums, case, ledger)
    ledger.note(cluster_low(cluster, count, case) for cluster, count in clusters.items())


def _sites_of(case: Case) -> list[Site]:
    return [case.limits.sites[site_id] for site_id in case.powers if site_id in case.limits.sites]


def _by_feeder(case: Case, touched: set[RadioClusterId]) -> dict[FeederId, list[Site]]:
    """Return, by feeder, the sites on the plan's feeders and those that share a radio cluster with the plan's."""
    feeders = {site.feeder_id for site in _sites_of(case)}
    grouped: dict[FeederId, list[Site]] = defaultdict(list)
    for site in case.limits.sites.values():
        if site.feeder_id in feeders or site.radio_cluster in touched:
            grouped[site.feeder_id].append(site)
    return grouped


def _idle(case: Case) -> Power:
    zeros = (0.0,) * case.steps
    return Power(low_w=zeros, high_w=zeros)


def _count_low(
    site: Site,
    track: Track | None,
    clusters: dict[RadioClusterId, ClusterCount],
    touched: set[RadioClusterId],
    case: Case,
) -> None:
    if site.radio_cluster not in touched:
        return
    count = clusters.setdefault(site.radio_cluster, ClusterCount.empty(case))
    if track is None:
        count.add_unknown()
    else:
        count.add(track, case.limits.policy.cluster_low_margin_h)


def _site_outcomes(track: Track, case: Case) -> Iterable[Outcome]:
    for rule in _SITE_RULES:
        yield from rule(track, case)
    reserve = case.reserves.get(track.site.site_id)
    if reserve is not None:
        yield from reserve_activation(track, reserve)


def _judge_feeder(feeder_id: FeederId, sums: FeederSum, case: Case, ledger: Ledger) -> None:
    feeder = case.limits.feeders.get(feeder_id)
    if feeder is None:
        return  # told by S16
    headroom = headroom_of(feeder, sums, case)
    if isinstance(headroom, Broken):
        ledger.blame([headroom])
        return
    ledger.note(
        [
            feeder_import(feeder, sums, headroom, case),
            feeder_rebound(feeder, sums, headroom, case),
            feeder_export(feeder, sums, headroom, case),
        ]
    )
