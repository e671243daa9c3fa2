"""How a site fills its battery again after a release: at the slowest for its autonomy, at the fastest for its feeder.

A gateway recharges by the terms written at commissioning and hears nothing from the centre while it does (DOMAIN.md
section 1, rebound after an event). So what is counted on is the latest opening and the least power, and what the feeder
must be able to bear is the earliest opening and the most. Without terms nothing comes back.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, repeat
from math import ceil
from operator import sub

from edge.safety.case import Case, draws
from edge.safety.track import Track, shelf_room_w
from edge.safety.verdict import FREE, Outcome, StepRule, at_site
from telemetry.model.series import STEP, STEP_H
from telemetry.model.site import RechargeTerms, Site

FULL_SOC_FRAC = 0.97  # below it a battery takes charge by itself [I]; above it flows a trickle
_QUARTERS_PER_HOUR = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Recharge:
    """What a site surely puts back after a release, from the plan's start on.

    Attributes:
        wait: Steps after a release before anything is counted on.
        back_wh: Backup that a recharge open since the plan's start would have put back at each instant, Wh.
    """

    wait: int
    back_wh: Sequence[float]


def feeder_row_w(terms: RechargeTerms, start: datetime, count: int, *, least: bool) -> list[float] | None:
    """Return the site's share of its feeder at each step, W at the AC side; None where the feeder sets no bound.

    The gateway closes a little before the hour turns to a lower share: `least` takes the lower of a step and the next.
    """
    if not terms.feeder_share_w:
        return None
    begin = start.astimezone(UTC)
    first = begin.hour * _QUARTERS_PER_HOUR + begin.minute // 15
    day = [w for w in terms.feeder_share_w for _ in range(_QUARTERS_PER_HOUR)]
    if least:
        day = [min(w, after) for w, after in zip(day, [*day[1:], day[0]], strict=True)]
    whole = day[first:] + day * (count // len(day) + 1)
    return whole[:count]


def slow_w(track: Track, start: datetime) -> list[float]:
    """Return the least charging power after a release at each step, W, once the recharge has opened; zero without terms."""
    terms = track.site.recharge
    if terms is None:
        return [0.0] * len(track.charge_cap_w)
    most = terms.c_rate * track.site.battery.rated_wh
    row = list(map(min, repeat(most), map(max, repeat(0.0), track.charge_cap_w)))
    share = feeder_row_w(terms, start, len(row), least=True)
    if share is None:
        return row
    efficiency = track.site.rectifiers.efficiency
    return [min(w, ac_w * efficiency) for w, ac_w in zip(row, share, strict=True)]


def fast_ac_w(site: Site, net_upper_w: Sequence[float], aux_ac_w: float, start: datetime) -> list[float]:
    """Return the most that a recharge adds to the site's upper import at each step, W at the AC side.

    The cells' own limit is left out: they may be warmer by then. Without terms: all that rectifiers and connection carry.
    """
    terms, efficiency = site.recharge, site.rectifiers.efficiency
    room = map(max, repeat(0.0), shelf_room_w(site, net_upper_w, aux_ac_w))
    if terms is None:
        return [w / efficiency for w in room]
    most = terms.c_rate * site.battery.rated_wh
    row = [w / efficiency for w in map(min, repeat(most), room)]
    share = feeder_row_w(terms, start, len(row), least=False)
    return row if share is None else list(map(min, row, share))


def wait_steps(terms: RechargeTerms | None) -> int:
    """Return the whole steps within which a recharge has surely opened and risen to its full power."""
    return 1 if terms is None else ceil((terms.max_delay_s + terms.ramp_s) / STEP.total_seconds())


def recharge_of(track: Track, case: Case) -> Recharge:
    """Return what surely comes back to a site after a release."""
    per_w = track.pack.credit_frac * STEP_H
    slow = slow_w(track, case.plan.window_start)
    return Recharge(
        wait=min(wait_steps(track.site.recharge), case.horizon - case.steps),
        back_wh=[0.0, *(w_steps * per_w for w_steps in accumulate(slow))],
    )


def charges_by_itself(track: Track) -> bool:
    """Return whether a battery takes charge without any plan: it is not full, or other live plans draw on it."""
    return track.pack.soc_frac < FULL_SOC_FRAC or any(w > 0.0 for _, w in draws(track.commitments))


def recharging_steps(track: Track, recharge: Recharge, case: Case) -> range:
    """Return the steps at which the site may be recharging: from its first draw until it is surely full again.

    The latest end is that of a release after the window, with the lowest level that the plan or others leave, and all
    that the battery lacked before.
    """
    drawn = [step for step, w in draws(track.commitments) if w > 0.0]
    if drawn or not track.power.discharges:
        first = 0
    else:
        first = next(step for step, w in enumerate(track.power.low_w) if w < 0.0)
    pack = track.pack
    empty_frac = max(0.0, 1.0 - pack.soc_frac) + track.site.battery.soc_error_frac
    lacking_wh = empty_frac / pack.charge_frac_per_wh * pack.credit_frac
    lacking_wh += pack.backup_wh - min(track.level_wh) + track.committed_wh[-1]
    opened = case.steps + recharge.wait
    full_wh = recharge.back_wh[opened] + lacking_wh
    return range(first, min(case.horizon, bisect_left(recharge.back_wh, full_wh)))


def recharge_outcomes(track: Track, recharge: Recharge, case: Case) -> list[Outcome]:
    """S6 and S1 after a release at any instant of the window, its end included.

    The energy that the plan took goes back within the longest allowed recharge time (S6), and until then the backup
    stays above the autonomy floor or the level that the site would have had anyway (S1). O(steps).
    """
    place = at_site(track.site.site_id)
    back_wh, wait, idle_wh = recharge.back_wh, recharge.wait, track.pack.backup_wh
    span = case.horizon - case.steps
    still = StepRule(
        rule="S6",
        name="recharge",
        unit="Wh",
        text="cannot be recharged in time after a release",
        span=case.instant,
    )
    keep = StepRule(
        rule="S1",
        name="recharge_floor",
        unit="Wh",
        text="backup falls below the autonomy floor before it is recharged after a release",
        span=case.instant,
    )
    hardest, early = _hardest_wh(track, back_wh), _early_wh(track, wait)
    fits, waits = [], []
    for at, level in enumerate(track.level_wh):
        if level >= idle_wh:
            fits.append(FREE)
            waits.append(FREE)
            continue
        open_wh = back_wh[at + wait]
        fits.append(back_wh[at + span] - open_wh - (idle_wh - level))
        waits.append(min(level - early[at], level - open_wh - hardest[at + wait]))
    return [still.judge(place, fits), keep.judge(place, waits)]


def _hardest_wh(track: Track, back_wh: Sequence[float]) -> list[float]:
    """Return the highest floor still to come at each instant, less what is put back before it is due, Wh."""
    due = map(sub, track.due_wh, back_wh)
    hardest = list(accumulate(reversed(list(due)), max))
    hardest.reverse()
    return hardest


def _early_wh(track: Track, wait: int) -> list[float]:
    """Return the highest floor while a recharge has not opened yet, for a release at each instant, Wh."""
    due, count = track.due_wh, len(track.level_wh)
    highest = list(due[1 : count + 1])
    for later in range(2, wait + 1):
        highest = list(map(max, highest, due[later : count + later]))
    return highest
