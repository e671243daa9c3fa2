"""Faults put into a simulated fleet, at once or at an instant: the same list gives the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.simulator.modbus_server import SiteDevices
from edge.simulator.plant import Plant
from edge.simulator.sensors import Sensors

FaultKind = Literal[
    "mains_outage",
    "battery_trip",  # value: the string, -1 for all
    "module_loss",  # value: modules lost
    "weak_cell",  # value: capacity left, 0..1; the first string
    "stuck_sensor",  # point: the reading; value: None for the present one
    "modbus_silence",
    "modbus_delay",  # value: seconds before every answer
    "modbus_wrong_value",  # point and value: what the controller answers instead
    "local_lock",
    "genset_fails",
    "grid_frequency",  # value: Hz; not a fault of the site, but set the same way
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of one site; `on` False takes it away again."""

    site: int
    kind: FaultKind
    on: bool = True
    value: float | None = None
    point: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFault:
    """A fault that begins or ends at an instant of domain time."""

    at_s: float  # Unix seconds
    fault: Fault


def put(fault: Fault, plant: Plant, sensors: Sensors, devices: SiteDevices) -> None:
    """Put a fault in or take it away; what it does shows from the next step or request on.

    Raises:
        ValueError: The fault lacks the point or value that it needs, or names one that is not there.
    """
    k, hw = fault.site, plant.hardware
    match fault.kind:
        case "mains_outage":
            hw.mains_forced_off[k] = fault.on
        case "battery_trip":
            _trip(fault, plant)
        case "module_loss":
            hw.modules_lost[k] = int(fault.value or 1) if fault.on else 0
        case "weak_cell":
            # A cell that has lost capacity ends its whole string early and adds resistance to it.
            left = 0.6 if fault.value is None else fault.value
            hw.weak_ah[k, 0] = left if fault.on else 1.0
            hw.weak_ohm[k, 0] = 1.0 + 2.0 * (1.0 - left) if fault.on else 1.0
        case "stuck_sensor":
            _stick(fault, sensors)
        case "modbus_silence" | "modbus_delay" | "modbus_wrong_value":
            _put_on_wire(fault, devices)
        case "local_lock":
            hw.local_lock[k] = fault.on
        case "genset_fails":
            hw.genset_fails[k] = fault.on
        case "grid_frequency":
            hw.grid_hz[k] = 50.0 if fault.value is None or not fault.on else fault.value


def _trip(fault: Fault, plant: Plant) -> None:
    string = -1 if fault.value is None else int(fault.value)
    where = slice(None) if string < 0 else string
    plant.hardware.trip_forced[fault.site, where] = fault.on


def _stick(fault: Fault, sensors: Sensors) -> None:
    if fault.point not in sensors.values:
        raise ValueError(f"no sensor {fault.point!r}")
    if not fault.on:
        sensors.stuck.pop((fault.site, fault.point), None)
        return
    present = float(sensors.values[fault.point][fault.site])
    sensors.stuck[fault.site, fault.point] = present if fault.value is None else fault.value


def _put_on_wire(fault: Fault, devices: SiteDevices) -> None:
    if fault.kind == "modbus_silence":
        devices.silent = fault.on
    elif fault.kind == "modbus_delay":
        devices.delay_s = (fault.value or 0.0) if fault.on else 0.0
    else:
        _answer_wrongly(fault, devices)


def _answer_wrongly(fault: Fault, devices: SiteDevices) -> None:
    if not fault.on:
        devices.rectifier.wrong.pop(fault.point, None)
        return
    if fault.value is None or fault.point not in devices.rectifier.points:
        raise ValueError(f"a wrong value needs a value and a point of the controller, not {fault.point!r}")
    devices.rectifier.wrong[fault.point] = fault.value
