"""How margins become words: runs, sizes, and numbers that are none."""

from math import inf, nan
from sys import float_info

from edge.safety.report import Ledger
from edge.safety.verdict import FREE, Outcome, Place, Scope, StepRule, finite, unmet

PLACE = Place(scope=Scope.SITE, where="site-1")
RULE = StepRule(rule="S2", name="power", unit="W", text="too much", span=lambda a, b: f"steps {a}-{b}")


def test_margins_of_zero_or_more_are_kept() -> None:
    outcome = RULE.judge(PLACE, [0.0, 3.0])
    assert (outcome.margin, outcome.broken) == (0.0, ())
    assert RULE.judge(PLACE, [-0.0]).broken == ()
    assert RULE.judge(PLACE, [FREE]).broken == ()


def test_runs_of_broken_steps_are_told_as_one_with_the_worst_of_them() -> None:
    outcome = RULE.judge(PLACE, [1.0, -2.0, -5.0, 0.0, -1.0], [10.0, 8.0, 7.0, 6.0, 9.0])
    told = [(one.step, one.last_step, one.by, one.limit) for one in outcome.broken]
    assert told == [(1, 2, 5.0, 7.0), (4, 4, 1.0, 9.0)]
    assert outcome.broken[0].message == "site site-1: too much by 5 W, steps 1-2"
    assert RULE.judge(PLACE, [-1.0]).broken[0].limit is None


def test_a_margin_that_is_no_number_is_broken_wherever_it_stands() -> None:
    for bad in (nan, inf, -inf):
        for step, margins in [(1, [1.0, bad, 2.0]), (0, [bad, 1.0]), (1, [1.0, bad])]:
            (breach,) = RULE.judge(PLACE, margins).broken
            assert (breach.step, breach.last_step) == (step, step)
            assert breach.by == float_info.max


def test_amounts_can_always_be_told() -> None:
    assert [finite(amount) for amount in (1.5, nan, inf)] == [1.5, FREE, FREE]


def test_the_ledger_keeps_the_tightest_margin_of_each_rule() -> None:
    ledger = Ledger()
    for where, margin in [("a", 3.0), ("b", 1.0), ("c", 1.0), ("d", 2.0), ("e", FREE), ("f", None)]:
        place = Place(scope=Scope.SITE, where=where)
        ledger.note([Outcome(rule="S2", name="power", place=place, unit="W", margin=margin)])
    told = next(one for one in ledger.passed() if one.rule == "S2")
    assert (told.margin, told.where, told.name) == (1.0, "b", "power")
    assert told.message == (
        "power stays within battery, rectifiers and connection; power is tightest at site b: 1 W to spare"
    )
    assert [one.rule for one in ledger.passed()] == [f"S{number}" for number in range(1, 22)]
    ledger.blame([unmet("S8", "alarm", PLACE, "x")])
    assert (ledger.names, ledger.rules) == ({"alarm"}, {"S8"})
