"""Faults put into a simulated fleet, at once or at an instant: the same list gives the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.simulator.modbus_server import SiteDevices
from edge.simulator.plant import Plant
from edge.simulator.sensors import Sensors
from edge.simulator.surroundings import Surroundings
from edge.simulator.transfer_switch import NO_FAULT, TransferSwitches

FaultKind = Literal[
    "mains_outage",
    "battery_trip",  # value: the string, -1 for all
    "module_loss",  # value: modules lost
    "weak_cell",  # value: capacity left, 0..1; the first string
    "stuck_sensor",  # point: the reading; value: None for the present one
    "modbus_silence",
    "modbus_delay",  # value: seconds before every answer
    "modbus_wrong_value",  # point and value: what the controller, or with "203.W" the SunSpec device, answers instead
    "load_step",  # value: factor on the load
    "link_cut",
    "link_hole",  # bytes vanish and nobody is told
    "link_delay",  # value: mean seconds each way; the spread is 60 % of it
    "link_loss",  # value: share of segments, or of messages where no socket is
    "link_duplicates",  # value: share of messages
    "clock_skew",  # value: seconds that the gateway's clock is ahead
    "reboot",  # value: seconds away; it cannot be taken back
    "local_lock",
    "genset_fails",
    "switch_open",  # not a fault: on opens the transfer switch's pole, off closes it
    "switch_stuck",  # the pole stays where it is
    "switch_contradicts",  # value: 1 both contacts are set, 0 neither
    "switch_lies",  # value: 1 both contacts agree that it is open, 0 that it is closed
    "switch_stale",  # its inputs are looked at no more: contacts and counter stand still
    "switch_lost",  # its inputs do not answer
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


def put(fault: Fault, plant: Plant, sensors: Sensors, devices: SiteDevices, around: Surroundings) -> None:
    """Put a fault in or take it away; what it does shows from the next step or request on.

    Raises:
        ValueError: The fault lacks the point or value that it needs, or names one that is not there.
    """
    if fault.kind.startswith("link_"):
        _put_on_link(fault, around)
    elif fault.kind.startswith("modbus_"):
        _put_on_wire(fault, devices)
    elif fault.kind.startswith("switch_"):
        _put_on_switch(fault, plant.switches)
    elif fault.kind == "stuck_sensor":
        _stick(fault, sensors)
    elif fault.kind == "clock_skew":
        around.skew_s = (fault.value or 0.0) if fault.on else 0.0
    elif fault.kind == "reboot":
        around.reboot(5.0 if fault.value is None else fault.value)
    else:
        _put_in_plant(fault, plant)


def _put_on_switch(fault: Fault, switches: TransferSwitches) -> None:
    k = fault.site
    claim = int(fault.value or 0)
    match fault.kind:
        case "switch_open":
            switches.operate(k, opens=fault.on)
        case "switch_stuck":
            switches.stuck[k] = fault.on
        case "switch_contradicts":
            switches.says_open[k] = switches.says_closed[k] = claim if fault.on else NO_FAULT
        case "switch_lies":
            switches.says_open[k] = claim if fault.on else NO_FAULT
            switches.says_closed[k] = 1 - claim if fault.on else NO_FAULT
        case "switch_stale":
            switches.stale[k] = fault.on
        case _:
            switches.lost[k] = fault.on


def _put_in_plant(fault: Fault, plant: Plant) -> None:
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
        case "load_step":
            hw.load_factor[k] = (1.0 if fault.value is None else fault.value) if fault.on else 1.0
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


def _put_on_link(fault: Fault, around: Surroundings) -> None:
    link, amount = around.link, (fault.value or 0.0) if fault.on else 0.0
    match fault.kind:
        case "link_cut":
            link.cut = fault.on
        case "link_hole":
            link.hole = fault.on
        case "link_delay":
            link.delay_s, link.spread_s = amount, 0.6 * amount
        case "link_loss":
            link.loss = amount
        case _:
            link.duplicates = amount


def _put_on_wire(fault: Fault, devices: SiteDevices) -> None:
    if fault.kind == "modbus_silence":
        devices.silent = fault.on
    elif fault.kind == "modbus_delay":
        devices.delay_s = (fault.value or 0.0) if fault.on else 0.0
    else:
        _answer_wrongly(fault, devices)


def _answer_wrongly(fault: Fault, devices: SiteDevices) -> None:
    device = devices.sunspec if "." in fault.point else devices.rectifier
    wrong, known = device.wrong, device.points
    if not fault.on:
        wrong.pop(fault.point, None)
        return
    if fault.value is None or fault.point not in known:
        raise ValueError(f"a wrong value needs a value and a point of a device, not {fault.point!r}")
    wrong[fault.point] = fault.value
