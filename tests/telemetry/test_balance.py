"""Fields that contradict each other are suspect. READING: 2,160 W grid - 60 W aux -> 2,016 W DC = 2,000 W load + 16 W."""

from dataclasses import replace
from typing import Any

import pytest

from telemetry.model.reading import Verdict
from telemetry.quality import judge
from tests.telemetry.examples import NOW, READING

OUTAGE: dict[str, Any] = {
    "mains_ok": False, "grid_v": 0.0, "grid_w": 0.0, "aux_ac_w": 0.0, "rectifier_w": 0.0, "load_w": 2000.0,
    "battery_w": -2000.0, "battery_a": -40.0, "bus_v": 50.0,
}  # fmt: skip
ON_GENSET = OUTAGE | {
    "genset_w": 2160.0, "aux_ac_w": 60.0, "rectifier_w": 2016.0, "battery_w": 16.0, "battery_a": 0.3, "bus_v": 54.4
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        OUTAGE,
        ON_GENSET,
        # Discharge: rectifier off though mains are there; 2,000 W out of the battery at 50 V are 40 A.
        {"grid_w": 60.0, "rectifier_w": 0.0, "battery_w": -2000.0, "battery_a": -40.0, "bus_v": 50.0},
        # Export: the inverter takes 3,555 - 2,440 = 1,115 W and gives 0.95 of it, 1,059 W; 59 W of auxiliaries, 931 to the grid.
        {
            "grid_w": -931.0,
            "aux_ac_w": 59.0,
            "rectifier_w": 0.0,
            "load_w": 2440.0,
            "battery_w": -3555.0,
            "battery_a": -67.0,
            "bus_v": 53.0,
        },
        # PV carries 1,500 of 2,016 W: 516 W / 0.96 + 60 W from the grid.
        {"pv_w": 1500.0, "rectifier_w": 516.0, "grid_w": 597.5},
        {"meter_battery_w": 318.0},  # 302 W beside 16 W: below twice 150 + 8 % of 16, which is 302.56
        {"mains_ok": None, "grid_w": 0.0},
        {"load_w": None, "grid_w": 2160.0},
        {"mains_ok": False, "grid_w": None, "genset_w": None},  # who carries the rectifier is not known
        OUTAGE | {"bus_v": 0.0, "load_w": 0.0, "battery_w": 0.0, "battery_a": 0.0},
    ],
)
def test_what_a_healthy_site_can_say_is_good(changes: dict[str, Any]) -> None:
    assert judge(replace(READING, **changes), NOW).quality == {}


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({"battery_w": 500.0, "battery_a": 9.2}, "rectifier_w", "DC balance misses -484 W"),
        ({"pv_w": 900.0}, "rectifier_w", "DC balance misses 900 W"),
        ({"grid_w": 4000.0}, "grid_w", "AC balance: 3940 W in for 2016 W DC"),
        ({"grid_w": 2.16}, "grid_w", "AC balance: -58 W in for 2016 W DC"),  # kW for W
        # 800 W too much from the rectifier's meter might be an inverter, but nothing leaves the site.
        ({"rectifier_w": 2816.0}, "rectifier_w", "DC balance misses 800 W"),
        # Out of the site go 2,000 W more than the battery gives.
        (
            {"grid_w": -3000.0, "rectifier_w": 0.0, "battery_w": -3000.0, "battery_a": -55.1},
            "rectifier_w",
            "DC balance misses 1000 W",
        ),
        ({"aux_ac_w": 1900.0}, "grid_w", "AC balance: 260 W in for 2016 W DC"),
        (ON_GENSET | {"genset_w": 0.0}, "genset_w", "AC balance: -60 W in for 2016 W DC"),
        (ON_GENSET | {"genset_w": 9000.0}, "genset_w", "AC balance: 8940 W in for 2016 W DC"),
        (OUTAGE | {"grid_w": 2000.0}, "grid_w", "2000 W from the grid while the mains are absent"),
        ({"battery_a": 290.0}, "battery_a", "V x A is 15776 W where the battery says 16 W"),  # mA for A
        (
            {"battery_w": -2000.0, "battery_a": 36.8, "grid_w": 60.0, "rectifier_w": 0.0},
            "battery_a",
            "V x A is 2002 W where the battery says -2000 W",  # a shunt wired the wrong way round
        ),
        ({"meter_battery_w": 400.0}, "meter_battery_w", "the meter says 400 W, the battery 16 W"),
        ({"bus_v": 5.44}, "bus_v", "no load of 2000 W runs at 5.4 V"),
        ({"grid_v": 0.23}, "grid_v", "unit slip, kV for V"),
        ({"grid_v": 12.0}, "grid_v", "12 V while the mains are there"),
        # Everything in kW adds up; a load of 2 W gives it away.
        (
            {"load_w": 2.0, "rectifier_w": 2.016, "grid_w": 2.16, "aux_ac_w": 0.06, "battery_w": 0.016},
            "load_w",
            "unit slip, kW for W",
        ),
    ],
)
def test_what_cannot_be_is_suspect_and_says_why(changes: dict[str, Any], name: str, reason: str) -> None:
    quality = judge(replace(READING, **changes), NOW).quality
    assert (quality[name].verdict, quality[name].reason) == (Verdict.SUSPECT, reason)


def test_the_tolerance_holds_from_both_sides() -> None:
    # DC: 150 + 8 % of 2,016 W = 311.28 W; the example is balanced.
    def of(battery_w: float) -> set[str]:
        return set(judge(replace(READING, battery_w=battery_w, battery_a=battery_w / 54.4), NOW).quality)

    assert of(16.0 + 311.2) == of(16.0 - 311.2) == set()
    assert of(16.0 + 311.4) == of(16.0 - 311.4) == {"rectifier_w"}
