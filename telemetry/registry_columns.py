"""The columns of registry files: how each cell is read, and where it goes in its entry (pure)."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class CellError(Exception):
    """A cell is not what its column asks for."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return str(value)
    if "\0" in value or len(value) > 500:
        raise CellError("at most 500 letters and no NUL")
    return value


def _name(value: Any) -> str:
    if not _NAME.fullmatch(text := str(value)):
        raise CellError(f"{text[:80]!r} is no name: letters, digits, '.', '_' and '-', at most 64")
    return text


def _number(value: Any) -> float:
    try:
        found = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if not isfinite(found):
        raise CellError(f"{str(value)[:40]!r} is no number")
    return found


def _degrees(most: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if not -most <= (found := _number(value)) <= most:
            raise CellError(f"{found:g} is beyond {most:g} degrees")
        return found

    return read


def _count(value: Any) -> int:
    if (found := _number(value)) != int(found):
        raise CellError(f"{value} is no whole number")
    return int(found)


def _flag(value: Any) -> bool:
    if (found := _FLAGS.get(str(value).lower())) is None:
        raise CellError(f"{str(value)[:40]!r} is neither true nor false")
    return found


def _instant(value: Any) -> str:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise CellError(f"{str(value)[:40]!r} is no instant such as 2026-01-15T17:00:00Z") from error
    if found.tzinfo is None:
        raise CellError("an instant needs an offset, such as Z or +01:00")
    return found.isoformat()


def _zone(value: Any) -> str:
    try:
        return ZoneInfo(str(value)).key
    except (KeyError, ValueError, OSError) as error:
        raise CellError(f"there is no time zone {str(value)[:40]!r}") from error


def _names(value: Any) -> list[str]:
    return [_name(one) for one in (value if isinstance(value, list) else str(value).split(";"))]


def _numbers(value: Any) -> list[float]:
    return [_number(one) for one in (value if isinstance(value, list) else str(value).split(";"))]


class Column(NamedTuple):
    """How a cell is read, where it goes in the entry, and what stands there when it is empty."""

    read: Callable[[Any], Any]
    path: str = ""  # dotted; empty: the column's own name
    default: Any = ...  # ...: it must be there


def _optional(read: Callable[[Any], Any], path: str = "", default: Any = None) -> Column:
    return Column(read, path, default)


TABLES: Mapping[str, Mapping[str, Column]] = {
    "feeders": {
        "feeder_id": Column(_name), "name": Column(_text), "substation": Column(_text),
        "import_limit_w": Column(_number), "export_limit_w": Column(_number),
    },
    "autonomy_profiles": {
        "profile_id": Column(_name), "jurisdiction": Column(_text), "autonomy_h": Column(_number),
        "binding": Column(_flag), "source": Column(_text), "genset_allowed": _optional(_flag, default=False),
        "failed_start_h": _optional(_number, default=2.0),
    },
    "battery_types": {
        "battery_type_id": Column(_name), "chemistry": Column(_text), "soc_min_frac": Column(_number),
        "soc_max_frac": Column(_number), "disconnect_soc_frac": Column(_number), "backstop_soc_frac": Column(_number),
        "soc_error_frac": Column(_number), "charge_efficiency": Column(_number),
        "discharge_efficiency": Column(_number), "max_cycles_per_day": Column(_number), "source": Column(_text),
    },
    "battery_limits": {
        "battery_type_id": Column(_name), "from_c": Column(_number), "to_c": Column(_number),
        "charge_c_rate": Column(_number), "discharge_c_rate": Column(_number), "capacity_frac": Column(_number),
    },
    "tariffs": {
        "tariff_id": Column(_name), "name": Column(_text), "currency": Column(_text), "time_zone": Column(_zone),
        "demand_per_kw_month": _optional(_number, default=0.0), "export_per_kwh": _optional(_number, default=0.0),
    },
    "tariff_periods": {
        "tariff_id": Column(_name), "days": Column(_text), "from_h": Column(_count), "to_h": Column(_count),
        "import_per_kwh": Column(_number),
    },
    "sites": {
        "site_id": Column(_name), "name": Column(_text), "latitude": Column(_degrees(90.0)), "longitude": Column(_degrees(180.0)),
        "time_zone": Column(_zone), "feeder_id": Column(_name), "radio_cluster": Column(_name),
        "mode": _optional(_text, default="shadow"), "simulated": _optional(_flag, default=False),
        "dispatch_path": _optional(_text, default="none"),
        "autonomy_profile": Column(_name), "max_load_w": Column(_number),
        "battery_type": Column(_name), "rated_wh": Column(_number), "calibrated_at": _optional(_instant),
        "capacity_tested_at": _optional(_instant),
        "rectifier_module_w": Column(_number, "rectifiers.module_w"),
        "rectifier_count": Column(_count, "rectifiers.count"),
        "rectifier_efficiency": _optional(_number, "rectifiers.efficiency", 0.96),
        "bus_float_v": Column(_number, "bus.float_v"), "bus_backstop_v": _optional(_number, "bus.backstop_v", 47.0),
        "bus_voltage_step_v": Column(_number, "bus.voltage_step_v"),
        "bus_device_reverts": _optional(_flag, "bus.device_reverts", False),
        "bus_continuity_proven_at": _optional(_instant, "bus.continuity_proven_at"),
        "grid_import_limit_w": Column(_number), "ramp_w_per_step": Column(_number),
        "pv_rated_w": _optional(_number, default=0.0),
        "inverter_rated_w": _optional(_number, "inverter.rated_w"),
        "inverter_certificate": _optional(_text, "inverter.certificate"),
        "inverter_transfer_switch_interlocked": _optional(_flag, "inverter.transfer_switch_interlocked", False),
        "inverter_agreement_expires_at": _optional(_instant, "inverter.agreement_expires_at"),
        "genset_rated_w": _optional(_number, "genset.rated_w"), "genset_tank_wh": _optional(_number, "genset.tank_wh"),
        "genset_proven_at": _optional(_instant, "genset.proven_at"),
        "tariff": Column(_name), "maintenance": _optional(_text), "commissioned_at": _optional(_instant),
        "recharge_max_delay_s": _optional(_number, "recharge.max_delay_s"),
        "recharge_ramp_s": _optional(_number, "recharge.ramp_s"),
        "recharge_c_rate": _optional(_number, "recharge.c_rate"),
        "recharge_feeder_share_w": _optional(_numbers, "recharge.feeder_share_w"),
        "fast_meter_error_hz": _optional(_number, "fast.meter_error_hz"),
        "fast_meter_period_s": Column(_number, "fast.meter_period_s"),
        "fast_actuator_s": Column(_number, "fast.actuator_s"),
        "fast_ramp_w_per_s": Column(_number, "fast.ramp_w_per_s"),
    },
    "critical_sites": {
        "critical_site_id": Column(_name), "name": Column(_text), "kind": Column(_text), "latitude": Column(_degrees(90.0)),
        "longitude": Column(_degrees(180.0)), "feeder_id": Column(_name), "priority": Column(_count),
        "demand_profile": Column(_text), "peak_w": Column(_number),
        "linked_site_ids": _optional(_names, default=()),
    },
}  # fmt: skip
COLUMNS: Mapping[str, frozenset[str]] = {table: frozenset(columns) for table, columns in TABLES.items()}
# Parts of a site that are there only if their first column is; what they then lack takes the part's own default.
PARTS = {
    "inverter": "inverter_rated_w",
    "genset": "genset_rated_w",
    "recharge": "recharge_c_rate",
    "fast": "fast_meter_error_hz",
}
