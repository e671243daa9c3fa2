"""The forecast of a whole fleet in one piece, as the optimiser and the validator take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from telemetry.model.series import MAX_STEPS, QUANTILES, STEP, Forecast, Quantity

__all__ = ["MAX_HORIZON", "QUANTILES", "FleetForecast"]

MAX_HORIZON = MAX_STEPS * STEP

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetForecast:
    """Quantile paths of one quantity for many sites.

    Attributes:
        site_ids: Sites that have a forecast; a site that is not here has none, and absence means no.
        quantity: What is forecast, its unit at the end of the name (load_w, pv_w, price_eur_mwh).
        start: Instant at which step 0 begins, aware UTC.
        step: Length of a step.
        quantiles: Levels, ascending.
        values: Shape (sites, quantiles, steps), non-decreasing along quantiles.
        cumulative_wh: Same shape: quantiles of the running sum of value x hours up to the end of each step.
            These are not sums of the step quantiles (those would add up every hour's bad luck).
        model: Per site, the model that was served.
        version: Version of that model and its settings.
        made_at: Aware UTC instant up to which data were used.
        degraded: Site to the reason why its forecast is weaker than usual.
        absent: Site to the reason why it has no forecast.
    """

    site_ids: tuple[str, ...]
    quantity: str
    start: datetime
    step: timedelta
    values: Float32
    cumulative_wh: Float32
    model: tuple[str, ...]
    version: str
    made_at: datetime
    quantiles: tuple[float, ...] = QUANTILES
    degraded: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.site_ids), len(self.quantiles))
        if self.values.shape[:2] != shape or self.cumulative_wh.shape != self.values.shape:
            raise ValueError(f"values {self.values.shape} does not fit {shape} sites and quantiles")
        if len(self.model) != len(self.site_ids):
            raise ValueError("model must name one model per site")
        for at in (self.start, self.made_at):
            if at.tzinfo is None or at.utcoffset() != timedelta(0):
                raise ValueError("instants must be aware UTC")

    @property
    def steps(self) -> int:
        """Number of steps."""
        return int(self.values.shape[2])

    def at(self, quantile: float) -> Float32:
        """Return one quantile, shape (sites, steps)."""
        return self.values[:, self.quantiles.index(quantile), :]

    def cumulative_at(self, quantile: float) -> Float32:
        """Return one quantile of the cumulative energy in Wh, shape (sites, steps)."""
        return self.cumulative_wh[:, self.quantiles.index(quantile), :]

    def for_site(self, site_id: str) -> Forecast:
        """Return one site's forecast as the shared type.

        Raises:
            KeyError: The site has no forecast.
            ValueError: The step is not 15 minutes, or the quantity is not one that sites share.
        """
        if site_id not in self.site_ids:
            raise KeyError(f"{site_id}: {self.absent.get(site_id, 'no forecast')}")
        if self.step != STEP:
            raise ValueError(f"shared forecasts have {STEP} steps, not {self.step}")
        row = self.site_ids.index(site_id)
        return Forecast(
            subject_id=site_id,
            quantity=Quantity(self.quantity),
            made_at=self.made_at,
            start=self.start,
            values_w=tuple(tuple(level) for level in self.values[row].tolist()),
            cumulative_wh=tuple(tuple(level) for level in self.cumulative_wh[row].tolist()),
            model=self.model[row],
            version=self.version,
            reason=self.degraded.get(site_id, ""),
        )
