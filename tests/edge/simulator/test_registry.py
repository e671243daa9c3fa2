from datetime import UTC, datetime, timedelta

import pytest

from edge.simulator.fleet import FleetSimulation
from edge.simulator.history import feeder_messages, site_messages
from edge.simulator.load import LoadModel
from edge.simulator.registry import FEEDERS, feeder_of, simulated_fleet
from telemetry.decode import decode_message
from telemetry.model.battery import Chemistry
from telemetry.model.reading import Reading
from telemetry.model.site import SiteMode
from telemetry.quality import goodness
from telemetry.wire import encode

EPOCH = datetime(2026, 11, 24, 17, 12, tzinfo=UTC)


def test_the_same_seed_makes_the_same_fleet_and_another_another() -> None:
    one = simulated_fleet(24, seed=7, epoch=EPOCH)
    assert one == simulated_fleet(24, seed=7, epoch=EPOCH)
    assert one.sites != simulated_fleet(24, seed=8, epoch=EPOCH).sites


def test_every_feeder_has_its_sites_and_two_are_short() -> None:
    fleet = simulated_fleet(24, seed=7, epoch=EPOCH)
    assert len(fleet.sites) == 24
    assert len(fleet.feeders) == FEEDERS
    assert {site.feeder_id for site in fleet.sites.values()} == set(fleet.feeders)
    assert [feeder_of(index, 24) for index in (0, 5, 6, 23)] == [0, 0, 1, 3]
    assert [feeder_of(index, 8) for index in (0, 1, 4, 7)] == [0, 1, 0, 3]
    assert len(fleet.critical_sites) == 2


def test_everything_is_marked_simulated_and_some_sites_are_there_to_be_refused() -> None:
    sites = simulated_fleet(24, seed=7, epoch=EPOCH).sites
    assert all(site.simulated for site in sites.values())
    assert [name for name, site in sites.items() if site.mode is SiteMode.SHADOW] == ["cbs-0024"]
    vrla = [name for name, site in sites.items() if site.battery.chemistry is Chemistry.VRLA]
    assert vrla == ["cbs-0011", "cbs-0023"]
    assert all(sites[name].battery.max_cycles_per_day == 0.0 for name in vrla)
    tested = sites["cbs-0018"].battery.capacity_tested_at  # type: ignore[index]
    assert tested == EPOCH - timedelta(days=500)


def test_registry_and_hardware_agree() -> None:
    fleet = simulated_fleet(12, seed=3, epoch=EPOCH)
    for spec, site in zip(fleet.specs, fleet.sites.values(), strict=True):
        assert site.site_id == spec.site_id
        assert site.battery.rated_wh == spec.rated_wh
        # One module may fail and the shelf still carries the load and a 0.2 C charge.
        assert site.rectifiers.secure_w >= spec.peak_load_w + 0.2 * spec.rated_wh
        assert site.bus.backstop_v < site.bus.float_v == spec.float_v


def test_a_fleet_smaller_than_its_feeders_is_refused() -> None:
    with pytest.raises(ValueError, match="3 sites cannot fill 4 feeders"):
        simulated_fleet(3, seed=7, epoch=EPOCH)


def test_the_past_is_telemetry_that_ingest_takes_without_a_doubt() -> None:
    fleet = simulated_fleet(4, seed=7, epoch=EPOCH)
    start = datetime(2026, 11, 22, tzinfo=UTC)
    simulation = FleetSimulation(fleet.specs, seed=7, start=start)
    readings: list[Reading] = []
    for message in site_messages(simulation, start + timedelta(days=2)):
        decoded = decode_message(f"cbs/v1/{message.site_id}/telemetry", encode(message, compress=True), EPOCH)
        assert isinstance(decoded, tuple)
        readings += [each for each in decoded if isinstance(each, Reading)]
    mine = [reading for reading in readings if reading.site_id == "cbs-0001"]
    assert len(readings) == 4 * 576
    assert [reading.sequence for reading in mine] == list(range(1, 577))
    assert mine[-1].at == start + timedelta(days=2)
    assert min(goodness(reading) for reading in readings) == 1.0


def test_feeder_meters_tell_the_background_of_each_feeder() -> None:
    fleet = simulated_fleet(24, seed=7, epoch=EPOCH)
    instants = [EPOCH + k * timedelta(minutes=5) for k in range(300)]
    messages = list(feeder_messages(fleet, LoadModel(seed=7), instants))
    assert [(message.feeder_id, len(message.samples)) for message in messages[:2]] == [
        ("feeder-1", 288),
        ("feeder-1", 12),
    ]
    # Six sites of 200 kW background each: around 1.2 MW at the evening peak, a weekday.
    peak_w = max(sample.background_w for message in messages[:2] for sample in message.samples)
    assert 1.0e6 < peak_w < 1.4e6
