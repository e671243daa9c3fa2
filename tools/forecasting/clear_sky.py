"""Irradiance of a cloudless sky at each site: what PV could give at best, known for ever ahead."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from tools.forecasting.history import LoadHistory, Regressor

CLEAR_SKY = "clear_sky_w_m2"
_GRID_DEG = 0.1
"""Sites in one square of this width share a sky: 25 s of solar time at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a site stands, degrees; north and east positive."""

    latitude: float
    longitude: float


def clear_sky_w_m2(
    places: Sequence[Place], start: datetime, steps: int, step: timedelta
) -> npt.NDArray[np.float32]:
    """Return horizontal irradiance of a clear sky at the middle of each step, W/m2, shape (places, steps).

    Source:
        Ineichen and Perez (2002) with pvlib's monthly Linke turbidity and altitude tables.
    """
    from pvlib.location import Location, lookup_altitude  # noqa: PLC0415 - only sites with panels need it

    middles = pd.date_range(start + step / 2, periods=steps, freq=pd.Timedelta(step))
    found: dict[tuple[float, float], npt.NDArray[np.float32]] = {}
    squares = [
        (round(round(one.latitude / _GRID_DEG) * _GRID_DEG, 4), round(round(one.longitude / _GRID_DEG) * _GRID_DEG, 4))
        for one in places
    ]  # fmt: skip
    for square in dict.fromkeys(squares):
        where = Location(*square, tz="UTC", altitude=lookup_altitude(*square))
        with warnings.catch_warnings():
            # pandas 3.1 renames what pvlib 0.16 still calls by its old name.
            warnings.filterwarnings("ignore", message="DatetimeIndex.dayofyear is deprecated")
            found[square] = where.get_clearsky(middles)["ghi"].to_numpy(dtype=np.float32)
    return np.stack([found[square] for square in squares])


def clear_sky_of(places: Sequence[Place], start: datetime, steps: int, step: timedelta) -> Regressor:
    """Return the clear sky as a regressor of a history whose rows stand at `places`."""
    return Regressor(name=CLEAR_SKY, values=clear_sky_w_m2(places, start, steps, step), start=start)


def sky_over(history: LoadHistory, first: int, steps: int) -> npt.NDArray[np.float32] | None:
    """Return the clear sky over columns [first, first + steps), W/m2, shape (sites, steps); None where none is given.

    Raises:
        ValueError: It does not reach over the whole window.
    """
    for number, item in enumerate(history.regressors):
        if item.name == CLEAR_SKY:
            shape = (len(history.site_ids), steps)
            return np.broadcast_to(history.regressor(number, first, steps), shape).astype(np.float32)
    return None
