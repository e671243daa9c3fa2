"""What a site's forecasts say for a plan's steps, in the cautious direction.

Steps are counted from the plan's first step. Where a forecast does not reach, the profile's highest load stands in and
no sun is counted on (DOMAIN.md section 2).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, repeat
from math import ceil, isfinite, sqrt
from operator import add, sub

from telemetry.model.series import LOWER, MEDIAN, STEP, STEP_H, UPPER, Forecast
from telemetry.model.site import Genset, Site

_NOTHING: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """A site's own consumption on the DC bus by step, W, and the backup that it must hold at each step's start, Wh.

    Attributes:
        net_upper_w: Upper load minus lower PV, for every step up to the end of recharge.
        net_lower_w: Lower load minus upper PV, the same steps.
        floor_wh: Autonomy floor at the start of each step, and one more for the end of the last.
        reference_w: The highest of `net_upper_w` within the window, for telling energy as hours.
    """

    net_upper_w: Sequence[float]
    net_lower_w: Sequence[float]
    floor_wh: Sequence[float]
    reference_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What else counts when the mains is gone: AC auxiliaries, W, and a proven genset with its fuel, share of the tank.

    `genset` is None where one must not be counted on.
    """

    aux_ac_w: float = 0.0
    genset: Genset | None = None
    fuel_frac: float = 0.0


def steps_of(hours: float) -> int:
    """Return how many whole steps cover the hours."""
    return ceil(hours / STEP_H)


def on_grid(row: Sequence[float], offset: int, count: int, fill: float) -> Sequence[float]:
    """Return `count` values of a row from `offset` (zero or more), filled where the row has ended."""
    part = row[offset : offset + count]
    return part if len(part) == count else [*part, *[fill] * (count - len(part))]


def offset_of(forecast: Forecast, start: datetime) -> int:
    """Return how many steps after the forecast's first step the instant lies."""
    return (start - forecast.start) // STEP


def spread_wh(forecast: Forecast, level: float) -> tuple[list[float], list[float]]:
    """Return how far a quantile of the energy lies from its median at each step's start: of the sum, and summed up."""
    wider, narrower = (MEDIAN, level) if level == LOWER else (level, MEDIAN)
    of_sum = map(sub, forecast.energy_wh(wider), forecast.energy_wh(narrower))
    by_step = map(sub, forecast.quantile_w(wider), forecast.quantile_w(narrower))
    summed = accumulate(map(max, by_step, repeat(0.0)))
    return [0.0, *map(max, of_sum, repeat(0.0))], [0.0, *(w_steps * STEP_H for w_steps in summed)]


def energy_ahead_wh(
    forecast: Forecast | None, level: float, offset: int, count: int, length: int, fill_w: float
) -> list[float]:
    """Return a quantile of the energy over the `length` steps after each of `count` instants, Wh.

    The forecast gives quantiles of sums from its own start; a later stretch is bounded with them. For errors that do
    not offset each other, var(stretch) <= var(to its end) - var(to its start). A stretch is never taken as surer than
    one of the same length from the start, nor as less sure than all its steps going wrong together.

    Source:
        Variance of a sum of non-negatively correlated terms; ARCHITECTURE.md, "Uncertainty, in the right direction".
    """
    if forecast is None:
        return [length * fill_w * STEP_H] * count
    of_sum, by_step = spread_wh(forecast, level)
    near = of_sum[min(length, forecast.steps)]
    grown = (end * end - begin * begin for begin, end in _stretches(of_sum, offset, count, length))
    together = (end - begin for begin, end in _stretches(by_step, offset, count, length))
    unsure = map(min, map(sqrt, map(max, grown, repeat(near * near))), together)
    middle = [0.0, *forecast.energy_wh(MEDIAN)]
    # Past its end the forecast is taken to go on with the fill.
    short = offset + count + length - len(middle)
    middle += [middle[-1] + later * fill_w * STEP_H for later in range(1, short + 1)]
    known = (end - begin for begin, end in _stretches(middle, offset, count, length))
    return list(map(sub if level == LOWER else add, known, unsure))


def _stretches(row: list[float], offset: int, count: int, length: int) -> Iterator[tuple[float, float]]:
    """Return a running total at the begin and at the end of each stretch; it stays as it is after its last value."""
    begins = on_grid(row, offset, count, row[-1])
    return zip(begins, on_grid(row, offset + length, count, row[-1]), strict=True)


def net_need_wh(
    site: Site, forecasts: tuple[Forecast | None, Forecast | None], start: datetime, count: int, length: int
) -> list[float]:
    """Return the energy that the battery must be able to give over the next `length` steps, at each instant, Wh."""
    load, pv = forecasts
    offset = 0 if load is None else offset_of(load, start)
    need = energy_ahead_wh(load, UPPER, offset, count, length, site.autonomy.max_load_w)
    if pv is None:
        return need
    sun = energy_ahead_wh(pv, LOWER, offset_of(pv, start), count, length, 0.0)
    most_wh = site.pv_rated_w * length * STEP_H
    return [n - within(s, most_wh) for n, s in zip(need, sun, strict=True)]


def within(amount: float, most: float) -> float:
    """Return the amount held to 0..most; what is no number counts as 0."""
    return max(0.0, min(amount, most))


def genset_wh(site: Site, genset: Genset, supply: Supply, peak_w: float) -> float:
    """Return the DC energy that the fuel surely gives over the autonomy, Wh; 0 if the genset cannot carry the site."""
    ac_w = peak_w / site.rectifiers.efficiency + supply.aux_ac_w
    carries = ac_w <= genset.rated_w and peak_w <= site.rectifiers.secure_w and isfinite(genset.tank_wh)
    if not carries:
        return 0.0
    left_wh = genset.tank_wh * supply.fuel_frac - supply.aux_ac_w * site.autonomy.autonomy_h
    return max(0.0, left_wh) * site.rectifiers.efficiency


def outlook_of(
    site: Site,
    forecasts: tuple[Forecast | None, Forecast | None],
    start: datetime,
    counts: tuple[int, int],
    reserve_h: float,
    supply: Supply,
) -> Outlook:
    """Return what a site will need, over `counts`: steps of the window, and steps up to the end of recharge.

    Args:
        site: The site.
        forecasts: Of load and of PV; None where there is none.
        start: The plan's first instant, on the forecasts' grid.
        counts: Steps of the window, and of everything that is looked at.
        reserve_h: The backup that the envelope promises to keep, at least, h.
        supply: What else feeds and burdens the site when the mains is gone.
    """
    window, horizon = counts
    load, pv = forecasts
    upper_w, lower_w = _net_rows(site, load, pv, start, horizon)
    hours = max(site.autonomy.autonomy_h, reserve_h)
    floor = _floor_wh(site, forecasts, start, horizon + 1, hours, supply)
    if supply.genset is not None:
        fuel_wh = genset_wh(site, supply.genset, supply, max(*upper_w, site.autonomy.max_load_w))
        failed_h = min(hours, site.autonomy.failed_start_h)
        failed = _floor_wh(site, forecasts, start, horizon + 1, failed_h, supply)
        floor = [max(f, whole - fuel_wh) for f, whole in zip(failed, floor, strict=True)]
    return Outlook(
        net_upper_w=upper_w,
        net_lower_w=lower_w,
        floor_wh=list(map(max, floor, repeat(0.0))),
        reference_w=max(0.0, *upper_w[:window]),
    )


def _floor_wh(
    site: Site,
    forecasts: tuple[Forecast | None, Forecast | None],
    start: datetime,
    count: int,
    hours: float,
    supply: Supply,
) -> list[float]:
    """Return the energy for so many hours; with an inverter the battery feeds the AC auxiliaries too."""
    steps = steps_of(hours)
    need = net_need_wh(site, forecasts, start, count, steps)
    if site.inverter is None:
        return need
    aux_wh = supply.aux_ac_w * steps * STEP_H
    return [wh + aux_wh for wh in need]


def _net_rows(
    site: Site, load: Forecast | None, pv: Forecast | None, start: datetime, count: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Return upper load minus lower PV, and lower load minus upper PV, W by step."""
    offset = 0 if load is None else offset_of(load, start)
    most = on_grid(
        _NOTHING if load is None else load.quantile_w(UPPER), offset, count, site.autonomy.max_load_w
    )
    least = on_grid(_NOTHING if load is None else load.quantile_w(LOWER), offset, count, 0.0)
    if pv is None:
        return most, [w - site.pv_rated_w for w in least]
    offset = offset_of(pv, start)
    dark = on_grid(pv.quantile_w(LOWER), offset, count, 0.0)
    bright = on_grid(pv.quantile_w(UPPER), offset, count, site.pv_rated_w)
    return (
        [w - within(p, site.pv_rated_w) for w, p in zip(most, dark, strict=True)],
        [w - p for w, p in zip(least, bright, strict=True)],
    )
