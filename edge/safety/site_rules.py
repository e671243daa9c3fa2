"""Rules about one site's part of a plan: S1 to S5, S10, S17 (coarse controllers), S18, S19 and S21.

Each rule takes the simulated site and returns what it found. A margin of zero or more is kept; everything is written so
that a NaN is refused.
"""

from itertools import pairwise
from operator import sub

from edge.plan import GridReserve
from edge.safety.case import Case, Day, Power, charged_wh, discharged_wh, draws, feeds
from edge.safety.products import PRODUCTS
from edge.safety.track import Track
from edge.safety.verdict import FREE, Broken, Outcome, StepRule, at_site, over, unmet
from telemetry.model.series import STEP_H


def autonomy_floor(track: Track, case: Case) -> list[Outcome]:
    """S1: backup above the floor wherever the site discharges, and never below both the floor and the idle level."""
    left, floor, place = track.left_wh, track.outlook.floor_wh, at_site(track.site.site_id)
    last = case.steps
    active = [False] * (last + 1)
    for step, w in enumerate(track.power.low_w):
        if w < 0.0:
            active[step] = active[step + 1] = True
    idle = map(sub, track.due_wh, track.committed_wh)
    margins = [
        level - (max(need, least) if busy else least)
        for level, need, least, busy in zip(left, floor, idle, active, strict=False)
    ]
    keep = StepRule(
        rule="S1",
        name="autonomy_floor",
        unit="Wh",
        text="backup falls below the autonomy floor",
        span=case.instant,
    )
    stop = StepRule(
        rule="S1",
        name="dispatch_floor",
        unit="Wh",
        text="dispatch goes below the backstop",
        span=case.instant,
    )
    lowest = track.pack.dispatch_floor_wh
    return [
        keep.judge(place, margins),
        stop.judge(
            place, [level - lowest if busy else FREE for level, busy in zip(left, active, strict=True)]
        ),
    ]


def power_limits(track: Track, case: Case) -> list[Outcome]:
    """S2: within what the cells give and take at this temperature, the rectifiers' secure headroom, the connection."""
    place, power, pack = at_site(track.site.site_id), track.power, track.pack
    out = StepRule(
        rule="S2",
        name="discharge_power",
        unit="W",
        text="discharges harder than the battery allows",
        span=case.span,
    )
    into = StepRule(
        rule="S2",
        name="charge_power",
        unit="W",
        text="charges harder than battery, rectifiers (one module failed) or connection allow",
        span=case.span,
    )
    most = pack.max_discharge_w
    caps = track.charge_cap_w[: case.steps]
    return [
        out.judge(place, [most + min(0.0, w) for w in power.low_w], [most] * case.steps),
        into.judge(
            place, [cap - w if w > 0.0 else FREE for w, cap in zip(power.high_w, caps, strict=True)], caps
        ),
    ]


def within_load(track: Track, case: Case) -> list[Outcome]:
    """S3: discharge within the lower load less the upper PV; more only through a declared, certified inverter (S18)."""
    place, inverter = at_site(track.site.site_id), track.site.inverter
    export_w = 0.0 if inverter is None or not inverter.certificate else inverter.rated_w
    own = [max(0.0, net) for net in track.outlook.net_lower_w[: case.steps]]
    caps = [w + export_w for w in own]
    rule = StepRule(
        rule="S3",
        name="within_load",
        unit="W",
        text="discharges more than its own load can take",
        span=case.span,
    )
    found = rule.judge(
        place, [cap + min(0.0, w) for w, cap in zip(track.power.low_w, caps, strict=True)], caps
    )
    exports = any(not own_w + min(0.0, w) >= 0.0 for w, own_w in zip(track.power.low_w, own, strict=True))
    uncertified = exports and inverter is not None and not inverter.certificate
    broken = (
        (unmet("S18", "certificate", place, "would export without its inverter's certificate"),)
        if uncertified
        else ()
    )
    return [found, Outcome(rule="S18", name="export", place=place, broken=broken)]


def soc_ceiling(track: Track, case: Case) -> list[Outcome]:
    """S4: never charged above the highest SoC, and not at all where the temperature forbids charging.

    The ceiling is held by the SoC as measured: a pack that is fuller than it says is held by its own voltage limit. A
    reserve's room is judged by S21.
    """
    place, pack, battery = at_site(track.site.site_id), track.pack, track.site.battery
    fed_wh = sum(w for step, w in feeds(track.commitments) if step < 0) * STEP_H
    soc = pack.soc_frac + fed_wh * pack.charge_frac_per_wh
    gain, loss = pack.charge_frac_per_wh * STEP_H, pack.discharge_frac_per_wh * STEP_H
    if not track.power.scheduled:
        loss = 0.0
    margins: list[float] = []
    for low, high in zip(track.power.low_w, track.power.high_w, strict=True):
        if high > 0.0 and track.power.reserve_wh is None:
            soc += high * gain
            margins.append(battery.soc_max_frac - soc)
        else:
            soc += min(0.0, low) * loss
            margins.append(FREE)
    ceiling = StepRule(
        rule="S4", name="soc_ceiling", unit="SoC", text="charges above the highest SoC", span=case.span
    )
    window = StepRule(
        rule="S4",
        name="charge_window",
        unit="W",
        text="charges at a temperature that forbids it",
        span=case.span,
    )
    closed = not pack.max_charge_w > 0.0
    return [
        ceiling.judge(place, margins),
        window.judge(place, [-max(0.0, w) if closed else FREE for w in track.power.high_w]),
    ]


def ramp(track: Track, case: Case) -> list[Outcome]:
    """S5: from what the site does just before, and from step to step, no faster than its ramp.

    A reserve is fast by its nature: not judged here. The return to float after the last step is the device's own ramp.
    """
    if track.power.reserve_wh is not None:
        return []
    before = [
        (other.low_w[-1 - other.begin], other.high_w[-1 - other.begin])
        for other in track.commitments
        if other.begin <= -1 < other.begin + len(other.low_w)
    ] or [(0.0, 0.0)]
    low, high, most = track.power.low_w, track.power.high_w, track.site.ramp_w_per_step
    first = max(max(abs(high[0] - was_low), abs(was_high - low[0])) for was_low, was_high in before)
    rule = StepRule(
        rule="S5", name="ramp", unit="W", text="changes power faster than its ramp", span=case.span
    )
    if track.power.scheduled:
        rest = [most - abs(b - a) for a, b in pairwise(low)]
    else:
        rest = [most - (b - a) for a, b in zip(low, high[1:], strict=False)]
    return [rule.judge(at_site(track.site.site_id), [most - first, *rest])]


def daily_cycles(track: Track, case: Case) -> list[Outcome]:
    """S10: cycles of each day at the site, with what the battery has done today and what live plans ask, within its limit."""
    place, battery = at_site(track.site.site_id), track.site.battery
    if not track.power.discharges:
        return [Outcome(rule="S10", name="daily_cycles", place=place)]
    use = case.state.day_use.get(track.site.site_id)
    if use is None or not (use.cycles >= 0.0 and use.discharged_wh >= 0.0):
        broken = unmet("S10", "day_use", place, "nobody knows what its battery has done today")
        return [Outcome(rule="S10", name="daily_cycles", place=place, broken=(broken,))]
    worst, found = FREE, []
    for day in case.days[track.site.time_zone]:
        others_w = sum(w for step, w in draws(track.commitments) if day.first <= step < day.last)
        cycles = (_day_wh(track.power, day) + others_w * STEP_H) / track.pack.full_wh
        if day.today:
            cycles += max(use.cycles, use.discharged_wh / track.pack.full_wh)
        margin = battery.max_cycles_per_day - cycles
        worst = min(worst, margin)
        if not margin >= 0.0:
            words = f"more cycles than its battery may on one day, {case.span(max(0, day.first), min(case.steps, day.last) - 1)}"
            found.append(over("S10", "daily_cycles", place, -margin, "cycles", words))
    return [
        Outcome(
            rule="S10", name="daily_cycles", place=place, unit="cycles", margin=worst, broken=tuple(found)
        )
    ]


def _day_wh(power: Power, day: Day) -> float:
    """Return what the plan may discharge on a day, Wh."""
    if power.reserve_wh is not None:
        return discharged_wh(power)
    return -sum(min(0.0, w) for w in power.low_w[max(0, day.first) : day.last]) * STEP_H


def reserve_activation(track: Track, reserve: GridReserve) -> list[Outcome]:
    """S21: a known product, whose worst-case full activation the declared energy and power cover, both ways."""
    place = at_site(track.site.site_id)
    product = PRODUCTS.get(reserve.product)
    if product is None:
        broken: tuple[Broken, ...] = (
            unmet("S21", "product", place, f"product {reserve.product!r} is not offered"),
        )
        return [Outcome(rule="S21", name="reserve_activation", place=place, broken=broken)]
    most_w = max(reserve.up_w, reserve.down_w)
    room_wh = (track.site.battery.soc_max_frac - track.pack.soc_frac) / track.pack.charge_frac_per_wh
    excess = {
        "sign": (-min(reserve.up_w, reserve.down_w), "W", "offers less than nothing"),
        "energy": (
            most_w * product.full_activation_h - reserve.energy_wh,
            "Wh",
            "declares less energy than full activation takes",
        ),
        "room": (
            charged_wh(track.power) - room_wh if charged_wh(track.power) > 0.0 else 0.0,
            "Wh",
            "has no room to charge for full activation",
        ),
    }
    found = [
        over("S21", name, place, by, unit, text) for name, (by, unit, text) in excess.items() if not by <= 0.0
    ]
    if not most_w > 0.0:
        found.append(unmet("S21", "nothing", place, "offers no power"))
    if product.symmetric and reserve.up_w != reserve.down_w:
        found.append(unmet("S21", "symmetric", place, "offers unequal power up and down"))
    if not (reserve.droop_hz > 0.0 and reserve.dead_band_hz >= 0.0 and reserve.activation_s > 0.0):
        found.append(unmet("S21", "droop", place, "has no sane droop, dead band or activation time"))
    return [Outcome(rule="S21", name="reserve_activation", place=place, broken=tuple(found))]
