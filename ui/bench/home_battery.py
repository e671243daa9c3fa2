"""The home battery of CityLearn 2.1.2, written anew from its description so that scores can be compared.

Steps of one hour. Efficiency falls with power, power falls near full, capacity falls with use; no loss while it stands.
"""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

CAPACITY_KWH, NOMINAL_KW, WEAR_PER_CYCLE = 6.4, 5.0, 1e-5
"""From the data's `schema.json`, the same for every home."""
POWER_SHARE, EFFICIENCY = (0.0, 0.3, 0.7, 0.8, 1.0), (0.83, 0.83, 0.9, 0.9, 0.85)
"""Round-trip efficiency by share of nominal power: the default curve of `citylearn.energy_model.Battery`."""
FILL_SHARE, POWER_LIMIT = (0.0, 0.8, 1.0), (1.0, 1.0, 0.2)
"""Share of nominal power that is available by state of charge: the default curve, too."""
FIRST_EFFICIENCY = 0.9
"""What the schema names; it counts only until the battery has moved once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeBattery:
    """State of one battery.

    Attributes:
        stored_kwh: Energy held.
        full_kwh: Energy it can still hold after wear.
        each_way: Efficiency of the last move, one way.
    """

    stored_kwh: float = 0.0
    full_kwh: float = CAPACITY_KWH
    each_way: float = sqrt(FIRST_EFFICIENCY)


def moved(battery: HomeBattery, asked_kwh: float) -> tuple[HomeBattery, float]:
    """Return the battery after an hour, and the energy that passed its terminals, kWh, charging positive."""
    limit = NOMINAL_KW * float(np.interp(battery.stored_kwh / CAPACITY_KWH, FILL_SHARE, POWER_LIMIT))
    if asked_kwh >= 0.0:
        energy = min(limit, max(battery.full_kwh - battery.stored_kwh, 0.0), asked_kwh)
    else:
        energy = max(-limit, -battery.stored_kwh * battery.each_way, asked_kwh)
    each_way = sqrt(float(np.interp(abs(energy) / NOMINAL_KW, POWER_SHARE, EFFICIENCY)))
    gained = energy * each_way if energy >= 0.0 else max(energy / each_way, -battery.stored_kwh)
    passed = gained / each_way if gained >= 0.0 else gained * each_way
    worn = WEAR_PER_CYCLE * CAPACITY_KWH * abs(passed) / (2.0 * battery.full_kwh)
    after = replace(
        battery,
        stored_kwh=battery.stored_kwh + gained,
        full_kwh=battery.full_kwh - worn,
        each_way=each_way,
    )
    return after, passed
