"""The availability set as days of a fleet."""

import pandas as pd

from ui.bench.outage_files import OutageData, as_history


def test_rows_become_days_and_alarms_of_sites_left_out_are_left_out() -> None:
    days = pd.to_datetime(["2025-01-01", "2025-01-03"])
    rows = pd.DataFrame({"site": "b", "date": days, "failed": [0, 1]})
    rows[[f"avail_{name}_pct" for name in ("base", "2g", "3g", "4g")]] = [
        [100.0] * 4,
        [99.0, 98.0, 97.0, 96.0],
    ]
    alarms = pd.DataFrame(
        {
            "site": ["a", "b"], "date": [days[0], days[1]], "alarm_count": [2, 9],
            "fault_time_min": [5.0, None], "alarms": ["LossOfMains", "TEMP high"],
        }
    )  # fmt: skip
    sites = pd.DataFrame(
        {"site": ["b"], "x_rel": [1.0], "y_rel": [2.0], "vendor": ["v"], "antenna_height_m": [30.0]}
    )
    weather = pd.DataFrame({"date": pd.date_range("2025-01-01", periods=3), "wind": [1.0, 2.0, 3.0]})
    found, at = as_history(
        OutageData(rows=rows, alarms=alarms, sites=sites, weather=weather), weather_ahead=False
    )
    assert at.tolist() == [[0, 0], [0, 2]]
    assert found.seen.tolist() == [[True, False, True]]
    assert found.failed.tolist() == [[False, False, True]]
    assert found.deficit[0, 2] == 1.0
    # Nine alarms count as five; the site that was left out has none of its own here.
    assert found.counts["alarms"].tolist() == [[0.0, 0.0, 5.0]]
    assert found.counts["heat"].tolist() == [[0.0, 0.0, 1.0]]
    assert found.counts["power"].tolist() == [[0.0, 0.0, 0.0]]
