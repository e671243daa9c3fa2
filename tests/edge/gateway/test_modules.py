"""Rectifier modules in standby, phases, parallel strings: by hand, then on the plant (simulated)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from math import inf
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as alter

from edge.gateway.limits import Allowed, Reason, allow, string_bound_w
from edge.gateway.local import LocalRule
from edge.gateway.modules import ModuleRule, Modules, choose, modules_step, needed
from edge.gateway.recharge import RechargeRule, recharge_w
from edge.simulator.faults import Fault
from tests.edge.gateway.bench import CONFIG, LIMITS, NOON, SPEC, bench
from tests.edge.gateway.test_commands import SAMPLE

THREE = ModuleRule(count=3, module_w=3000.0)
SIX = ModuleRule(count=6, module_w=1000.0, phases=(0, 1, 2, 0, 1, 2))
WORKS = replace(SAMPLE, rectifier_modules_ok=3, modules_off=0, load_w=2000.0)
LATER = NOON + timedelta(seconds=601)


@pytest.mark.parametrize(
    ("load_w", "charge_w", "expected"),
    [
        (2600.0, 0.0, 2),  # 2,990 W with the margin: one module, and one to spare
        (2610.0, 0.0, 3),  # 3,001.5 W
        (100.0, 0.0, 2),
        (2000.0, 1000.0, 3),  # what is charged counts
        (9000.0, 0.0, 3),  # no more than there are
    ],
)
def test_one_more_than_the_whole_load_needs_stays_on(load_w: float, charge_w: float, expected: int) -> None:
    assert needed(THREE, load_w, charge_w) == expected


@given(
    load_w=st.floats(0.0, 20_000.0),
    charge_w=st.floats(0.0, 9_000.0),
    spare=st.integers(1, 3),
    mask=st.integers(0, 63),
)
def test_with_one_module_failed_the_rest_carries_the_load(
    load_w: float, charge_w: float, spare: int, mask: int
) -> None:
    rule = alter(SIX, spare=spare)
    sample = replace(WORKS, load_w=load_w, rectifier_modules_ok=6, phase_w=(900.0, 500.0, 500.0))
    after = modules_step(Modules(mask=mask, since=NOON), rule, sample, charge_w, LATER, all_on=False)
    on = 6 - after.mask.bit_count()
    assert (on - 1) * rule.module_w >= min(load_w + charge_w, 5 * rule.module_w)


def test_a_module_goes_after_ten_minutes_and_comes_back_at_once() -> None:
    waits = modules_step(Modules(), THREE, WORKS, 0.0, NOON, all_on=False)
    assert waits == Modules(mask=0, since=NOON)
    early = modules_step(waits, THREE, WORKS, 0.0, LATER - timedelta(seconds=2), all_on=False)
    assert early.mask == 0
    gone = modules_step(waits, THREE, WORKS, 0.0, LATER, all_on=False)
    assert gone.mask.bit_count() == 1
    heavy = replace(WORKS, load_w=5000.0)
    assert modules_step(gone, THREE, heavy, 0.0, LATER, all_on=False).mask == 0


@pytest.mark.parametrize("modules_ok", [2, None])
def test_a_lost_module_an_outage_or_a_fault_wants_all_on(modules_ok: int | None) -> None:
    off = Modules(mask=0b100)
    lost = replace(WORKS, rectifier_modules_ok=modules_ok)
    assert modules_step(off, THREE, lost, 0.0, LATER, all_on=False).mask == 0
    assert modules_step(off, THREE, WORKS, 0.0, LATER, all_on=True).mask == 0


def test_the_modules_that_stay_on_even_out_the_phases() -> None:
    # All six on draw 1,200 W, 200 each; auxiliaries of 300 W hang on phase 0: 700, 400, 400.
    sample = replace(
        WORKS, load_w=1100.0, aux_ac_w=300.0, phase_w=(700.0, 400.0, 400.0), rectifier_modules_ok=6
    )
    mask = choose(SIX, sample, 3, 0)
    on = [k for k in range(6) if not mask >> k & 1]
    # Three modules of 400 W: one on phase 0 would make 700 there; none makes 300, 800, 400 or the like. So one each.
    assert sorted(SIX.phases[k] for k in on) == [0, 1, 2]
    # With 900 W of auxiliaries on phase 0 its modules go: (900, 800, 400) beats (1,300, 400, 400).
    heavy = replace(sample, aux_ac_w=900.0, phase_w=(1300.0, 400.0, 400.0))
    on = [k for k in range(6) if not choose(SIX, heavy, 3, 0) >> k & 1]
    assert sorted(SIX.phases[k] for k in on) in ([1, 1, 2], [1, 2, 2])


def test_a_spread_that_is_hardly_better_moves_no_module() -> None:
    # Modules 0, 1, 2 on, 400 W each; 50 W of auxiliaries on phase 0 make no odds.
    sample = replace(WORKS, aux_ac_w=50.0, phase_w=(450.0, 400.0, 400.0), rectifier_modules_ok=6)
    assert choose(SIX, sample, 3, 0b111000) == 0b111000


def test_phases_and_count_must_agree() -> None:
    with pytest.raises(msgspec.ValidationError, match="one entry per module"):
        msgspec.yaml.decode("{count: 3, module_w: 3000, phases: [0, 1]}", type=ModuleRule)
    with pytest.raises(msgspec.ValidationError):
        msgspec.yaml.decode("{count: 3, module_w: 3000, spare: 0}", type=ModuleRule)


MANAGED = alter(CONFIG, local=LocalRule(modules=alter(THREE, off_after_s=60.0)))


async def test_standby_saves_energy_and_an_outage_switches_every_module_on(tmp_path: Path) -> None:
    async with bench(tmp_path, config=MANAGED, spec=replace(SPEC, initial_soc_frac=1.0), keys=False) as made:
        await made.step(count=5)
        state = made.fleet.plant.state
        out_w = float(state.rectifier_a[0] * state.bus_v[0])
        assert float(state.rectifier_in_w[0]) - out_w == pytest.approx(
            72.0 + 0.014 * out_w + 0.02 * out_w**2 / 9000.0, abs=1.0
        )
        await made.step(count=70)
        assert made.fleet.plant.commands.modules_off[0].bit_count() == 1
        out_w = float(state.rectifier_a[0] * state.bus_v[0])
        assert float(state.rectifier_in_w[0]) - out_w == pytest.approx(
            48.0 + 0.014 * out_w + 0.02 * out_w**2 / 6000.0, abs=1.0
        )
        assert [e.kind for e in made.events()][-1] == "modules_off"
        made.fleet.put(Fault(site=0, kind="mains_outage"))
        await made.step(count=2)
        assert made.fleet.plant.commands.modules_off[0] == 0


async def test_a_bms_that_opens_while_modules_stand_by_drops_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path, config=MANAGED, spec=replace(SPEC, initial_soc_frac=1.0), keys=False) as made:
        await made.step(count=75)
        assert made.fleet.plant.commands.modules_off[0] != 0
        made.fleet.plant.state.bus_min_v[0] = made.fleet.plant.state.bus_v[0]
        made.fleet.put(Fault(site=0, kind="battery_trip", value=-1.0))
        await made.step(count=5)
        assert made.fleet.plant.state.bus_min_v[0] >= 44.0
        assert made.fleet.plant.state.energy.unserved[0] == 0.0
        assert made.fleet.plant.commands.modules_off[0] == 0


async def test_a_dead_gateway_leaves_no_module_in_standby(tmp_path: Path) -> None:
    async with bench(tmp_path, config=MANAGED, spec=replace(SPEC, initial_soc_frac=1.0), keys=False) as made:
        await made.step(count=75)
        assert made.fleet.plant.commands.modules_off[0] != 0
        made.fleet.advance_to(made.clock.now() + timedelta(seconds=301))
        assert made.fleet.plant.commands.modules_off[0] == 0


STRINGS = alter(LIMITS, parallel_strings=3)


@pytest.mark.parametrize(
    ("string_a", "sign", "expected_w"),
    [
        # Three of 5,120 Wh at 0.5 C: 2,560 W a string, 7,680 W in all when they share alike.
        ((10.0, 10.0, 10.0), 1, 7680.0),
        # One takes half: the total at which it reaches 2,560 W is 5,120 W.
        ((20.0, 10.0, 10.0), 1, 5120.0),
        ((30.0, 0.0, 0.0), 1, 2560.0),
        ((-20.0, -10.0, -10.0), -1, 5120.0),
        ((-20.0, -10.0, -10.0), 1, inf),  # the other way round nothing is known
        ((1.0, 1.0, 1.0), 1, inf),  # too little to tell
        ((10.0, 10.0), 1, inf),
    ],
)
def test_the_hungriest_string_sets_the_total(
    string_a: tuple[float, ...], sign: int, expected_w: float
) -> None:
    assert string_bound_w(replace(SAMPLE, string_a=string_a), STRINGS, 0.5, sign) == pytest.approx(expected_w)


def test_strings_that_share_unlike_limit_duty_and_recharge_and_are_named() -> None:
    sample = replace(SAMPLE, string_a=(60.0, 0.0, 0.0), battery_c=30.0, load_w=500.0, soc_frac=0.5)
    assert allow(4000.0, sample, STRINGS) == Allowed(power_w=2560.0, reason=Reason.STRING_SHARE)
    assert allow(4000.0, sample, LIMITS) == Allowed(power_w=4000.0, reason=None)
    eager = RechargeRule(c_rate=0.5)
    assert recharge_w(None, eager, STRINGS, sample, NOON) == pytest.approx(2560.0)
    assert recharge_w(None, eager, LIMITS, sample, NOON) > 5000.0


async def test_an_empty_string_beside_full_ones_is_not_charged_above_its_rate(tmp_path: Path) -> None:
    eager = RechargeRule(min_delay_s=0.0, max_delay_s=1.0, ramp_s=30.0, c_rate=0.35)
    worst = {}
    for name, limits in (("without", LIMITS), ("with", STRINGS)):
        folder = tmp_path / name
        folder.mkdir()
        config = alter(CONFIG, limits=alter(limits, soc_min_frac=0.05), recharge=eager)
        async with bench(folder, config=config, keys=False) as made:
            made.fleet.plant.state.soc_frac[0] = np.array([0.03, 0.99, 0.99])
            most_a = 0.0
            await made.step(count=3)  # until then the controller's own limit holds
            for _ in range(90):
                await made.step()
                most_a = max(most_a, float(made.fleet.plant.state.string_a[0].max()))
            worst[name] = most_a
    # 0.35 C of 300 Ah are 105 A, most of it into one string of 100 Ah, which may take 50 A (0.5 C at 25 degC).
    assert worst["without"] > 60.0
    assert worst["with"] <= 52.0
