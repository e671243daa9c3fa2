from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from edge.modbus.port import WriteRefusedError
from edge.modbus.profile import SIGNED, SWITCH, ProfileError, load_profile, parse_profile
from edge.modbus.writable import WRITABLE, check_writable

GOOD = """
profile: small
version: 1
note: for tests
voltage_step_v: 0.01
full_load_blocks_only: false
limits_revert: false
points:
  bus_v: {address: 10, type: uint16, scale: 0.01, unit: V}
  battery_a: {address: 11, type: int16, scale: 0.1, unit: A, sign: -1}
  rectifier_set_v: {address: 20, type: uint16, scale: 0.01, unit: V, access: rw, min: 44, max: 56}
sign_tests:
  - {point: battery_a, registers: [100], value: -10.0}
"""
SHIPPED = sorted(
    p.name[:-5] for p in files("edge.modbus").joinpath("profiles").iterdir() if p.name.endswith(".yaml")
)


def test_the_good_example_is_read() -> None:
    profile = parse_profile(GOOD)
    assert profile.points["battery_a"].decode([100]) == -10.0
    assert profile.points["battery_a"].encode(-10.0) == [100]
    assert profile.points["rectifier_set_v"].encode(47.5) == [4750]
    assert not profile.can_revert  # it has no timer


def test_a_limit_that_outlives_the_gateway_makes_the_device_monitored_only() -> None:
    text = files("edge.modbus").joinpath("profiles/example_fine.yaml").read_text(encoding="utf-8")
    assert parse_profile(text).can_revert
    assert not parse_profile(text.replace("limits_revert: true", "limits_revert: false")).can_revert


CONTROLLERS = [name for name in SHIPPED if name != "example_switch"]


def test_two_controllers_and_a_switch_are_shipped() -> None:
    assert SHIPPED == ["example_coarse", "example_fine", "example_switch"]
    assert set(load_profile("example_switch").points) == set(SWITCH)
    assert not any(point.writable for point in load_profile("example_switch").points.values())


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_shipped_profile_reverts_and_proves_the_sign_of_every_signed_point(name: str) -> None:
    profile = load_profile(name)
    assert profile.can_revert
    text = files("edge.modbus").joinpath(f"profiles/{name}.yaml").read_text(encoding="utf-8")
    for signed in SIGNED & set(profile.points):
        assert f"{{point: {signed}, registers:" in text
    # Turned round, a sign test must fail: this is what it is for.
    turned = (
        text.replace("sign: -1", "sign: 1")
        if "sign: -1" in text
        else text.replace("unit: A}", "unit: A, sign: -1}")
    )
    with pytest.raises(ProfileError, match="sign test"):
        parse_profile(turned)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("address: 11,", "address: 10,", r"battery_a overlaps bus_v|bus_v overlaps battery_a"),
        ("type: int16, scale: 0.1", "type: int32, scale: 0.1", "needs 2 registers"),
        ("version: 1", "version: 1\ncolour: red", "unknown field"),
        ("unit: V, access: rw, min: 44", "unit: V, acces: rw, min: 44", "unknown field"),
        ("min: 44, max: 56", "min: 56, max: 44", "range"),
        ("min: 44, max: 56", "min: 30, max: 56", "not inside"),
        ("min: 44, max: 56", "min: 44, max: 60", "not inside"),
        ("min: 44, max: 56", "min: 44", "needs min and max"),
        ("scale: 0.01, unit: V, access", "scale: 0.0001, unit: V, access", "does not fit uint16"),
        ("scale: 0.01, unit: V, access", "scale: 0.5, unit: V, access", "coarser"),
        ("scale: 0.01, unit: V}", "scale: -0.01, unit: V}", "scale must be above 0"),
        ("scale: 0.01, unit: V}", "scale: .nan, unit: V}", "scale must be above 0"),
        ("unit: V}", "unit: kV}", "unit is V"),
        ("unit: V}", "unit: V, access: rw, min: 1, max: 2}", "bus_v: is never written"),
        ("bus_v: {", "colour: {", "no such point"),
        ("address: 20,", "address: 65536,", "address outside"),
        (
            "sign_tests:\n  - {point: battery_a, registers: [100], value: -10.0}",
            "sign_tests: []",
            "no sign test",
        ),
        ("value: -10.0", "value: 10.0", "reads -10"),
        ("type: uint16, scale: 0.01, unit: V}", "type: uint8, scale: 0.01, unit: V}", "Invalid enum"),
    ],
)
def test_a_broken_rule_is_named(old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(ProfileError, match=says):
        parse_profile(GOOD.replace(old, new))


@pytest.mark.parametrize("point", ["lvd_v", "boost_v", "mains_ok", "switch_open", "switch_closed"])
def test_a_profile_cannot_make_a_threshold_or_boost_writable(point: str) -> None:
    unit = "V" if point in {"lvd_v", "boost_v"} else "bit"
    line = (
        f"  {point}: {{address: 30, type: uint16, scale: 0.01, unit: {unit}, access: rw, min: 40, max: 50}}\n"
    )
    with pytest.raises(ProfileError, match=f"{point}: is never written"):
        parse_profile(GOOD.replace("sign_tests:", line + "sign_tests:"))


@pytest.mark.parametrize("point", ["lvd_v", "boost_v", "contactor", "reconnect_v", ""])
def test_the_list_in_code_refuses_whatever_a_profile_says(point: str) -> None:
    with pytest.raises(WriteRefusedError, match="never written"):
        check_writable("d", point, 47.0)


def test_the_writable_points_are_these_and_no_others() -> None:
    assert set(WRITABLE) == {
        "rectifier_set_v", "charge_limit_a", "discharge_limit_a", "revert_s", "load_shed",
        "inverter_set_w", "inverter_revert_s", "modules_off",
    }  # fmt: skip


@pytest.mark.parametrize("value", [float("nan"), 57.01, 42.99])
def test_a_value_outside_the_widest_range_is_refused(value: float) -> None:
    with pytest.raises(WriteRefusedError, match="outside"):
        check_writable("d", "rectifier_set_v", value)


def test_reads_are_joined_over_small_gaps_only() -> None:
    assert parse_profile(GOOD).blocks(["bus_v", "battery_a", "rectifier_set_v"], gap=8) == [(10, 11)]
    assert parse_profile(GOOD).blocks(["bus_v", "battery_a", "rectifier_set_v"], gap=7) == [(10, 2), (20, 1)]


def test_bits_are_named_and_an_unknown_one_is_not_lost() -> None:
    alarms = load_profile("example_fine").points["alarms"]
    assert alarms.names([0b101]) == ("mains_fail", "rectifier_module_fail")
    assert alarms.names([1 << 15]) == ("bit_15",)


def test_the_safety_page_names_every_writable_point_and_no_other() -> None:
    page = (Path(__file__).parents[3] / "SAFETY.md").read_text(encoding="utf-8")
    section = page.split("## What may be written at a site")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == set(WRITABLE)
