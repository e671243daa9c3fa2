"""Local control within bounds: the site's own import peak stays under a limit; simulated."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from math import nan
from pathlib import Path

import pytest

from edge.gateway.acceptance import refuse_bounds
from edge.gateway.limits import Reason, Site
from edge.gateway.local import bounded_w
from edge.plan import AckVerdict, CommandKind, ControlBounds
from edge.simulator.fleet import FleetSimulation
from tests.edge.gateway.bench import LIMITS, NOON, SPEC, TEST, bench, seal
from tests.edge.gateway.test_commands import CAPABILITIES, FIELD, SAMPLE
from tests.edge.gateway.test_energy import SquareLoad

BODY = ControlBounds(min_w=-2000.0, max_w=500.0, grid_import_limit_w=2000.0)
SITE_NOW = replace(FIELD, sample=replace(SAMPLE, grid_w=2200.0))


@pytest.mark.parametrize(
    ("grid_w", "battery_w", "expected_w"),
    [
        # At float 2,400 W are imported: 400 W too much at AC are 384 W at DC.
        (2400.0, 0.0, -384.0),
        # The same site, already discharging 384 W: the same answer.
        (2000.0, -384.0, -384.0),
        # 1,000 W at float leave 1,000 W at AC, 960 W at DC: more than the bound of 500 W.
        (1000.0, 0.0, 500.0),
        (5000.0, 0.0, -2000.0),
    ],
)
def test_the_battery_takes_the_excess_over_the_import_limit(
    grid_w: float, battery_w: float, expected_w: float
) -> None:
    sample = replace(SAMPLE, grid_w=grid_w, battery_w=battery_w)
    assert bounded_w(BODY, sample, 0.96) == pytest.approx(expected_w)


def test_without_a_measured_import_nothing_is_asked() -> None:
    assert bounded_w(BODY, replace(SAMPLE, grid_w=None), 0.96) == 0.0


@pytest.mark.parametrize(
    ("body", "site", "expected"),
    [
        (BODY, SITE_NOW, None),
        (replace(BODY, grid_import_limit_w=nan), SITE_NOW, Reason.NOT_FINITE),
        (replace(BODY, min_w=-3301.0), SITE_NOW, Reason.EXPORT_NOT_DECLARED),
        (replace(BODY, min_w=1.0), SITE_NOW, Reason.EXPORT_NOT_DECLARED),
        (replace(BODY, max_w=6001.0), SITE_NOW, Reason.CHARGE_HEADROOM),
        (replace(BODY, max_w=-1.0), SITE_NOW, Reason.CHARGE_HEADROOM),
        (BODY, FIELD, Reason.STALE_FIELD_DATA),
        (BODY, replace(SITE_NOW, fault=True), Reason.DEVICE_FAULT),
        (BODY, replace(SITE_NOW, cycles_today=1.0), Reason.CYCLES_PER_DAY),
        (
            BODY,
            replace(SITE_NOW, capabilities=replace(CAPABILITIES, full_load_blocks_only=True)),
            Reason.PARTIAL_POWER_NOT_OFFERED,
        ),
        # 0.1 C at 5 degC is 1,536 W: 500 W may charge, 2,000 W may not.
        (
            replace(BODY, max_w=2000.0),
            replace(SITE_NOW, sample=replace(SAMPLE, grid_w=2200.0, battery_c=5.0)),
            Reason.C_RATE_BY_TEMPERATURE,
        ),
    ],
)
def test_bounds_are_refused_whole(body: ControlBounds, site: Site, expected: Reason | None) -> None:
    assert refuse_bounds(body, NOON, NOON + timedelta(hours=1), site, LIMITS, NOON) is expected


def test_bounds_longer_than_the_hold_are_refused() -> None:
    end = NOON + timedelta(hours=24)
    assert refuse_bounds(BODY, NOON, end, SITE_NOW, LIMITS, NOON) is None
    late = end + timedelta(microseconds=1)
    assert refuse_bounds(BODY, NOON, late, SITE_NOW, LIMITS, NOON) is Reason.HOLD_TOO_LONG


async def test_an_import_peak_is_cut_to_its_limit_on_the_plant(tmp_path: Path) -> None:
    command = replace(TEST, kind=CommandKind.BOUNDS, body=replace(BODY, max_w=0.0))
    command = replace(command, valid_until=NOON + timedelta(seconds=200))
    fleet = FleetSimulation([SPEC], seed=3, start=NOON, model=SquareLoad(seed=3))
    async with bench(tmp_path, fleet=fleet) as made:
        await made.step(count=4)
        without_w = float(fleet.plant.state.grid_w[0])
        assert without_w > 3000.0  # a load of 2,800 W behind the rectifiers, and auxiliaries
        await made.order(seal(command))
        assert made.last_ack().verdict is AckVerdict.ACCEPTED
        import_w = []
        for _ in range(80):
            await made.step()
            import_w.append(float(fleet.plant.state.grid_w[0]))
        settled = import_w[20:]
        assert sum(settled) / len(settled) == pytest.approx(2000.0, rel=0.02)
        await made.step(count=120)
        assert made.last_ack().verdict is AckVerdict.COMPLETED
        assert fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
