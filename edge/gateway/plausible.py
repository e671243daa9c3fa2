"""Whether a scan can be believed: measurements of one bus must fit together. Pure.

A stuck or wrong sensor would let the loop on battery current run away, so a duty ends at float when the doubt lasts.
"""

from __future__ import annotations

from typing import Final

from edge.modbus.port import FieldSample

_BALANCE_FRAC: Final = 0.15  # of the load; meters of class 1 and a slow scan stay far below [I]
_BALANCE_W: Final = 250.0
_METER_FRAC: Final = 0.15
_METER_W: Final = 200.0
_EXPORT_FRAC: Final = 0.10  # of the declared limit, and `_METER_W`: meters and load steps stay below it [I]
SCANS: Final = 5  # so many doubtful scans in a row are a fault; one may be caught in mid-change


def doubt(sample: FieldSample, *, inverter: bool, export_limit_w: float | None = None) -> str:
    """Return what does not fit, or nothing.

    Args:
        sample: One scan.
        inverter: A bidirectional inverter hangs on the bus, whose DC power is not measured: no balance then.
        export_limit_w: While a duty may export, at the AC side: an inverter that gives more does not obey.

    Source:
        Power balance of the DC bus: rectifier + PV = load + battery.
    """
    meter_w = sample.meter_battery_w
    if meter_w is not None and abs(meter_w - sample.battery_w) > _METER_W + _METER_FRAC * abs(meter_w):
        return "battery_meters_disagree"
    if (
        export_limit_w is not None
        and -(sample.grid_w or 0.0) > _METER_W + (1.0 + _EXPORT_FRAC) * export_limit_w
    ):
        return "export_over_limit"
    if sample.rectifier_w is None or inverter:
        return ""
    missing_w = sample.rectifier_w + (sample.pv_w or 0.0) - sample.load_w - sample.battery_w
    return "power_balance" if abs(missing_w) > _BALANCE_W + _BALANCE_FRAC * sample.load_w else ""
