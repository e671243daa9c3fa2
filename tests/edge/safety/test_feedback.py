"""What a rejection tells the planner to change."""

from dataclasses import replace

import pytest

from edge.safety.feedback import Constraint, ConstraintKind, constraint_of, constraints
from edge.safety.validator import validate
from edge.safety.verdict import Broken, Rejected, Scope
from tests.edge.safety.examples import (
    NOW,
    SITE,
    a_plan,
    flat,
    limits_of,
    schedule_of,
    state_of,
    with_reading,
    with_status,
)

BREACH = Broken(
    rule="S2",
    name="discharge_power",
    scope=Scope.SITE,
    where=SITE,
    by=5.0,
    unit="W",
    message="x",
    step=3,
    last_step=4,
    limit=100.0,
)


@pytest.mark.parametrize(
    ("rule", "name", "scope", "kind"),
    [
        ("S2", "discharge_power", Scope.SITE, ConstraintKind.CAP_DISCHARGE_W),
        ("S1", "autonomy_floor", Scope.SITE, ConstraintKind.RAISE_FLOOR_WH),
        ("S6", "feeder_import", Scope.FEEDER, ConstraintKind.CAP_CHARGE_W),
        ("S12", "cluster_low", Scope.CLUSTER, ConstraintKind.LIMIT_LOW_SITES),
        ("S7", "offline", Scope.SITE, ConstraintKind.EXCLUDE_SITE),
        ("S16", "unknown_site", Scope.SITE, ConstraintKind.EXCLUDE_SITE),
        ("S9", "overlap", Scope.SITE, ConstraintKind.EXCLUDE_SITE),
        ("S16", "unknown_feeder", Scope.PLAN, ConstraintKind.CHANGE_PLAN),
        ("S7", "whatever", Scope.PLAN, ConstraintKind.CHANGE_PLAN),
        ("S13", "mode", Scope.PLAN, ConstraintKind.CHANGE_PLAN),
        ("S15", "number", Scope.SITE, ConstraintKind.CHANGE_PLAN),
    ],
)
def test_each_breach_becomes_a_constraint(rule: str, name: str, scope: Scope, kind: ConstraintKind) -> None:
    made = constraint_of(replace(BREACH, rule=rule, name=name, scope=scope))
    assert made == Constraint(
        kind=kind, scope=scope, where=SITE, value=5.0, step=3, last_step=4, limit=100.0, rule=rule
    )


def test_each_constraint_comes_once_in_the_order_of_the_breaches() -> None:
    state = with_status(with_reading(flat(state_of()), soc_frac=0.515625), online=False, local_lock=True)
    verdict = validate(a_plan(), state, limits_of(), NOW)
    assert isinstance(verdict, Rejected)
    made = constraints(replace(verdict, broken=(*verdict.broken, *verdict.broken)))
    told = [(one.kind, one.where, one.value) for one in made]
    assert told[0] == (ConstraintKind.EXCLUDE_SITE, SITE, 1.0)
    assert (ConstraintKind.RAISE_FLOOR_WH, SITE, 256.0) in told
    assert len(made) == len(set(made))


def test_going_as_far_as_told_mends_the_plan() -> None:
    state = with_reading(flat(state_of()), soc_frac=0.515625)
    policy = replace(limits_of().policy, max_cluster_low_frac=1.0)
    verdict = validate(a_plan(), state, limits_of(policy=policy), NOW)
    assert isinstance(verdict, Rejected)
    (floor,) = {
        one.value
        for one in constraints(verdict)
        if one.rule == "S1" and one.kind is ConstraintKind.RAISE_FLOOR_WH
    }
    # 256 Wh less over 4 h: 64 W less.
    mended = a_plan(schedule_of(SITE, (16, -512.0 + floor / 4.0)))
    assert not isinstance(validate(mended, state, limits_of(policy=policy), NOW), Rejected)
