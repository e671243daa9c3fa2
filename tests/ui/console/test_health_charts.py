from datetime import UTC, datetime
from typing import Any

import pytest

from ui.console.health_charts import (
    battery_rows,
    due,
    month_figure,
    month_of,
    months_ahead,
    soh_figure,
    unknown,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def a_battery(
    site_id: str, month: str | None = "2027-01", soh: float | None = 0.85, **changes: Any
) -> dict[str, Any]:
    life = None if soh is None else {
        "early": "2027-01-05T00:00:00Z", "middle": "2028-02-05T00:00:00Z", "late": "2031-03-05T00:00:00Z",
        "loss_frac_per_year": 0.02, "observations": 2,
    }  # fmt: skip
    estimate = (
        None
        if soh is None
        else {"soh_frac": soh, "low_frac": soh - 0.05, "high_frac": soh + 0.04, "evidence": "e"}
    )
    return {
        "site_id": site_id, "simulated": True, "soh": estimate, "soh_why": "e", "remaining": life, "remaining_why": "r",
        "replace_month": month, "replace_at_frac": 0.8, "wear_frac_per_year": 0.05, "full_cycles": 1.5, "mean_battery_c": 25.0, "resistance_ohm": 0.005,
    } | changes  # fmt: skip


def test_months_run_over_the_end_of_the_year() -> None:
    assert months_ahead(NOW, 2) == ["2026-11", "2026-12", "2027-01"]


def test_the_soonest_stand_first_then_the_weakest_and_the_rest_is_left_out() -> None:
    batteries = [
        a_battery("a", "2027-01", 0.84), a_battery("b", "2027-01", 0.82), a_battery("c", "2026-12"),
        a_battery("d", "2027-12"), a_battery("e", None), a_battery("f", None, None),
    ]  # fmt: skip
    assert [one["site_id"] for one in due(batteries, NOW, 12)] == ["c", "b", "a"]
    assert [one["site_id"] for one in unknown(batteries)] == ["f"]


def test_what_is_overdue_stands_in_the_first_month() -> None:
    found = [a_battery("a", "2026-05"), a_battery("b", "2026-11"), a_battery("c", "2027-01")]
    [bars] = month_figure(found, NOW, 2).data
    assert (list(bars.x), list(bars.y)) == (["2026-11", "2026-12", "2027-01"], [2, 0, 1])


def test_the_weakest_stand_first_with_their_interval_and_the_end_of_life() -> None:
    figure = soh_figure(
        [a_battery("good", soh=0.95), a_battery("weak", soh=0.75), a_battery("unknown", soh=None)]
    )
    assert figure is not None
    [dots] = figure.data
    assert list(dots.y) == ["weak", "good"]
    assert list(dots.error_x.array) == pytest.approx([4.0, 4.0])
    assert list(dots.error_x.arrayminus) == pytest.approx([5.0, 5.0])
    assert [line.x0 for line in figure.layout.shapes] == [80.0]
    assert soh_figure([a_battery("unknown", soh=None)]) is None


def test_a_row_says_the_interval_or_why_there_is_none() -> None:
    known, not_known = battery_rows(
        [a_battery("a"), a_battery("b", None, None, soh_why="nothing was seen", resistance_ohm=None)]
    )
    assert (known["soh"], known["replace_by"], known["likely"]) == (
        "85 % (80 % – 89 %)",
        "2027-01",
        "2028-02",
    )
    assert (not_known["soh"], not_known["replace_by"], not_known["likely"]) == ("–", "–", "–")
    assert not_known["reason"] == "nothing was seen"
    assert (known["resistance_mohm"], not_known["resistance_mohm"]) == (5.0, None)


def test_thirty_years_are_later_and_not_a_month() -> None:
    end = "2056-11-16T00:00:00Z"
    battery = a_battery("a", None, remaining={"early": end, "middle": end, "late": end})
    assert month_of(battery, "middle") == "later"
