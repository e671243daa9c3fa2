"""The bench of a site's own rules, in a form of minutes: what is reported is what the plant did."""

from __future__ import annotations

import asyncio

import pytest

from ui.bench.local import PARTS
from ui.bench.local import _modules as modules


@pytest.mark.proof
def test_standby_saves_by_the_hour_what_a_module_loses_idle() -> None:
    figures = asyncio.run(modules(7, 1.0 / 48.0))
    saved_w = (figures["modules_loss_without_wh_per_day"] - figures["modules_loss_with_wh_per_day"]) / 24.0
    # Of six 2 kW modules two or three stay on; each off saves 16 W idle, after ten minutes of thirty.
    assert 16.0 < saved_w < 64.0
    assert figures["modules_least_spare_w"] >= 0.0


def test_every_rule_of_the_file_has_its_part() -> None:
    assert set(PARTS) == {"import_peak", "self_consumption", "modules", "phases", "compensation", "strings"}
