"""The simulated hardware beside the figures of DOMAIN.md sections 1 and 3, one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.simulator.battery import fade_frac, spread
from edge.simulator.chemistry import LFP, VRLA
from edge.simulator.plant import Plant
from edge.simulator.plant_state import TRIP_COLD, TRIP_CURRENT, TRIP_HOT, TRIP_NONE, TRIP_OVER_V, TRIP_UNDER_V
from edge.simulator.site_spec import SiteSpec
from tests.edge.simulator.test_plant import SITE, discharge, drive, run

LFP_SITE = SITE
VRLA_SITE = SiteSpec(site_id="v", chemistry="vrla", initial_soc_frac=0.9)


def test_ratings_are_the_datasheets() -> None:
    # V-LFP48100: charge 56 V, 0.3 C recommended; VRLA: 2.3 V/cell x 24 at most, 0.1-0.25 C.
    assert (LFP_SITE.max_v, LFP_SITE.charge_limit_a) == (56.0, 90.0)
    assert (VRLA_SITE.max_v, VRLA_SITE.charge_limit_a) == (55.2, 60.0)
    assert 2.2 <= VRLA_SITE.float_v / 24.0 <= 2.3
    assert (LFP.charge_min_c, LFP.charge_max_c, LFP.trip_cold_c, LFP.trip_hot_c) == (0.0, 60.0, -20.0, 60.0)
    assert (VRLA.charge_min_c, VRLA.charge_max_c) == (-20.0, 55.0)


def test_lfp_returns_more_than_98_percent_at_the_cell() -> None:
    plant = Plant([SiteSpec(site_id="s", initial_soc_frac=0.8)])
    out_wh = in_wh = 0.0
    # 500 W are 0.03 C: 3 A through 15 mOhm a string, a thousandth, so the terminals show the cell. Charging at 53.5 V,
    # just above the counter-voltage of 53.4 V, is as slow; under a charge limit the limiter's drop would be in it.
    while plant.state.soc_frac[0, 0] > 0.7:
        discharge(plant, revert_s=60.0)
        plant.step(drive(load_w=500.0), 20.0)
        out_wh -= float(plant.state.string_a.sum() * plant.state.bus_v[0]) * 20.0 / 3600.0
    while plant.state.soc_frac[0, 0] < 0.8:
        discharge(plant, volts=53.5, revert_s=60.0)
        plant.step(drive(load_w=500.0), 20.0)
        in_wh += float(plant.state.string_a.sum() * plant.state.bus_v[0]) * 20.0 / 3600.0
    assert out_wh == pytest.approx(0.1 * 300.0 * 53.25, rel=0.01)  # 30 Ah at 16 x 3.328 V
    assert 0.98 < (out_wh - 500.0 * 20.0 / 3600.0) / in_wh < 0.999


@pytest.mark.parametrize(
    ("spec", "celsius", "takes"),
    [
        (LFP_SITE, -1.0, False),
        (LFP_SITE, 1.0, True),
        (LFP_SITE, 59.0, True),
        (VRLA_SITE, -21.0, False),
        (VRLA_SITE, -19.0, True),
        (VRLA_SITE, 54.0, True),
        (VRLA_SITE, 56.0, False),
    ],
)
def test_charge_is_taken_inside_its_temperature_window_alone(
    spec: SiteSpec, celsius: float, takes: bool
) -> None:
    plant = Plant([replace(spec, initial_soc_frac=0.3)])
    plant.state.battery_c[:] = celsius
    plant.step(drive(), 1.0)
    assert bool(plant.state.string_a.sum() > 1.0) is takes


@pytest.mark.parametrize(("celsius", "trip"), [(-21.0, TRIP_COLD), (-19.0, TRIP_NONE), (61.0, TRIP_HOT)])
def test_the_bms_opens_outside_the_window_of_discharge_and_closes_five_degrees_inside(
    celsius: float, trip: int
) -> None:
    plant = Plant([LFP_SITE])
    plant.state.battery_c[:] = celsius
    plant.step(drive(), 1.0)
    assert (plant.state.trip == trip).all()
    assert (plant.state.closed == (trip == TRIP_NONE)).all()
    plant.state.battery_c[:] = 20.0
    plant.step(drive(), 1.0)
    assert plant.state.closed.all()


def test_the_bms_opens_over_one_c_and_over_its_voltage() -> None:
    plant = Plant([SiteSpec(site_id="s", strings=1)])
    # 100 Ah: 5 kW at 52 V are 96 A, 5.7 kW 110 A; it acts at 105 A.
    run(plant, 3, drive(load_w=5000.0, mains=False))
    assert plant.state.trip[0, 0] == TRIP_NONE
    run(plant, 1, drive(load_w=5700.0, mains=False))
    assert plant.state.trip[0, 0] == TRIP_CURRENT
    high = Plant([SiteSpec(site_id="s")])
    discharge(high, volts=58.0)
    run(high, 4, drive())
    assert (high.state.trip == TRIP_OVER_V).all()


@pytest.mark.parametrize(("spec", "at_v"), [(LFP_SITE, 43.2), (VRLA_SITE, 43.2)])
def test_a_discharge_ends_at_the_cut_off_or_the_disconnect(spec: SiteSpec, at_v: float) -> None:
    plant = Plant([replace(spec, initial_soc_frac=0.15)])
    last_v = 0.0
    for _ in range(2_000):
        plant.step(drive(mains=False), 5.0)
        if plant.state.load_w[0] == 0.0:
            break
        last_v = float(plant.state.bus_v[0])
    # LFP: the BMS at 2.70 V/cell; VRLA: the low-voltage disconnect, 1.8 V/cell, inside 1.6-1.85 of the manual.
    assert last_v == pytest.approx(at_v, abs=1.0)
    assert last_v >= at_v - 0.05
    assert bool((plant.state.trip == TRIP_UNDER_V).any()) is (spec.chemistry == "lfp")


def test_350_cycles_of_80_percent_cost_20_percent_of_a_vrla_string() -> None:
    cells = spread(np.array([1]), np.array([100.0]))
    # 200-500 cycles at 80 % DoD (Mastervolt): 350 x 2 x 80 Ah.
    assert fade_frac(cells, np.array([56_000.0]), np.array([20.0]), 0.0)[0] == pytest.approx(0.20)


def test_a_plant_ages_by_the_calendar_and_by_what_it_moves() -> None:
    plant = Plant([SiteSpec(site_id="s", initial_soc_frac=1.0)])
    plant.state.closed[:] = False
    plant.hardware.trip_forced[:] = True
    for _ in range(365):
        plant.state.battery_c[:] = 25.0
        plant.step(drive(ambient_c=19.3), 86_400.0)
    # 1.5 % a year at 25 degC; the cabinet stays within a degree of it.
    assert 1.0 - plant.state.soh_frac[0, 0] == pytest.approx(0.015, rel=0.15)
    moved = Plant([SiteSpec(site_id="s", initial_soc_frac=0.9)])
    run(moved, 3600, drive(mains=False), step_s=10.0)
    # An hour of 3 kW is about 19 Ah of each string: 0.2 / (4000 x 0.8 x 2 x 100 Ah) for each of them.
    amp_hours = (0.9 - moved.state.soc_frac[0, 0]) * 100.0
    cycle = amp_hours * 0.2 / 640_000.0
    assert 1.0 - moved.state.soh_frac[0, 0] == pytest.approx(cycle + 0.015 / 8760.0, rel=0.15)


@pytest.mark.parametrize(("spec", "share"), [(LFP_SITE, 0.02), (VRLA_SITE, 0.03)])
def test_an_open_string_loses_its_share_in_a_month(spec: SiteSpec, share: float) -> None:
    plant = Plant([spec])
    plant.hardware.trip_forced[:] = True
    plant.step(drive(), 1.0)
    before = float(plant.state.soc_frac[0, 0])
    for _ in range(720):
        plant.state.battery_c[:] = 25.0
        plant.step(drive(), 3600.0)
    assert before - plant.state.soc_frac[0, 0] == pytest.approx(share, rel=0.1)


def test_the_battery_follows_its_cabinet_with_its_own_mass() -> None:
    plant = Plant([SiteSpec(site_id="s", initial_soc_frac=1.0)])
    run(plant, 60, drive())
    cabinet_c = float(plant.state.cabinet_c[0])
    plant.state.battery_c[:] = cabinet_c - 10.0
    # 420 J/(degC Ah) over 0.06 W/(degC Ah): 7,000 s to 63 % of the way.
    for _ in range(700):
        plant.step(drive(), 10.0)
    assert plant.state.battery_c[0] == pytest.approx(cabinet_c - 10.0 * np.exp(-1.0), abs=0.25)


@pytest.mark.parametrize(
    ("load_w", "efficiency"),
    [
        (900.0, 0.1 / 0.1096),  # 10 %: 0.8 + 0.14 + 0.02 % of the rating are lost
        (4500.0, 0.5 / 0.52),  # half: 0.8 + 0.7 + 0.5 %
        (8990.0, 1.0 / 1.042),  # full: 0.8 + 1.4 + 2.0 %
    ],
)
def test_the_efficiency_curve_of_the_rectifier(load_w: float, efficiency: float) -> None:
    plant = Plant([SiteSpec(site_id="e", initial_soc_frac=1.0)])
    plant.hardware.trip_forced[:] = True
    run(plant, 30, drive(load_w=load_w))
    out_w = float(plant.state.rectifier_a[0] * plant.state.bus_v[0])
    assert out_w == pytest.approx(load_w)
    assert out_w / plant.state.rectifier_in_w[0] == pytest.approx(efficiency, abs=0.0005)


def test_a_genset_out_of_fuel_leaves_the_battery_alone() -> None:
    plant = Plant([SiteSpec(site_id="g", genset_w=10_000.0, fuel_l=0.5)])
    run(plant, 120, drive(mains=False))
    assert plant.state.genset_w[0] > 2000.0
    # 0.8 L/h and 0.28 L/kWh at some 3 to 5 kW: about 2 L/h, so half a litre lasts a quarter of an hour.
    run(plant, 1800, drive(mains=False), step_s=5.0)
    assert plant.state.fuel_l[0] == 0.0
    assert plant.state.genset_w[0] == 0.0
    assert plant.state.load_w[0] == 3000.0


@pytest.mark.parametrize(
    ("celsius", "compensates", "amps"),
    [
        (25.0, False, 0.050),  # 0.5 mA/Ah at 2.25 V/cell
        (35.0, False, 0.100),  # doubles with 10 degC
        (45.0, False, 0.200),
        (15.0, False, 0.025),
        (35.0, True, 0.050),  # 50 mV/cell less halve it again
        (15.0, True, 0.050),
        (45.0, True, 0.050 * 2.0**0.75),  # the controller goes no further than 1.5 V: 62.5 of 100 mV/cell
    ],
)
def test_a_full_vrla_string_floats_at_its_current_by_temperature(
    celsius: float, amps: float, *, compensates: bool
) -> None:
    plant = Plant([replace(VRLA_SITE, initial_soc_frac=1.0, own_compensation=compensates)])
    for _ in range(60):
        plant.state.battery_c[:] = celsius
        plant.step(drive(load_w=2000.0), 10.0)
    assert plant.state.string_a[0].tolist() == pytest.approx([amps] * 3, rel=0.02)
    assert plant.state.soc_frac[0, 0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("hold", "celsius"), [(54.0, 25.0), (54.0, 45.0)])
def test_what_a_full_string_takes_at_float_is_heat(hold: float, celsius: float) -> None:
    plant = Plant([replace(VRLA_SITE, initial_soc_frac=1.0, own_compensation=False)])
    for _ in range(360):
        plant.state.battery_c[:] = celsius
        plant.step(drive(load_w=2000.0), 10.0)
    before_wh = float(plant.state.energy.battery_loss[0])
    for _ in range(360):
        plant.state.battery_c[:] = celsius
        plant.step(drive(load_w=2000.0), 10.0)
    # Three strings at 54 V: 50 mA each make 8.1 W, four times that at 45 degC.
    expected_wh = 3.0 * hold * 0.05 * 2.0 ** ((celsius - 25.0) / 10.0)
    assert float(plant.state.energy.battery_loss[0]) - before_wh == pytest.approx(expected_wh, rel=0.02)


def test_losses_warm_the_battery_by_its_own_mass() -> None:
    plant = Plant([SiteSpec(site_id="s", initial_soc_frac=0.65)])
    plant.state.soh_frac[:] = 1.0
    run(plant, 2, drive(load_w=6000.0, mains=False))
    start_c = float(plant.state.battery_c[0])
    lost_wh = float(plant.state.energy.battery_loss[0])
    cooled_wh = 0.0
    for _ in range(600):
        plant.step(drive(load_w=6000.0, mains=False), 1.0)
        # 0.06 W/(degC Ah) of 300 Ah: 18 W for each degree above the cabinet.
        cooled_wh += 18.0 * float(plant.state.battery_c[0] - plant.state.cabinet_c[0]) / 3600.0
    lost_wh = float(plant.state.energy.battery_loss[0]) - lost_wh
    # 6,000 W are 38 A a string: 38^2 x 15 mOhm are 22 W each, 66 W in all, 11 Wh in ten minutes.
    assert lost_wh == pytest.approx(11.0, rel=0.05)
    # 420 J/(degC Ah) of 300 Ah are 35 Wh for each degree: the loss less what the cabinet took.
    rise_c = float(plant.state.battery_c[0]) - start_c
    assert rise_c == pytest.approx((lost_wh - cooled_wh) / 35.0, abs=0.01)
