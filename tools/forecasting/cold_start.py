"""A forecast for a site without a past: the load shape of sites like it, as wide as those sites differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt

from tools.forecasting.calibrated import MAX_SILENCE
from tools.forecasting.fleet_forecast import MAX_HORIZON, QUANTILES, FleetForecast
from tools.forecasting.forecaster import NoForecastError
from tools.forecasting.history import LoadHistory
from tools.forecasting.phase import Phase, phase_of

Float64 = npt.NDArray[np.float64]
FEWEST_SITES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What like sites draw, as a multiple of what was expected of them before they had a past.

    Attributes:
        name: Profile cluster.
        ratio: Quantiles of measured over expected load, shape (2, slots, quantiles): working days, then rest days.
        energy_ratio: Quantiles of a day's energy over the expected, shape (2, quantiles).
        zone: Time zone whose calendar it follows.
        holidays: Local dates that are rest days.
        step: Grid spacing.
    """

    name: str
    ratio: Float64
    energy_ratio: Float64
    zone: str
    holidays: frozenset[date]
    step: timedelta


def rest_day(phase: Phase) -> npt.NDArray[np.int64]:
    """Return 1 on Saturdays, Sundays and holidays, else 0, shape (steps,)."""
    return (phase.day_type >= 5).astype(np.int64)


def learn_profile(name: str, history: LoadHistory, expected_w: npt.NDArray[np.floating]) -> Profile:
    """Learn a profile from sites whose load was expected and then measured.

    Args:
        name: Profile cluster.
        history: Measured past of the cluster's sites, from a local midnight, whole days.
        expected_w: Mean load expected of each site beforehand (from its equipment list), W, shape (sites,).

    Raises:
        NoForecastError: Fewer than ten sites, or not one whole day of each kind.
    """
    day = history.steps_per_day
    phase = history.phase(0, history.steps)
    if history.steps % day or phase.slot[0] != 0:
        raise NoForecastError("a profile is learnt from whole local days")
    if len(history.site_ids) < FEWEST_SITES:
        raise NoForecastError(f"a profile needs {FEWEST_SITES} sites")
    relative = (history.values / expected_w[:, None]).reshape(len(history.site_ids), -1, day)
    kind = rest_day(phase).reshape(-1, day)[:, 0]
    ratio = np.empty((2, day, len(QUANTILES)))
    energy = np.empty((2, len(QUANTILES)))
    for k in (0, 1):
        days = relative[:, kind == k].reshape(-1, day)
        days = days[np.isfinite(days).all(axis=1)]
        if len(days) == 0:
            raise NoForecastError(f"profile {name} has no whole {'rest' if k else 'working'} day")
        ratio[k] = np.quantile(days, QUANTILES, axis=0).T
        energy[k] = np.quantile(days.mean(axis=1), QUANTILES)
    return Profile(
        name=name,
        ratio=ratio,
        energy_ratio=energy,
        zone=history.zone,
        holidays=history.holidays,
        step=history.step,
    )


def forecast_from_profile(
    profile: Profile,
    expected_w: Mapping[str, float],
    start: datetime,
    steps: int,
    *,
    quantity: str = "load_w",
) -> FleetForecast:
    """Return a degraded forecast for sites known by their expected mean load alone.

    Energy quantiles scale the running median by the spread of whole days: between sites the level is what is
    uncertain, and that does not average out over hours.

    Raises:
        NoForecastError: The horizon is out of bounds, or an expected load is not above zero.
    """
    if not 1 <= steps <= MAX_HORIZON // profile.step:
        raise NoForecastError(f"forecasts reach up to {MAX_HORIZON}")
    if not all(0.0 < w < float("inf") for w in expected_w.values()):
        raise NoForecastError("an expected load must be above zero and finite")
    phase = phase_of(start, steps, profile.step, profile.zone, profile.holidays)
    shape = profile.ratio[rest_day(phase), phase.slot].T
    median = QUANTILES.index(0.5)
    spread = profile.energy_ratio / profile.energy_ratio[:, [median]]
    step_h = profile.step / timedelta(hours=1)
    running = np.cumsum(shape[median]) * step_h
    energy = np.maximum.accumulate(running[None, :] * spread[rest_day(phase)].T, axis=1)
    level = np.array(list(expected_w.values()))[:, None, None]
    sites = tuple(expected_w)
    reason = f"cold start from profile {profile.name}"
    return FleetForecast(
        site_ids=sites,
        quantity=quantity,
        start=start,
        step=profile.step,
        values=(level * shape[None]).astype(np.float32),
        cumulative_wh=(level * energy[None]).astype(np.float32),
        model=("profile",) * len(sites),
        version=f"1:{profile.name}",
        made_at=start,
        degraded=dict.fromkeys(sites, reason),
    )


def cold_start(
    main: FleetForecast,
    history: LoadHistory,
    expected_w: npt.NDArray[np.floating],
    groups: Mapping[str, int] | None = None,
) -> FleetForecast:
    """Return a fleet's forecast with those of its sites added that are too new for one of their own.

    A site that fell silent is not new: it stays absent. Without enough sites to learn a profile from, all stay so. A new
    site takes the profile of its group where that has enough sites, else the whole fleet's.

    Args:
        main: Forecast of the sites with a past.
        history: Of all sites, forecast or not.
        expected_w: What was expected of each site beforehand (its highest load, its panels' rating), W, rows as the
            history's; the profile is learnt in the same measure, so any like one serves.
        groups: Profile cluster by site, for a new one that of the sites near it; none: all are one group.
    """
    seen = np.isfinite(history.values)
    lately = seen[:, -(MAX_SILENCE // history.step) :]
    silent = np.asarray(seen.any(axis=1) & ~lately.any(axis=1))
    usable = np.isfinite(expected_w) & (expected_w > 0.0)
    new = {
        site: float(expected_w[row])
        for row, site in enumerate(history.site_ids)
        if site in main.absent and usable[row] and not silent[row]
    }
    old = np.array(
        [row for row, site in enumerate(history.site_ids) if site in set(main.site_ids) and usable[row]]
    )
    first = int(np.argmax(history.phase(0, history.steps_per_day).slot == 0))
    whole = (history.steps - first) // history.steps_per_day * history.steps_per_day
    if not new or old.size < FEWEST_SITES or whole == 0:
        return main
    kinds = groups or {}
    for kind in sorted({kinds[site] for site in new if site in kinds}):
        mine = {site: w for site, w in new.items() if kinds.get(site) == kind}
        like = np.array([row for row in old if kinds.get(history.site_ids[row]) == kind], dtype=np.intp)
        if like.size >= FEWEST_SITES:
            main = _with_profile(main, f"cluster {kind}", history, like, expected_w, mine, (first, whole))
    left = {site: w for site, w in new.items() if site in main.absent}
    return _with_profile(main, "fleet", history, old, expected_w, left, (first, whole))


def _with_profile(
    main: FleetForecast,
    name: str,
    history: LoadHistory,
    rows: npt.NDArray[np.intp],
    expected_w: npt.NDArray[np.floating],
    new: Mapping[str, float],
    span: tuple[int, int],
) -> FleetForecast:
    """Return the forecast with some new sites added by the profile of the sites in `rows`; as it was if none is learnt."""
    first, whole = span
    if not new:
        return main
    part = history.rows(rows)
    days = LoadHistory(
        site_ids=part.site_ids,
        values=part.columns(first, whole),
        start=history.start + first * history.step,
        zone=history.zone,
        step=history.step,
        holidays=history.holidays,
    )
    try:
        profile = learn_profile(name, days, expected_w[rows])
    except NoForecastError:
        return main
    return joined(main, forecast_from_profile(profile, new, main.start, main.steps, quantity=main.quantity))


def joined(main: FleetForecast, cold: FleetForecast) -> FleetForecast:
    """Return both as one fleet; a site that `main` already forecasts keeps that forecast.

    Raises:
        ValueError: They do not cover the same steps of the same quantity.
    """
    same = (main.start, main.step, main.steps, main.quantity) == (
        cold.start,
        cold.step,
        cold.steps,
        cold.quantity,
    )
    if not same:
        raise ValueError("forecasts of different windows or quantities do not join")
    rows = [k for k, site in enumerate(cold.site_ids) if site not in set(main.site_ids)]
    added = tuple(cold.site_ids[k] for k in rows)
    return FleetForecast(
        site_ids=main.site_ids + added,
        quantity=main.quantity,
        start=main.start,
        step=main.step,
        values=np.concatenate([main.values, cold.values[rows]]),
        cumulative_wh=np.concatenate([main.cumulative_wh, cold.cumulative_wh[rows]]),
        model=main.model + tuple(cold.model[k] for k in rows),
        version=f"{main.version}|{cold.version}",
        made_at=main.made_at,
        degraded={**main.degraded, **{site: cold.degraded[site] for site in added}},
        absent={site: why for site, why in main.absent.items() if site not in added},
    )
