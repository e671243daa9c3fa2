"""Choose per site what is served: by backtest inside the history, and never what loses to seasonal naive there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations

import numpy as np
import numpy.typing as npt

from tools.forecasting.backtest import Backtest, backtest_origins, run_backtest, train_steps
from tools.forecasting.boosted import Boosted
from tools.forecasting.calibrated import Eligibility, Kept, kept
from tools.forecasting.fleet_forecast import QUANTILES, FleetForecast
from tools.forecasting.forecaster import NoForecastError, PointModel
from tools.forecasting.history import LoadHistory
from tools.forecasting.intervals import interval_paths
from tools.forecasting.naive import SeasonalNaive
from tools.forecasting.ridge import BatchedRidge

GATE = (SeasonalNaive(season="week"), SeasonalNaive(season="day"))
PRIOR_FOLDS = 7.0
"""Weight of the fleet's verdict against a site's own backtests, in backtests."""
RECENT_FOLDS = 3
"""Backtests that decide at a site whose live errors left the promised range: what held before holds no longer."""
WIDEST = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Serve each site the model, or the mean of two models, that did best in backtests; a Forecaster.

    A candidate that lost to the better of both seasonal naives at a site is never served there. Among the others
    the site's own record and the fleet's are weighed, since a few backtests of one site are mostly luck.

    Attributes:
        candidates: Models besides the naives, which always take part.
        blend: Whether the mean of any two candidates is a candidate too.
        folds: Daily backtests.
        alarmed: Sites whose live errors drifted, and the ratio of live to promised error. They are chosen for anew by
            their last `RECENT_FOLDS` backtests alone, and their intervals are widened by the ratio.
    """

    candidates: tuple[PointModel, ...] = (BatchedRidge(), Boosted())
    blend: bool = True
    quantity: str = "load_w"
    folds: int = 14
    lower_bound: float | None = 0.0
    eligibility: Eligibility = field(default_factory=Eligibility)
    alarmed: Mapping[str, float] = field(default_factory=dict)

    def fit(self, history: LoadHistory) -> FittedSelector:
        """Keep the sites with enough history; the rest are named absent with the reason.

        Raises:
            NoForecastError: No site has enough history.
        """
        return FittedSelector(settings=self, kept=kept(history, self.eligibility))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the backtests said.

    Attributes:
        names: Candidates in order; the first two are the naives.
        error: Mean absolute backtest error, shape (candidates, sites).
        chosen: Index of the served candidate, shape (sites,).
        tested: Backtest of what is served.
    """

    names: tuple[str, ...]
    error: npt.NDArray[np.float64]
    chosen: npt.NDArray[np.intp]
    tested: Backtest


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedSelector:
    """A selector with the history it may use."""

    settings: Selector
    kept: Kept

    def select(self, start: datetime, steps: int) -> Selection:
        """Backtest all candidates as they would be served and choose one per site."""
        own, history = self.settings, self.kept.history
        total = history.index_of(start) - history.steps + steps
        tests: dict[str, Backtest] = {}
        for model in (*GATE, *own.candidates):
            if backtest_origins(history, total, own.folds, train_steps(model, history, total)):
                tests[model.name] = run_backtest(model, history, start, steps, folds=own.folds)
        if not tests:
            raise NoForecastError("the history allows no backtest of any model")
        anew = np.array([site in own.alarmed for site in history.site_ids])
        return select_from(tests, blend=own.blend, anew=anew)

    def predict(self, start: datetime, steps: int) -> FleetForecast:
        """Return quantiles for `steps` grid steps from `start`, by the model chosen for each site."""
        own, history = self.settings, self.kept.history
        selection = self.select(start, steps)
        values, cumulative = interval_paths(history, selection.tested, own.lower_bound)
        ratio = np.array([min(max(own.alarmed.get(site, 1.0), 1.0), WIDEST) for site in history.site_ids])
        version = {m.name: m.version for m in (*GATE, *own.candidates)}
        return self.kept.forecast(
            start,
            (_widened(values, ratio, own.lower_bound), _widened(cumulative, ratio, own.lower_bound)),
            quantity=own.quantity,
            model=tuple(selection.names[k] for k in selection.chosen),
            version="selector-2|" + "|".join(f"{name}:{text}" for name, text in version.items()),
            degraded={
                site: f"live errors {times:.1f} times what was promised: chosen anew by the last {RECENT_FOLDS} days"
                for site, times in own.alarmed.items()
                if site in history.site_ids
            },
        )


def _widened(
    values: npt.NDArray[np.float32], ratio: npt.NDArray[np.float64], lower_bound: float | None
) -> npt.NDArray[np.float32]:
    """Return quantiles spread about their median by a ratio per site, values of shape (sites, quantiles, steps)."""
    rows = np.flatnonzero(ratio != 1.0)
    if rows.size == 0:
        return values
    out = values.copy()
    middle = values[rows][:, [QUANTILES.index(0.5)]]
    out[rows] = middle + (values[rows] - middle) * ratio[rows, None, None].astype(np.float32)
    return out if lower_bound is None else np.maximum(out, np.float32(lower_bound))


def select_from(
    tests: Mapping[str, Backtest], *, blend: bool, anew: npt.NDArray[np.bool_] | None = None
) -> Selection:
    """Return what to serve at each site, given each candidate's backtest (the naives among them).

    At sites marked `anew`, shape (sites,), only the last `RECENT_FOLDS` backtests count.
    """
    every = _same_origins(tests)
    if blend:
        every |= _blends(every)
    error = np.stack([tested.error for tested in every.values()])
    names = tuple(every)
    gate = np.array([name.startswith("naive_") and "+" not in name for name in names])
    folds = len(next(iter(every.values())).origins)
    chosen = choose(error, gate, folds)
    if anew is not None and anew.any():
        recent = np.stack([tested.latest(RECENT_FOLDS).error for tested in every.values()])
        chosen = np.where(anew, choose(recent, gate, min(RECENT_FOLDS, folds)), chosen)
    return Selection(names=names, error=error, chosen=chosen, tested=_served(every, chosen))


def choose(error: npt.NDArray[np.float64], gate: npt.NDArray[np.bool_], folds: int) -> npt.NDArray[np.intp]:
    """Return the candidate served at each site.

    Args:
        error: Mean absolute backtest error, shape (candidates, sites); NaN where a site had nothing to score.
        gate: Which candidates are seasonal naives.
        folds: Backtests behind each error.
    """
    known = np.where(np.isfinite(error), error, np.inf)
    naive = known[gate].min(axis=0) if gate.any() else np.full(error.shape[1], np.inf)
    finite = np.isfinite(naive) & (naive > 0.0)
    ratio = np.divide(known, naive, out=np.ones_like(known), where=finite)
    fleet = np.median(ratio[:, finite], axis=1) if finite.any() else np.ones(error.shape[0])
    score = (folds * ratio + PRIOR_FOLDS * fleet[:, None]) / (folds + PRIOR_FOLDS)
    score = np.where(np.isfinite(known) & (known <= naive), score, np.inf)
    return np.asarray(np.argmin(score, axis=0), dtype=np.intp)


def _same_origins(tests: Mapping[str, Backtest]) -> dict[str, Backtest]:
    """Cut every backtest to the origins that all share (the latest ones), so that errors compare like with like."""
    fewest = min(len(tested.origins) for tested in tests.values())
    return {name: tested.latest(fewest) for name, tested in tests.items()}


def _blends(tests: Mapping[str, Backtest]) -> dict[str, Backtest]:
    """Return the mean of every two candidates, two naives apart."""
    half = np.float32(0.5)
    found = {}
    for (a, one), (b, two) in combinations(tests.items(), 2):
        if a.startswith("naive_") and b.startswith("naive_"):
            continue
        found[f"{a}+{b}"] = Backtest(
            origins=one.origins,
            ahead=one.ahead,
            residuals=half * (one.residuals + two.residuals),
            point=half * (one.point + two.point),
        )
    return found


def _served(tests: Mapping[str, Backtest], chosen: npt.NDArray[np.intp]) -> Backtest:
    """Return the backtest of a fleet in which each site is served its chosen candidate."""
    every = list(tests.values())
    residuals = every[0].residuals.copy()
    point = every[0].point.copy()
    for k in np.unique(chosen):
        rows = chosen == k
        residuals[:, rows] = every[k].residuals[:, rows]
        point[rows] = every[k].point[rows]
    return Backtest(origins=every[0].origins, ahead=every[0].ahead, residuals=residuals, point=point)
