"""The gateway's hands: writes to the cabinet only what changed, and refreshes the device's revert timer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from edge.gateway.control import Loop
from edge.modbus.port import DeviceError, SitePort, WriteRefusedError

_CHARGE_STEP_A: Final = 0.1  # smaller changes of the charging limit are not worth a write
_INVERTER_STEP_W: Final = 20.0
_SAME_V: Final = 0.001
_SILENCE: Final = timedelta(seconds=60)
_LONGEST_REVERT: Final = timedelta(seconds=900)


class Cabinet:
    """Writes a loop's outputs through a port.

    A voltage other than float is written on change, and again at a third of the revert time, which arms the device's
    own timer anew. At float nothing is refreshed: that is where the device goes by itself.
    """

    def __init__(self, port: SitePort, revert: timedelta) -> None:
        self._port = port
        self._revert = revert
        self._volts: float | None = None
        self._charge_limit_a: float | None = None
        self._written_at: datetime | None = None
        self._applied_at: datetime | None = None
        self._inverter_w: float | None = 0.0  # None: a release failed, so it may still be at any power
        self._inverter_at: datetime | None = None

    @property
    def moved(self) -> bool:
        """Whether a voltage other than float was written and not yet released."""
        return self._volts is not None and not self._is_float(self._volts)

    def _is_float(self, volts: float) -> bool:
        return abs(volts - self._port.capabilities.float_v) < _SAME_V

    async def apply(self, loop: Loop, now: datetime, period: timedelta) -> float | None:
        """Write what the loop wants; return the voltage read back if one was written.

        The charging limit goes first: charging is closed before the bus voltage moves. Until a third of the timer has
        passed the voltage moves under it, without arming it anew: three requests instead of five.

        Raises:
            DeviceError: A device did not answer, or holds something else.
        """
        if self._applied_at is not None and not timedelta(0) <= now - self._applied_at < _SILENCE:
            self.forget()  # we were away so long that the device may have gone back to its own limits
        self._applied_at = now
        held_a = self._charge_limit_a
        closes = held_a is not None and held_a > 0.0 and loop.charge_limit_a == 0.0
        if held_a is None or closes or abs(held_a - loop.charge_limit_a) >= _CHARGE_STEP_A:
            self._charge_limit_a = None
            await self._port.write_charge_limit_a(loop.charge_limit_a)
            self._charge_limit_a = loop.charge_limit_a
        # At a clock speed above 1 the timer, which runs in the device's time, must outlast the stretched period.
        revert = min(_LONGEST_REVERT, max(self._revert, 10 * period))
        await self.invert(loop.inverter_w, now, revert)
        if self._is_float(loop.volts):
            if self._volts is None or self.moved:
                self._volts = None
                await self._port.release()
                self._volts = self._port.capabilities.float_v
                return self._volts
            return None
        due = self._written_at is None or now - self._written_at >= revert / 3 or now < self._written_at
        if self._volts == loop.volts and not due:
            return None
        runs = self.moved and not due
        self._volts = loop.volts  # also if the write fails half-way: it must be released then
        read_back = await self._moved_to(loop.volts) if runs else None
        if read_back is None:
            read_back = await self._port.write_rectifier_v(loop.volts, revert)
            self._written_at = now
        if abs(read_back - loop.volts) > max(0.011, 0.6 * self._port.capabilities.voltage_step_v):
            raise DeviceError("rectifier", f"voltage {loop.volts} V was read back as {read_back} V")
        return read_back

    async def _moved_to(self, volts: float) -> float | None:
        """Move the voltage under the timer that runs; None if the device says that none does."""
        try:
            return await self._port.move_rectifier_v(volts)
        except WriteRefusedError:
            return None

    async def invert(self, power_w: float, now: datetime, revert: timedelta) -> None:
        """Write the inverter's power on change, and to refresh its own revert timer.

        Raises:
            DeviceError: The device did not answer, or holds something else.
        """
        held_w = self._inverter_w
        if power_w == 0.0 and (held_w == 0.0 or not self._port.capabilities.inverter):
            return
        last = self._inverter_at
        due = held_w is None or last is None or now < last or now - last >= revert / 3
        if power_w == 0.0 or due or abs(power_w - (held_w or 0.0)) >= _INVERTER_STEP_W:
            self._inverter_w = None  # also if the write fails half-way: it must be released then
            await self._port.write_inverter_w(power_w, revert)
            self._inverter_w, self._inverter_at = power_w, now

    async def release(self) -> None:
        """Return to float with charging closed, whatever was written before: voltage first, it is what matters.

        Raises:
            DeviceError: A device did not answer.
        """
        self._volts, self._inverter_w = None, None
        await self._port.release()
        self._volts, self._inverter_w = self._port.capabilities.float_v, 0.0
        self._charge_limit_a = None
        await self._port.write_charge_limit_a(0.0)
        self._charge_limit_a = 0.0

    def forget(self) -> None:
        """Believe nothing about the device: the next `apply` writes everything."""
        self._volts = None
        self._charge_limit_a = None
