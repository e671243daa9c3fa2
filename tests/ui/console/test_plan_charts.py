from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tests.ui.console.examples import AT, a_plan_line
from ui.console.plan_card import figures_of, rules_words, way
from ui.console.plan_charts import (
    acknowledged,
    alternative_rows,
    curve,
    curve_figure,
    curves_of,
    delivered_frac,
    delivery_figure,
    effect_figure,
    timeline_figure,
)
from ui.console.views.fleet import plan_label
from ui.console.views.plans import not_sent_words, on_timeline

ROME = ZoneInfo("Europe/Rome")


def test_a_curve_is_a_staircase_to_the_end_of_its_last_quarter_hour() -> None:
    at, values = curve({"window_start": AT}, [0.0, -1500.0], ROME)
    assert [f"{one:%H:%M}" for one in at] == ["13:00", "13:15", "13:30"]
    assert values == [0.0, -1.5, -1.5]


def test_a_plan_without_a_schedule_has_no_curve() -> None:
    assert curve_figure({"window_start": AT, "total_w": [], "feeder_curves": []}, ROME) is None


def curves(*by_feeder: tuple[str, list[float]]) -> dict[str, object]:
    return {
        "window_start": AT,
        "total_w": [sum(column) for column in zip(*(values for _, values in by_feeder), strict=True)],
        "feeder_curves": [{"feeder_id": name, "sites": 1, "total_w": values} for name, values in by_feeder],
    }


def test_each_feeder_has_a_curve_of_its_own_the_heaviest_first_and_told_apart_without_colour() -> None:
    figure = curve_figure(curves(("f-1", [-500.0, 0.0]), ("f-2", [-2000.0, 1000.0])), ROME)
    assert figure is not None
    assert [(trace.name, list(trace.y)) for trace in figure.data] == [
        ("f-2", [-2.0, 1.0, 1.0]),
        ("f-1", [-0.5, 0.0, 0.0]),
    ]
    assert len({trace.line.dash for trace in figure.data}) == 2


def test_beyond_eight_feeders_the_lightest_are_one_curve() -> None:
    # Feeder k asks for k W: 9 to 3 stand alone; 2 and 1 make 3 W together.
    found = curves_of(curves(*((f"f-{k}", [float(k)]) for k in range(1, 10))))
    assert [name for name, _ in found] == [*(f"f-{k}" for k in range(9, 2, -1)), "2 other feeders"]
    assert found[-1][1] == [3.0]


def test_a_plan_whose_sites_are_gone_shows_the_sum() -> None:
    gone = {"window_start": AT, "total_w": [-1.0], "feeder_curves": []}
    assert curves_of(gone) == [("setpoint", [-1.0])]


def test_the_effect_shows_peaks_without_and_with_and_the_limit_in_kw() -> None:
    figure = effect_figure(
        [{"feeder_id": "f-1", "peak_without_w": 419e3, "peak_with_w": 414e3, "limit_w": 374e3}]
    )
    assert [list(trace.x) for trace in figure.data] == [[419.0], [414.0], [374.0]]


def delivery(*quarters: tuple[float, float]) -> dict[str, object]:
    return {
        "quarter_hours": [
            {"start": AT, "commanded_measured_wh": asked, "delivered_wh": got} for asked, got in quarters
        ]
    }


def test_delivered_is_a_share_of_what_was_asked_of_sites_that_measure() -> None:
    assert delivered_frac(delivery((-100.0, -90.0), (-100.0, -98.0))) == 0.94
    assert delivered_frac(delivery()) is None
    assert delivery_figure(delivery(), ROME) is None
    figure = delivery_figure(delivery((-100.0, -90.0)), ROME)
    assert figure is not None
    assert [list(trace.y) for trace in figure.data] == [[-0.1], [-0.09]]


def test_an_active_plan_is_named_by_what_it_is_for_and_when() -> None:
    assert plan_label(a_plan_line(), ROME) == "Peak shaving, 10 Mar 13:00 – 14:00 CET, sites: 1"


def test_the_timeline_has_a_bar_as_long_as_the_window() -> None:
    figure = timeline_figure([a_plan_line()], datetime(2026, 3, 10, 11, 0, tzinfo=UTC), ROME)
    assert list(figure.data[0].x) == [3_600_000.0]
    assert list(figure.data[0].y) == ["1"]


def test_alternatives_that_were_not_chosen_have_no_bar() -> None:
    plans = [a_plan_line("a", "proposed"), a_plan_line("b", "rejected"), a_plan_line("c")]
    assert [one["plan_id"] for one in on_timeline(plans)] == ["b", "c"]


def test_the_sign_is_said_in_words() -> None:
    plan = {"direction": "discharge", "peak_discharge_w": 16450.0, "peak_charge_w": 0.0}
    assert way(plan) == "▼ Discharges up to 16.4 kW (negative setpoints)"
    both = {"direction": "charge and discharge", "peak_discharge_w": 2000.0, "peak_charge_w": 1000.0}
    assert "Discharges up to 2.0 kW" in way(both)
    assert "Charges up to 1.0 kW" in way(both)


def test_rules_are_counted_from_the_newest_verdict() -> None:
    passed = {"approved": True, "doc": {"passed": [{}, {}]}}
    broken = {"approved": False, "doc": {"broken": [{}]}}
    assert rules_words([broken, passed]) == "2 passed"
    assert rules_words([passed, broken]) == "1 broken"
    assert rules_words([]) == "not checked"


def test_the_card_names_the_approver_that_the_policy_wants() -> None:
    plan = {
        "sites": 6, "discharge_wh": 20826.5, "charge_wh": 0.0, "relief_w": 17353.1, "reserve_margin_h": 1.304,
        "reserve_h": 2.0, "cycles": 0.082, "money": {"total": 1.5, "currency": "EUR"}, "gap_frac": 0.0, "verdicts": [], "tier": "two_persons",
    }  # fmt: skip
    shown = {label: value for label, value, _ in figures_of(plan)}
    assert shown["Energy"] == "20.8 kWh"
    assert shown["Above reserve"] == "1.30 h"
    assert shown["Approval"] == "2 persons"
    assert shown["Cost"] == "1.50 EUR"
    assert {label: value for label, value, _ in figures_of({**plan, "money": None})}["Cost"] == "no tariff"
    assert {label: value for label, value, _ in figures_of({**plan, "tier": None})}[
        "Approval"
    ] == "nobody may"


def test_compared_plans_mark_the_chosen() -> None:
    card = {
        "plan_id": "plan-1", "alternative": "deep", "direction": "discharge", "discharge_peak_kw": 16.5,
        "charge_peak_kw": 0.0, "discharge_kwh": 20.8, "relief_kw": 17.4, "reserve_margin_h": 1.3, "sites": 6,
    }  # fmt: skip
    rows = alternative_rows([card, {**card, "plan_id": "plan-2", "alternative": ""}], "plan-1")
    assert [(row["chosen"], row["alternative"], row["peak_kw"]) for row in rows] == [
        (True, "deep", 16.5), (False, "2", 16.5),
    ]  # fmt: skip


def test_commands_without_a_word_are_waiting() -> None:
    assert acknowledged([{"verdict": "accepted"}, {"verdict": ""}, {"verdict": "accepted"}]) == {
        "accepted": 2, "waiting": 1,
    }  # fmt: skip


def test_why_nothing_was_sent_is_in_controls_words() -> None:
    assert "nobody has asked" in not_sent_words({"outcome": None})
    refused = {"outcome": "refused", "doc": {"broken": [{"message": "stale reading"}]}}
    assert not_sent_words({"outcome": refused}).endswith("refused; stale reading")
