"""What a site controller may ask of its power cabinet, whatever devices stand behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from telemetry.model.errors import ControlError


class DeviceError(ControlError):
    """A device answered with an exception, nonsense, or not what its profile promises."""

    def __init__(self, device: str, detail: str) -> None:
        super().__init__(f"{device}: {detail}")
        self.device = device
        self.detail = detail


class DeviceTimeoutError(DeviceError):
    """A device did not answer within its time-out, retries included."""


class ReadBackError(DeviceError):
    """A register, read back after a write, does not hold what was written."""

    def __init__(self, device: str, point: str, wrote: float, read: float) -> None:
        super().__init__(device, f"{point}: wrote {wrote}, read back {read}")
        self.point = point
        self.wrote = wrote
        self.read = read


class WriteRefusedError(DeviceError):
    """The write is not on the allow-list, out of the point's range, or would never revert by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchReading:
    """A transfer switch's two auxiliary contacts, and how often its own controller has looked at them.

    Both contacts sit on the pole that joins the site's inverter to the utility. `looks` grows with each look, in a
    register that starts again at zero: one that stands still is a position that nobody has seen.
    """

    open_contact: bool
    closed_contact: bool
    looks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSample:
    """One scan of a site's devices; None where the site cannot measure.

    Charging is positive, discharging negative, at the battery terminals. Mains import is positive.
    `battery_a` comes from the BMS or controller (the sum of its strings), `battery_w` from the same or from
    bus voltage times current; `meter_battery_w` is the independent DC meter that settlement is judged by.
    """

    bus_v: float
    load_w: float  # DC bus, never negative
    battery_a: float
    battery_w: float
    mains_ok: bool
    meter_battery_w: float | None = None
    grid_v: float | None = None
    grid_hz: float | None = None
    grid_w: float | None = None  # AC import positive, export negative
    aux_ac_w: float | None = None  # air conditioning and other AC auxiliaries
    rectifier_w: float | None = None  # DC output, never negative
    string_a: tuple[float, ...] = ()  # current of each battery string, A, charging positive
    soc_frac: float | None = None
    soh_frac: float | None = None
    battery_c: float | None = None
    ambient_c: float | None = None
    pv_w: float | None = None  # at the DC bus
    genset_w: float | None = None  # AC
    fuel_frac: float | None = None
    rectifier_set_v: float | None = None  # the voltage setpoint in force, read back
    alarms: tuple[str, ...] = ()
    local_lock: bool = False
    rectifier_modules_ok: int | None = None
    load_shed: int | None = None  # non-critical loads that are off, one bit each, read back
    modules_off: int | None = None  # rectifier modules in standby, one bit each, read back
    phase_w: tuple[float, ...] = ()  # AC import on each of three phases; empty where the meter has none
    switch: SwitchReading | None = None  # None: no transfer switch, or it did not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the site's devices can do; fixed while a port lives.

    `inverter` is true only where a bidirectional inverter is declared; `can_revert` only where the device
    returns to float by itself: without it the site is monitored and every write is refused.
    """

    float_v: float
    backstop_v: float  # live lower bound of every discharge, V at the bus
    voltage_step_v: float  # resolution of the voltage setpoint
    can_revert: bool
    full_load_blocks_only: bool  # the step is too coarse for a closed loop on battery current
    inverter: bool
    max_v: float  # upper bound of a written voltage; boost is above it
    rectifier_limit_w: float  # DC, all modules
    frequency_step_hz: float | None = None  # resolution of the mains frequency; None: no device measures it
    transfer_switch: bool = False  # a switch is listed whose position can be read back


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickSample:
    """What a 100 ms loop looks at: bus voltage and battery power, charging positive, in one short request."""

    bus_v: float
    battery_w: float


class FastMeter(Protocol):
    """A frequency meter that a fast product may stand on: declared to 10 mHz and 100 ms or better."""

    async def read_grid_hz(self) -> float:
        """Return the mains frequency: one short request.

        Raises:
            DeviceError: No device of the site measures frequency, or it has no mains to measure.
        """
        ...


class SitePort(Protocol):
    """The devices of one site. Every method may raise `DeviceError` or a subclass."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def read(self) -> FieldSample:
        """Scan every device once."""
        ...

    async def read_mains(self) -> bool:
        """Return whether mains is present: one short request, meant for four calls a second or more."""
        ...

    async def read_switch(self) -> SwitchReading | None:
        """Return the transfer switch's contacts: one short request; None where it has none or does not answer."""
        ...

    async def write_rectifier_v(self, volts: float, revert: timedelta) -> float:
        """Set the rectifier voltage and arm or refresh the device-side revert timer.

        Returns:
            The voltage read back, quantised to the device's step.

        Raises:
            WriteRefusedError: Below the backstop, above `max_v`, or the device cannot revert by itself.
            ReadBackError: The device holds something else.
        """
        ...

    async def read_grid_hz(self) -> float:
        """Return the mains frequency (see `FastMeter`)."""
        ...

    async def read_quick(self) -> QuickSample:
        """Return bus voltage and battery power: one short request to the rectifier controller."""
        ...

    async def move_rectifier_v(self, volts: float) -> float:
        """Change a rectifier voltage whose revert timer is running, without arming it anew; returns the read-back.

        Raises:
            WriteRefusedError: As `write_rectifier_v`, or the timer is not running: a setpoint is never held without.
            ReadBackError: The device holds something else.
        """
        ...

    async def write_charge_limit_a(self, amps: float) -> float:
        """Limit the battery's charging current, A, zero or more; returns the value read back."""
        ...

    async def write_discharge_limit_a(self, amps: float) -> float:
        """Limit the battery's discharging current, A, zero or more; returns the value read back.

        A BMS-side ceiling only, never the way to discharge: that is the rectifier's voltage.
        """
        ...

    async def write_load_shed(self, mask: int) -> int:
        """Switch the non-critical loads whose bit is set off and the others on; returns the mask read back.

        Priority outputs only: the load and battery contactors of DOMAIN.md are not on the list.
        """
        ...

    async def write_modules_off(self, mask: int) -> int:
        """Put the rectifier modules whose bit is set in standby and the others on; returns the mask read back."""
        ...

    async def write_inverter_w(self, power_w: float, revert: timedelta) -> float:
        """Set the declared inverter's power, W at its AC side, charging positive; returns the read-back."""
        ...

    async def release(self) -> None:
        """Return to float: float voltage, inverter at zero, revert timers left to run out. Idempotent."""
        ...

    async def close(self) -> None: ...
