"""Non-critical loads in a mains outage: which go, in which order, and how they come back. Plant simulated."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace as alter

from edge.gateway.shed import SheddableLoad, Shedding, ShedRule, autonomy_h, mask_of, off_in, shed_step
from edge.simulator.faults import Fault
from telemetry.model.reading import SiteState
from tests.edge.gateway.bench import CONFIG, LIMITS, NOON, SPEC, Bench, bench
from tests.edge.gateway.test_commands import SAMPLE

RULE = ShedRule(
    loads=(
        SheddableLoad(name="capacity-layer", bit=1, below_soc_frac=0.93),
        SheddableLoad(name="wifi", bit=0, below_soc_frac=0.91),
    ),
    restore_after_s=120.0,
    restore_every_s=60.0,
    soc_margin_frac=0.01,
)
DARK = replace(SAMPLE, mains_ok=False, load_w=1000.0, pv_w=0.0, soh_frac=1.0)
MINUTE = timedelta(minutes=1)


def kinds(made: Bench) -> list[tuple[str, str]]:
    return [(e.kind, e.detail) for e in made.events() if e.kind.startswith(("load_", "shed_"))]


async def minutes(made: Bench, count: int) -> None:
    await made.step(10.0, count * 6)


async def test_loads_go_in_order_and_return_in_reverse_after_the_mains(tmp_path: Path) -> None:
    config = alter(CONFIG, shed=RULE)
    async with bench(tmp_path, config=config, spec=replace(SPEC, initial_soc_frac=0.935)) as made:
        plant = made.fleet.plant
        made.fleet.put(Fault(site=0, kind="mains_outage"))
        made.link.cut()
        offered = []
        for _ in range(60):
            await minutes(made, 1)
            offered.append(int(plant.commands.load_shed[0]))
            if offered[-1] == 3:
                break
        # Bit 1 (15 % of the load) first, then bit 0 (20 %) too: 65 % of what is offered is left.
        assert sorted(set(offered), key=offered.index) in ([0, 2, 3], [2, 3])
        assert plant.state.energy.shed[0] > 0.0
        assert plant.state.energy.unserved[0] == 0.0
        assert kinds(made) == []  # no link, nothing said yet
        made.link.mend()
        await made.step()
        assert kinds(made) == [("load_shed", "capacity-layer"), ("load_shed", "wifi")]
        assert made.states()[-1].state is SiteState.OUTAGE
        made.fleet.put(Fault(site=0, kind="mains_outage", on=False))
        await made.step(count=100)
        assert plant.commands.load_shed[0] == 3  # not before 120 s with mains
        for _ in range(60):
            await minutes(made, 1)
            if plant.commands.load_shed[0] == 0:
                break
        assert kinds(made)[2:] == [("load_restored", "wifi"), ("load_restored", "capacity-layer")]


async def test_a_short_return_of_the_mains_restores_nothing(tmp_path: Path) -> None:
    config = alter(CONFIG, shed=RULE)
    async with bench(tmp_path, config=config, spec=replace(SPEC, initial_soc_frac=0.6)) as made:
        for absent in (True, False, True):
            made.fleet.put(Fault(site=0, kind="mains_outage", on=absent))
            await made.step(count=100)
        assert made.fleet.plant.commands.load_shed[0] == 3
        assert [kind for kind, _ in kinds(made)] == ["load_shed", "load_shed"]


async def test_a_dead_gateway_leaves_no_load_off(tmp_path: Path) -> None:
    config = alter(CONFIG, shed=RULE)
    async with bench(tmp_path, config=config, spec=replace(SPEC, initial_soc_frac=0.6)) as made:
        made.fleet.put(Fault(site=0, kind="mains_outage"))
        await made.step(count=2)
        assert made.fleet.plant.commands.load_shed[0] == 3
        # Nobody asks any more: after 300 s the controller takes its own settings again.
        made.fleet.advance_to(made.clock.now() + timedelta(seconds=302))
        assert made.fleet.plant.commands.load_shed[0] == 0


async def test_a_refused_write_is_told_once_and_tried_again(tmp_path: Path) -> None:
    config = alter(CONFIG, shed=alter(RULE, loads=RULE.loads[:1]))
    async with bench(tmp_path, config=config, spec=replace(SPEC, initial_soc_frac=0.6)) as made:
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="load_shed", value=0.0))
        made.fleet.put(Fault(site=0, kind="mains_outage"))
        await made.step(count=5)
        assert [kind for kind, _ in kinds(made)] == ["shed_failed"]
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="load_shed", on=False))
        await made.step(count=2)
        assert made.fleet.plant.commands.load_shed[0] == 2


def test_hours_left_count_from_what_the_soc_may_be_wrong_by() -> None:
    # (0.55 - 0.05) x 15,360 Wh x 0.97 / 1,000 W = 7.45 h
    assert autonomy_h(replace(DARK, soc_frac=0.55), LIMITS, 0.05) == pytest.approx(7.4496)


@pytest.mark.parametrize(("soc_frac", "off"), [(0.93, 0), (0.9299, 1), (0.9099, 2), (None, 2)])
def test_a_load_goes_below_its_threshold_and_without_a_soc(soc_frac: float | None, off: int) -> None:
    after = shed_step(Shedding(), RULE, replace(DARK, soc_frac=soc_frac), LIMITS, NOON)
    assert after.off == off


@pytest.mark.parametrize(("load_w", "off"), [(1000.0, 0), (4000.0, 1)])
def test_a_load_goes_when_too_few_hours_are_left(load_w: float, off: int) -> None:
    rule = ShedRule(loads=(SheddableLoad(name="wifi", bit=0, below_autonomy_h=4.0),))
    # 0.5 x 15,360 x 0.97 = 7,450 Wh: 7.4 h at 1 kW, 1.9 h at 4 kW.
    assert shed_step(Shedding(), rule, replace(DARK, soc_frac=0.55, load_w=load_w), LIMITS, NOON).off == off


def test_a_load_whose_turn_has_not_come_stays_on() -> None:
    rule = alter(RULE, loads=tuple(reversed(RULE.loads)))
    # 0.92 is below the second's 0.93 but not below the first's 0.91.
    assert shed_step(Shedding(), rule, replace(DARK, soc_frac=0.92), LIMITS, NOON).off == 0


def test_one_load_returns_at_a_time_and_not_below_its_margin() -> None:
    lit = replace(DARK, mains_ok=True, soc_frac=0.99)
    held = Shedding(off=2, mains_since=NOON)
    first = shed_step(held, RULE, lit, LIMITS, NOON + 2 * MINUTE)
    assert first.off == 1
    assert shed_step(first, RULE, lit, LIMITS, NOON + 2.9 * MINUTE).off == 1
    assert shed_step(first, RULE, lit, LIMITS, NOON + 3 * MINUTE).off == 0
    assert shed_step(first, RULE, replace(lit, soc_frac=0.939), LIMITS, NOON + 3 * MINUTE).off == 1
    assert shed_step(held, RULE, lit, LIMITS, NOON + 1.9 * MINUTE).off == 2


def test_a_restart_takes_up_what_the_device_holds() -> None:
    assert mask_of(RULE, 1) == 2
    assert [off_in(RULE, mask) for mask in (0, 2, 3, 1)] == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("loads", "says"),
    [
        ((SheddableLoad(name="a", bit=0, below_soc_frac=0.5),) * 2, "share a bit"),
        (
            (
                SheddableLoad(name="a", bit=0, below_soc_frac=0.5),
                SheddableLoad(name="a", bit=1, below_soc_frac=0.5),
            ),
            "share a name",
        ),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(loads: tuple[SheddableLoad, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ShedRule(loads=loads)


def test_a_load_without_a_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="needs below_soc_frac or below_autonomy_h"):
        SheddableLoad(name="a", bit=0)
