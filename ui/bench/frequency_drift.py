"""What a frequency series asks of a battery by a reserve's rule: energy up, down, and how far it drifts. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from edge.gateway.frequency import Response, respond
from edge.gateway.products import shipped_products
from edge.plan import GridReserve

Series = NDArray[np.float64]
_START = datetime(2026, 1, 1, tzinfo=UTC)
# Continental FCR: whole at 200 mHz, nothing inside 10 mHz (the data set's own note).
FCR = GridReserve(
    product="fcr",
    up_w=1000.0,
    down_w=1000.0,
    droop_hz=0.19,
    dead_band_hz=0.01,
    activation_s=25.0,
    energy_wh=1e9,
)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Energy of a series, Wh for the reserve's power; `low_wh` and `high_wh` are the ends of the running sum."""

    hours: float
    up_wh: float
    down_wh: float
    low_wh: float
    high_wh: float

    @property
    def net_wh(self) -> float:
        """Energy into the battery less energy out of it."""
        return self.down_wh - self.up_wh


def drift(hz: Series, step_s: float, reserve: GridReserve = FCR) -> Drift:
    """Return what a series asks.

    Args:
        hz: Frequencies, Hz, shape (steps,), one every `step_s`.
        step_s: Between two, s.
        reserve: With its droop, dead band and activation time; its energy bound should not bind.
    """
    product = shipped_products()[reserve.product]
    step, response = timedelta(seconds=step_s), Response(at=_START)
    low = high = 0.0
    for value in hz:
        response = respond(response, reserve, product, float(value), response.at + step)
        net = response.down_wh - response.up_wh
        low, high = min(low, net), max(high, net)
    hours = len(hz) * step_s / 3600.0
    return Drift(hours=hours, up_wh=response.up_wh, down_wh=response.down_wh, low_wh=low, high_wh=high)


def ornstein_uhlenbeck_hz(
    rng: np.random.Generator, steps: int, step_s: float, deviation_hz: float = 0.02, memory_s: float = 180.0
) -> Series:
    """Return a made-up mains frequency: a stationary Gaussian process about 50 Hz that forgets in `memory_s` [I].

    Source:
        Exact discretisation of dx = -x / T dt + s sqrt(2 / T) dW.
    """
    keep = float(np.exp(-step_s / memory_s))
    kick = deviation_hz * float(np.sqrt(1.0 - keep * keep)) * rng.standard_normal(steps)
    out, x = np.empty(steps), deviation_hz * float(rng.standard_normal())
    for k in range(steps):
        x = keep * x + kick[k]
        out[k] = 50.0 + x
    return out
