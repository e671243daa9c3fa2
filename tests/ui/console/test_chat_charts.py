from zoneinfo import ZoneInfo

from ui.console.chat_charts import feeder_forecast_figure, same_forecast, series_figure, window_figure

UTC_ZONE = ZoneInfo("UTC")


def test_a_window_is_drawn_in_the_units_of_screens() -> None:
    points = [["2026-03-10T12:00+00:00", 1500.0], ["2026-03-10T12:15+00:00", 1250.0]]
    figure = window_figure({"metric": "load_w", "points": points}, UTC_ZONE)
    assert figure is not None
    assert list(figure.data[0].y) == [1.5, 1.25]
    assert figure.layout.yaxis.title.text == "kW"
    charge = window_figure(
        {"metric": "soc_frac", "points": [[points[0][0], 0.5], [points[1][0], 0.25]]}, UTC_ZONE
    )
    assert charge is not None
    assert list(charge.data[0].y) == [50.0, 25.0]
    assert window_figure({"metric": "load_w", "points": points[:1]}, UTC_ZONE) is None
    assert window_figure({"metric": "load_w"}, UTC_ZONE) is None


def test_a_series_of_the_api_is_drawn_without_its_gaps() -> None:
    series = {
        "metric": "pv_w",
        "at": ["2026-03-10T12:00:00Z", "2026-03-10T12:15:00Z", "2026-03-10T12:30:00Z"],
        "mean": [1500.0, None, 500.0],
    }
    figure = series_figure(series, UTC_ZONE)
    assert figure is not None
    assert list(figure.data[0].y) == [1.5, 0.5]
    assert series_figure({**series, "mean": [1500.0, None, None]}, UTC_ZONE) is None


def test_a_newer_forecast_is_not_the_one_that_the_answer_rests_on() -> None:
    told = {"made_at": "2026-03-10T12:00:00+00:00"}
    assert same_forecast(told, "2026-03-10T12:00:00Z")
    assert not same_forecast(told, "2026-03-10T12:15:00Z")
    assert not same_forecast({}, "2026-03-10T12:15:00Z")


def test_a_feeders_outlook_stands_against_its_limit() -> None:
    ahead = {
        "at": ["2026-03-10T12:00:00Z", "2026-03-10T12:15:00Z"],
        "lower_w": [1e3, 2e3],
        "median_w": [2e3, 3e3],
        "upper_w": [3e3, 5e3],
    }
    figure = feeder_forecast_figure(ahead, 4e3, UTC_ZONE)
    lines = {trace.name: list(trace.y) for trace in figure.data if trace.name}
    assert lines["expected import, median"] == [2.0, 3.0]
    assert lines["expected import, 95 % band"] == [1.0, 2.0]
    assert figure.layout.shapes[0].y0 == 4.0
