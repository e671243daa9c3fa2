"""One plan beside everything that it is judged by, put into a form that the rules can read quickly."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge.plan import GridReserve, Plan, PlanId, SitePlan
from edge.safety.limits import FleetState, Limits
from edge.safety.products import activation_wh, reserve_powers
from telemetry.model.series import STEP, STEP_H
from telemetry.model.site import SiteId

_FAR = 1_000_000  # steps: beyond any window


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """The most that a site may discharge (negative) and charge (positive) at each step, W, and in all, Wh.

    For a schedule both rows are the schedule. `reserve_wh` is the energy of a reserve's worst-case activation, which
    can come whole at any time; None for anything else.
    """

    low_w: Sequence[float]
    high_w: Sequence[float]
    reserve_wh: float | None = None
    scheduled: bool = True

    @property
    def discharges(self) -> bool:
        """Whether any step may discharge."""
        return min(self.low_w) < 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """What another live plan asks of a site, from `begin`, a step relative to this plan's first (may be negative)."""

    begin: int
    low_w: Sequence[float]
    high_w: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One calendar day at a site, as steps of the plan: `first` included, `last` excluded, both within no window.

    `today` is whether what the battery has done so far counts against it.
    """

    first: int
    last: int
    today: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A plan with a sane window, the live facts and the limits.

    `steps` is the window's length, `horizon` reaches to the end of the longest allowed recharge after it.
    """

    plan: Plan
    state: FleetState
    limits: Limits
    now: datetime
    steps: int
    horizon: int
    powers: Mapping[SiteId, Power]
    reserves: Mapping[SiteId, GridReserve]
    commitments: Mapping[SiteId, tuple[Commitment, ...]]
    days: Mapping[str, tuple[Day, ...]]

    def span(self, first: int, last: int) -> str:
        """Return the steps `first` to `last` as clock times."""
        begin = (self.plan.window_start + first * STEP).astimezone(UTC)
        end = (self.plan.window_start + (last + 1) * STEP).astimezone(UTC)
        return f"{begin:%Y-%m-%d %H:%M}-{end:%H:%M} UTC"

    def instant(self, first: int, last: int) -> str:
        """Return the starts of steps `first` to `last` as clock times."""
        begin = (self.plan.window_start + first * STEP).astimezone(UTC)
        end = (self.plan.window_start + last * STEP).astimezone(UTC)
        return (
            f"at {begin:%Y-%m-%d %H:%M} UTC" if first == last else f"{begin:%Y-%m-%d %H:%M}-{end:%H:%M} UTC"
        )


def power_of(site_plan: SitePlan, steps: int) -> Power:
    """Return the worst that a site's part of a plan can ask of its battery, both ways."""
    if site_plan.grid_reserve is not None:
        up_w, down_w = reserve_powers(site_plan.grid_reserve)
        return Power(
            low_w=(-up_w,) * steps,
            high_w=(down_w,) * steps,
            reserve_wh=activation_wh(site_plan.grid_reserve),
            scheduled=False,
        )
    if site_plan.bounds is not None:
        return Power(
            low_w=(min(0.0, site_plan.bounds.min_w),) * steps,
            high_w=(max(0.0, site_plan.bounds.max_w),) * steps,
            scheduled=False,
        )
    return Power(low_w=site_plan.schedule_w, high_w=site_plan.schedule_w)


def discharged_wh(power: Power) -> float:
    """Return the most energy that may leave the battery in the window, Wh."""
    if power.reserve_wh is not None:
        return power.reserve_wh if power.discharges else 0.0
    return -sum(min(0.0, w) for w in power.low_w) * STEP_H


def charged_wh(power: Power) -> float:
    """Return the most energy that may enter the battery in the window, Wh."""
    if power.reserve_wh is not None:
        return power.reserve_wh if power.high_w[0] > 0.0 else 0.0
    return sum(max(0.0, w) for w in power.high_w) * STEP_H


def lineage_of(plan: Plan, state: FleetState) -> list[Plan]:
    """Return the plan that this one supersedes, the one that that one superseded, and so on."""
    known = {other.plan_id: other for other in (*state.superseded_plans, *state.live_plans)}
    line: list[Plan] = []
    parent = plan.supersedes
    while parent is not None and parent in known:
        ancestor = known.pop(parent)
        line.append(ancestor)
        parent = ancestor.supersedes
    return line


def live_until(plan: Plan, state: FleetState) -> dict[PlanId, datetime]:
    """Return when each live plan stops binding its sites: at its end, or where a plan that supersedes it begins."""
    until = {live.plan_id: live.window_end for live in state.live_plans}
    for successor in (*state.live_plans, plan):
        if successor.supersedes is not None and successor.supersedes in until:
            until[successor.supersedes] = min(until[successor.supersedes], successor.window_start)
    return until


def commitments_of(plan: Plan, state: FleetState, now: datetime) -> dict[SiteId, tuple[Commitment, ...]]:
    """Return what live plans still ask of each site; a superseded one counts up to its successor's start only."""
    found: dict[SiteId, tuple[Commitment, ...]] = {}
    until = live_until(plan, state)
    for live in state.live_plans:
        begin = (live.window_start - plan.window_start) // STEP
        steps = live.steps
        past = max(0, (now - live.window_start) // STEP)
        end = (until[live.plan_id] - live.window_start) // STEP
        if not range(past, end):
            continue
        for site_plan in live.sites:
            power = power_of(site_plan, steps)
            commitment = Commitment(
                begin=begin + past, low_w=power.low_w[past:end], high_w=power.high_w[past:end]
            )
            found[site_plan.site_id] = (*found.get(site_plan.site_id, ()), commitment)
    return found


def draws(commitments: Sequence[Commitment]) -> Iterator[tuple[int, float]]:
    """Yield step and discharge, W (zero or more), of every committed step."""
    for commitment in commitments:
        for step, w in enumerate(commitment.low_w, commitment.begin):
            yield step, max(0.0, -w)


def feeds(commitments: Sequence[Commitment]) -> Iterator[tuple[int, float]]:
    """Yield step and charge, W (zero or more), of every committed step."""
    for commitment in commitments:
        for step, w in enumerate(commitment.high_w, commitment.begin):
            yield step, max(0.0, w)


def committed_wh(steps_w: Iterator[tuple[int, float]], horizon: int) -> list[float]:
    """Return the energy committed before each of `horizon` + 1 instants, Wh, all of what comes before step 0 included."""
    wh = [0.0] * (horizon + 1)
    for step, w in steps_w:
        if step < horizon:
            wh[max(0, step + 1)] += w * STEP_H
    return list(accumulate(wh))


def case_of(plan: Plan, state: FleetState, limits: Limits, now: datetime) -> Case:
    """Return the case of a plan whose window is sane and whose numbers are finite."""
    steps = plan.steps
    zones = {limits.sites[site.site_id].time_zone for site in plan.sites if site.site_id in limits.sites}
    return Case(
        plan=plan,
        state=state,
        limits=limits,
        now=now,
        steps=steps,
        horizon=steps + 1 + limits.policy.max_recharge // STEP,
        powers={site_plan.site_id: power_of(site_plan, steps) for site_plan in plan.sites},
        reserves={site.site_id: site.grid_reserve for site in plan.sites if site.grid_reserve is not None},
        commitments=commitments_of(plan, state, now),
        days={zone: days_of(plan.window_start, steps, now, zone) for zone in zones},
    )


def days_of(start: datetime, steps: int, now: datetime, time_zone: str) -> tuple[Day, ...]:
    """Return the local calendar days that a window touches; where the zone is not known all counts as today."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return (Day(first=-_FAR, last=_FAR, today=True),)
    days: list[Day] = []
    date, last_date = start.astimezone(zone).date(), (start + (steps - 1) * STEP).astimezone(zone).date()
    while date <= last_date:
        begin, end = (
            (datetime.combine(date + timedelta(days=days_on), time(), zone).astimezone(UTC) - start) // STEP
            for days_on in (0, 1)
        )
        days.append(Day(first=begin, last=end, today=date == now.astimezone(zone).date()))
        date += timedelta(days=1)
    return tuple(days)
