"""A stretch of one metric, and how many of them an answer may hold."""

from dataclasses import dataclass
from datetime import datetime

RAW_METRICS = (
    "load_w", "grid_w", "aux_ac_w", "pv_w", "rectifier_w", "battery_w", "meter_battery_w", "soc_frac", "bus_v",
    "battery_a", "battery_c", "ambient_c", "genset_w",
)  # fmt: skip
MAX_POINTS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One down-sampled stretch of one metric: mean and extremes."""

    at: datetime
    mean: float
    low: float
    high: float
