"""Small made-up fleets for tests; everything in them is simulated."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from tools.forecasting.history import LoadHistory

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
DAY = 96


def daily_weekly(sites: int, days: int, seed: int, noise: float = 0.05) -> npt.NDArray[np.float32]:
    """Return loads in W with a daily shape and quiet weekends, shape (sites, days * 96), from a Monday 00:00."""
    rng = np.random.default_rng(seed)
    at_d = np.arange(days * DAY) / DAY
    base = rng.uniform(500.0, 2000.0, (sites, 1))
    swing = rng.uniform(0.2, 0.5, (sites, 1))
    shift = rng.uniform(-0.1, 0.1, (sites, 1))
    weekend = 1.0 - 0.15 * ((at_d.astype(int) % 7) >= 5)
    load = base * (1.0 + swing * np.sin(2 * np.pi * (at_d + shift))) * weekend
    return np.asarray(load * (1.0 + noise * rng.standard_normal(load.shape)), dtype=np.float32)


def history_of(values: npt.NDArray[np.floating], zone: str = "UTC", start: datetime = MONDAY) -> LoadHistory:
    """Return a 15-minute history of the rows given."""
    ids = tuple(f"site-{k}" for k in range(values.shape[0]))
    return LoadHistory(site_ids=ids, values=values, start=start, zone=zone)
