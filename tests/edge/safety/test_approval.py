"""The second gate: who said yes to what, and what happens to sites that dropped out meanwhile."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from edge.plan import ApprovalTier, Plan, PlanId, PlanStatus
from edge.safety.approval import Authorised, Refused, authorise, person_key
from edge.safety.limits import FleetState, Limits, Policy
from edge.safety.policy import ApprovalPolicy, load_policy
from edge.safety.verdict import Approved
from telemetry.model.series import STEP
from telemetry.model.site import SiteId
from tests.edge.safety.examples import (
    NOW,
    SITE,
    START,
    a_plan,
    a_policy_table,
    a_site,
    an_approval,
    flat,
    limits_of,
    names,
    schedule_of,
    state_of,
    with_battery,
    with_envelope,
    with_reading,
    with_status,
)

US = timedelta(microseconds=1)
POLICY = load_policy(a_policy_table())
# By itself: 1024 W at most. One person: 8192 W. Two: more.
AUTO, ONE = a_plan(), a_plan(schedule_of(SITE, (16, -1024.0), (1, -64.0)))
STATE, LIMITS = state_of(), limits_of(policy=Policy(max_cluster_low_frac=1.0))
BIG = replace(
    LIMITS,
    sites={
        key: replace(site, battery=replace(site.battery, rated_wh=65536.0))
        for key, site in LIMITS.sites.items()
    },
)


def answer(
    plan: Plan,
    *approvals: Any,
    state: FleetState = STATE,
    limits: Limits = LIMITS,
    policy: ApprovalPolicy = POLICY,
) -> Authorised | Refused:
    return authorise(plan, approvals, state, limits, policy, NOW)


def tight_policy(**changes: Any) -> ApprovalPolicy:
    """Return a policy in which the example plan needs the tiers named by `changes` only."""
    scope: Any = a_policy_table()["automatic"]
    return load_policy({"version": 1, **{name: scope for name, in_force in changes.items() if in_force}})


PERSON, PAIR = tight_policy(one_person=True), tight_policy(two_persons=True)


def test_the_policy_itself_may_approve_what_is_automatic() -> None:
    verdict = answer(AUTO, an_approval(AUTO, "policy", tier=ApprovalTier.AUTOMATIC))
    assert isinstance(verdict, Authorised)
    assert (verdict.tier, verdict.site_ids, verdict.withheld) == (ApprovalTier.AUTOMATIC, (SITE,), ())
    assert isinstance(verdict.approved, Approved)
    assert isinstance(answer(AUTO, an_approval(AUTO, "ann")), Authorised)  # a person may as well


def test_without_an_approval_nothing_is_sent() -> None:
    verdict = answer(AUTO)
    assert names(verdict) == {"S14 approval"}
    assert isinstance(verdict, Refused)
    assert verdict.broken[0].message == "plan plan-1: nobody has approved it"


def test_a_person_is_needed_where_the_policy_says_so() -> None:
    assert isinstance(answer(AUTO, an_approval(AUTO, "ann"), policy=PERSON), Authorised)
    by_policy = an_approval(AUTO, "policy", tier=ApprovalTier.AUTOMATIC)
    assert names(answer(AUTO, by_policy, policy=PERSON)) == {"S14 approval"}
    # The policy's own name does not make a person, whatever tier it claims.
    for name in ("policy", " POLICY ", "", "  "):
        assert names(answer(AUTO, an_approval(AUTO, name), policy=PERSON)) == {"S14 persons"}
    nobody = replace(an_approval(AUTO), approvers=())
    assert names(answer(AUTO, nobody, policy=PERSON)) == {"S14 approval"}


def test_two_persons_are_two_different_ones() -> None:
    two = ApprovalTier.TWO_PERSONS
    assert isinstance(answer(AUTO, an_approval(AUTO, "ann", "bob", tier=two), policy=PAIR), Authorised)
    assert isinstance(
        answer(AUTO, an_approval(AUTO, "ann"), an_approval(AUTO, "bob"), policy=PAIR), Authorised
    )
    for people in (("ann",), ("ann", "ann"), ("ann", " Ann "), ("ann", "ＡＮＮ"), ("ann", "policy")):
        verdict = answer(AUTO, an_approval(AUTO, *people, tier=two), policy=PAIR)
        assert names(verdict) == {"S14 persons"}, people
        assert isinstance(verdict, Refused)
        assert verdict.broken[0].by == 1.0


def test_one_spelling_of_a_name() -> None:
    assert person_key("  Ann  van Dam ") == "ann van dam"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"envelope_digest": "0" * 64}, "is for another envelope"),
        ({"plan_id": PlanId("other")}, "is for plan other"),
        ({"expires_at": NOW}, "has expired"),
        ({"expires_at": (NOW + timedelta(hours=1)).replace(tzinfo=None)}, "has expired"),
        ({"approved_at": NOW + US}, "is too old or of the future"),
        ({"approved_at": NOW - timedelta(hours=24) - US}, "is too old or of the future"),
    ],
)
def test_an_approval_that_does_not_fit_is_none(changes: dict[str, Any], words: str) -> None:
    verdict = answer(AUTO, replace(an_approval(AUTO), **changes))
    assert names(verdict) == {"S14 approval"}
    assert isinstance(verdict, Refused)
    assert f"the approval of ann {words}" in verdict.broken[0].message


@pytest.mark.parametrize(
    "changes", [{"expires_at": NOW + US}, {"approved_at": NOW}, {"approved_at": NOW - timedelta(hours=24)}]
)
def test_an_approval_at_its_limits_still_fits(changes: dict[str, Any]) -> None:
    assert isinstance(answer(AUTO, replace(an_approval(AUTO), **changes)), Authorised)


def test_any_change_of_the_envelope_makes_the_approval_void() -> None:
    wider = with_envelope(AUTO, total_discharge_wh=AUTO.envelope.total_discharge_wh + 1.0)
    assert names(answer(wider, an_approval(AUTO))) == {"S14 approval"}


def test_a_plan_outside_its_approved_envelope_is_refused() -> None:
    more = replace(AUTO, sites=(schedule_of(SITE, (16, -513.0)),))
    assert "S14 envelope_discharge_power" in names(answer(more, an_approval(AUTO)))


def test_a_replan_inside_the_envelope_needs_no_new_approval() -> None:
    first = a_plan(schedule_of(SITE, (8, -512.0)), plan_id="first", start=START - 4 * STEP)
    approval = replace(an_approval(first), approved_at=NOW - timedelta(hours=1))
    second = replace(
        a_plan(schedule_of(SITE, (4, -512.0)), plan_id="second"),
        envelope=first.envelope,
        supersedes=first.plan_id,
    )
    state = replace(STATE, live_plans=(first,))
    assert isinstance(answer(second, approval, state=state), Authorised)
    # A stranger to the lineage cannot borrow the approval.
    assert names(answer(replace(second, supersedes=None, plan_id=PlanId("x")), approval)) == {"S14 approval"}


@pytest.mark.parametrize("status", list(PlanStatus))
def test_a_plan_whose_life_is_over_is_not_sent(status: PlanStatus) -> None:
    over = {PlanStatus.REJECTED, PlanStatus.DECLINED, PlanStatus.COMPLETED, PlanStatus.ABORTED}
    verdict = answer(replace(AUTO, status=status), an_approval(AUTO))
    assert names(verdict) == ({"S14 status"} if status in over else set())


def test_where_no_tier_reaches_nobody_may() -> None:
    verdict = answer(AUTO, an_approval(AUTO), policy=ApprovalPolicy(why="no approval policy in force: gone"))
    assert isinstance(verdict, Refused)
    assert [one.message for one in verdict.broken] == ["plan plan-1: no approval policy in force: gone"]
    reach = answer(ONE, an_approval(ONE), policy=tight_policy(automatic=True))
    assert isinstance(reach, Refused)
    assert reach.broken[0].message == "plan plan-1: no tier of the approval policy reaches so far"


def test_the_rules_are_repeated_on_fresh_state() -> None:
    verdict = answer(AUTO, an_approval(AUTO), state=with_reading(STATE, soc_frac=0.4))
    assert "S1 autonomy_floor" in names(verdict)


def test_a_plan_without_sense_is_refused_before_anything_else() -> None:
    assert names(answer(replace(AUTO, sites=()), an_approval(AUTO))) == {"S15 no_site"}
    empty = replace(AUTO, window_end=AUTO.window_start)
    assert names(answer(empty, an_approval(AUTO))) == {"S11 empty_window"}
    naive = replace(AUTO, window_start=START.replace(tzinfo=None))
    assert names(answer(naive, an_approval(AUTO))) == {"S11 aware"}
    crooked = replace(AUTO, window_start=START + US)
    assert names(answer(crooked, an_approval(AUTO))) == {"S11 grid"}
    late = replace(AUTO, created_at=NOW + US, bound=float("nan"))
    assert names(answer(late, an_approval(AUTO))) == {"S11 created", "S15 number"}


# Twenty sites of 64 W each: one of them is a twentieth of the plan.
MANY = [f"site-{number:02d}" for number in range(20)]
MANY_LIMITS = limits_of([a_site(site_id, cluster=site_id) for site_id in MANY])
MANY_STATE = state_of(MANY)
MANY_PLAN = a_plan(*(schedule_of(site_id, (4, -64.0)) for site_id in MANY))


def many(state: FleetState, plan: Plan = MANY_PLAN, drift: float = 0.05) -> Authorised | Refused:
    limits = replace(MANY_LIMITS, policy=Policy(max_target_drift_frac=drift))
    policy: Any = a_policy_table()["two_persons"]
    return answer(
        plan,
        an_approval(plan),
        state=state,
        limits=limits,
        policy=load_policy({"version": 1, "one_person": policy}),
    )


def test_a_site_that_dropped_out_is_withheld_and_the_rest_is_sent() -> None:
    verdict = many(with_status(MANY_STATE, "site-07", local_lock=True))
    assert isinstance(verdict, Authorised)
    assert verdict.site_ids == tuple(SiteId(site_id) for site_id in MANY if site_id != "site-07")
    (out,) = verdict.withheld
    assert (out.site_id, [reason.name for reason in out.reasons]) == ("site-07", ["local_lock"])


def test_if_too_much_drops_out_approval_is_asked_again() -> None:
    one_out = with_status(MANY_STATE, "site-07", online=False)
    two_out = with_status(one_out, "site-08", online=False)
    verdict = many(two_out)
    assert isinstance(verdict, Refused)
    (breach,) = verdict.broken
    # 128 W are gone of 1280 W, of which 5 % are 64 W.
    assert (breach.name, breach.by, breach.unit) == ("target_drift", 64.0, "W")
    assert [out.site_id for out in verdict.withheld] == ["site-07", "site-08"]
    assert names(many(one_out, drift=0.0499)) == {"S14 target_drift"}
    assert isinstance(many(two_out, drift=0.1), Authorised)


def test_charging_that_drops_out_moves_the_target_too() -> None:
    plan = a_plan(*(schedule_of(site_id, (4, 64.0)) for site_id in MANY))
    state = with_status(with_status(MANY_STATE, "site-07", online=False), "site-08", online=False)
    assert names(many(state, plan)) == {"S14 target_drift"}


def test_a_reason_that_cannot_pass_refuses_the_whole_plan() -> None:
    ghost = a_plan(*(schedule_of(site_id, (4, -64.0)) for site_id in [*MANY, "ghost"]))
    assert "S16 unknown_site" in names(many(MANY_STATE, ghost))


def test_an_old_calibration_withholds_a_discharging_site_and_not_a_charging_one() -> None:
    limits = with_battery(LIMITS, calibrated_at=None)
    verdict = answer(AUTO, an_approval(AUTO), limits=limits)
    assert names(verdict) == {"S14 nobody_left"}
    charge = a_plan(schedule_of(SITE, (1, 64.0)))
    state = with_reading(STATE, soc_frac=0.5)
    assert isinstance(answer(charge, an_approval(charge), state=state, limits=limits), Authorised)


def test_a_bigger_battery_lets_one_person_go_deeper() -> None:
    verdict = answer(ONE, an_approval(ONE), state=flat(STATE), limits=BIG)
    assert isinstance(verdict, Authorised)
    assert verdict.tier is ApprovalTier.AUTOMATIC
