"""The two chemistries as data: curves, limits and ageing, each figure with its source."""

from __future__ import annotations

from dataclasses import dataclass

Curve = tuple[tuple[float, float], ...]


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
