"""From points of several devices to one sample: who is asked for what, and what must be there."""

from __future__ import annotations

from collections.abc import Sequence

from edge.modbus.port import DeviceError, FieldSample
from edge.modbus.profile import STRINGS
from edge.modbus.sunspec import SunspecModel

# Who measures frequency, best first: the meter, a modern inverter, an older one (101 and 102 are read as 103).
FREQUENCY_MODELS = (203, 701, 103)
OLDER = frozenset({103})  # asleep it says nothing

# Sample field -> (SunSpec model, point), first found wins.
_SUNSPEC_FIELDS: dict[str, tuple[tuple[int, str], ...]] = {
    "grid_w": ((203, "W"),),
    "phase_1_w": ((203, "WphA"),),
    "phase_2_w": ((203, "WphB"),),
    "phase_3_w": ((203, "WphC"),),
    "grid_v": ((203, "PhV"), (701, "LNV"), (103, "PhVphA")),
    "grid_hz": tuple((model, "Hz") for model in FREQUENCY_MODELS),
    "pv_w": ((160, "DCW#0"),),
    "battery_w": ((802, "W"),),
    "meter_battery_w": ((714, "DCW"),),
    "battery_a": ((802, "A"), (714, "DCA")),
    "bus_v": ((802, "V"),),
    "soc_frac": ((713, "SoC"), (802, "SoC")),
    "soh_frac": ((713, "SoH"), (802, "SoH")),
}
PERCENT = frozenset({"soc_frac", "soh_frac"})


def plan_reads(models: dict[int, SunspecModel], covered: set[str]) -> dict[int, dict[str, str]]:
    """Return which points to read on each scan: only what no earlier device measures."""
    plan: dict[int, dict[str, str]] = {}
    for name, sources in _SUNSPEC_FIELDS.items():
        if name in covered:
            continue
        for number, point in sources:
            if number in models and ("#" not in point or models[number].repeats > 0):
                plan.setdefault(number, {})[name] = point
                break
    return plan


_NEEDED: Sequence[str] = ("bus_v", "load_w", "battery_a", "mains_ok")


def assemble(values: dict[str, float | None], alarms: tuple[str, ...]) -> FieldSample:
    """Return one sample of the values found.

    Raises:
        DeviceError: No device measures bus voltage, load, battery current or the presence of mains.
    """
    absent = [name for name in _NEEDED if values.get(name) is None]
    if absent:
        raise DeviceError("site", f"no device measures {', '.join(absent)}")
    bus_v, battery_a = float(values["bus_v"] or 0.0), float(values["battery_a"] or 0.0)
    battery_w = values.get("battery_w")
    modules, shed = values.get("rectifier_modules_ok"), values.get("load_shed")
    off = values.get("modules_off")
    strings = (values.get(name) for name in STRINGS)
    phases = tuple(w for w in (values.get(f"phase_{k}_w") for k in (1, 2, 3)) if w is not None)
    return FieldSample(
        bus_v=bus_v,
        load_w=float(values["load_w"] or 0.0),
        battery_a=battery_a,
        battery_w=bus_v * battery_a if battery_w is None else battery_w,
        mains_ok=(values["mains_ok"] or 0.0) > 0.5,
        meter_battery_w=values.get("meter_battery_w"),
        grid_v=values.get("grid_v"),
        grid_hz=values.get("grid_hz"),
        grid_w=values.get("grid_w"),
        aux_ac_w=values.get("aux_ac_w"),
        rectifier_w=values.get("rectifier_w"),
        string_a=tuple(a for a in strings if a is not None),
        soc_frac=values.get("soc_frac"),
        soh_frac=values.get("soh_frac"),
        battery_c=values.get("battery_c"),
        ambient_c=values.get("ambient_c"),
        pv_w=values.get("pv_w"),
        genset_w=values.get("genset_w"),
        fuel_frac=values.get("fuel_frac"),
        rectifier_set_v=values.get("rectifier_set_v"),
        alarms=alarms,
        local_lock=(values.get("local_lock") or 0.0) > 0.5,
        rectifier_modules_ok=None if modules is None else int(modules),
        load_shed=None if shed is None else int(shed),
        modules_off=None if off is None else int(off),
        phase_w=phases if len(phases) == 3 else (),
    )
