"""An independent judge: simulates a plan second by second in the worst weather its forecasts allow (simulated).

Shares no code with `edge.safety` and takes its own view of the physics: what is true is that the SoC is lower than
measured by its error, that loads run at their upper or their lower quantile all along, and that after a release at any
minute each site recharges by its own terms: for its backup as late and as slowly as they allow, for its feeder at any
moment as fast as they allow, until even the slowest would be full. It needs forecasts whose sums go wrong together (`cumulative_wh` is the sum of `values_w`), so
that "worst" is one path. The window runs in steps of 1 s, the recharge after a release in steps of 60 s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from edge.plan import Plan
from edge.safety.limits import FleetState, Limits
from telemetry.model.battery import TemperatureBand
from telemetry.model.reading import Reading
from telemetry.model.series import Forecast
from telemetry.model.site import Feeder, Site

Floats = npt.NDArray[np.float64]
QUARTER_S, DAY_S, TICK_S = 900, 86_400, 60
TAIL_S = 8 * 3600  # the longest autonomy in use, after the last instant that is looked at
EPS = 1e-6  # W, Wh: rounding in sums over 100,000 seconds
LOW, HIGH = 0, 8  # rows of a forecast's quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One site with its true worst course, by second from the window's start."""

    site: Site
    reading: Reading
    band: TemperatureBand
    asked_w: Floats
    high_w: Floats
    low_w: Floats
    gone_wh: Floats

    @property
    def full_wh(self) -> float:
        """Present capacity at any temperature, Wh."""
        return self.site.battery.rated_wh * min(self.reading.soh_frac or 0.0, 1.0)

    @property
    def start_wh(self) -> float:
        """What can be had above the disconnect if the SoC is as wrong as it may be, Wh."""
        battery = self.site.battery
        share = (self.reading.soc_frac or 0.0) - battery.soc_error_frac - battery.disconnect_soc_frac
        return self.full_wh * self.band.capacity_frac * battery.discharge_efficiency * share

    @property
    def gain(self) -> float:
        """Wh that can be had again for each Wh charged."""
        battery = self.site.battery
        return battery.charge_efficiency * battery.discharge_efficiency * self.band.capacity_frac

    def level_wh(self) -> Floats:
        """Backup at each second of the window, others' draw not counted, Wh."""
        change = np.where(self.asked_w < 0.0, self.asked_w, self.asked_w * self.gain) / 3600.0
        return self.start_wh + np.concatenate(([0.0], np.cumsum(change)))

    def need_wh(self, slack: float, *, whole_quarters: bool = False) -> Floats:
        """Energy of the autonomy from each second on, Wh; near the floor (S12) is told in whole quarters of an hour."""
        ahead_s = round(self.site.autonomy.autonomy_h * 3600.0)
        if whole_quarters:
            ahead_s = -(-ahead_s // QUARTER_S) * QUARTER_S
        sums = np.concatenate(([0.0], np.cumsum(self.high_w))) / 3600.0
        return np.maximum(sums[ahead_s:] - sums[:-ahead_s], 0.0) * (1.0 + slack)

    @property
    def lacking_wh(self) -> float:
        """What a recharge puts in beyond the level at the start before the battery says that it is full, Wh."""
        battery, soc_frac = self.site.battery, self.reading.soc_frac or 0.0
        share = max(0.0, 1.0 - soc_frac) + battery.soc_error_frac
        return share * self.full_wh / battery.charge_efficiency * self.gain

    def feeder_share_w(self, start: datetime, ahead_s: float = 0.0) -> Floats:
        """What its terms leave it of its feeder at each second, W at the AC side, told `ahead_s` before."""
        terms = self.site.recharge
        assert terms is not None
        if not terms.feeder_share_w:
            return np.full(len(self.high_w), np.inf)
        hours = ((start.timestamp() + ahead_s + np.arange(len(self.high_w))) // 3600.0 % 24.0).astype(int)
        share: Floats = np.array(terms.feeder_share_w)[hours]
        return share

    def slow_w(self, start: datetime, slack: float) -> Floats:
        """The least charging power of a recharge that has opened, W; it closes 10 s before its share falls."""
        terms = self.site.recharge
        assert terms is not None
        share = np.minimum(self.feeder_share_w(start), self.feeder_share_w(start, 10.0))
        most = np.minimum(share * self.site.rectifiers.efficiency, terms.c_rate * self.site.battery.rated_wh)
        return np.maximum(np.minimum(self.charge_room_w(0.0), most), 0.0) * (1.0 - slack)

    def fast_ac_w(self, start: datetime) -> Floats:
        """The most that a recharge takes, W at the AC side, from a battery that may have become warm."""
        terms, efficiency = self.site.recharge, self.site.rectifiers.efficiency
        assert terms is not None
        shelf_w = min(
            self.site.rectifiers.module_w * (self.site.rectifiers.count - 1),
            (self.site.grid_import_limit_w - (self.reading.aux_ac_w or 0.0)) * efficiency,
        )
        dc = np.minimum(np.maximum(shelf_w - self.high_w, 0.0), terms.c_rate * self.site.battery.rated_wh)
        return np.minimum(dc / efficiency, self.feeder_share_w(start))

    def charge_room_w(self, slack: float) -> Floats:
        """What battery, rectifiers with a module failed and connection let in at each second, W."""
        site = self.site
        shelf_w = min(
            site.rectifiers.module_w * (site.rectifiers.count - 1),
            (site.grid_import_limit_w - (self.reading.aux_ac_w or 0.0)) * site.rectifiers.efficiency,
        )
        cells_w = self.band.charge_c_rate * site.battery.rated_wh
        return np.minimum(cells_w, shelf_w - self.high_w) * (1.0 - slack)


def path_of(forecast: Forecast | None, row: int, start: datetime, total_s: int, fill: float) -> Floats:
    """Return one quantile of a forecast by second, with the fill once it has ended."""
    course = np.full(total_s, fill)
    if forecast is not None:
        begin = round((start - forecast.start).total_seconds())
        known = np.repeat(np.array(forecast.values_w[row]), QUARTER_S)[begin : begin + total_s]
        course[: len(known)] = known
    return course


def breaches(plan: Plan, state: FleetState, limits: Limits, slack: float = 0.0) -> set[str]:
    """Return the names of what goes wrong; with `slack` every limit is tighter by that share."""
    steps = len(plan.sites[0].schedule_w)
    asked = {part.site_id: part.schedule_w for part in plan.sites}
    found: set[str] = set()
    everyone: list[Cell] = []
    for feeder in limits.feeders.values():
        members = [site for site in limits.sites.values() if site.feeder_id == feeder.feeder_id]
        cells = [_cell(site, plan, state, asked.get(site.site_id), steps) for site in members]
        everyone += cells
        busy = [cell for cell in cells if cell.site.site_id in asked]
        for cell in busy:
            found |= _site_breaches(cell, plan, state, slack)
        if busy:
            found |= _feeder_breaches(cells, feeder, plan, state, slack)
            found |= _release_breaches(cells, busy, feeder, plan, state, slack)
    return found | _cluster_breaches(everyone, plan, limits, slack)


def _cell(site: Site, plan: Plan, state: FleetState, row: tuple[float, ...] | None, steps: int) -> Cell:
    reading = state.readings[site.site_id]
    total_s = steps * QUARTER_S + QUARTER_S + DAY_S + TAIL_S
    load, pv = state.load[site.site_id], state.pv.get(site.site_id)
    dark = np.clip(path_of(pv, LOW, plan.window_start, total_s, 0.0), 0.0, site.pv_rated_w)
    bright = path_of(pv, HIGH, plan.window_start, total_s, site.pv_rated_w)
    temperature = -273.0 if reading.battery_c is None else reading.battery_c
    return Cell(
        site=site,
        reading=reading,
        band=next(band for band in site.battery.bands if band.from_c <= temperature < band.to_c),
        asked_w=np.repeat(np.array(row or (0.0,) * steps), QUARTER_S),
        high_w=path_of(load, HIGH, plan.window_start, total_s, site.autonomy.max_load_w) - dark,
        low_w=path_of(load, LOW, plan.window_start, total_s, 0.0) - bright,
        gone_wh=_drawn_by_others(site, plan, state, total_s),
    )


def _others(site: Site, state: FleetState, plan: Plan) -> list[tuple[int, Floats]]:
    """Return what other live plans ask of a site: second from the window's start, and W by second."""
    asked = []
    for live in state.live_plans:
        for part in live.sites:
            if part.site_id == site.site_id:
                offset = round((live.window_start - plan.window_start).total_seconds())
                asked.append((offset, np.repeat(np.array(part.schedule_w), QUARTER_S)))
    return asked


def _drawn_by_others(site: Site, plan: Plan, state: FleetState, total_s: int) -> Floats:
    """Return what other plans have drawn by each second, Wh; what they draw earlier is gone from the start."""
    drawn, before = np.zeros(total_s), 0.0
    for offset, row in _others(site, state, plan):
        wh = np.maximum(-row, 0.0) / 3600.0
        done = max(
            0, round((state.at - plan.window_start).total_seconds()) - offset
        )  # already in the reading
        before += float(wh[done : max(0, -offset)].sum())
        late = wh[max(0, -offset) :][: max(0, total_s - max(0, offset))]
        drawn[max(0, offset) : max(0, offset) + len(late)] += late
    return np.concatenate(([0.0], np.cumsum(drawn)))[:total_s] + before


def _site_breaches(cell: Cell, plan: Plan, state: FleetState, slack: float) -> set[str]:
    site, battery, asked = cell.site, cell.site.battery, cell.asked_w
    seconds = len(asked)
    level, need, gone = cell.level_wh(), cell.need_wh(slack)[: seconds + 1], cell.gone_wh[: seconds + 1]
    left = level - gone
    out = asked < 0.0
    at_work = np.zeros(seconds + 1, dtype=bool)
    at_work[:-1] |= out
    at_work[1:] |= out
    lowest = max(battery.backstop_soc_frac, battery.soc_min_frac - battery.soc_error_frac)
    floor_wh = (lowest - battery.disconnect_soc_frac) * cell.full_wh * cell.band.capacity_frac
    floor_wh *= battery.discharge_efficiency * (1.0 + slack)
    cells_w = cell.band.discharge_c_rate * battery.rated_wh * (1.0 - slack)
    spare_w = np.maximum(cell.low_w[:seconds], 0.0) * (1.0 - slack)
    soc = cell.reading.soc_frac or 0.0
    moves = np.where(asked > 0.0, asked * battery.charge_efficiency, asked / battery.discharge_efficiency)
    socs = soc + np.cumsum(moves) / 3600.0 / cell.full_wh
    # A quarter of an hour before the window another plan may still be at work.
    last_w = [row[-offset - 1] for offset, row in _others(site, state, plan) if 0 <= -offset - 1 < len(row)]
    jumps = np.abs(np.diff(np.concatenate((last_w[:1] or [0.0], asked[::QUARTER_S]))))
    checks = {
        "autonomy": left[at_work] >= need[at_work] - EPS,
        "no_worse_than_idle": left >= np.minimum(need, cell.start_wh - gone) - EPS,
        "backstop": left[at_work] >= floor_wh - EPS,
        "discharge_power": -asked[out] <= cells_w + EPS,
        "within_load": -asked[out] <= spare_w[out] + EPS,
        "charge_power": asked[asked > 0.0] <= cell.charge_room_w(slack)[:seconds][asked > 0.0] + EPS,
        "ceiling": socs[asked > 0.0] <= battery.soc_max_frac * (1.0 - slack) + 1e-9,
        "ramp": jumps <= site.ramp_w_per_step * (1.0 - slack) + EPS,
        "cycles": _cycles(cell, plan, state) <= battery.max_cycles_per_day * (1.0 - slack) + 1e-9,
    }
    return {name for name, kept in checks.items() if not np.all(kept)}


def _cycles(cell: Cell, plan: Plan, state: FleetState) -> Floats:
    """Return the cycles of each local day that the window touches, none if the plan does not discharge."""
    if not (cell.asked_w < 0.0).any():
        return np.zeros(1)
    zone = ZoneInfo(cell.site.time_zone)
    begin_s = plan.window_start.timestamp()
    shift_s = (
        plan.window_start.astimezone(zone).utcoffset() or (plan.window_start - plan.window_start)
    ).total_seconds()
    rows = [(0, cell.asked_w), *_others(cell.site, state, plan)]
    days: dict[int, float] = {}
    ours: set[int] = set()
    for index, (offset, row) in enumerate(rows):
        day = np.floor((begin_s + offset + np.arange(len(row)) + shift_s) / DAY_S).astype(int)
        for number in np.unique(day):
            days[int(number)] = (
                days.get(int(number), 0.0) + float(np.maximum(-row[day == number], 0.0).sum()) / 3600.0
            )
            if index == 0:
                ours.add(int(number))
    today = int((state.at.timestamp() + shift_s) // DAY_S)
    use = state.day_use[cell.site.site_id]
    used = max(use.cycles, use.discharged_wh / cell.full_wh)
    return np.array([days[day] / cell.full_wh + (used if day == today else 0.0) for day in sorted(ours)])


def _own_ac_w(cells: Sequence[Cell], feeder: Feeder, plan: Plan, state: FleetState, *, high: bool) -> Floats:
    """Return what the feeder carries by second without the plan, W: background, sites, and others' plans at their worst."""
    total_s = len(cells[0].high_w)
    background = state.background.get(feeder.feeder_id)
    fill = feeder.import_limit_w if high else 0.0
    carried = path_of(background, HIGH if high else LOW, plan.window_start, total_s, fill)
    for cell in cells:
        efficiency = cell.site.rectifiers.efficiency
        net = cell.high_w if high else cell.low_w
        carried = carried + np.maximum(net, 0.0) / efficiency
        carried += (cell.reading.aux_ac_w or 0.0) if high else 0.0
        for offset, row in _others(cell.site, state, plan):
            part = np.maximum(row, 0.0) if high else np.minimum(row, 0.0)
            part = part[max(0, -offset) :][: total_s - max(0, offset)]
            carried[max(0, offset) : max(0, offset) + len(part)] += part / efficiency
    return carried


def _feeder_breaches(
    cells: Sequence[Cell], feeder: Feeder, plan: Plan, state: FleetState, slack: float
) -> set[str]:
    seconds = len(cells[0].asked_w)
    import_w = _own_ac_w(cells, feeder, plan, state, high=True)[:seconds]
    export_w = -_own_ac_w(cells, feeder, plan, state, high=False)[:seconds]
    fed = sum(
        (np.maximum(cell.asked_w, 0.0) / cell.site.rectifiers.efficiency for cell in cells), np.zeros(seconds)
    )
    given = sum(
        (np.maximum(-cell.asked_w, 0.0) / cell.site.rectifiers.efficiency for cell in cells),
        np.zeros(seconds),
    )
    most_in = np.maximum(feeder.import_limit_w * (1.0 - slack), import_w)
    most_out = np.maximum(feeder.export_limit_w * (1.0 - slack), export_w)
    found = set()
    # As planned, and with the discharging (or the charging) half of the plan dropped out.
    if (import_w + fed - given > most_in + EPS).any() or (import_w + fed > most_in + EPS).any():
        found.add("import")
    if (export_w + given - fed > most_out + EPS).any() or (export_w + given > most_out + EPS).any():
        found.add("export")
    return found


def _release_breaches(
    cells: Sequence[Cell], busy: Sequence[Cell], feeder: Feeder, plan: Plan, state: FleetState, slack: float
) -> set[str]:
    """Release all sites of the plan at each quarter, and at minutes between, and let them recharge."""
    seconds, start = len(cells[0].asked_w), plan.window_start
    room_w = feeder.import_limit_w * (1.0 - slack) - _own_ac_w(cells, feeder, plan, state, high=True)
    room_w = np.maximum(room_w - _others_ac_w(cells, busy, plan, state), 0.0)
    at = np.array(sorted({*range(0, seconds + 1, QUARTER_S), *range(420, seconds, 1740)}))
    sites = np.arange(len(busy))[:, None]
    begin = np.array([cell.level_wh()[at] for cell in busy])
    level = begin.copy()
    idle = np.array([cell.start_wh for cell in busy])[:, None]
    full = idle + np.array([cell.lacking_wh + cell.gone_wh[-1] for cell in busy])[:, None]
    drawn = np.array([[(cell.asked_w[:t] < 0.0).any() for t in at] for cell in busy])
    drawn |= np.array([_draws(cell) and bool(_others(cell.site, state, plan)) for cell in busy])[:, None]
    need = np.array([cell.need_wh(slack)[: seconds + QUARTER_S + DAY_S + 1] for cell in busy])
    gone = np.array([cell.gone_wh[: need.shape[1]] for cell in busy])
    slow = np.array([cell.slow_w(start, slack) for cell in busy])
    fast = np.array([cell.fast_ac_w(start) for cell in busy])
    stay = np.array([np.maximum(cell.asked_w, 0.0) / cell.site.rectifiers.efficiency for cell in busy])
    gain = np.array([cell.gain for cell in busy])[:, None]
    late = np.array([[cell.site.recharge.max_delay_s, cell.site.recharge.ramp_s] for cell in busy])  # type: ignore[union-attr]
    fell = np.zeros(level.shape, dtype=bool)
    over = False
    for tick in range((QUARTER_S + DAY_S) // TICK_S + 1):
        now_s = at + tick * TICK_S
        fell |= (level < np.minimum(need[sites, now_s] + gone[sites, now_s], idle) - EPS) & (
            begin < idle - EPS
        )
        hungry = (level < full - EPS) & drawn
        if tick:  # a draw that has just begun is looked at from the next minute on
            back_w = fast[sites, now_s] * hungry
            over |= bool((back_w.sum(axis=0) > room_w[now_s] + EPS)[back_w.sum(axis=0) > EPS].any())
            # While some are released, others of the plan may still charge by it.
            in_window = now_s < seconds
            both = np.maximum(back_w[:, in_window], stay[:, now_s[in_window]])
            mixed = (back_w[:, in_window] > stay[:, now_s[in_window]] + EPS).any(axis=0)
            over |= bool((both.sum(axis=0) > room_w[now_s[in_window]] + EPS)[mixed].any())
        if not hungry.any() and not (level < idle - EPS).any():
            break
        opened = np.clip((tick * TICK_S - late[:, :1]) / late[:, 1:], 0.0, 1.0)
        ceiling = (
            opened
            * np.array(
                [cell.site.recharge.c_rate * cell.site.battery.rated_wh for cell in busy]  # type: ignore[union-attr]
            )[:, None]
        )
        put = np.minimum(slow[sites, now_s], ceiling)
        level = np.minimum(level + put * gain * TICK_S / 3600.0, np.maximum(full, level))
    found = {"recharge"} if ((level < idle - 1e-3) & (begin < idle - EPS)).any() else set()
    found |= {"rebound"} if over else set()
    return found | ({"recharge_floor"} if fell.any() else set())


def _draws(cell: Cell) -> bool:
    return bool((cell.asked_w < 0.0).any())


def _others_ac_w(cells: Sequence[Cell], busy: Sequence[Cell], plan: Plan, state: FleetState) -> Floats:
    """Return what sites that the plan does not draw on may take to fill up, W by second, until the slowest would be full."""
    total = np.zeros(len(cells[0].high_w))
    for cell in cells:
        hungry = (cell.reading.soc_frac or 0.0) < 0.97 or bool(_others(cell.site, state, plan))
        if not hungry or (cell in busy and _draws(cell)):
            continue
        terms = cell.site.recharge
        assert terms is not None
        put = cell.slow_w(plan.window_start, 0.0)
        put[: round(terms.max_delay_s + terms.ramp_s)] = 0.0
        done = np.cumsum(put) * cell.gain / 3600.0 >= cell.lacking_wh + cell.gone_wh[-1]
        fast = np.where(done, 0.0, cell.fast_ac_w(plan.window_start))
        fast[: len(cell.asked_w)] -= np.maximum(cell.asked_w, 0.0) / cell.site.rectifiers.efficiency
        total += np.maximum(fast, 0.0)
    return total


def _cluster_breaches(cells: Sequence[Cell], plan: Plan, limits: Limits, slack: float) -> set[str]:
    asked = {part.site_id for part in plan.sites}
    touched = {cell.site.radio_cluster for cell in cells if cell.site.site_id in asked}
    for cluster in touched:
        members = [cell for cell in cells if cell.site.radio_cluster == cluster]
        seconds = len(members[0].asked_w)
        low, idle_low = np.zeros(seconds + 1), np.zeros(seconds + 1)
        for cell in members:
            hour_wh = limits.policy.cluster_low_margin_h * float(np.maximum(cell.high_w[:seconds], 0.0).max())
            need = cell.need_wh(slack, whole_quarters=True)[: seconds + 1]
            least = need + hour_wh * (1.0 + slack) + cell.gone_wh[: seconds + 1]
            low += cell.level_wh() < least - EPS
            idle_low += cell.start_wh < least - EPS
        if ((low > limits.policy.max_cluster_low_frac * len(members)) & (low > idle_low)).any():
            return {"cluster"}
    return set()
