"""What the simulated sensors say about the plant: gain errors and noise by seed, stuck or wrong on demand.

Standard deviations [I], all documented here because figures depend on them:

| reading | fixed gain error per site | noise per reading | resolution |
| --- | --- | --- | --- |
| bus_v | 0.05 % | 4 mV | profile |
| battery_a, string_k_a (BMS shunt) | 0.8 % | 0.15 A | profile |
| meter_battery_w (independent DC meter, class 0.5) | 0.15 % | 0.2 % of reading + 2 W | profile |
| load_w, rectifier_w | 0.4 % | 0.3 % of reading + 2 W | profile |
| grid_w, aux_ac_w, pv_w, genset_w (class 1) | 0.3 % | 0.3 % of reading + 2 W | profile |
| soc_frac (BMS) | offset 1.5 % of capacity | none | 0.1 % |
| grid_v | none | 0.5 V | SunSpec 203 |
| grid_hz | none | 3 mHz | 10 mHz (SunSpec 203) |
| battery_c, ambient_c | offset 0.4 degC | 0.05 degC | 0.1 degC |
"""

from __future__ import annotations

import numpy as np

from edge.simulator.battery import Floats
from edge.simulator.plant import Plant

_POWER = ("load_w", "rectifier_w", "grid_w", "aux_ac_w", "pv_w", "genset_w", "inverter_w")
ALARMS = (
    "mains_fail",
    "battery_string_open",
    "rectifier_module_fail",
    "low_voltage_disconnect",
    "battery_hot",
    "genset_running",
    "low_fuel",
)


class Sensors:
    """Readings of every site, refreshed once per plant step with noise from one seeded generator."""

    def __init__(self, plant: Plant, seed: int) -> None:
        self._plant = plant
        self._noise = np.random.default_rng([seed, 1])
        fixed = np.random.default_rng([seed, 2])
        n, s = plant.state.soc_frac.shape
        self._gain_v = 1.0 + 0.0005 * fixed.standard_normal(n)
        self._gain_a = 1.0 + 0.008 * fixed.standard_normal((n, s))
        self._gain_meter = 1.0 + 0.0015 * fixed.standard_normal(n)
        self._gain_dc = 1.0 + 0.004 * fixed.standard_normal((2, n))
        self._gain_ac = 1.0 + 0.003 * fixed.standard_normal((5, n))
        self._soc_offset = 0.015 * fixed.standard_normal(n)
        self._temperature_offset = 0.4 * fixed.standard_normal((2, n))
        tank_l = np.array([spec.fuel_l for spec in plant.specs])
        self._tank_l = np.where(tank_l > 0.0, tank_l, 1.0)
        self.stuck: dict[tuple[int, str], float] = {}
        self.values: dict[str, Floats] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take a new reading of everything."""
        st, n = self._plant.state, len(self._plant.specs)
        white = self._noise.standard_normal((19, n))
        bus_v = st.bus_v * self._gain_v + 0.004 * white[0]
        string_a = st.string_a * self._gain_a + 0.15 * self._noise.standard_normal(st.string_a.shape)
        string_a *= self._plant.installed
        battery_w = st.string_a.sum(axis=1) * st.bus_v
        live = st.mains | (st.backfed_w > 0.0)  # what stands at the utility's terminals, whoever put it there
        values = {
            "bus_v": bus_v,
            "battery_a": string_a.sum(axis=1),
            "battery_w": bus_v * string_a.sum(axis=1),
            "meter_battery_w": battery_w * (self._gain_meter + 0.002 * white[1]) + 2.0 * white[2],
            "soc_frac": np.clip(self._plant.site_soc_frac() + self._soc_offset, 0.0, 1.0),
            "soh_frac": self._plant.site_soh_frac(),
            "battery_c": st.battery_c + self._temperature_offset[0] + 0.05 * white[3],
            "ambient_c": st.ambient_c + self._temperature_offset[1] + 0.05 * white[4],
            "mains_ok": live.astype(np.float64),
            "local_lock": self._plant.hardware.local_lock.astype(np.float64),
            "rectifier_modules_ok": self._plant.modules_ok().astype(np.float64),
            "fuel_frac": self._fuel_frac(),
            "grid_v": np.where(live, 230.0 + 0.5 * white[5], 0.0),
            "grid_hz": np.where(live, self._plant.hardware.grid_hz + 0.003 * white[6], 0.0),
            "revert_left_s": np.ceil(self._plant.commands.revert_s),
            "alarms": self._alarm_bits(),
        }
        true_w = (
            st.load_w,
            st.rectifier_a * st.bus_v,
            st.grid_w,
            st.aux_ac_w,
            st.pv_w,
            st.genset_w,
            st.inverter_w,
        )
        gains = (*self._gain_dc, *self._gain_ac)
        for k, name in enumerate(_POWER):
            noisy = true_w[k] * (gains[k] + 0.003 * white[11]) + 2.0 * white[12 + k]
            floor = name in {"load_w", "rectifier_w", "aux_ac_w", "pv_w", "genset_w"}
            values[name] = np.where(true_w[k] == 0.0, 0.0, np.maximum(noisy, 0.0) if floor else noisy)
        for k in range(8):
            values[f"string_{k + 1}_a"] = string_a[:, k] if k < string_a.shape[1] else np.zeros(n)
        for (site, name), value in self.stuck.items():
            values[name][site] = value
        self.values = values

    def _fuel_frac(self) -> Floats:
        return np.asarray(self._plant.state.fuel_l / self._tank_l)

    def _alarm_bits(self) -> Floats:
        st, plant = self._plant.state, self._plant
        flags = (
            ~st.mains,
            (plant.installed & ~st.closed).any(axis=1),
            plant.hardware.modules_lost > 0,
            ~st.load_on,
            st.battery_c > 50.0,
            st.genset_w > 0.0,
            (plant.genset_rated_w > 0.0) & (self._fuel_frac() < 0.2),
        )
        bits = sum(
            (flag.astype(np.int64) << k for k, flag in enumerate(flags)), np.zeros(len(st.mains), np.int64)
        )
        return np.asarray(bits, dtype=np.float64)
