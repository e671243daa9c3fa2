"""The validator against an independent second-by-second simulator: never too lenient, hardly ever too strict."""

import pytest

from tests.edge.safety.compare import compare

SMALL = 40  # plans for the judge's own test
PLANS, PART = 250, 50  # `make proof` compares 10,000


@pytest.mark.parametrize("first", range(0, PLANS, PART))
def test_no_accepted_plan_goes_wrong_and_safe_plans_are_accepted(first: int) -> None:
    found = compare(PART, seed=7, first=first)
    assert found.wrong == ()
    # Enough of each kind were seen for the shares to mean something.
    assert found.accepted >= PART // 3
    assert found.safe >= PART // 5
    assert found.safe_accepted >= 0.95 * found.safe


def test_brute_force_sees_what_is_wrong() -> None:
    """The judge itself must be able to say no: the same comparison without a validator finds many bad plans."""
    found = compare(SMALL, seed=7, trust_all=True)
    assert len(found.wrong) >= SMALL // 4
    seen = {name for _, names in found.wrong for name in names}
    assert {"autonomy", "within_load", "rebound", "recharge_floor"} <= seen
