"""A simulated SunSpec device: its chain of models and the one setting it takes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from operator import itemgetter

from edge.modbus.codec import decode, encode, encode_string, missing
from edge.modbus.sunspec import END, MARK, ModelLayout, PointLayout, layouts
from edge.simulator.plant import Plant
from edge.simulator.registers import DeviceBusyError, IllegalAddressError
from edge.simulator.sensors import Sensors
from edge.simulator.sunspec_values import SCALES, VALUES, SiteReading

SUNSPEC_UNIT = 2
SUNSPEC_BASE = 40000
_SETTINGS = frozenset({124, 704})


class SunspecRegisters:
    """A SunSpec device: models 1, 203, 713, 714, 802, with PV 160, with an inverter 103 and 701 with 704, or 124."""

    def __init__(self, site: int, plant: Plant, sensors: Sensors) -> None:
        self._site, self._plant = site, plant
        self._reading = SiteReading(site, plant, sensors)
        spec = plant.specs[site]
        self._models = [1, 203]
        if spec.inverter_w > 0.0:
            self._models += [103, 124] if spec.inverter_models == "older" else [103, 701, 704]
        self._models += [160] if spec.pv_rated_w > 0.0 else []
        self._models += [713, 714, 802]
        self._control: dict[str, float] = {
            "WSetEna": 0, "WSetMod": 1, "WSet": 0, "WSetRvrt": 0, "WSetEnaRvrt": 0, "WSetRvrtTms": 0,
            "StorCtl_Mod": 0, "OutWRte": 100, "InWRte": 100, "InOutWRte_RvrtTms": 0,
        }  # fmt: skip
        self._places: list[tuple[int, str, PointLayout, int]] = []
        self._frame: list[int] = list(MARK)
        for model in self._models:
            self._add(model, layouts()[model])
        self._frame += [END, 0]
        self.wrong: dict[str, float] = {}  # "model.point" -> value it answers instead, a fault
        self._spoilt = False  # wrong values stand in the frame, or did
        # What never changes is written into the frame once; what does is asked for at each read.
        for model, name, point, at in self._places:
            self._frame[at : at + point.size] = self._words(model, name, point)
        self._live = [p for p in self._places if p[0] in _SETTINGS or callable(VALUES.get((p[0], p[1])))]

    @property
    def points(self) -> frozenset[str]:
        """The points of the chain, as `model.point`."""
        return frozenset(f"{model}.{name}" for model, name, _, _ in self._places)

    def _add(self, model: int, layout: ModelLayout) -> None:
        groups = 1 if layout.repeat else 0
        length = layout.length + groups * layout.repeat_length
        self._frame += [model, length]
        base = len(self._frame)
        for point in layout.points.values():
            self._places.append((model, point.name, point, base + point.offset))
            self._frame += missing(point.kind, point.size)
        for point in layout.repeat.values():
            self._places.append((model, point.name + "#0", point, base + layout.length + point.offset))
            self._frame += missing(point.kind, point.size)

    def first_and_count(self) -> tuple[int, int]:
        """Return the span of addresses that exist."""
        return SUNSPEC_BASE, len(self._frame)

    def read(self, address: int, count: int) -> list[int]:
        """Return registers.

        Raises:
            IllegalAddressError: Outside the map.
        """
        start = address - SUNSPEC_BASE
        if not (start >= 0 and start + count <= len(self._frame)):
            raise IllegalAddressError(address)
        # Places lie in order: from the one that holds the first register to the last that begins in the span.
        self._spoilt = self._spoilt or bool(self.wrong)
        places = self._places if self._spoilt else self._live
        first = max(bisect_right(places, start, key=itemgetter(3)) - 1, 0)
        for model, name, point, at in places[first:]:
            if at >= start + count:
                break
            self._frame[at : at + point.size] = self._words(model, name, point)
        return self._frame[start : start + count]

    def _words(self, model: int, name: str, point: PointLayout) -> list[int]:
        value = self._value(model, name)
        if value is None:
            return missing(point.kind, point.size)
        if isinstance(value, str):
            return encode_string(value, point.size)
        if point.kind == "sunssf":
            return encode("sunssf", value)
        exponent = SCALES[model].get(point.scale_point, 0) if point.scale_point else 0
        return encode(point.kind, value / 10.0**exponent)

    def _value(self, model: int, name: str) -> float | str | None:
        if self.wrong and (wrong := self.wrong.get(f"{model}.{name}")) is not None:
            return wrong
        if name in SCALES.get(model, {}):
            return float(SCALES[model][name])
        if model == 704 or (model == 124 and name in self._control):
            return self._control_value(name)
        read = VALUES.get((model, name))
        return read(self._reading) if callable(read) else read

    def _control_value(self, name: str) -> float | None:
        if name == "WSetRvrtRem":
            return float(max(0.0, math.ceil(self._plant.commands.inverter_revert_s[self._site])))
        if self._plant.commands.inverter_revert_s[self._site] <= 0.0:
            self._control["WSetEna"] = 0
            self._control["StorCtl_Mod"] = 0
        return self._control.get(name)

    def write(self, address: int, values: Sequence[int]) -> None:
        """Take whole points of an active power setting, model 704's or 124's.

        Raises:
            IllegalAddressError: Not the start of a writable point.
            DeviceBusyError: Under local control.
        """
        if self._plant.hardware.local_lock[self._site]:
            raise DeviceBusyError
        start = address - SUNSPEC_BASE
        at = start
        while at < start + len(values):
            place = next((p for p in self._places if p[3] == at), None)
            if place is None or place[0] not in _SETTINGS:
                raise IllegalAddressError(address)
            model, name, point, _ = place
            words = values[at - start : at - start + point.size]
            if name in self._control:
                exponent = SCALES[model].get(point.scale_point, 0) if point.scale_point else 0
                self._control[name] = decode(point.kind, words) * 10.0**exponent
            elif list(words) != self._words(model, name, point):
                raise IllegalAddressError(address)  # a setting that this device does not have
            at += point.size
        self._command()

    def _command(self) -> None:
        """Hand the active power setting to the plant; without a reversion time it would hold for ever."""
        cmd, k, c = self._plant.commands, self._site, self._control
        rated = self._plant.specs[k].inverter_w
        if 124 in self._models:
            on, wanted_w, held_s = c["StorCtl_Mod"] == 3, _between_rates_w(c, rated), c["InOutWRte_RvrtTms"]
        else:
            on, wanted_w, held_s = c["WSetEna"] == 1 and c["WSetMod"] == 1, -c["WSet"], c["WSetRvrtTms"]
        cmd.inverter_w[k] = max(-rated, min(rated, wanted_w)) if on else 0.0
        cmd.inverter_revert_s[k] = (held_s or 1e9) if on else 0.0


def _between_rates_w(control: Mapping[str, float], rated_w: float) -> float:
    """Return the power nearest to none that both rates of model 124 allow, charging positive."""
    low_w, high_w = -control["OutWRte"] * rated_w / 100.0, control["InWRte"] * rated_w / 100.0
    return max(low_w, min(high_w, 0.0))
