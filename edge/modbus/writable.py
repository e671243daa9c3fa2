"""What may ever be written to a device. A profile can only narrow this list."""

from __future__ import annotations

from edge.modbus.port import WriteRefusedError

# Point name -> lowest and highest value that any profile may allow, in the point's unit.
WRITABLE: dict[str, tuple[float, float]] = {
    "rectifier_set_v": (43.0, 57.0),
    "charge_limit_a": (0.0, 2000.0),
    "discharge_limit_a": (0.0, 2000.0),
    "load_shed": (0.0, 255.0),
    "modules_off": (
        0.0,
        65535.0,
    ),  # rectifier modules in standby; the gateway keeps one more than the load needs
    "revert_s": (1.0, 900.0),
    "inverter_set_w": (-100_000.0, 100_000.0),
    "inverter_revert_s": (1.0, 900.0),
}

# SunSpec points behind the names above: model -> point names.
SUNSPEC_WRITABLE: dict[int, frozenset[str]] = {
    # Older storage: the rates between which it charges and discharges, their reversion time, and that they hold.
    124: frozenset({"StorCtl_Mod", "OutWRte", "InWRte", "InOutWRte_RvrtTms"}),
    704: frozenset({"WSetEna", "WSetMod", "WSet", "WSetRvrt", "WSetEnaRvrt", "WSetRvrtTms"}),
}


def check_writable(device: str, point: str, value: float) -> None:
    """Refuse a point that is not on the list, or a value outside its widest range.

    Raises:
        WriteRefusedError: The point is not on the list, or the value is out of range or not a number.
    """
    if point not in WRITABLE:
        raise WriteRefusedError(device, f"{point} is never written")
    low, high = WRITABLE[point]
    # Written as "not inside" so that NaN is refused too.
    if not (low <= value <= high):
        raise WriteRefusedError(device, f"{point} = {value} is outside {low} to {high}")
