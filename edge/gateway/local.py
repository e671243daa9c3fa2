"""Local control within bounds: the site keeps its own grid import under a limit, without the centre. Pure.

W at the battery terminals, charging positive; `grid_w` at the AC connection, import positive.
"""

from __future__ import annotations

from edge.modbus.port import FieldSample
from edge.plan import ControlBounds


def bounded_w(body: ControlBounds, sample: FieldSample, rectifier_efficiency: float) -> float:
    """Return the setpoint that brings the import to its limit, within the bounds.

    Above the limit the battery takes over the excess; below it the battery may charge with what is left. Without a
    measurement of the import nothing is asked.

    Source:
        Import = aux + (load - PV + battery) / efficiency, so the import without the battery is
        grid - battery / efficiency, and battery = (limit - that) x efficiency.
    """
    if sample.grid_w is None:
        return 0.0
    without_w = sample.grid_w - sample.battery_w / rectifier_efficiency
    wanted_w = (body.grid_import_limit_w - without_w) * rectifier_efficiency
    return max(body.min_w, min(body.max_w, wanted_w))
