"""Pictures of what a tool found, for the conversation. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.charts import BLUE, PURPLE, VERMILLION, band, blank, kilo_of, line, parsed
from ui.console.site_charts import forecast_onto, scaled

_HEIGHT = 240
_UNITS: Mapping[str, str] = {"soc_frac": "%", "bus_v": "V", "battery_c": "°C"}


def window_figure(result: Doc, zone: ZoneInfo) -> go.Figure | None:
    """Return a metric's course as `telemetry_window` found it, in the units of screens; None below two points."""
    points: list[Any] = result.get("points") or []
    if len(points) < 2:
        return None
    metric, unit = str(result["metric"]), _UNITS.get(str(result["metric"]), "kW")
    figure = blank(_HEIGHT, legend=False, unit=unit)
    at = [datetime.fromisoformat(one[0]).astimezone(zone) for one in points]
    values = scaled(metric, [one[1] for one in points])
    line(figure, at, values, name=metric.replace("_", " "), colour=BLUE, unit=unit)
    return figure


def same_forecast(result: Doc, made_at: str | None) -> bool:
    """Return whether a forecast is the one that an answer rests on, not a newer one."""
    told = result.get("made_at")
    return bool(told and made_at) and datetime.fromisoformat(str(told)) == datetime.fromisoformat(
        str(made_at)
    )


def series_figure(series: Doc, zone: ZoneInfo) -> go.Figure | None:
    """Return a metric's course as the API gives it, in the units of screens; None below two points."""
    points = [[at, mean] for at, mean in zip(series["at"], series["mean"], strict=True) if mean is not None]
    return window_figure({"metric": series["metric"], "points": points}, zone)


def site_forecast_figure(forecast: Doc, zone: ZoneInfo, name: str = texts.CHART_LOAD) -> go.Figure:
    """Return a site's forecast with its band."""
    figure = blank(_HEIGHT, unit="kW")
    forecast_onto(figure, forecast, zone, name=name)
    return figure


def feeder_forecast_figure(ahead: Doc, limit_w: float, zone: ZoneInfo) -> go.Figure:
    """Return a feeder's expected import with its band, against its limit."""
    figure = blank(_HEIGHT, unit="kW")
    at = parsed(ahead["at"], zone)
    lower, median, upper = (kilo_of(ahead[name]) for name in ("lower_w", "median_w", "upper_w"))
    band(
        figure,
        at,
        [x or 0.0 for x in lower],
        [x or 0.0 for x in upper],
        name=texts.CHART_BAND.format(what=texts.CHART_IMPORT),
        colour=PURPLE,
    )
    line(
        figure,
        at,
        median,
        name=texts.CHART_MEDIAN.format(what=texts.CHART_IMPORT),
        colour=PURPLE,
        unit="kW",
        dash="dot",
    )
    figure.add_hline(
        y=limit_w / 1e3,
        line={"color": VERMILLION, "dash": "dash", "width": 2},
        annotation_text=texts.FORECASTS_LIMIT,
    )
    return figure
