"""Whether released sites may recharge at once without lifting their feeder above its limit, as the planner counts it. Pure.

Sites recharge by the terms in the registry and hear nothing from the centre while they do. So a site takes part only if its
recharge, at the fastest, fits beside that of all others at every step at which any of them may be recharging. The trusted
core has code of its own.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from telemetry.model.series import MAX_STEPS, STEP, STEP_H, UPPER
from telemetry.model.site import Feeder, FeederId, Site, SiteId
from tools.candidates import Candidate
from tools.deps import Fleet
from tools.goal import Constraint
from tools.outlook import row_over
from tools.planning.problem import Floats
from tools.site_needs import needs_of, store_of

FULL_SOC_FRAC = 0.97  # a battery below it takes charge by itself
_ROOM_FRAC = 0.01  # of a feeder's sites' own load, kept free: the core adds up in another order


def fast_ac_w(site: Site, start: datetime, steps: int) -> Floats:
    """Return the most that a site may take for its recharge at each step, W at the AC side."""
    terms, efficiency = site.recharge, site.rectifiers.efficiency
    most = site.rectifiers.secure_w if terms is None else terms.c_rate * site.battery.rated_wh
    row: Floats = np.full(steps, most / efficiency)
    if terms is None or not terms.feeder_share_w:
        return row
    return np.asarray(np.minimum(row, _share_w(terms.feeder_share_w, start, steps)))


def slow_wh(one: Candidate, start: datetime, steps: int) -> Floats:
    """Return the energy that a recharge open since `start` has surely put in by each step's end, as backup, Wh."""
    terms = one.site.recharge
    if terms is None:
        return np.zeros(steps)
    rate = min(terms.c_rate * one.site.battery.rated_wh, one.store.max_charge_w)
    row = np.full(steps, rate)
    if terms.feeder_share_w:
        share = _share_w(terms.feeder_share_w, start, steps + 1) * one.site.rectifiers.efficiency
        row = np.minimum(row, np.minimum(share[:-1], share[1:]))
    return np.asarray(np.cumsum(row) * one.store.credit_frac * STEP_H)


def _share_w(by_hour: Sequence[float], start: datetime, steps: int) -> Floats:
    begin = start.astimezone(UTC)
    quarters = np.arange(steps) + begin.hour * 4 + begin.minute // 15
    return np.asarray(np.array(by_hour)[quarters // 4 % 24])


def that_fit(
    fleet: Fleet, found: Sequence[Candidate], constraints: Sequence[Constraint], start: datetime, steps: int
) -> tuple[list[Candidate], dict[SiteId, str]]:
    """Return the candidates whose recharge fits on their feeder, those with the most to give first, and the others."""
    horizon = min(steps + 1 + fleet.limits.policy.max_recharge // STEP, MAX_STEPS)
    lowered = {one.where: one.amount for one in constraints if one.kind == "lower_feeder"}
    kept: set[SiteId] = set()
    left_out: dict[SiteId, str] = {}
    for feeder_id in dict.fromkeys(one.site.feeder_id for one in found):
        ours = [one for one in found if one.site.feeder_id == feeder_id]
        room = _room_w(fleet, fleet.limits.feeders[feeder_id], ours, start, horizon)
        room -= lowered.get(feeder_id, 0.0)
        hungry = {one.site.site_id for one in ours if _takes_charge(fleet, one.site)}
        for one in ours:
            if one.site.site_id in hungry:
                room -= fast_ac_w(one.site, start, horizon)  # whether it takes part or not
        for one in sorted(ours, key=_spare_wh, reverse=True):
            until = _full_at(one, start, steps, horizon)
            fast = fast_ac_w(one.site, start, until)
            free = room[:until] + (fast if one.site.site_id in hungry else 0.0)
            if np.all(fast <= np.maximum(free, 0.0)):
                room[:until] = free - fast
                kept.add(one.site.site_id)
            else:
                left_out[one.site.site_id] = f"its recharge would not fit below the limit of {feeder_id}"
    return [one for one in found if one.site.site_id in kept], left_out


def others_ac_w(
    fleet: Fleet,
    feeder_id: FeederId,
    ours: Mapping[SiteId, object] | set[SiteId],
    start: datetime,
    steps: int,
) -> Floats:
    """Return the most that a feeder's other sites may take by themselves at each step, W at the AC side."""
    total = np.zeros(steps)
    for site in fleet.limits.sites.values():
        if site.feeder_id == feeder_id and site.site_id not in ours and _takes_charge(fleet, site):
            total += fast_ac_w(site, start, steps)
    return total


def _takes_charge(fleet: Fleet, site: Site) -> bool:
    """Return whether a battery takes charge by itself: not full, drawn on by a live plan, or not known."""
    reading = fleet.state.readings.get(site.site_id)
    if store_of(site, reading) is None or reading is None or reading.soc_frac is None:
        return True
    busy = any(part.site_id == site.site_id for live in fleet.state.live_plans for part in live.sites)
    return busy or reading.soc_frac < FULL_SOC_FRAC


def _room_w(fleet: Fleet, feeder: Feeder, ours: Sequence[Candidate], start: datetime, horizon: int) -> Floats:
    """Return what the feeder's limit leaves beside upper background, upper loads and other sites' recharge, W by step.

    Where the background's forecast has ended nothing is left.
    """
    forecast = fleet.state.background.get(feeder.feeder_id)
    ahead = 0 if forecast is None else (forecast.start - start) // STEP + forecast.steps
    known = max(0, min(horizon, ahead))
    outside = row_over(forecast, UPPER, start, known) if known else None
    room = np.full(horizon, -np.inf)
    if outside is None:
        return room
    room[:known] = feeder.import_limit_w - np.array(outside)
    for site in fleet.limits.sites.values():
        if site.feeder_id != feeder.feeder_id:
            continue
        reading, load = fleet.state.readings.get(site.site_id), fleet.state.load.get(site.site_id)
        aux_w = 0.0 if reading is None or reading.aux_ac_w is None else reading.aux_ac_w
        offset = 0 if load is None else (start - load.start) // STEP
        net = np.maximum(np.array(needs_of(fleet, site, offset, horizon, 0.0).net_upper_w), 0.0)
        room -= net / site.rectifiers.efficiency * (1.0 + _ROOM_FRAC) + aux_w
    return room - others_ac_w(fleet, feeder.feeder_id, {one.site.site_id for one in ours}, start, horizon)


def _spare_wh(one: Candidate) -> float:
    return one.store.backup_wh - max(one.needs.floor_wh)


def _full_at(one: Candidate, start: datetime, steps: int, horizon: int) -> int:
    """Return by which step the site is surely full again, however much it gave and whenever it was released."""
    terms, battery = one.site.recharge, one.site.battery
    if terms is None:
        return horizon
    lacking_frac = max(0.0, 1.0 - one.store.soc_frac) + battery.soc_error_frac
    lacking = lacking_frac * one.store.full_wh / battery.charge_efficiency * one.store.credit_frac
    lacking += max(_spare_wh(one), 0.0) + one.committed_wh
    opened = steps + int(np.ceil((terms.max_delay_s + terms.ramp_s) / STEP.total_seconds()))
    put = slow_wh(one, start, horizon)
    if opened > horizon:
        return horizon
    return int(min(horizon, np.searchsorted(put, put[opened - 1] + lacking) + 1))
