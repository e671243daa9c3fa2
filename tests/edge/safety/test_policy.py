"""The approval policy: what each tier reaches, and that nothing sound means nobody may."""

from dataclasses import replace
from datetime import timedelta
from math import inf, nextafter
from pathlib import Path
from typing import Any

import pytest

from edge.plan import ApprovalTier, GridReserve, ObjectiveKind, Plan, SitePlan
from edge.safety.limits import OperatingMode
from edge.safety.policy import load_policy, required_tier
from telemetry.model.site import SiteId
from tests.edge.safety.examples import (
    SITE,
    a_plan,
    a_policy_table,
    a_site,
    limits_of,
    schedule_of,
    state_of,
    with_reading,
    with_site,
)

STATE, LIMITS = state_of(), limits_of()
AUTO: Any = a_policy_table()["automatic"]

FILE = """
version = 1

[one_person]
max_total_w = 5000
max_sites = 10
max_depth_frac = 0.3
objectives = ["peak_shaving", "recharge"]
modes = ["normal"]
simulated_only = true
max_validity_h = 12.0
"""


def test_a_policy_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(FILE)
    for source in (path, str(path)):
        policy = load_policy(source)
        assert policy.why == ""
        scope = policy.tiers[ApprovalTier.ONE_PERSON]
        assert (scope.max_total_w, scope.max_sites, scope.max_depth_frac) == (5000.0, 10, 0.3)
        assert scope.objectives == {ObjectiveKind.PEAK_SHAVING, ObjectiveKind.RECHARGE}
        assert scope.modes == {OperatingMode.NORMAL}
        assert (scope.simulated_only, scope.max_validity) == (True, timedelta(hours=12))
        assert required_tier(a_plan(), STATE, LIMITS, policy) is ApprovalTier.ONE_PERSON


def test_no_file_or_an_unreadable_one_means_nobody_may(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    garbled = tmp_path / "garbled.toml"
    garbled.write_bytes(b"\xff\xfe")
    untrue = tmp_path / "untrue.toml"
    untrue.write_text("version = ")
    deep = tmp_path / "deep.toml"
    deep.write_text("a = " + "[" * 100_000)
    for path in (tmp_path / "absent.toml", folder, garbled, untrue, deep):
        policy = load_policy(path)
        assert policy.tiers == {}
        assert policy.why.startswith("no approval policy in force: ")
        assert required_tier(a_plan(), STATE, LIMITS, policy) is None


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"version": 1},
        {"version": 2, "automatic": AUTO},
        {"automatic": AUTO},
        {"version": 1, "everybody": AUTO},
        {"version": 1, "automatic": 5},
        {"version": 1, "automatic": {**AUTO, "extra": 1}},
        {"version": 1, "automatic": {key: value for key, value in AUTO.items() if key != "modes"}},
        {"version": 1, "automatic": {**AUTO, "simulated_only": 1}},
        {"version": 1, "automatic": {**AUTO, "max_total_w": "much"}},
        {"version": 1, "automatic": {**AUTO, "max_total_w": True}},
        {"version": 1, "automatic": {**AUTO, "max_total_w": -5e-324}},
        {"version": 1, "automatic": {**AUTO, "max_total_w": inf}},
        {"version": 1, "automatic": {**AUTO, "max_sites": float("nan")}},
        {"version": 1, "automatic": {**AUTO, "objectives": ["world_peace"]}},
        {"version": 1, "automatic": {**AUTO, "objectives": 7}},
        {"version": 1, "automatic": {**AUTO, "modes": ["holiday"]}},
        {"version": 1, "automatic": {**AUTO, "max_validity_h": 1e300}},
    ],
)
def test_one_mistake_means_nobody_may(table: dict[str, Any]) -> None:
    policy = load_policy(table)
    assert policy.tiers == {}
    assert policy.why


def test_zero_is_a_number_and_allows_nothing_that_moves() -> None:
    policy = load_policy({"version": 1, "automatic": {**AUTO, "max_total_w": 0.0}})
    assert required_tier(a_plan(), STATE, LIMITS, policy) is None
    assert required_tier(a_plan(schedule_of(SITE, (4, 0.0))), STATE, LIMITS, policy) is ApprovalTier.AUTOMATIC


def tier(plan: Plan, state: Any = STATE, limits: Any = LIMITS, **changes: Any) -> ApprovalTier | None:
    return required_tier(plan, state, limits, load_policy({"version": 1, "automatic": {**AUTO, **changes}}))


ONE = a_plan(schedule_of(SITE, (16, -1024.0)))  # 4096 Wh: a quarter of 16384 Wh


def test_power_sites_depth_kind_mode_and_simulated_bound_a_tier() -> None:
    assert tier(ONE) is ApprovalTier.AUTOMATIC
    assert tier(ONE, max_total_w=nextafter(1024.0, 0.0)) is None
    assert tier(ONE, max_depth_frac=nextafter(0.25, 0.0)) is None
    assert tier(ONE, max_sites=0) is None
    assert tier(ONE, max_sites=1) is ApprovalTier.AUTOMATIC
    assert tier(ONE, objectives=["recharge"]) is None
    assert tier(ONE, modes=["storm"]) is None
    assert tier(ONE, replace(STATE, mode=OperatingMode.STORM), modes=["storm"]) is ApprovalTier.AUTOMATIC
    real = with_site(LIMITS, simulated=False)
    assert tier(ONE, limits=real) is None
    assert tier(ONE, limits=real, simulated_only=False) is ApprovalTier.AUTOMATIC


def test_charging_and_discharging_add_up() -> None:
    limits = limits_of([a_site(SITE), a_site("b")])
    state = state_of([SITE, "b"])
    both = a_plan(schedule_of(SITE, (4, -512.0)), schedule_of("b", (4, 512.0)))
    assert tier(both, state, limits) is ApprovalTier.AUTOMATIC
    assert tier(both, state, limits, max_total_w=1023.0) is None
    mixed = replace(
        limits, sites={**limits.sites, SiteId("b"): replace(limits.sites[SiteId("b")], simulated=False)}
    )
    assert tier(both, state, mixed) is None


def test_depth_is_of_what_the_battery_still_holds_and_unknown_is_too_deep() -> None:
    assert tier(ONE, with_reading(STATE, soh_frac=0.5), max_depth_frac=0.5) is ApprovalTier.AUTOMATIC
    assert tier(ONE, with_reading(STATE, soh_frac=0.5), max_depth_frac=0.49) is None
    assert tier(ONE, with_reading(STATE, soh_frac=1.1)) is ApprovalTier.AUTOMATIC
    assert tier(ONE, with_reading(STATE, soh_frac=None), max_depth_frac=9.0) is None
    assert tier(ONE, with_reading(STATE, soh_frac=0.0), max_depth_frac=9.0) is None
    assert tier(ONE, replace(STATE, readings={}), max_depth_frac=9.0) is None
    charge = a_plan(schedule_of(SITE, (4, 512.0)))
    assert tier(charge, replace(STATE, readings={}), max_depth_frac=0.0) is ApprovalTier.AUTOMATIC
    ghost = a_plan(schedule_of("ghost", (4, -1.0)))
    assert tier(ghost, max_depth_frac=9.0, simulated_only=False) is None
    assert tier(a_plan(schedule_of("ghost", (4, 1.0)))) is None
    assert tier(a_plan(schedule_of("ghost", (4, 1.0))), simulated_only=False) is ApprovalTier.AUTOMATIC
    reserve = GridReserve(
        product="afrr",
        up_w=512.0,
        down_w=0.0,
        droop_hz=0.2,
        dead_band_hz=0.0,
        activation_s=1.0,
        energy_wh=4096.0,
    )
    plan = replace(ONE, sites=(SitePlan(site_id=SITE, grid_reserve=reserve),))
    assert tier(plan) is ApprovalTier.AUTOMATIC
    assert tier(plan, max_depth_frac=nextafter(0.25, 0.0)) is None


def test_the_least_tier_that_reaches_is_needed() -> None:
    policy = load_policy(a_policy_table())
    assert required_tier(ONE, STATE, LIMITS, policy) is ApprovalTier.AUTOMATIC
    deeper = a_plan(schedule_of(SITE, (17, -1024.0)))
    assert required_tier(deeper, STATE, LIMITS, policy) is ApprovalTier.ONE_PERSON
    deepest = a_plan(schedule_of(SITE, (33, -1024.0)))
    assert required_tier(deepest, STATE, LIMITS, policy) is ApprovalTier.TWO_PERSONS
    assert required_tier(a_plan(schedule_of(SITE, (65, -1024.0))), STATE, LIMITS, policy) is None


def test_a_plan_without_sense_has_no_tier() -> None:
    policy = load_policy(a_policy_table())
    assert required_tier(replace(ONE, window_end=ONE.window_start), STATE, LIMITS, policy) is None
    assert required_tier(replace(ONE, sites=()), STATE, LIMITS, policy) is None


def test_a_plan_of_one_step_has_a_tier_like_any_other() -> None:
    assert tier(a_plan(schedule_of(SITE, (1, -64.0)))) is ApprovalTier.AUTOMATIC


def test_the_step_with_the_most_power_counts() -> None:
    plan = a_plan(schedule_of(SITE, (1, -64.0), (1, -512.0), (1, -64.0)))
    assert tier(plan, max_total_w=512.0) is ApprovalTier.AUTOMATIC
    assert tier(plan, max_total_w=511.0) is None
