"""The example plan is approved, and what it leaves is what one works out by hand."""

from math import nan

from edge.safety.approval import Authorised, authorise
from edge.safety.policy import load_policy
from edge.safety.track import due_row
from edge.safety.validator import validate
from edge.safety.verdict import Approved
from tests.edge.safety.examples import (
    NOW,
    SITE,
    a_plan,
    a_policy_table,
    an_approval,
    limits_of,
    names,
    state_of,
    with_reading,
)


def test_the_example_is_approved_with_the_margin_worked_out_by_hand() -> None:
    verdict = validate(a_plan(), state_of(), limits_of(), NOW)
    assert isinstance(verdict, Approved), verdict
    # Backup 16384 x (0.875 - 0.03125 - 0.125) = 11776 Wh, less 16 x 128 Wh = 9728 Wh. The floor at the end is
    # 4096 Wh plus min(sqrt((16 x 32)^2 - (16 x 16)^2), 512) = 443.4 Wh. Told at the upper load of 1152 W.
    assert abs(verdict.margins[0].autonomy_h - (9728.0 - 4096.0 - 443.405) / 1152.0) < 1e-5
    assert {passed.rule for passed in verdict.passed} == {f"S{number}" for number in range(1, 22)}


def test_the_example_is_authorised_with_one_person() -> None:
    plan = a_plan()
    verdict = authorise(
        plan, [an_approval(plan)], state_of(), limits_of(), load_policy(a_policy_table()), NOW
    )
    assert isinstance(verdict, Authorised), verdict
    assert verdict.site_ids == (SITE,)


def test_a_site_that_cannot_be_simulated_is_refused_and_the_rest_is_still_judged() -> None:
    state = with_reading(state_of(), soc_frac=nan)
    assert names(validate(a_plan(), state, limits_of(), NOW)) == {"S7 implausible"}
    hot = with_reading(state_of(), battery_c=70.0)
    assert names(validate(a_plan(), hot, limits_of(), NOW)) == {"S8 temperature"}


def test_what_is_due_is_the_floor_or_near_a_crossing_the_idle_level() -> None:
    none = [0.0] * 5
    assert due_row([1.0, 2.0, 5.0, 1.0, 1.0], none, 3.0) == [1.0, 3.0, 3.0, 3.0, 1.0]
    assert due_row([1.0, 3.0, 1.0, 1.0, 1.0], none, 3.0) == [1.0, 3.0, 1.0, 1.0, 1.0]
    assert due_row([1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0, 1.0], 3.0) == [1.0, 2.0, 2.0, 2.0, 2.0]
