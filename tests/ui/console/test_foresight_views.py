from zoneinfo import ZoneInfo

from tests.ui.console.examples import AT
from ui.console.component_chart import component_figure
from ui.console.views.fleet import alert_label
from ui.console.views.forecasts import worst_rows
from ui.console.views.incidents import entry_line, evidence_lines


def test_an_alert_is_one_line_that_begins_with_how_long_until_then() -> None:
    alert = {
        "seconds_left": 5400.0,
        "kind": "reserve_breach",
        "subject_id": "cbs-0007",
        "severity": "critical",
    }
    assert alert_label(alert) == "1 h 30 min: reserve breach at cbs-0007 (critical)"
    assert alert_label({**alert, "seconds_left": 0.0}).startswith("now: ")


def test_the_worst_forecasts_are_shown_in_percent_with_every_model_that_served() -> None:
    [row] = worst_rows(
        [
            {
                "subject_id": "cbs-0007", "models": ["prophet", "ridge"], "forecasts": 3, "mae_w": 200, "wape_frac": 0.2,
                "over_naive_ratio": None, "covered_80_frac": 0.5, "covered_95_frac": 0.75,
            }
        ]
    )  # fmt: skip
    assert (row["model"], row["wape_pct"], row["covered_80_pct"], row["covered_95_pct"]) == (
        "prophet, ridge",
        20.0,
        50.0,
        75.0,
    )
    assert row["over_naive"] is None


def test_the_parts_of_a_forecast_stand_below_each_other_in_kw() -> None:
    found = {
        "at": ["2026-03-10T12:00:00Z", "2026-03-10T12:15:00Z"], "trend_w": [1e3, 1.5e3], "daily_w": [-500.0, 250.0],
        "weekly_w": [0.0, 100.0],
    }  # fmt: skip
    figure = component_figure(found, ZoneInfo("UTC"))
    assert {trace.name: list(trace.y) for trace in figure.data} == {
        "Trend": [1.0, 1.5],
        "The day adds": [-0.5, 0.25],
        "The week adds": [0.0, 0.1],
    }
    assert [trace.yaxis for trace in figure.data] == ["y", "y2", "y3"]


def test_what_people_and_sites_wrote_fetches_no_picture_and_sets_no_formula() -> None:
    bait = "![](https://x.example/a.png) $x$"
    tame = "!\\[](https://x.example/a.png) \\$x\\$"
    [line] = evidence_lines({"seen": bait})
    assert line == f"seen: **{tame}**"
    entry = {"at": AT, "who": "olga", "state": "acknowledged", "why": bait}
    assert entry_line(entry, ZoneInfo("UTC")) == f"10 Mar 12:00 UTC **olga**: acknowledged, {tame}"
