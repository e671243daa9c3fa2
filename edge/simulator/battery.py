"""Battery strings: voltage, resistance, charge efficiency, heat and ageing by chemistry (pure).

Every function works on numpy arrays of one shape, usually (sites, strings). SoC is charge over present
full capacity, 0..1. Currents are amperes, charging positive.

A cell has two branches: a discharge curve and a charge curve above it (hysteresis in LFP, gassing
overvoltage in VRLA). Between the two a string rests at zero current. Energy is stored and returned on the
discharge curve; the gap is heat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.simulator.chemistry import CHEMISTRIES, Chemistry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GRID = 2000  # table cells between SoC 0 and 1
_GASSING_DOUBLES_C = 10.0  # [I]
_GASSING_DOUBLES_V = 0.05  # V/cell [I]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """String curves on a uniform SoC grid, one row per chemistry; voltages per string."""

    discharge_v: Floats
    charge_v: Floats
    coulombic: Floats
    stored_v: Floats  # integral of discharge_v over SoC: energy per Ah of capacity, Wh/Ah


def tabulate(chemistries: tuple[Chemistry, ...] = CHEMISTRIES) -> Tables:
    """Return the curves of each chemistry on a uniform grid of SoC."""
    soc = np.linspace(0.0, 1.0, _GRID + 1)

    def rows(name: str, scale: bool) -> Floats:
        out = np.empty((len(chemistries), soc.size))
        for k, chem in enumerate(chemistries):
            x, y = np.array(getattr(chem, name)).T
            out[k] = np.interp(soc, x, y) * (chem.cells if scale else 1.0)
        return out

    discharge = rows("discharge_v", True)
    steps = 0.5 * (discharge[:, 1:] + discharge[:, :-1]) / _GRID
    stored = np.concatenate([np.zeros((len(chemistries), 1)), np.cumsum(steps, axis=1)], axis=1)
    return Tables(
        discharge_v=discharge,
        charge_v=rows("charge_v", True),
        coulombic=rows("coulombic", False),
        stored_v=stored,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where strings stand on the curves: worked out once, read from several tables."""

    index: Ints  # into a flattened table
    part: Floats  # of the way to the next grid point

    def read(self, table: Floats) -> tuple[Floats, Floats]:
        """Return a curve's value and its slope per unit SoC, linear between grid points."""
        flat = table.reshape(-1)
        low = flat.take(self.index)
        rise = flat.take(self.index + 1) - low
        return low + self.part * rise, rise * _GRID


def place(chem: Ints, soc_frac: Floats) -> Place:
    """Return the place of strings of a chemistry at a SoC; outside 0..1 the ends hold."""
    x = np.minimum(np.maximum(soc_frac, 0.0), 1.0) * _GRID
    i = np.minimum(x.astype(np.int64), _GRID - 1)
    return Place(chem * (_GRID + 1) + i, x - i)


def look_up(table: Floats, chem: Ints, soc_frac: Floats) -> tuple[Floats, Floats]:
    """Return a curve's value and its slope per unit SoC, linear between grid points."""
    return place(chem, soc_frac).read(table)


def ocv_v(chemistry: Chemistry, soc_frac: float) -> float:
    """Return the rest voltage of a whole string after discharging, V."""
    x, y = np.array(chemistry.discharge_v).T
    return float(np.interp(soc_frac, x, y)) * chemistry.cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Chemistry parameters spread over an array of strings, so that a step needs no look-up by name."""

    chem: Ints
    rated_ah: Floats
    ohm: Floats
    charge_ohm_ratio: Floats
    low_soc_rise: Floats
    cold_rise_per_c: Floats
    aged_rise: Floats
    counter_v_per_c: Floats
    series_cells: Floats  # cells in series
    float_a: Floats  # gassing at 25 degC and `float_v`
    float_v: Floats
    self_discharge_per_s: Floats
    calendar_fade_per_s: Floats
    calendar_c: Floats
    calendar_doubling_c: Floats
    fade_per_ah: Floats  # SoH lost per Ah moved, either way
    bms: NDArray[np.bool_]
    under_v: Floats
    over_v: Floats
    trip_a: Floats
    trip_hot_c: Floats
    trip_cold_c: Floats
    charge_min_c: Floats
    charge_max_c: Floats


def spread(chem: Ints, rated_ah: Floats) -> Cells:
    """Return per-string parameters for strings of the given chemistry index and rated capacity."""

    def of(name: str) -> Floats:
        return np.array([float(getattr(c, name)) for c in CHEMISTRIES])[chem]

    cells = of("cells")
    return Cells(
        chem=chem,
        rated_ah=rated_ah,
        ohm=of("ohm_ah") / rated_ah,
        charge_ohm_ratio=of("charge_ohm_ratio"),
        low_soc_rise=of("low_soc_rise"),
        cold_rise_per_c=of("cold_rise_per_c"),
        aged_rise=of("aged_rise"),
        counter_v_per_c=of("counter_v_per_c") * cells,
        series_cells=cells,
        float_a=of("float_a_per_ah") * rated_ah,
        float_v=of("float_cell_v") * cells,
        self_discharge_per_s=of("self_discharge_per_month") / (30.0 * 86400.0),
        calendar_fade_per_s=of("calendar_fade_per_year") / (365.0 * 86400.0),
        calendar_c=of("calendar_c"),
        calendar_doubling_c=of("calendar_doubling_c"),
        fade_per_ah=0.2 / (of("cycles_to_80") * of("cycle_dod") * 2.0 * rated_ah),
        bms=of("bms") > 0.5,
        under_v=of("under_v"),
        over_v=of("over_v"),
        trip_a=of("trip_c_rate") * rated_ah,
        trip_hot_c=of("trip_hot_c"),
        trip_cold_c=of("trip_cold_c"),
        charge_min_c=of("charge_min_c"),
        charge_max_c=of("charge_max_c"),
    )


def resistance_ohm(cells: Cells, soc_frac: Floats, battery_c: Floats, soh_frac: Floats) -> Floats:
    """Return a string's ohmic resistance: rises when empty, cold and aged.

    Source:
        Shape [I]: exponential rise below 20 % SoC, linear in degC below 25, linear in lost SoH.
    """
    empty = 1.0 + cells.low_soc_rise * np.exp(-np.maximum(soc_frac, 0.0) / 0.08)
    cold = 1.0 + cells.cold_rise_per_c * np.clip(25.0 - battery_c, -15.0, 60.0)
    return cells.ohm * empty * cold * (1.0 + cells.aged_rise * (1.0 - soh_frac))


def gassing(cells: Cells, volts: Floats, battery_c: Floats) -> tuple[Floats, Floats]:
    """Return the current that a string turns into gas and heat at a voltage, A, and its slope, A/V.

    Source:
        Shape [I]: the rate of a chemical reaction doubles with 10 degC, and with 50 mV per cell, so that the
        -5 mV/degC/cell of the compensation (Mastervolt) holds it where it is.
    """
    step_v = _GASSING_DOUBLES_V * cells.series_cells
    doublings = (battery_c - 25.0) / _GASSING_DOUBLES_C + (volts - cells.float_v) / step_v
    amps = cells.float_a * 2.0 ** np.minimum(doublings, 12.0)
    return amps, amps * np.log(2.0) / step_v


def fade_frac(cells: Cells, moved_ah: Floats, battery_c: Floats, dt_s: float) -> Floats:
    """Return the SoH lost in one step, calendar plus cycle.

    Source:
        Calendar: doubling per 8-10 degC. Cycle: 20 % over the datasheet's cycles, by Ah moved.
    """
    calendar = cells.calendar_fade_per_s * 2.0 ** ((battery_c - cells.calendar_c) / cells.calendar_doubling_c)
    return calendar * dt_s + cells.fade_per_ah * moved_ah


def stored_wh(tables: Tables, chem: Ints, soc_frac: Floats, full_ah: Floats) -> Floats:
    """Return the energy a string would return down to SoC 0 at vanishing current, Wh."""
    return look_up(tables.stored_v, chem, soc_frac)[0] * full_ah
