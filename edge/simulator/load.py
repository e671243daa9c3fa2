"""What drives the simulated sites: load from mobile traffic, weather, sun and the feeder's other load.

Every quantity is a pure function of seed, site and instant: history and live runs agree, and a restart
continues the same trace. Simulated from real traffic; see `traces/README.md` for source and licence.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from edge.simulator.battery import Floats
from edge.simulator.noise import ar1, uniform

Ints = NDArray[np.int64]
Instants = NDArray[np.floating[Any]]  # Unix seconds

HOURS_PER_WEEK = 168
# The epoch was a Thursday; the first Monday 00:00 after it is 4 days later.
_FIRST_MONDAY_S = 4 * 86400

_TRAFFIC, _FAST, _AIR, _CLOUD, _FEEDER, _FEEDER_DAY, _SCALE, _OUTAGE, _OUTAGE_AT, _OUTAGE_FOR = range(1, 11)

# EARTH base-station model, macro site (Auer et al., "How much energy is needed to run a wireless network?",
# IEEE Wireless Communications 18(5), 2011, table 2): 6 transceivers, P0 = 130 W, slope 4.7, Pmax = 20 W.
EARTH_TRANSCEIVERS = 6
EARTH_P0_W = 130.0
EARTH_SLOPE = 4.7
EARTH_PMAX_W = 20.0

TRAFFIC_NOISE = 0.08  # standard deviation of the slow noise, as a share of the hour's utilisation
TRAFFIC_MEMORY_S = 1800.0
FAST_NOISE = 0.012  # standard deviation of the 20 s noise, as a share of the load


def earth_power_w(utilisation: Floats) -> Floats:
    """Return a macro base station's power at a share of full traffic, 0..1: 780 W idle, 1,344 W full."""
    return np.asarray(
        EARTH_TRANSCEIVERS * (EARTH_P0_W + EARTH_SLOPE * EARTH_PMAX_W * np.clip(utilisation, 0.0, 1.0))
    )


def read_trace() -> NDArray[np.uint16]:
    """Return call and SMS records per hour, shape (cells, hours): 8 whole weeks from a Monday 00:00."""
    raw = files("edge.simulator").joinpath("traces/milan_hourly.npz").read_bytes()
    with np.load(BytesIO(raw)) as held:
        return np.asarray(held["records"], dtype=np.uint16)


class LoadModel:
    """Traffic, weather and feeder load for a fleet, by seed.

    The trace's local weekday and hour are laid over the local weekday and hour of the simulated instant in
    `time_zone`; its 8 weeks repeat for ever. Site i takes cell i, neighbours in the grid being neighbours in
    the fleet; past the last cell the cells come round again one week apart.
    """

    def __init__(self, *, seed: int, time_zone: str = "Europe/Rome") -> None:
        self.seed = seed
        self._zone = ZoneInfo(time_zone)
        records = read_trace().astype(np.float64)
        # Full traffic is the busiest 0.5 % of hours; those hours stay at 1.
        self._utilisation = np.minimum(records / np.quantile(records, 0.995, axis=1)[:, None], 1.0)
        self._offsets: dict[int, int] = {}

    def local_s(self, unix_s: Instants) -> Floats:
        """Return local wall-clock seconds, the time zone's offset looked up once per hour."""
        hours, where = np.unique((unix_s // 3600).astype(np.int64), return_inverse=True)
        return np.asarray(unix_s + np.array([self._offset_s(int(h)) for h in hours], dtype=np.float64)[where])

    def _offset_s(self, hour: int) -> int:
        if hour not in self._offsets:
            offset = datetime.fromtimestamp(hour * 3600, UTC).astimezone(self._zone).utcoffset()
            self._offsets[hour] = int(offset.total_seconds()) if offset is not None else 0
        return self._offsets[hour]

    def utilisation(self, sites: Ints, unix_s: Instants) -> Floats:
        """Return the traffic's share of full traffic without noise, shape (sites, instants).

        An hour's count is placed at the middle of its hour and joined linearly.
        """
        cells, hours = self._utilisation.shape
        week = sites // cells * HOURS_PER_WEEK
        x = (self.local_s(unix_s) - _FIRST_MONDAY_S) / 3600.0 - 0.5
        low = np.floor(x).astype(np.int64)
        part = x - low
        cell = (sites % cells)[:, None]
        left = self._utilisation[cell, (low[None, :] + week[:, None]) % hours]
        right = self._utilisation[cell, (low[None, :] + 1 + week[:, None]) % hours]
        return np.asarray(left * (1.0 - part) + right * part)

    def site_load_w(self, sites: Ints, unix_s: Instants, peak_w: Floats) -> Floats:
        """Return DC load, W, shape (sites, instants); `peak_w` (sites,) is the load at full traffic.

        Utilisation carries AR(1) noise of relative standard deviation `TRAFFIC_NOISE` and memory 30 minutes,
        the load white noise of `FAST_NOISE` every 20 s. EARTH's shape is scaled to `peak_w`: several carriers
        and generations of radio share a real site's cabinet.
        """
        slow = ar1(self.seed, _TRAFFIC, sites, unix_s, step_s=300.0, memory_s=TRAFFIC_MEMORY_S)
        fast = ar1(self.seed, _FAST, sites, unix_s, step_s=20.0, memory_s=4.0)
        used = self.utilisation(sites, unix_s) * (1.0 + TRAFFIC_NOISE * slow)
        full = EARTH_TRANSCEIVERS * (EARTH_P0_W + EARTH_SLOPE * EARTH_PMAX_W)
        return np.asarray(
            earth_power_w(used) / full * peak_w[:, None] * (1.0 + FAST_NOISE * np.clip(fast, -3.0, 3.0))
        )

    def ambient_c(self, sites: Ints, unix_s: Instants) -> Floats:
        """Return outside air temperature, degC: yearly and daily sine for northern Italy plus slow noise [I].

        Mean 14, yearly amplitude 10 (peak on day 200), daily 4 (peak 15:00), noise 2 with 12 h memory.
        """
        local = self.local_s(unix_s)
        year = 14.0 + 10.0 * np.cos(2.0 * np.pi * (local / 86400.0 / 365.2425 % 1.0 - 200.0 / 365.0))
        day = 4.0 * np.cos(2.0 * np.pi * (local / 86400.0 % 1.0 - 15.0 / 24.0))
        slow = ar1(self.seed, _AIR, sites // 12, unix_s, step_s=3600.0, memory_s=43200.0)
        return np.asarray(year + day + 2.0 * slow)

    def pv_w(
        self, sites: Ints, unix_s: Instants, rated_w: Floats, latitude: Floats, longitude: Floats
    ) -> Floats:
        """Return PV power available at the DC bus, W, shape (sites, instants).

        Source:
            Clear-sky irradiance of Haurwitz (1945) on the horizontal, solar geometry without the equation of
            time, 85 % system efficiency [I]; cloud factor 0.25..1 from noise of 40 minutes memory, shared by
            neighbouring sites.
        """
        day = unix_s / 86400.0
        tilt = np.radians(-23.45) * np.cos(2.0 * np.pi * (day % 365.2425 + 10.0) / 365.2425)
        hour = 2.0 * np.pi * ((day % 1.0)[None, :] - 0.5 + longitude[:, None] / 360.0)
        lat = np.radians(latitude)[:, None]
        sine = np.sin(lat) * np.sin(tilt) + np.cos(lat) * np.cos(tilt) * np.cos(hour)
        up = np.maximum(sine, 1e-3)
        clear = np.where(sine > 0.0, 1098.0 * up * np.exp(-0.057 / up), 0.0)
        cloud = ar1(self.seed, _CLOUD, sites // 6, unix_s, step_s=600.0, memory_s=2400.0)
        factor = np.clip(0.75 + 0.3 * cloud, 0.25, 1.0)
        return np.asarray(rated_w[:, None] * clear / 1000.0 * 0.85 * factor)

    def feeder_background_w(self, feeders: Ints, unix_s: Instants, peak_w: Floats) -> Floats:
        """Return the load of a feeder's other customers, W, shape (feeders, instants) [I].

        A residential day with a morning shoulder and a peak at 19:30, weekends 6 % lower, day-to-day noise of
        3 % and AR(1) noise of 1.5 % with 45 minutes memory. `peak_w` (feeders,) is a weekday's usual peak.
        """
        local = self.local_s(unix_s)
        hour = local / 3600.0 % 24.0
        shape = (
            0.46
            + 0.16 * np.exp(-(((hour - 8.5) / 2.2) ** 2))
            + 0.10 * np.exp(-(((hour - 13.0) / 2.5) ** 2))
            + 0.52 * np.exp(-(((hour - 19.5) / 2.1) ** 2))
        )
        weekday = (local - _FIRST_MONDAY_S) // 86400 % 7
        level = np.where(weekday >= 5, 0.94, 1.0)
        days = ar1(self.seed, _FEEDER_DAY, feeders, unix_s, step_s=21600.0, memory_s=43200.0)
        fast = ar1(self.seed, _FEEDER, feeders, unix_s, step_s=300.0, memory_s=2700.0)
        top = 0.98
        return np.asarray(peak_w[:, None] * shape / top * level * (1.0 + 0.03 * days + 0.015 * fast))

    def peak_load_w(self, sites: Ints, low_w: float = 1500.0, high_w: float = 4500.0) -> Floats:
        """Return a load at full traffic for each site, spread evenly between two bounds by seed."""
        share = uniform(self.seed, _SCALE, sites, np.zeros(1, dtype=np.int64))[:, 0]
        return np.asarray(low_w + (high_w - low_w) * share)

    def mains_ok(self, sites: Ints, unix_s: Instants, outages_per_month: float) -> NDArray[np.bool_]:
        """Return whether mains is present, shape (sites, instants): outages by seed, one a day at most.

        A day has an outage with probability `outages_per_month` / 30, starting at any second of it and lasting
        10 to 60 minutes [I]; one that would run past midnight UTC ends there.
        """
        days, where = np.unique((unix_s // 86400).astype(np.int64), return_inverse=True)
        strikes = uniform(self.seed, _OUTAGE, sites, days) < outages_per_month / 30.0
        start = uniform(self.seed, _OUTAGE_AT, sites, days) * 86400.0
        length = 600.0 + 3000.0 * uniform(self.seed, _OUTAGE_FOR, sites, days)
        second = (unix_s % 86400.0)[None, :]
        begun = start[:, where]
        dark = strikes[:, where] & (second >= begun) & (second < begun + length[:, where])
        return np.asarray(~dark)
