"""What can be wrong at a site, and the evidence of one kind at every step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tools.anomaly.expected import Floats


class Kind(StrEnum):
    """What a finding says is wrong."""

    LOAD = "load"
    SENSOR_STUCK = "sensor_stuck"
    ENERGY_THEFT = "energy_theft"
    RECTIFIER_EFFICIENCY = "rectifier_efficiency"
    BATTERY_VOLTAGE = "battery_voltage"
    COOLING = "cooling"
    PV = "pv"
    LINK_GAP = "link_gap"
    TEMPERATURE = "temperature"
    MODULE_LOSS = "module_loss"
    WEAK_STRING = "weak_string"
    CAPACITY_FADE = "capacity_fade"
    SENSOR_DRIFT = "sensor_drift"
    SENSOR_SWAPPED = "sensor_swapped"
    MAINS_QUALITY = "mains_quality"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindScore:
    """One kind's evidence at every step, arrays of shape (sites, steps).

    Attributes:
        field: Reading field judged, its unit at the end.
        expected: What the field should have been; NaN where nothing can be said.
        observed: What was read.
        score: Zero or more; 1 is what one step in 200 reached while learning (for runs and gaps: about a step
            more than the longest seen). Only the direction that means trouble counts.
    """

    kind: Kind
    field: str
    expected: Floats
    observed: Floats
    score: Floats
