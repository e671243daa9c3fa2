from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from telemetry.batching import to_batch
from telemetry.ingest_store import Batch
from telemetry.model.reading import Reading
from telemetry.model.site import SiteId
from telemetry.spill import Message
from telemetry.watch import STUCK_AFTER, Watch
from telemetry.wire import encode, telemetry_message
from tests.telemetry.examples import NOW, READING


def _message(*readings: Reading) -> Message:
    first = readings[0]
    payload = encode(telemetry_message(readings))
    return Message(topic=f"cbs/v1/{first.site_id}/telemetry", payload=payload, arrived_at=readings[-1].at)


def _series(*changes: Mapping[str, float], site_id: str = "cbs-0001") -> list[Reading]:
    return [
        replace(READING, site_id=SiteId(site_id), sequence=k + 1, at=NOW + timedelta(seconds=10 * k), **each)  # type: ignore[arg-type]
        for k, each in enumerate(changes)
    ]


def _doubts(batch: Batch) -> dict[int, set[str]]:
    return {each.sequence: set(each.quality) for each in batch.readings}


def _watched(readings: list[Reading], together: int) -> dict[int, set[str]]:
    """Send readings in messages of some, a batch each."""
    watch, found = Watch(), dict[int, set[str]]()
    for first in range(0, len(readings), together):
        found |= _doubts(to_batch([_message(*readings[first : first + together])], watch))
        watch.accept()
    return found


@pytest.mark.parametrize("together", [1, 4, 20])
def test_a_spike_is_suspect_and_neither_the_way_back_nor_a_steady_step_is(together: int) -> None:
    heat = [25.0, 25.0, 25.5, 40.0, 25.5, 25.5, 45.0, 45.0, 45.0]
    found = _watched(_series(*({"battery_c": c} for c in heat)), together)
    # 40 is 15 degrees from 25.0 and 25.5; 45 comes as a step and is believed from its second reading on.
    assert found == {4: {"battery_c"}, 7: {"battery_c"}}


@pytest.mark.parametrize("together", [1, 5, 20])
def test_a_load_that_stays_while_the_balance_moves_is_stuck_from_the_twelfth_reading(together: int) -> None:
    # By 25 W a reading the range over twelve is 11 x 25 = 275 W, below the tolerance of 150 + 0.08 x 2,000 = 310 W.
    slower = _series(*({"rectifier_w": 2016.0 + 25 * k, "grid_w": 2160.0 + 26 * k} for k in range(15)))
    assert not any("load_w" in names for names in _watched(slower, together).values())
    faster = _series(*({"rectifier_w": 1866.0 + 30 * k, "grid_w": 2010.0 + 30 * k} for k in range(15)))
    found = _watched(faster, together)
    # By 30 W it is 330 W: the twelfth reading and each after it.
    assert {number for number, names in found.items() if "load_w" in names} == {12, 13, 14, 15}
    assert STUCK_AFTER == 12


def test_a_rectifier_at_its_limit_is_not_stuck() -> None:
    # The battery gives what the load takes beyond 2,016 W: the balance holds.
    series = _series(
        *(
            {"load_w": 2000.0 + 50 * k, "battery_w": 16.0 - 50.0 * k, "battery_a": (16.0 - 50.0 * k) / 54.4}
            for k in range(15)
        )
    )
    assert _watched(series, 5) == {}


def _discharge(count: int, **fixed: float) -> list[Reading]:
    """6 kW out of the battery, a reading every five minutes: 500 Wh each; every slow value moves but the fixed ones."""
    series = []
    for k in range(count):
        values: dict[str, Any] = {
            "soc_frac": 0.9 - 0.01 * k, "battery_c": 25.0 + 0.1 * k, "bus_v": 50.0 - 0.01 * k,
            "load_w": 6000.0, "rectifier_w": 0.0, "grid_w": 60.0, "battery_w": -6000.0,
        }  # fmt: skip
        values |= fixed
        values["battery_a"] = values["battery_w"] / values["bus_v"]
        series.append(replace(READING, sequence=k + 1, at=NOW + timedelta(minutes=5 * k), **values))
    return series


@pytest.mark.parametrize("together", [1, 5, 20])
@pytest.mark.parametrize(
    ("fixed", "first"),
    [
        ({}, None),
        ({"soc_frac": 0.5}, 8),  # 3 kWh are passed with the seventh step
        ({"bus_v": 50.0}, 8),
        ({"battery_c": 25.0}, 12),  # 5 kWh with the eleventh
    ],
)
def test_a_value_that_stands_still_while_kilowatt_hours_leave_is_stuck(
    together: int, fixed: dict[str, float], first: int | None
) -> None:
    found = _watched(_discharge(14, **fixed), together)
    assert found == ({} if first is None else {number: set(fixed) for number in range(first, 15)})


def test_a_change_begins_the_count_anew_and_a_full_battery_may_stay_full() -> None:
    series = [replace(each, soc_frac=0.5 if k < 5 else 0.4) for k, each in enumerate(_discharge(14))]
    # Readings 6 to 14 say 0.4: seven steps after the sixth is the thirteenth.
    assert _watched(series, 4) == {13: {"soc_frac"}, 14: {"soc_frac"}}
    charging = [
        replace(each, soc_frac=1.0, battery_w=6000.0, battery_a=6000.0 / (each.bus_v or 1.0), rectifier_w=12_000.0, grid_w=12_560.0)
        for each in _discharge(14)
    ]  # fmt: skip
    assert _watched(charging, 4) == {}


def test_a_long_pause_says_nothing_of_what_the_battery_did() -> None:
    series = [
        replace(each, at=NOW + timedelta(minutes=16 * k))
        for k, each in enumerate(_discharge(14, soc_frac=0.5))
    ]
    assert _watched(series, 4) == {}


def test_a_batch_that_comes_again_is_judged_as_the_first_time() -> None:
    watch = Watch()
    readings = _series(*[{}] * 7)
    to_batch([_message(*readings[:2])], watch)
    watch.accept()
    after_a_gap = _message(*readings[5:])
    for _ in range(2):  # not accepted: the database was away
        assert _doubts(to_batch([after_a_gap], watch)) == {6: {"sequence"}}
    watch.accept()
    assert _doubts(to_batch([after_a_gap], watch)) == {6: {"sequence"}, 7: {"sequence"}}  # duplicates now


def test_one_of_several_workers_takes_missing_numbers_for_no_gap() -> None:
    watch = Watch(sole=False)
    for first in (1, 50):
        batch = to_batch([_message(*(replace(each, sequence=first) for each in _series({})))], watch)
        watch.accept()
        assert batch.readings == []


def test_sites_do_not_mix() -> None:
    watch = Watch()
    hot = [_message(each) for each in _series({"battery_c": 45.0}, {"battery_c": 45.0}, site_id="cbs-0002")]
    cold = [_message(each) for each in _series({"battery_c": 5.0}, {"battery_c": 5.0})]
    batch = to_batch([hot[0], cold[0], hot[1], cold[1]], watch)
    assert (len(batch.rows), batch.readings) == (4, [])
