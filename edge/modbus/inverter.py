"""A declared inverter's active power over SunSpec: model 704 with its revert timer, or 124 of older storage."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

from edge.modbus.port import ReadBackError, WriteRefusedError
from edge.modbus.sunspec import SunspecModel
from edge.modbus.writable import check_writable

_BOTH_LIMITS: Final = 3.0  # StorCtl_Mod: bit 0 the charging rate holds, bit 1 the discharging rate


async def set_power(model: SunspecModel, power_w: float, revert: timedelta) -> float:
    """Set the power, W at the AC side, charging positive, with the device's own way back armed first.

    Returns:
        The power read back.

    Raises:
        WriteRefusedError: The device cannot revert by itself, or the value is out of any range.
        ReadBackError: It holds something else, or its timer does not run.
    """
    check_writable("inverter", "inverter_set_w", power_w)
    check_writable("inverter", "inverter_revert_s", revert.total_seconds())
    revert_s = math.ceil(revert.total_seconds())
    if model.model == 704:
        return await _set_704(model, power_w, revert_s)
    return await _set_124(model, power_w, revert_s)


async def _set_704(model: SunspecModel, power_w: float, revert_s: int) -> float:
    await model.write("WSetRvrt", 0.0)
    await model.write("WSetEnaRvrt", 0)
    await model.write("WSetRvrtTms", revert_s)
    await model.write("WSetMod", 1)
    held = await model.write("WSet", power_w)
    await model.write("WSetEna", 1)
    left = (await model.read(["WSetRvrtRem"]))["WSetRvrtRem"]
    if left is None or not (0.0 < left <= revert_s):  # longer: a timer armed before runs on
        await model.write("WSetEna", 0)
        raise ReadBackError("inverter", "WSetRvrtRem", float(revert_s), left or 0.0)
    return held


async def _set_124(model: SunspecModel, power_w: float, revert_s: int) -> float:
    """Close the storage's charging and discharging rates on one power: a negative rate forces the other direction.

    Source:
        Model 124: OutWRte and InWRte in percent of the maximum rate, -100 to 100; WChaMax is taken as the maximum both
        ways [I]. It has no register for the time that is left: that the time was taken is all that can be read back.
    """
    held = await model.read(["InOutWRte_RvrtTms", "WChaMax"])
    most_w = held["WChaMax"]
    if held["InOutWRte_RvrtTms"] is None or most_w is None or not most_w > 0.0:
        raise WriteRefusedError("inverter", "model 124 without a reversion time: monitored only")
    percent = 100.0 * power_w / most_w
    if not abs(percent) <= 100.0:
        raise WriteRefusedError("inverter", f"{power_w} W is outside the storage's {most_w} W")
    await model.write("InOutWRte_RvrtTms", revert_s)
    taken = await model.write("InWRte", percent)
    await model.write("OutWRte", -percent)
    await model.write("StorCtl_Mod", _BOTH_LIMITS)
    return taken * most_w / 100.0


async def set_zero(model: SunspecModel) -> None:
    """Ask for no power; the timers are left to run out.

    Raises:
        DeviceError: The device did not answer.
    """
    if model.model == 704:
        await model.write("WSet", 0.0)
        return
    await model.write("InWRte", 0.0)
    await model.write("OutWRte", 0.0)
