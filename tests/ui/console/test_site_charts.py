from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.ui.console.examples import AT, a_site
from ui.console.charts import faint, with_gaps
from ui.console.flow_picture import direction, flows_of, power_flow_picture, power_flow_svg
from ui.console.site_charts import add_incidents, history_figure, quantile, reserve_frac, scaled, steps_of

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
FORECAST = {
    "start": AT,
    "quantiles": [0.025, 0.5, 0.975],
    "values_w": [[900.0, 800.0], [1000.0, 1000.0], [1500.0, 1600.0]],
}


def test_a_line_breaks_where_nothing_was_measured() -> None:
    minutes = [0, 1, 2, 3, 60, 61]
    at = [NOW + timedelta(minutes=k) for k in minutes]
    where, values = with_gaps(at, [1.0] * 6)
    assert values == [1.0, 1.0, 1.0, 1.0, None, 1.0, 1.0]
    assert where[4] == NOW + timedelta(minutes=31.5)


def test_a_steady_line_does_not_break() -> None:
    at = [NOW + timedelta(minutes=k) for k in range(5)]
    assert with_gaps(at, [2.0] * 5) == (at, [2.0] * 5)


def test_a_forecast_gives_its_quantiles_on_quarter_hours() -> None:
    assert quantile(FORECAST, 0.975) == [1500.0, 1600.0]
    assert steps_of(FORECAST, UTC_ZONE) == [NOW, NOW + timedelta(minutes=15)]


def test_screens_show_kw_and_percent() -> None:
    assert scaled("load_w", [1500.0, None]) == [1.5, None]
    assert scaled("soc_frac", [0.5]) == [50.0]
    assert scaled("bus_v", [54.4]) == [54.4]


def test_history_holds_the_measured_and_the_forecast_band_in_kw() -> None:
    series = {"load_w": {"at": [AT], "mean": [2000.0]}}
    figure = history_figure("power", series, UTC_ZONE, NOW, FORECAST)
    lines = {trace.name: list(trace.y) for trace in figure.data if trace.name}
    assert lines["load"] == [2.0]
    assert lines["load forecast, median"] == [1.0, 1.0]
    assert lines["load forecast, 95 % band"] == [0.9, 0.8]


@pytest.mark.parametrize(
    ("changes", "rated_wh", "frac"),
    [
        ({}, 10000.0, 0.5),  # 0.9 - 4000 / 10000
        ({"soh_frac": 0.8}, 10000.0, 0.4),  # 0.9 - 4000 / 8000
        ({"spare_wh": 50000.0}, 10000.0, 0.0),
        ({"soc_frac": None}, 10000.0, None),
        ({"spare_wh": None}, 10000.0, None),
        ({}, 0.0, None),
    ],
)
def test_the_reserve_begins_where_the_spare_energy_ends(
    changes: dict[str, Any], rated_wh: float, frac: float | None
) -> None:
    assert reserve_frac(a_site(**changes), rated_wh) == (None if frac is None else pytest.approx(frac))


def test_an_incident_that_ended_before_the_window_is_not_shaded() -> None:
    figure = history_figure("soc", {}, UTC_ZONE, NOW)
    gone = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z", "kind": "load"}
    goes_on = {"since": "2026-03-01T00:00:00Z", "until": None, "kind": "link_gap"}
    add_incidents(figure, [gone, goes_on], UTC_ZONE, NOW - timedelta(hours=1), NOW)
    assert [(one.x0, one.x1) for one in figure.layout.shapes] == [(NOW - timedelta(hours=1), NOW)]
    assert figure.layout.annotations[0].text == "link gap"


def test_the_arrow_of_the_battery_turns_with_its_sign_and_rests_below_20_w() -> None:
    def way(battery_w: float | None) -> int:
        flow = next(one for one in flows_of(a_site(battery_w=battery_w), None) if one.name == "battery")
        return direction(flow)

    assert [way(500.0), way(-500.0), way(4.0), way(None)] == [1, -1, 0, 0]


def test_pv_is_drawn_only_where_there_is_some() -> None:
    assert ">PV<" not in power_flow_svg(a_site())
    assert ">PV<" in power_flow_svg(a_site(pv_w=300.0))


def test_a_genset_is_drawn_only_where_there_is_one_and_says_whether_it_runs() -> None:
    assert ">Genset<" not in power_flow_svg(a_site())
    assert ">stands by<" in power_flow_svg(a_site(genset_w=0.0))
    burning = a_site(genset_w=2400.0, mains_ok=False)
    assert ">running<" in power_flow_svg(burning)
    assert "Genset 2.40 kW" in power_flow_picture(burning)
    assert [direction(one) for one in flows_of(burning, 2300.0) if one.name in {"grid", "genset"}] == [0, 1]


def test_a_lost_main_is_said_and_nothing_flows_from_it() -> None:
    site = a_site(mains_ok=False, grid_w=2100.0)
    assert "mains lost" in power_flow_svg(site)
    assert flows_of(site, None)[0].power_w == 0.0


def test_a_name_cannot_break_out_of_the_picture() -> None:
    picture = power_flow_picture(a_site(site_id='"><script>'))
    assert "<script" not in picture
    assert "Battery 4 W" in picture


def test_a_faint_colour_keeps_its_hue() -> None:
    assert faint("#0072B2", 0.5) == "rgba(0,114,178,0.5)"
