"""A simulated controller's map, read in any span."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edge.modbus.profile import load_profile
from edge.simulator.fleet import FleetSimulation
from edge.simulator.registers import IllegalAddressError
from edge.simulator.site_spec import SiteSpec

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def test_every_span_shows_the_words_of_the_whole_map_at_its_place() -> None:
    fleet = FleetSimulation([SiteSpec(site_id="s")], seed=1, start=START)
    controller = fleet.devices[0].rectifier
    first, count = controller.first_and_count()
    whole = controller.read(first, count)
    # Points of two registers begin before some of these spans and end behind others.
    for start in range(count):
        for size in (1, 2, 3, 5):
            if start + size <= count:
                assert controller.read(first + start, size) == whole[start : start + size]
    place = load_profile("example_fine").points["bus_v"].address - first
    assert whole[place] == round(100.0 * fleet.sensors.values["bus_v"][0])
    with pytest.raises(IllegalAddressError):
        controller.read(first - 1, 2)


def test_a_span_asked_for_again_shows_what_has_changed() -> None:
    fleet = FleetSimulation([SiteSpec(site_id="s")], seed=1, start=START)
    controller = fleet.devices[0].rectifier
    address = load_profile("example_fine").points["bus_v"].address
    controller.read(address, 1)
    controller.wrong["bus_v"] = 48.0
    assert controller.read(address, 1) == [4800]
