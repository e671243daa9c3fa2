"""The stacked deep model: one recurrent network for the whole fleet, an optional extra (`cellwatt[deep]`, torch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from tools.forecasting.boosted import refit_groups
from tools.forecasting.calibrated import Eligibility, Kept, kept
from tools.forecasting.deep_model import DeepModel
from tools.forecasting.deep_net import Shape, same_every_time, torch_module
from tools.forecasting.deep_training import Epoch, Samples, Schedule, stretch_of, train
from tools.forecasting.deep_windows import WEEK_H, Float32, Scaling, scaling_of, targets, windows
from tools.forecasting.fleet_forecast import MAX_HORIZON, QUANTILES, FleetForecast
from tools.forecasting.forecaster import NoForecastError, PointModel
from tools.forecasting.history import LoadHistory, filled
from tools.forecasting.ridge import BatchedRidge


@dataclass(frozen=True, slots=True, kw_only=True)
class Deep:
    """Stacked GRU layers over the last two days, heads for the whole horizon at once; a Forecaster and a PointModel.

    The network corrects the ridge's path, as boosting does, and gives the quantiles of each step and of the energy up to
    it. Its last training days are kept back: there training stops, and there the quantiles are calibrated.

    Attributes:
        base: Model whose path is corrected.
        horizon: How far `fit` learns to forecast; `paths` learns the steps asked for.
        past_h: Hours that the recurrent layers read.
        train_days: Most days of origins learnt from.
        kept_back_days: Days before the cut-off on which training stops.
        origin_every_h: Hours between two origins learnt from.
        max_samples: Samples (origin, site) learnt from; above it, sites are drawn with `seed`.
        refit_days: `paths` trains anew where an origin lies so far past the last training.
        threads: torch threads; the figures hang on it, so it is no property of the machine.
        tell: Told of every epoch.
    """

    base: PointModel = field(default_factory=BatchedRidge)
    horizon: timedelta = timedelta(hours=24)
    past_h: int = 48
    train_days: int = 42
    kept_back_days: int = 7
    origin_every_h: int = 6
    max_samples: int = 20_000
    refit_days: int = 7
    shape: Shape = field(default_factory=lambda: Shape(features=0))
    schedule: Schedule = field(default_factory=Schedule)
    threads: int = 1
    seed: int = 0
    quantity: str = "load_w"
    lower_bound: float | None = 0.0
    eligibility: Eligibility = field(default_factory=lambda: Eligibility(min_days=9.0))
    tell: Callable[[Epoch], None] | None = None

    @property
    def name(self) -> str:
        """Name of the model."""
        return "deep"

    @property
    def version(self) -> str:
        """Version of the rule and the settings that change its figures."""
        return f"1:gru{self.shape.layers}x{self.shape.hidden}:p{self.past_h}:d{self.train_days}:s{self.seed}:{self.base.version}"

    @property
    def needs_days(self) -> int:
        """Days that must lie before an origin, the horizon apart: the reader's past, a week to learn, those kept back."""
        return self._warm_days + 7 + self.kept_back_days

    @property
    def _warm_days(self) -> int:
        return -(-(self.past_h + WEEK_H) // 24)

    def fit(self, history: LoadHistory) -> FittedDeep:
        """Train on a history.

        Raises:
            NoForecastError: No site has enough history, or there are too few days.
            DeepAbsentError: torch is not installed.
        """
        part = kept(history, self.eligibility)
        model = self.train(part.history, part.history.steps, self.horizon // history.step)
        return FittedDeep(model=model, kept=part, quantity=self.quantity, lower_bound=self.lower_bound)

    def paths(self, history: LoadHistory, origins: Sequence[int], steps: int) -> Float32:
        """Return the medians from several origins, shape (origins, sites, steps)."""
        return self.quantile_paths(history, origins, steps)[0][:, :, QUANTILES.index(0.5)]

    def quantile_paths(
        self, history: LoadHistory, origins: Sequence[int], steps: int
    ) -> tuple[Float32, Float32]:
        """Return quantiles of steps and of energy (Wh for W), both of shape (origins, sites, quantiles, steps)."""
        shape = (len(origins), len(history.site_ids), len(QUANTILES), steps)
        values, energy = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        for cutoff, members in refit_groups(origins, self.refit_days * history.steps_per_day):
            model = self.train(history, cutoff, steps)
            found = model.quantile_paths(history, [origins[m] for m in members], steps, self.lower_bound)
            values[members], energy[members] = found
        return values, energy

    def train(self, history: LoadHistory, cutoff: int, steps: int) -> DeepModel:
        """Learn from the columns before `cutoff` to forecast `steps` steps.

        Raises:
            NoForecastError: There are too few days before the cut-off.
            DeepAbsentError: torch is not installed.
        """
        torch = torch_module()
        early, late = self._origins(history, cutoff, steps)
        some = history.before(cutoff).rows(self._sites(history, len(early)))
        values = filled(some)
        taught, scaling = self._samples(some, values, early, steps, None)
        kept_back, _ = self._samples(some, values, late, steps, scaling)
        shape = replace(self.shape, features=taught.ahead.shape[-1])
        with same_every_time(torch, self.seed, self.threads):
            net, epoch = train(torch, shape, taught, kept_back, self.schedule, self.seed, self.tell)
            stretch = stretch_of(torch, net, kept_back)
        return DeepModel(
            net=net,
            shape=shape,
            scaling=scaling,
            stretch=stretch,
            base=self.base,
            past_h=self.past_h,
            steps=steps,
            step=history.step,
            regressors=tuple(one.name for one in history.regressors),
            trained_until=history.start + cutoff * history.step,
            version=f"{self.version}:e{epoch}",
        )

    def _origins(self, history: LoadHistory, cutoff: int, steps: int) -> tuple[list[int], list[int]]:
        """Return the origins learnt from and those kept back; no target of one lies in the other's, or past the cut-off."""
        day = history.steps_per_day
        apart = max(self.origin_every_h * day // 24, 1)
        last = cutoff - steps
        border = last - (self.kept_back_days - 1) * day
        late = [o for o in range(last, border - 1, -apart) if o >= 0]
        first = max(self._warm_days * day, cutoff - self.train_days * day)
        early = list(range(border - steps, first - 1, -apart))
        if len(early) * apart < 3 * day:
            raise NoForecastError(
                f"{cutoff / day:.1f} days of history are too few to train on: {self.needs_days} are needed"
            )
        return early[::-1], late[::-1]

    def _sites(self, history: LoadHistory, origins: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        sites = len(history.site_ids)
        most = max(self.max_samples // origins, 1)
        if sites <= most:
            return np.arange(sites, dtype=np.intp)
        return np.sort(np.random.default_rng(self.seed).choice(sites, most, replace=False)).astype(np.intp)

    def _samples(
        self, history: LoadHistory, values: Float32, origins: list[int], steps: int, scaling: Scaling | None
    ) -> tuple[Samples, Scaling]:
        found = windows(history, values, origins, steps, self.base, self.past_h)
        scaling = scaling_of(found.ahead) if scaling is None else scaling
        step, mean = targets(history, origins, found)
        return Samples(past=found.past, ahead=scaling(found.ahead), step=step, mean=mean), scaling


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedDeep:
    """A trained network with the history that it forecasts from; follows the FittedForecaster protocol."""

    model: DeepModel
    kept: Kept
    quantity: str = "load_w"
    lower_bound: float | None = 0.0

    def predict(self, start: datetime, steps: int) -> FleetForecast:
        """Return quantiles for `steps` grid steps from `start`.

        Raises:
            NoForecastError: That is further than the network learnt to see.
        """
        history = self.kept.history
        ahead = history.index_of(start) - history.steps
        total = ahead + steps
        if steps < 1 or ahead < 0 or total * history.step > MAX_HORIZON:
            raise NoForecastError(f"forecasts reach from the end of the history to {MAX_HORIZON} after it")
        values, energy = self.model.quantile_paths(history, [history.steps], total, self.lower_bound)
        if ahead:  # what the steps before `start` take is known by its median at best: their spread stays in
            middle = QUANTILES.index(0.5)
            energy = energy - energy[:, :, middle : middle + 1, ahead - 1 : ahead]
            if self.lower_bound is not None and self.lower_bound >= 0.0:
                energy = np.maximum(energy, np.float32(0.0))
        return self.kept.forecast(
            start,
            (values[0][..., ahead:], energy[0][..., ahead:]),
            quantity=self.quantity,
            model=("deep",) * len(history.site_ids),
            version=self.model.version,
        )


def fitted(model: DeepModel, history: LoadHistory, settings: Deep | None = None) -> FittedDeep:
    """Return a network that was loaded, over a history.

    Raises:
        NoForecastError: No site has enough history.
    """
    own = settings or Deep()
    part = kept(history, own.eligibility)
    return FittedDeep(model=model, kept=part, quantity=own.quantity, lower_bound=own.lower_bound)
