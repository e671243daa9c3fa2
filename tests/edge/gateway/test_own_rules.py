"""What a site does for itself: import peak, sun, float voltage by temperature; by hand, then on the plant (simulated)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace as alter

from edge.gateway.check_devices import check_own_rules
from edge.gateway.local import (
    CompensationRule,
    Local,
    LocalAsk,
    LocalRule,
    PeakRule,
    SunRule,
    local_step,
)
from edge.gateway.modules import ModuleRule
from edge.gateway.uplink import FLEET_STOP
from edge.modbus.port import Capabilities, FieldSample
from edge.plan import AckVerdict, CommandId, CommandKind, ScheduleBody
from edge.simulator.faults import Fault
from edge.simulator.fleet import FleetSimulation
from edge.simulator.site_spec import SiteSpec
from telemetry.model.reading import SiteState
from tests.edge.gateway.bench import CONFIG, LIMITS, NOON, SPEC, TEST, StepClock, bench, seal
from tests.edge.gateway.test_commands import CAPABILITIES, SAMPLE
from tests.edge.gateway.test_energy import SquareLoad

PEAK = LocalRule(keep_soc_frac=0.5, import_peak=PeakRule(limit_w=2000.0, most_w=1500.0))
SUN = LocalRule(keep_soc_frac=0.5, self_consumption=SunRule(most_w=4000.0))
WARM = LocalRule(compensation=CompensationRule())
VRLA = replace(CAPABILITIES, float_v=54.0, max_v=55.2)
DAY = replace(SAMPLE, grid_w=2400.0, pv_w=0.0, rectifier_w=2000.0)  # a Monday


def asked(
    rule: LocalRule,
    sample: FieldSample,
    local: Local | None = None,
    *,
    now: datetime = NOON,
    caps: Capabilities = CAPABILITIES,
    may: bool = True,
) -> LocalAsk:
    return local_step(local or Local(), rule, sample, LIMITS, caps, now, may_discharge=may)


def test_an_absent_rule_asks_nothing() -> None:
    ask = asked(LocalRule(), DAY)
    assert (ask.target_w, ask.float_v, ask.most_grid_w, ask.sun_w) == (0.0, 54.4, inf, 0.0)


@pytest.mark.parametrize(
    ("grid_w", "soc_frac", "may", "expected_w"),
    [
        (2400.0, 0.9, True, -384.0),  # 400 W too much at AC are 384 W at DC
        (2050.0, 0.9, True, 0.0),  # 48 W are not worth it
        (2053.0, 0.9, True, -50.88),
        (9000.0, 0.9, True, -1500.0),
        (2400.0, 0.51, True, 0.0),  # begins 0.02 above the reserve of 0.5
        (2400.0, 0.5201, True, -384.0),
        (2400.0, 0.9, False, 0.0),
    ],
)
def test_an_import_peak_is_taken_over_down_to_the_reserve(
    grid_w: float, soc_frac: float, may: bool, expected_w: float
) -> None:
    sample = replace(DAY, grid_w=grid_w, soc_frac=soc_frac)
    assert asked(PEAK, sample, may=may).target_w == pytest.approx(expected_w)


def test_a_discharge_of_its_own_that_runs_goes_on_to_the_reserve_and_not_below() -> None:
    runs = Local(doing="import_peak")
    assert asked(PEAK, replace(DAY, soc_frac=0.501), runs).target_w == pytest.approx(-384.0)
    assert asked(PEAK, replace(DAY, soc_frac=0.5), runs).target_w == 0.0
    assert asked(PEAK, replace(DAY, soc_frac=None), runs).target_w == 0.0


def test_a_peak_is_held_for_a_minute_at_the_least_power_and_recharge_stays_under_the_limit() -> None:
    first = asked(PEAK, DAY)
    low = replace(DAY, grid_w=1500.0)
    half = asked(PEAK, low, first.local, now=NOON + timedelta(seconds=30))
    assert half.target_w == pytest.approx(-50.0)
    over = asked(PEAK, low, half.local, now=NOON + timedelta(seconds=61))
    assert over.target_w == 0.0
    assert over.most_grid_w == pytest.approx(480.0)  # 500 W at AC
    assert asked(PEAK, replace(DAY, grid_w=None)).most_grid_w == 0.0


def test_the_sun_is_kept_for_the_load_and_the_mains_charge_only_up_to_the_reserve() -> None:
    noon = replace(DAY, load_w=1500.0, pv_w=3000.0, rectifier_w=0.0, soc_frac=0.7)
    ask = asked(SUN, noon)
    # The rectifier gives nothing: the sun may have more. One ampere at 54.4 V.
    assert (ask.target_w, ask.most_grid_w, ask.sun_only) == (0.0, 0.0, True)
    assert ask.sun_w == pytest.approx(54.4)
    again = asked(SUN, noon, ask.local)
    assert again.sun_w == pytest.approx(108.8)
    # A cloud: the rectifier gives 574 W; all but 30 W are taken back: (20 A - 544 / 54.4 = 10 A).
    cloud = replace(noon, pv_w=1600.0, rectifier_w=574.0, load_w=1600.0)
    assert asked(SUN, cloud, Local(sun_a=20.0)).sun_w == pytest.approx(544.0)
    # Below the reserve the mains charge too.
    low = asked(SUN, replace(noon, soc_frac=0.49))
    assert (low.sun_only, low.most_grid_w) == (False, inf)
    evening = replace(noon, pv_w=0.0, load_w=1500.0, rectifier_w=1500.0)
    assert asked(SUN, evening).target_w == pytest.approx(-1500.0)
    assert asked(SUN, replace(evening, pv_w=400.0)).target_w == pytest.approx(-1100.0)


def test_on_the_weekday_of_the_full_charge_the_battery_is_filled_and_kept() -> None:
    sunday = NOON + timedelta(days=6)
    assert sunday.weekday() == 6
    evening = replace(DAY, soc_frac=0.7)
    ask = asked(SUN, evening, now=sunday)
    assert (ask.target_w, ask.sun_only, ask.most_grid_w) == (0.0, False, inf)


@pytest.mark.parametrize(
    ("battery_c", "expected_v"),
    [
        (25.0, 54.0),
        (35.0, 52.8),  # -5 mV x 24 cells x 10 degC
        (15.0, 55.2),  # the top of what may be written
        (45.0, 52.5),  # at most 1.5 V
        (61.0, 54.0),  # not believed
        (None, 54.0),
    ],
)
def test_the_float_voltage_follows_the_battery(battery_c: float | None, expected_v: float) -> None:
    assert asked(WARM, replace(DAY, battery_c=battery_c), caps=VRLA).float_v == pytest.approx(expected_v)


def test_a_small_change_of_temperature_writes_nothing() -> None:
    held = Local(float_v=52.8)
    assert asked(WARM, replace(DAY, battery_c=35.4), held, caps=VRLA).float_v == 52.8
    assert asked(WARM, replace(DAY, battery_c=35.5), held, caps=VRLA).float_v == pytest.approx(52.74)


@pytest.mark.parametrize(
    "document",
    [
        "import_peak: {limit_w: 2000, most_w: 1500}",  # no reserve is named
        "keep_soc_frac: 0.5\nimport_peak: {limit_w: 0, most_w: 1500}",
        "keep_soc_frac: 1.5",
        "compensation: {volts_per_c: 0.12}",
        "self_consumtion: {most_w: 100}",
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(document: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.yaml.decode(document, type=LocalRule)


async def test_a_peak_is_cut_without_a_command_and_a_command_comes_first(tmp_path: Path) -> None:
    fleet = FleetSimulation([SPEC], seed=3, start=NOON, model=SquareLoad(seed=3))
    config = alter(CONFIG, local=PEAK)
    async with bench(tmp_path, config=config, fleet=fleet) as made:
        import_w = []
        for _ in range(70):
            await made.step()
            import_w.append(float(fleet.plant.state.grid_w[0]))
        assert import_w[0] > 2700.0
        settled = import_w[25:]
        assert sum(settled) / len(settled) == pytest.approx(2000.0, rel=0.03)
        assert [e.detail for e in made.events() if e.kind == "local"] == ["import_peak"]
        body = ScheduleBody(start=NOON, step_s=900, setpoint_w=(-400.0,))
        await made.order(
            seal(replace(TEST, kind=CommandKind.SCHEDULE, body=body, accept_by=NOON + timedelta(hours=1)))
        )
        assert made.last_ack().verdict is AckVerdict.ACCEPTED
        await made.step(count=25)
        assert made.trace[-1][1] == pytest.approx(-400.0, abs=120.0)


async def test_surplus_sun_fills_the_battery_and_takes_nothing_from_the_mains(tmp_path: Path) -> None:
    june = datetime(2026, 6, 15, 10, 0, tzinfo=UTC)  # a Monday
    spec = SiteSpec(site_id="cbs-0001", peak_load_w=1200.0, pv_rated_w=6000.0, initial_soc_frac=0.6)
    clock = StepClock(june)
    config = alter(CONFIG, local=SUN)
    async with bench(tmp_path, config=config, spec=spec, clock=clock, keys=False) as made:
        await made.step(count=120)
        state, energy = made.fleet.plant.state, made.fleet.plant.state.energy
        before_wh, rectifier_w = float(energy.battery[0]), []
        for _ in range(120):
            await made.step()
            rectifier_w.append(float(state.rectifier_a[0] * state.bus_v[0]))
        # What the model's sun gives beyond the load, within what the probing leaves unused.
        surplus_wh = (
            (float(made.fleet._drive(1.0, june.timestamp()).pv_w[0]) - float(state.load_w[0]))
            * 120.0
            / 3600.0
        )
        stored_wh = float(energy.battery[0]) - before_wh
        assert 0.85 * surplus_wh < stored_wh <= 1.1 * surplus_wh
        assert sum(rectifier_w) / len(rectifier_w) < 80.0


async def test_a_controller_without_compensation_gets_its_float_voltage_and_keeps_it(tmp_path: Path) -> None:
    spec = SiteSpec(site_id="cbs-0001", chemistry="vrla", own_compensation=False, initial_soc_frac=0.99)
    config = alter(CONFIG, local=WARM)
    async with bench(tmp_path, config=config, spec=spec, keys=False) as made:
        made.fleet.sensors.stuck[0, "battery_c"] = 35.0
        await made.step(count=60)  # past the revert time of 45 s
        assert made.fleet.plant.state.bus_v[0] == pytest.approx(52.8, abs=0.011)
        made.fleet.advance_to(made.clock.now() + timedelta(seconds=60))  # a dead gateway
        assert made.fleet.plant.state.bus_v[0] == pytest.approx(54.0, abs=0.011)


async def test_a_fleet_stop_an_outage_and_a_lock_end_what_the_site_does_for_itself(tmp_path: Path) -> None:
    stop = replace(TEST, kind=CommandKind.STOP, site_id=None, command_id=CommandId("f-1"))
    clear = replace(stop, kind=CommandKind.CLEAR, command_id=CommandId("f-2"), sequence=2)
    clear = replace(clear, accept_by=NOON + timedelta(hours=1), valid_until=NOON + timedelta(hours=1))
    async with bench(tmp_path, config=alter(CONFIG, local=SUN), spec=SPEC) as made:
        await made.step(count=30)
        assert made.trace[-1][1] < -1500.0  # no sun: the battery feeds the load, down to the reserve
        assert made.states()[-1].state is SiteState.FLOAT
        await made.order(seal(stop), FLEET_STOP)
        await made.step(count=3)
        assert made.trace[-1][1] >= -1.0
        await made.order(seal(clear), FLEET_STOP)
        await made.step(count=30)
        assert made.trace[-1][1] < -1500.0
        made.fleet.put(Fault(site=0, kind="mains_outage"))
        await made.step(count=2)
        assert made.core.condition.in_outage
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        made.fleet.put(Fault(site=0, kind="mains_outage", on=False))
        await made.step(count=30)
        # After an outage the battery is filled first; nothing of its own is discharged meanwhile.
        assert made.trace[-1][1] >= -1.0


async def test_a_day_of_cycles_that_is_used_up_ends_discharge_of_its_own(tmp_path: Path) -> None:
    limits = alter(CONFIG.limits, max_cycles_per_day=0.001)  # 15.36 Wh: half a minute at 2 kW
    async with bench(tmp_path, config=alter(CONFIG, local=SUN, limits=limits), spec=SPEC, keys=False) as made:
        await made.step(count=90)
        assert made.trace[-1][1] >= -1.0
        given_wh = sum(-w for _, w, _, _ in made.trace if w < 0.0) / 3600.0
        assert given_wh == pytest.approx(15.4, abs=1.5)


def test_the_check_names_what_a_rule_lacks() -> None:
    every = LocalRule(
        keep_soc_frac=0.5,
        import_peak=PEAK.import_peak,
        self_consumption=SUN.self_consumption,
        modules=ModuleRule(count=3, module_w=3000.0, phases=(0, 1, 2)),
    )
    site = alter(CONFIG, local=every, limits=alter(LIMITS, parallel_strings=3))
    bare = replace(SAMPLE, grid_w=None, pv_w=None, rectifier_w=None)
    assert [f.found.split(":")[0] for f in check_own_rules(site, bare)] == [
        "import_peak",
        "self_consumption",
        "self_consumption",
        "modules",
        "local.modules.phases",
        "limits.parallel_strings",
    ]
    assert check_own_rules(site, bare)[4].fix.endswith("or remove site.local.modules.phases")
    whole = replace(DAY, modules_off=0, phase_w=(1.0, 1.0, 1.0), string_a=(0.0, 0.0, 0.0))
    assert check_own_rules(site, whole) == []
    assert check_own_rules(CONFIG, bare) == []
