"""What is written to the cabinet, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge.gateway.cabinet import Cabinet
from edge.gateway.control import start_loop
from edge.modbus.port import WriteRefusedError
from tests.edge.gateway.bench import LIMITS, NOON, Bench, bench

SECOND = timedelta(seconds=1)


def writes(made: Bench) -> int:
    return len(made.fleet.devices[0].writes)


async def test_writes_come_on_change_and_to_refresh_the_revert_timer(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        cabinet = Cabinet(made.port, timedelta(seconds=45))
        loop = replace(start_loop(made.port.capabilities, LIMITS), volts=53.5, want_v=53.5)
        assert await cabinet.apply(loop, NOON, SECOND) == pytest.approx(53.5)
        assert made.fleet.plant.commands.revert_s[0] == pytest.approx(45.0)
        before = writes(made)
        assert await cabinet.apply(loop, NOON + 14 * SECOND, SECOND) is None
        assert writes(made) == before
        # A third of 45 s: the timer is armed anew though nothing changed.
        assert await cabinet.apply(loop, NOON + 15 * SECOND, SECOND) == pytest.approx(53.5)
        assert writes(made) > before


async def test_a_voltage_moves_under_the_timer_that_runs_and_arms_one_that_does_not(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        cabinet, revert_s = Cabinet(made.port, timedelta(seconds=45)), made.fleet.plant.commands.revert_s
        loop = replace(start_loop(made.port.capabilities, LIMITS), volts=53.5, want_v=53.5)
        await cabinet.apply(loop, NOON, SECOND)
        revert_s[0] = 31.0  # 14 s have passed
        assert await cabinet.apply(replace(loop, volts=53.4), NOON + 14 * SECOND, SECOND) == pytest.approx(
            53.4
        )
        assert revert_s[0] == pytest.approx(31.0)
        revert_s[0] = 0.0  # the controller was restarted and forgot it
        assert await cabinet.apply(replace(loop, volts=53.3), NOON + 14 * SECOND, SECOND) == pytest.approx(
            53.3
        )
        assert revert_s[0] == pytest.approx(45.0)


async def test_a_stretched_period_stretches_the_revert_timer(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        cabinet = Cabinet(made.port, timedelta(seconds=45))
        loop = replace(start_loop(made.port.capabilities, LIMITS), volts=53.5, want_v=53.5)
        await cabinet.apply(loop, NOON, 6 * SECOND)
        assert made.fleet.plant.commands.revert_s[0] == pytest.approx(60.0)


async def test_at_float_nothing_is_refreshed(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        cabinet = Cabinet(made.port, timedelta(seconds=45))
        loop = start_loop(made.port.capabilities, LIMITS)
        await cabinet.apply(loop, NOON, SECOND)
        before = writes(made)
        for n in range(1, 50):
            await cabinet.apply(loop, NOON + n * SECOND, SECOND)
        assert writes(made) == before


async def test_after_a_long_absence_everything_is_written_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        cabinet = Cabinet(made.port, timedelta(seconds=45))
        loop = start_loop(made.port.capabilities, LIMITS)
        await cabinet.apply(loop, NOON, SECOND)
        made.fleet.plant.commands.charge_limit_a[0] = 90.0  # the device went back to its own limit
        await cabinet.apply(loop, NOON + 59 * SECOND, SECOND)
        assert made.fleet.plant.commands.charge_limit_a[0] == 90.0
        await cabinet.apply(loop, NOON + 119 * SECOND, SECOND)
        assert made.fleet.plant.commands.charge_limit_a[0] == 0.0


async def test_a_voltage_under_the_backstop_is_never_written(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        cabinet = Cabinet(made.port, timedelta(seconds=45))
        loop = replace(start_loop(made.port.capabilities, LIMITS), volts=46.9, want_v=46.9)
        with pytest.raises(WriteRefusedError):
            await cabinet.apply(loop, NOON, SECOND)
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
