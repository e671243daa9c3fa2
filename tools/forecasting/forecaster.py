"""The protocols every forecaster follows, and the point-model protocol behind most of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tools.forecasting.fleet_forecast import FleetForecast
from tools.forecasting.history import LoadHistory

Float32 = npt.NDArray[np.float32]


class NoForecastError(ValueError):
    """Nothing can be forecast from this history: absence means no."""


class FittedForecaster(Protocol):
    """A forecaster that has learnt from a history."""

    def predict(self, start: datetime, steps: int) -> FleetForecast:
        """Return the forecast for `steps` grid steps from `start` (aware UTC, not before the history ends).

        Raises:
            NoForecastError: No site has enough history, or `start` is too far past its end.
        """
        ...


class Forecaster(Protocol):
    """Anything that can be fitted to a fleet's history."""

    def fit(self, history: LoadHistory) -> FittedForecaster:
        """Learn from a history; the forecaster itself does not change."""
        ...


class PointModel(Protocol):
    """A rule that gives one expected path per site; intervals come from its own past errors."""

    @property
    def name(self) -> str:
        """Short name under which the model is served and scored."""
        ...

    @property
    def version(self) -> str:
        """Version of the rule and its settings."""
        ...

    @property
    def needs_days(self) -> int:
        """Days that must lie before an origin, the horizon apart."""
        ...

    def paths(self, history: LoadHistory, origins: Sequence[int], steps: int) -> Float32:
        """Return the paths from several origins, shape (origins, sites, steps).

        The path from origin `o` covers columns o .. o + steps - 1 and uses measurements before column `o` only;
        regressors may be used over the whole path.
        """
        ...
