"""What the fields of one reading say about each other: powers that must add up, values that exclude one another (pure).

Each rule is written twice, for one reading with its reason and for the columns of a whole batch; a property test holds
both to the same answer. Tolerances cover meters of class 1 to 2 read some hundred milliseconds apart [I].

An inverter is a DC load that no field of a reading shows. While it exports, power leaves the site and both balances miss
by the same amount: that is believed. What else could be an inverter could be a wrong meter as well, and stays suspect.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from telemetry.model.reading import FieldQuality, Reading, Verdict

TOLERANCE_W = 150.0
TOLERANCE_FRAC = 0.08
WORST_RECTIFIER_EFFICIENCY = 0.70  # at light load a shelf is far below its rated 0.96
_EFFICIENCY = 0.95  # of rectifiers and of inverters, at the powers at which sites export
_LEAST_LOAD_W = 50.0  # a radio site that is up draws hundreds: less is a load in kW
_LEAST_MAINS_V = 80.0
_LOWEST_BUS_V, _LOAD_THAT_NEEDS_IT_W = (
    36.0,
    200.0,
)  # a 48 V plant cuts its loads above 40 V (DOMAIN.md section 1)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def contradictions(reading: Reading) -> dict[str, FieldQuality]:
    """Return the fields that others contradict, each suspect with why."""
    found: dict[str, FieldQuality] = {}
    for name, reason in (*_ac(reading), *_dc(reading), *_battery(reading), *_bus(reading)):
        found.setdefault(name, FieldQuality(verdict=Verdict.SUSPECT, reason=reason))
    return found


def _dc(reading: Reading) -> Iterator[tuple[str, str]]:
    rectifier_w, load_w, battery_w = reading.rectifier_w, reading.load_w, reading.battery_w
    if rectifier_w is None or load_w is None or battery_w is None:
        return
    miss_w = rectifier_w + (reading.pv_w or 0.0) - load_w - battery_w
    if _exports(reading):
        return
    if not abs(miss_w) <= _tolerance_w(max(load_w, rectifier_w)):
        yield "rectifier_w", f"DC balance misses {miss_w:.0f} W"


def _ac(reading: Reading) -> Iterator[tuple[str, str]]:
    grid_w, genset_w, rectifier_w = reading.grid_w, reading.genset_w, reading.rectifier_w
    if reading.mains_ok is False and grid_w is not None and not abs(grid_w) <= TOLERANCE_W:
        yield "grid_w", f"{grid_w:.0f} W from the grid while the mains are absent"
    if rectifier_w is None:
        return
    tolerance_w = _tolerance_w(max(reading.load_w or 0.0, rectifier_w))
    if reading.mains_ok is True and grid_w is not None:
        name, through_w = "grid_w", grid_w + (genset_w or 0.0) - (reading.aux_ac_w or 0.0)
    elif reading.mains_ok is False and genset_w is not None:
        name, through_w = "genset_w", genset_w - (reading.aux_ac_w or 0.0)
    else:
        return
    if _exports(reading):
        return
    most_w = rectifier_w / WORST_RECTIFIER_EFFICIENCY + tolerance_w
    if not rectifier_w - tolerance_w <= through_w <= most_w:
        yield name, f"AC balance: {through_w:.0f} W in for {rectifier_w:.0f} W DC"


def _exports(reading: Reading) -> bool:
    """Whether power leaves the site as it does when an inverter takes what the DC balance misses."""
    rectifier_w, load_w, battery_w, grid_w = (
        reading.rectifier_w, reading.load_w, reading.battery_w, reading.grid_w,
    )  # fmt: skip
    if (
        rectifier_w is None
        or load_w is None
        or battery_w is None
        or grid_w is None
        or reading.mains_ok is not True
    ):
        return False
    through_w = grid_w + (reading.genset_w or 0.0) - (reading.aux_ac_w or 0.0)
    inverter_w = rectifier_w + (reading.pv_w or 0.0) - load_w - battery_w
    expected_w = rectifier_w / _EFFICIENCY - _EFFICIENCY * inverter_w
    tolerance_w = _tolerance_w(max(load_w, rectifier_w, inverter_w))
    return through_w < 0.0 < inverter_w and abs(through_w - expected_w) <= tolerance_w


def _battery(reading: Reading) -> Iterator[tuple[str, str]]:
    battery_w, meter_w = reading.battery_w, reading.meter_battery_w
    if battery_w is None:
        return
    tolerance_w = _tolerance_w(abs(battery_w))
    if reading.battery_a is not None and reading.bus_v is not None:
        product_w = reading.bus_v * reading.battery_a
        if not abs(battery_w - product_w) <= tolerance_w:
            yield "battery_a", f"V x A is {product_w:.0f} W where the battery says {battery_w:.0f} W"
    # Another device, read up to half a second later: during a ramp of 1 kW/s that is 500 W.
    if meter_w is not None and not abs(meter_w - battery_w) <= 2.0 * tolerance_w:
        yield "meter_battery_w", f"the meter says {meter_w:.0f} W, the battery {battery_w:.0f} W"


def _bus(reading: Reading) -> Iterator[tuple[str, str]]:
    bus_v, load_w, grid_v = reading.bus_v, reading.load_w, reading.grid_v
    if bus_v is not None and load_w is not None and load_w > _LOAD_THAT_NEEDS_IT_W and bus_v < _LOWEST_BUS_V:
        yield "bus_v", f"no load of {load_w:.0f} W runs at {bus_v:.1f} V"
    if reading.mains_ok is not True:
        return
    if load_w is not None and 0.0 < load_w < _LEAST_LOAD_W:
        yield "load_w", "unit slip, kW for W"
    if grid_v is not None and grid_v < _LEAST_MAINS_V:
        slipped = 0.001 * _LEAST_MAINS_V <= grid_v <= 0.52
        yield "grid_v", "unit slip, kV for V" if slipped else f"{grid_v:.0f} V while the mains are there"


def _tolerance_w(power_w: float) -> float:
    return TOLERANCE_W + TOLERANCE_FRAC * power_w


def contradicted(column: Callable[[str], Floats], mains_there: Bools, mains_absent: Bools) -> Bools:
    """Return which readings `contradictions` finds something in.

    Args:
        column: The values of a field, NaN where it was not measured: a comparison with NaN is false.
        mains_there: Readings whose `mains_ok` is true.
        mains_absent: Readings whose `mains_ok` is false; both are false where it is not known.
    """
    rectifier_w, load_w, battery_w, grid_w = map(column, ("rectifier_w", "load_w", "battery_w", "grid_w"))
    bus_v, genset_w = column("bus_v"), column("genset_w")
    pv_w, aux_w = np.nan_to_num(column("pv_w")), np.nan_to_num(column("aux_ac_w"))
    site_w = TOLERANCE_W + TOLERANCE_FRAC * np.fmax(np.nan_to_num(load_w), rectifier_w)
    miss_w = rectifier_w + pv_w - load_w - battery_w
    through_w = np.where(mains_there, grid_w + np.nan_to_num(genset_w), genset_w) - aux_w
    expected_w = rectifier_w / _EFFICIENCY - _EFFICIENCY * miss_w
    export_w = TOLERANCE_W + TOLERANCE_FRAC * np.maximum(np.maximum(load_w, rectifier_w), miss_w)
    exports = (through_w < 0.0) & (miss_w > 0.0) & (np.abs(through_w - expected_w) <= export_w) & mains_there
    found: Bools = (np.abs(miss_w) > site_w) & ~exports
    found |= mains_absent & (np.abs(grid_w) > TOLERANCE_W)
    low_w, high_w = rectifier_w - site_w, rectifier_w / WORST_RECTIFIER_EFFICIENCY + site_w
    found |= (mains_there | mains_absent) & ~exports & ((through_w < low_w) | (through_w > high_w))
    battery_tolerance_w = TOLERANCE_W + TOLERANCE_FRAC * np.abs(battery_w)
    found |= np.abs(bus_v * column("battery_a") - battery_w) > battery_tolerance_w
    found |= np.abs(column("meter_battery_w") - battery_w) > 2.0 * battery_tolerance_w
    found |= (load_w > _LOAD_THAT_NEEDS_IT_W) & (bus_v < _LOWEST_BUS_V)
    slipped = ((load_w > 0.0) & (load_w < _LEAST_LOAD_W)) | (column("grid_v") < _LEAST_MAINS_V)
    return found | (mains_there & slipped)
