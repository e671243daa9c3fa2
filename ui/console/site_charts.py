"""One site's history in pictures: power with the forecast band, SoC against the reserve, voltage, temperature. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.charts import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    band,
    blank,
    faint,
    kilo_of,
    line,
    mark,
    parsed,
)

STEP = timedelta(minutes=15)
LOWER, MIDDLE, UPPER = 0.025, 0.5, 0.975
# What each view of the history shows: metric, colour.
VIEWS: Mapping[str, Sequence[tuple[str, str]]] = {
    "power": (("load_w", PURPLE), ("grid_w", BLUE), ("battery_w", GREEN), ("pv_w", ORANGE)),
    "soc": (("soc_frac", GREEN),),
    "voltage": (("bus_v", BLUE),),
    "temperature": (("battery_c", VERMILLION), ("ambient_c", SKY)),
}


def quantile(forecast: Doc, q: float) -> list[float]:
    """Return one quantile of a forecast by quarter hour, W; the nearest that it has."""
    quantiles: Sequence[float] = forecast["quantiles"]
    nearest = min(range(len(quantiles)), key=lambda k: abs(quantiles[k] - q))
    return list(forecast["values_w"][nearest])


def steps_of(forecast: Doc, zone: ZoneInfo) -> list[datetime]:
    """Return the beginnings of a forecast's quarter hours on the reader's clock."""
    start = datetime.fromisoformat(forecast["start"]).astimezone(zone)
    return [start + k * STEP for k in range(len(forecast["values_w"][0]))]


def forecast_onto(
    figure: go.Figure,
    forecast: Doc,
    zone: ZoneInfo,
    until: datetime | None = None,
    name: str = texts.CHART_FORECAST,
    colour: str = PURPLE,
) -> None:
    """Add a forecast's median and 95 % band, kW."""
    at = [one for one in steps_of(forecast, zone) if until is None or one <= until]
    lower, middle, upper = (kilo_of(quantile(forecast, q)[: len(at)]) for q in (LOWER, MIDDLE, UPPER))
    band(
        figure,
        at,
        [x or 0.0 for x in lower],
        [x or 0.0 for x in upper],
        name=texts.CHART_BAND.format(what=name),
        colour=colour,
    )
    line(figure, at, middle, name=texts.CHART_MEDIAN.format(what=name), colour=colour, unit="kW", dash="dot")


def history_figure(
    view: str, series: Mapping[str, Doc], zone: ZoneInfo, now: datetime, forecast: Doc | None = None
) -> go.Figure:
    """Return a view of the history; powers in kW, SoC in percent."""
    units = {"power": "kW", "soc": "%", "voltage": "V", "temperature": "°C"}
    figure = blank(360, unit=units[view])
    for metric, colour in VIEWS[view]:
        found = series.get(metric)
        if found and found["at"]:
            values = scaled(metric, found["mean"])
            name = texts.HISTORY_LINES[metric]
            line(figure, parsed(found["at"], zone), values, name=name, colour=colour, unit=units[view])
    if view == "power" and forecast is not None:
        forecast_onto(figure, forecast, zone, now + timedelta(hours=24), texts.CHART_LOAD)
        mark(figure, now.astimezone(zone), texts.NOW)
    if view == "soc":
        figure.update_yaxes(range=[0, 103])
    return figure


def scaled(metric: str, values: Sequence[float | None]) -> list[float | None]:
    """Return values in the units of screens: kW for powers, percent for fractions."""
    if metric.endswith("_w"):
        return kilo_of(values)
    if metric.endswith("_frac"):
        return [None if one is None else 100.0 * one for one in values]
    return list(values)


def reserve_frac(site: Doc, rated_wh: float) -> float | None:
    """Return about at which SoC the site's reserve begins, 0..1: where its spare energy would be used up.

    The spare energy over the present capacity (rated times SoH), below the present SoC.
    """
    soc, spare = site["soc_frac"], site["spare_wh"]
    capacity_wh = rated_wh * (1.0 if site["soh_frac"] is None else site["soh_frac"])
    if soc is None or spare is None or capacity_wh <= 0.0:
        return None
    return float(min(1.0, max(0.0, soc - spare / capacity_wh)))


def add_reserve(figure: go.Figure, frac: float | None) -> None:
    """Add where the reserve begins to a chart of the SoC, percent."""
    if frac is None:
        return
    figure.add_hrect(y0=0, y1=100.0 * frac, fillcolor=faint(VERMILLION, 0.10), line_width=0)
    figure.add_hline(
        y=100.0 * frac, line={"color": VERMILLION, "width": 1, "dash": "dash"}, annotation_text=texts.CHART_RESERVE,
        annotation_position="top left",
    )  # fmt: skip


def add_incidents(
    figure: go.Figure, incidents: Sequence[Doc], zone: ZoneInfo, start: datetime, now: datetime
) -> None:
    """Shade when something was wrong, with what it was."""
    for one in incidents:
        since = max(start, datetime.fromisoformat(one["since"]))
        until = now if one["until"] is None else datetime.fromisoformat(one["until"])
        if until <= start:
            continue
        figure.add_vrect(
            x0=since.astimezone(zone), x1=until.astimezone(zone), fillcolor=faint(ORANGE, 0.18), line_width=0,
            annotation_text=one["kind"].replace("_", " "), annotation_position="top left", annotation_font_size=10,
        )  # fmt: skip


def soc_bar(frac: float, reserve: float | None) -> go.Figure:
    """Return the SoC as a bar with the reserve marked, percent."""
    figure = blank(90, legend=False)
    figure.add_trace(
        go.Bar(
            x=[100.0 * frac],
            y=[""],
            orientation="h",
            marker={"color": GREEN},
            hovertemplate="%{x:.1f} %<extra></extra>",
        )
    )
    if reserve is not None:
        figure.add_vrect(x0=0, x1=100.0 * reserve, fillcolor=faint(VERMILLION, 0.30), line_width=0)
        figure.add_vline(x=100.0 * reserve, line={"color": VERMILLION, "width": 3})
    figure.update_layout(
        hovermode="closest", dragmode=False, shapes=figure.layout.shapes, plot_bgcolor=faint(GREY, 0.10)
    )
    figure.update_xaxes(range=[0, 100], ticksuffix=" %", dtick=25, showgrid=False, automargin=True)
    figure.update_yaxes(showticklabels=False, fixedrange=True)
    return figure
