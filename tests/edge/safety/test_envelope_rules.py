"""S14, the envelope: what an approval would cover, from both sides, and what a lineage has already spent of it."""

from dataclasses import replace
from math import inf, nextafter
from typing import Any

import pytest

from edge.plan import Plan, PlanId
from edge.safety.case import lineage_of
from edge.safety.envelope_rules import origin_of
from edge.safety.limits import FleetState, Policy
from edge.safety.validator import validate
from telemetry.model.series import STEP
from telemetry.model.site import SiteId
from tests.edge.safety.examples import (
    NOW,
    SITE,
    START,
    a_plan,
    flat,
    limits_of,
    names,
    schedule_of,
    state_of,
    with_envelope,
    with_reading,
)

STATE = with_reading(flat(state_of()), soc_frac=0.75)
LIMITS = limits_of(policy=Policy(max_cluster_low_frac=1.0))
# 4 steps of 512 W out (512 Wh), 4 of 256 W in (256 Wh).
PLAN = a_plan(schedule_of(SITE, (4, -512.0), (4, 256.0)))


def broken(plan: Plan = PLAN, state: FleetState = STATE) -> set[str]:
    return names(validate(plan, state, LIMITS, NOW))


@pytest.mark.parametrize(
    ("field", "name", "tighter"),
    [
        ("min_w", "envelope_discharge_power", inf),
        ("max_w", "envelope_charge_power", -inf),
        ("max_discharge_wh", "envelope_discharge_energy", -inf),
        ("max_charge_wh", "envelope_charge_energy", -inf),
    ],
)
def test_a_sites_bounds(field: str, name: str, tighter: float) -> None:
    bounds = PLAN.envelope.sites[0]
    changes: dict[str, Any] = {field: nextafter(getattr(bounds, field), tighter)}
    assert broken() == set()
    assert broken(with_envelope(PLAN, sites=(replace(bounds, **changes),))) == {f"S14 {name}"}


@pytest.mark.parametrize(
    ("field", "name", "tighter"),
    [
        ("total_min_w", "envelope_total", inf),
        ("total_max_w", "envelope_total", -inf),
        ("total_discharge_wh", "envelope_energy", -inf),
    ],
)
def test_the_totals(field: str, name: str, tighter: float) -> None:
    assert broken(with_envelope(PLAN, **{field: nextafter(getattr(PLAN.envelope, field), tighter)})) == {
        f"S14 {name}"
    }


def test_doing_less_stays_inside_a_band_that_asked_for_more() -> None:
    # The envelope is drawn for 512 W of discharge all along: 256 W, and nothing, are inside it.
    full = a_plan()
    for w in (-256.0, 0.0):
        assert broken(replace(full, sites=(schedule_of(SITE, (16, w)),))) == set()
    assert "S14 envelope_charge_power" in broken(replace(full, sites=(schedule_of(SITE, (16, 5e-324)),)))
    assert "S14 envelope_total" in broken(replace(full, sites=(schedule_of(SITE, (16, 5e-324)),)))
    charge = a_plan(schedule_of(SITE, (4, 256.0)))
    assert broken(replace(charge, sites=(schedule_of(SITE, (4, 0.0)),))) == set()
    drawn = broken(replace(charge, sites=(schedule_of(SITE, (4, -5e-324)),)))
    assert drawn >= {"S14 envelope_discharge_power", "S14 envelope_total"}


def test_the_window() -> None:
    assert broken(with_envelope(PLAN, window_start=START - STEP, window_end=PLAN.window_end + STEP)) == set()
    assert broken(with_envelope(PLAN, window_start=START + STEP)) == {"S14 envelope_window"}
    assert broken(with_envelope(PLAN, window_end=PLAN.window_end - STEP)) == {"S14 envelope_window"}


def test_the_sites() -> None:
    bounds = PLAN.envelope.sites[0]
    other = replace(bounds, site_id=SiteId("other"))
    assert broken(with_envelope(PLAN, sites=(bounds, other))) == set()
    assert broken(with_envelope(PLAN, sites=(other,))) == {"S14 envelope_sites"}
    assert broken(with_envelope(PLAN, sites=(bounds, bounds))) == {"S14 envelope_sites"}


def followed(total_wh: float, site_wh: float, charge_wh: float = 1e6) -> tuple[Plan, Plan]:
    """Return a plan of 8 steps of 512 W, and its successor from step 4 on, under one envelope."""
    first = a_plan(schedule_of(SITE, (2, 512.0), (6, -512.0)), plan_id="first", start=START - 2 * STEP)
    bounds = replace(first.envelope.sites[0], max_discharge_wh=site_wh, max_charge_wh=charge_wh)
    first = with_envelope(first, total_discharge_wh=total_wh, sites=(bounds,))
    second = a_plan(schedule_of(SITE, (4, -512.0), (0, 512.0)), start=START + 2 * STEP, plan_id="second")
    return first, replace(second, envelope=first.envelope, supersedes=first.plan_id)


def test_what_the_superseded_plan_did_under_the_envelope_counts() -> None:
    # First: 2 steps of 128 Wh before the successor begins; successor 4 more: 768 Wh.
    for total, site, reasons in [
        (768.0, 768.0, set()),
        (nextafter(768.0, 0.0), 768.0, {"S14 envelope_energy"}),
        (768.0, nextafter(768.0, 0.0), {"S14 envelope_discharge_energy"}),
    ]:
        first, second = followed(total, site)
        assert broken(second, replace(STATE, live_plans=(first,))) == reasons
    first, second = followed(768.0, 768.0, charge_wh=256.0)
    assert broken(second, replace(STATE, live_plans=(first,))) == set()
    first, second = followed(768.0, 768.0, charge_wh=255.0)
    assert broken(second, replace(STATE, live_plans=(first,))) == {"S14 envelope_charge_energy"}


def test_ancestors_that_are_no_longer_live_count_too() -> None:
    first, second = followed(768.0, 768.0)
    third = replace(
        a_plan(schedule_of(SITE, (2, -512.0)), start=START + 4 * STEP, plan_id="third"),
        envelope=second.envelope,
        supersedes=second.plan_id,
    )
    # 2 + 2 + 2 steps of 128 Wh
    chain = replace(STATE, live_plans=(second,), superseded_plans=(first,))
    assert broken(third, chain) == set()
    assert [one.plan_id for one in lineage_of(third, chain)] == ["second", "first"]
    tight = replace(third.envelope, total_discharge_wh=767.0)
    first, second, third = (replace(one, envelope=tight) for one in (first, second, third))
    chain = replace(STATE, live_plans=(second,), superseded_plans=(first,))
    assert broken(third, chain) == {"S14 envelope_energy"}


def siblings() -> tuple[Plan, Plan]:
    """Two plans of 2 x 128 Wh under one envelope, one after the other, that name the same ancestor."""
    first, second = followed(768.0, 768.0)
    root = PlanId("root")
    earlier = replace(first, supersedes=root, window_end=START, sites=(schedule_of(SITE, (2, -512.0)),))
    other = replace(
        second,
        plan_id=PlanId("other"),
        supersedes=root,
        window_start=START + 4 * STEP,
        window_end=START + 6 * STEP,
        sites=(schedule_of(SITE, (2, -512.0)),),
    )
    return earlier, other


def test_another_plan_of_the_same_line_spends_from_the_same_approval() -> None:
    # Their ancestor is no longer live: that is told too.
    earlier, other = siblings()
    # 2 + 2 steps of 128 Wh: room for 2 more.
    assert broken(other, replace(STATE, live_plans=(earlier,))) == {"S16 unknown_plan"}
    tight = replace(other.envelope, total_discharge_wh=511.0)
    state = replace(STATE, live_plans=(replace(earlier, envelope=tight),))
    assert broken(replace(other, envelope=tight), state) == {"S14 envelope_energy", "S16 unknown_plan"}
    # A plan under another envelope spends its own.
    assert broken(replace(other, envelope=tight), replace(STATE, live_plans=(earlier,))) == {
        "S16 unknown_plan"
    }


def test_a_plan_of_another_line_has_an_approval_of_its_own_though_its_envelope_says_the_same() -> None:
    earlier, other = siblings()
    tight = replace(other.envelope, total_discharge_wh=511.0)
    state = replace(STATE, live_plans=(replace(earlier, envelope=tight, supersedes=None),))
    assert broken(replace(other, envelope=tight, supersedes=None), state) == set()
    # The same again for the same time: the sites are taken, and nothing else is wrong with it.
    twin = replace(earlier, plan_id=PlanId("twin"), envelope=tight, supersedes=None)
    late = replace(twin, window_start=START, window_end=START + 2 * STEP)
    busy = replace(STATE, live_plans=(replace(late, plan_id=PlanId("live")),))
    assert broken(late, busy) == {"S9 overlap"}


def test_a_lineage_that_goes_round_in_a_circle_ends() -> None:
    first, second = followed(768.0, 768.0)
    circle = replace(first, supersedes=second.plan_id)
    state = replace(STATE, live_plans=(circle, second))
    assert [one.plan_id for one in lineage_of(second, state)] == ["first", "second"]
    assert lineage_of(replace(second, supersedes=PlanId("gone")), state) == []
    assert origin_of(replace(second, supersedes=PlanId("gone")), state) == "gone"
    assert origin_of(replace(second, supersedes=None), state) == "second"
    assert origin_of(second, replace(STATE, live_plans=(first, second))) == "first"
