"""The bench of a site's own rules, in a form of minutes: what is reported is what the plant did."""

from __future__ import annotations

import asyncio

import pytest

from ui.bench.local import PARTS, Log
from ui.bench.local import _modules as modules
from ui.bench.local import _strings as strings


@pytest.mark.proof
def test_standby_saves_by_the_hour_what_a_module_loses_idle() -> None:
    figures = asyncio.run(modules(7, 1.0 / 48.0))
    saved_w = (figures["modules_loss_without_wh_per_day"] - figures["modules_loss_with_wh_per_day"]) / 24.0
    # Of six 2 kW modules two or three stay on; each off saves 16 W idle, after ten minutes of thirty.
    assert 16.0 < saved_w < 64.0
    assert figures["modules_least_spare_w"] >= 0.0


def test_every_rule_of_the_file_has_its_part() -> None:
    assert set(PARTS) == {"import_peak", "self_consumption", "modules", "phases", "compensation", "strings"}


def test_strings_are_compared_where_they_hold_as_much() -> None:
    # 1.9, 2.2 and 2.7 strings' worth held; at 2.0 or more for the first time they differ by 0.7.
    log = Log(strings_soc_frac=[(0.0, 0.95, 0.95), (0.3, 0.9, 1.0), (0.8, 0.9, 1.0)])
    assert log.spread_frac(2.0) == pytest.approx(0.7)
    assert log.spread_frac(2.7) == pytest.approx(0.2)


def test_the_rule_of_parallel_strings_bounds_the_current_and_unbalances_nothing() -> None:
    figures = asyncio.run(strings(7, 0.1))
    # 0.5 C is what a string may carry; the controller's step and the meter's noise come on top.
    assert (
        figures["strings_hottest_with_c_rate_ratio"] < 0.53 < figures["strings_hottest_without_c_rate_ratio"]
    )
    # A quarter of an hour at 0.2 C less is 0.05 of a string behind; with as much charged, nothing.
    assert (
        figures["strings_spread_after_as_long_with_frac"]
        > figures["strings_spread_after_as_long_without_frac"] + 0.02
    )
    assert figures["strings_spread_added_frac"] == pytest.approx(0.0, abs=0.02)
