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

Curve = tuple[tuple[float, float], ...]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GRID = 2000  # table cells between SoC 0 and 1
_GASSING_DOUBLES_C = 10.0  # [I]
_GASSING_DOUBLES_V = 0.05  # V/cell [I]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chemistry:
    """Parameters of one chemistry; voltages per cell, everything else per string."""

    name: str
    cells: int
    discharge_v: Curve  # (SoC, V/cell) at rest after discharging
    charge_v: Curve  # (SoC, V/cell) counter-voltage while charging
    coulombic: Curve  # (SoC, charge stored per charge taken)
    ohm_ah: float  # resistance times rated capacity at 25 degC, cable and BMS included
    charge_ohm_ratio: float  # charging resistance over discharging: acceptance limited by diffusion
    low_soc_rise: float  # resistance at SoC 0 is (1 + this) times the value of a charged string
    cold_rise_per_c: float  # relative resistance rise per degC below 25
    aged_rise: float  # relative resistance rise per unit of lost SoH
    counter_v_per_c: float  # V/cell per degC above 25 on the charge curve
    float_a_per_ah: float  # gassing that keeps a full string full, at 25 degC and `float_cell_v`
    float_cell_v: float
    self_discharge_per_month: float  # share of capacity, 25 degC, doubling per 10 degC
    calendar_fade_per_year: float  # SoH at the reference temperature
    calendar_c: float  # reference temperature
    calendar_doubling_c: float
    cycles_to_80: float  # full life in cycles of `cycle_dod`
    cycle_dod: float
    heat_j_per_c_ah: float  # thermal mass per rated Ah of a string
    cooling_w_per_c_ah: float  # to the cabinet air, per rated Ah
    bms: bool  # a string with a BMS opens by itself
    under_v: float
    over_v: float
    trip_c_rate: float
    trip_hot_c: float
    trip_cold_c: float
    charge_min_c: float  # outside these no charge is taken, discharging goes on
    charge_max_c: float


LFP = Chemistry(
    name="lfp",
    cells=16,
    # Shape of published LiFePO4 open-circuit curves at 25 degC (plateaus near 3.29 and 3.33 V, the steps
    # near 30 % and 70 %); end points set so that 54.4 V floats a full string and 43.2 V (2.70 V/cell, the
    # V-LFP48100 cut-off) is an empty one under a small load.
    discharge_v=(
        (0.0, 2.50),
        (0.005, 2.75),
        (0.02, 3.00),
        (0.05, 3.12),
        (0.10, 3.20),
        (0.20, 3.245),
        (0.30, 3.28),
        (0.40, 3.288),
        (0.50, 3.295),
        (0.60, 3.30),
        (0.70, 3.325),
        (0.80, 3.33),
        (0.90, 3.335),
        (0.96, 3.345),
        (1.0, 3.39),
    ),
    # Hysteresis of 10 mV per cell at rest (literature values: 5-20 mV) [I].
    charge_v=(
        (0.0, 2.51),
        (0.005, 2.76),
        (0.02, 3.01),
        (0.05, 3.13),
        (0.10, 3.21),
        (0.20, 3.255),
        (0.30, 3.29),
        (0.40, 3.298),
        (0.50, 3.305),
        (0.60, 3.31),
        (0.70, 3.335),
        (0.80, 3.34),
        (0.90, 3.345),
        (0.96, 3.355),
        (1.0, 3.40),
    ),
    coulombic=((0.0, 0.998), (0.95, 0.998), (1.0, 0.995)),
    ohm_ah=1.5,  # 15 mOhm for a 100 Ah string: 16 cells of 0.5 mOhm, BMS switches and cable [I]
    charge_ohm_ratio=1.0,
    low_soc_rise=0.5,
    cold_rise_per_c=0.02,
    aged_rise=2.0,
    counter_v_per_c=0.0,
    float_a_per_ah=0.0,
    float_cell_v=3.40,
    self_discharge_per_month=0.02,
    calendar_fade_per_year=0.015,
    calendar_c=25.0,
    calendar_doubling_c=10.0,
    cycles_to_80=4000.0,  # V-LFP48100: 4,000 cycles at 80 % DoD
    cycle_dod=0.8,
    heat_j_per_c_ah=420.0,  # 42 kg x 1,000 J/(kg degC) for 100 Ah
    cooling_w_per_c_ah=0.06,
    bms=True,
    under_v=43.2,
    over_v=57.6,
    trip_c_rate=1.05,  # 1 C maximum plus 5 % before the BMS acts
    trip_hot_c=60.0,
    trip_cold_c=-20.0,  # V-LFP48100: discharge -20-60 degC
    charge_min_c=0.0,  # V-LFP48100: charge 0-60 degC
    charge_max_c=60.0,
)

VRLA = Chemistry(
    name="vrla",
    cells=24,
    # Lead-acid rest voltage, close to linear in SoC: 1.94 V empty, 2.14 V full (acid density + 0.84 V rule).
    # Below 2 % the voltage collapses, which is where 1.8 V/cell under load ends a discharge.
    discharge_v=(
        (0.0, 1.75),
        (0.02, 1.90),
        (0.05, 1.95),
        (0.2, 1.985),
        (0.5, 2.04),
        (0.8, 2.10),
        (1.0, 2.14),
    ),
    # Counter-voltage rises to the float voltage of 2.25 V/cell when full: at float the current dies away
    # (float 2.2-2.3 V/cell, Vertiv EXS manual).
    charge_v=(
        (0.0, 1.79),
        (0.02, 1.94),
        (0.05, 1.98),
        (0.2, 2.015),
        (0.5, 2.09),
        (0.7, 2.15),
        (0.8, 2.19),
        (0.9, 2.222),
        (0.95, 2.238),
        (1.0, 2.25),
    ),
    # Gassing takes a growing share near full; nothing is stored once full.
    coulombic=((0.0, 0.98), (0.8, 0.96), (0.95, 0.90), (0.99, 0.80), (1.0, 0.30)),
    ohm_ah=2.0,  # 20 mOhm for 100 Ah: four 12 V blocks of 4.5 mOhm and links [I]
    charge_ohm_ratio=4.0,  # from 95 % to full at float takes hours; full again within 24 h [R]
    low_soc_rise=1.5,
    cold_rise_per_c=0.012,
    aged_rise=3.0,
    counter_v_per_c=-0.005,  # the reason for -5 mV/degC/cell charge compensation (Mastervolt)
    float_a_per_ah=0.0005,  # 0.5 mA/Ah, of published 0.3 to 1 for absorbed glass mat [R]
    float_cell_v=2.25,
    self_discharge_per_month=0.03,
    calendar_fade_per_year=0.02,  # 20 % in 10 years at 20 degC
    calendar_c=20.0,
    calendar_doubling_c=9.0,  # life halves per 8-10 degC above 20 degC
    cycles_to_80=350.0,  # 200-500 cycles at 80 % DoD
    cycle_dod=0.8,
    heat_j_per_c_ah=1300.0,
    cooling_w_per_c_ah=0.08,
    bms=False,
    under_v=0.0,
    over_v=1e9,
    trip_c_rate=1e9,
    trip_hot_c=1e9,
    trip_cold_c=-1e9,
    charge_min_c=-20.0,  # no charge above 55 or below -20 degC (Mastervolt)
    charge_max_c=55.0,
)

CHEMISTRIES: tuple[Chemistry, ...] = (LFP, VRLA)


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
