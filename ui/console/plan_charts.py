"""Plans in pictures: when they run, what they ask by quarter hour, what they do to feeders, what was delivered. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.charts import BLUE, GREY, SKY, STATUS_COLOURS, VERMILLION, blank, faint, mark
from ui.console.formats import local, span

STEP = timedelta(minutes=15)


def curve(plan: Doc, zone: ZoneInfo) -> tuple[list[datetime], list[float]]:
    """Return a plan's setpoint of all its sites by quarter hour, kW, with the end of the last: a staircase."""
    start = datetime.fromisoformat(plan["window_start"]).astimezone(zone)
    values = [one / 1e3 for one in plan["total_w"]]
    at = [start + k * STEP for k in range(len(values) + 1)]
    return at, [*values, values[-1]] if values else []


def curve_figure(plan: Doc, zone: ZoneInfo) -> go.Figure | None:
    """Return what a plan asks of all its sites together; None where it has no schedule. Charging is up."""
    at, values = curve(plan, zone)
    if not values:
        return None
    figure = blank(220, legend=False, unit="kW")
    figure.add_trace(
        go.Scatter(
            x=at, y=values, mode="lines", line={"shape": "hv", "color": BLUE, "width": 2}, fill="tozeroy",
            fillcolor=faint(BLUE), hovertemplate="%{y:,.2f} kW", name=texts.CHART_SETPOINT,
        )
    )  # fmt: skip
    figure.update_yaxes(title=texts.CHART_CHARGING_UP, zeroline=True, zerolinewidth=1)
    figure.update_layout(dragmode=False)
    return figure


def effect_figure(feeders: Sequence[Doc]) -> go.Figure:
    """Return each feeder's expected peak import without and with the plan, and its limit, kW."""
    figure = blank(max(170, 58 * len(feeders) + 70))
    names = [one["feeder_id"] for one in feeders]
    for key, label, colour in (
        ("peak_without_w", texts.CHART_WITHOUT, SKY),
        ("peak_with_w", texts.CHART_WITH, BLUE),
    ):
        figure.add_trace(
            go.Bar(
                y=names, x=[one[key] / 1e3 for one in feeders], name=label, orientation="h", marker={"color": colour},
                hovertemplate="%{x:,.1f} kW",
            )
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            y=names, x=[one["limit_w"] / 1e3 for one in feeders], name=texts.CHART_LIMIT, mode="markers",
            marker={"symbol": "line-ns", "size": 26, "line": {"width": 3, "color": VERMILLION}},
            hovertemplate="%{x:,.1f} kW",
        )
    )  # fmt: skip
    lowest = min(min(one["peak_with_w"], one["limit_w"]) for one in feeders) / 1e3
    highest = max(max(one["peak_without_w"], one["limit_w"]) for one in feeders) / 1e3
    room = max(1.0, 0.15 * (highest - lowest))
    figure.update_layout(barmode="group", hovermode="y unified", bargap=0.35, dragmode=False)
    figure.update_xaxes(
        title=texts.CHART_PEAK,
        range=[max(0.0, lowest - 6 * room), highest + room],
    )
    figure.update_yaxes(title=None, autorange="reversed", type="category")
    return figure


def delivery_figure(delivery: Doc, zone: ZoneInfo) -> go.Figure | None:
    """Return commanded against delivered energy by quarter hour, kWh; None before the first is over.

    Commanded is what was asked of just the sites that have a meter value, so that both bars are about the same sites.
    """
    quarters = delivery["quarter_hours"]
    if not quarters:
        return None
    at = [datetime.fromisoformat(one["start"]).astimezone(zone) for one in quarters]
    figure = blank(260, unit="kWh")
    for key, label, colour in (
        ("commanded_measured_wh", "commanded", SKY),
        ("delivered_wh", "delivered", BLUE),
    ):
        figure.add_trace(
            go.Bar(
                x=at, y=[one[key] / 1e3 for one in quarters], name=label, marker={"color": colour},
                hovertemplate="%{y:,.3f} kWh",
            )
        )  # fmt: skip
    figure.update_layout(barmode="group", bargap=0.3, dragmode=False)
    return figure


def delivered_frac(delivery: Doc) -> float | None:
    """Return delivered over commanded energy of the sites that have a meter value; None where nothing was commanded."""
    asked = sum(one["commanded_measured_wh"] for one in delivery["quarter_hours"])
    got = sum(one["delivered_wh"] for one in delivery["quarter_hours"])
    return None if asked == 0.0 else float(got / asked)


def timeline_figure(plans: Sequence[Doc], now: datetime, zone: ZoneInfo) -> go.Figure:
    """Return when plans run, one bar each, by status; the present is marked."""
    figure = blank(max(140, 26 * len(plans) + 70))
    for status in dict.fromkeys(one["status"] for one in plans):
        here = [one for one in plans if one["status"] == status]
        figure.add_trace(
            go.Bar(
                y=[short(one["plan_id"]) for one in here],
                base=[local(one["window_start"], zone) for one in here],
                x=[_length_ms(one) for one in here],
                orientation="h",
                name=status,
                marker={"color": STATUS_COLOURS.get(status, GREY)},
                customdata=[span(one["window_start"], one["window_end"], zone) for one in here],
                hovertemplate="%{y}<br>%{customdata}",
            )
        )
    figure.update_layout(barmode="overlay", hovermode="closest", bargap=0.35, dragmode=False)
    figure.update_xaxes(type="date")
    figure.update_yaxes(
        title=None, autorange="reversed", type="category", categoryorder="array",
        categoryarray=[short(one["plan_id"]) for one in plans],
    )  # fmt: skip
    mark(figure, now.astimezone(zone), "now")
    return figure


def short(plan_id: str) -> str:
    """Return a plan's id without what all of them begin with."""
    return plan_id.removeprefix("plan-").removeprefix("cycle-")


def _length_ms(plan: Doc) -> float:
    length = datetime.fromisoformat(plan["window_end"]) - datetime.fromisoformat(plan["window_start"])
    return length.total_seconds() * 1e3


def alternative_rows(cards: Sequence[Doc], chosen: str) -> list[dict[str, Any]]:
    """Return the plans that were compared, the chosen one marked."""
    return [
        {
            "chosen": one["plan_id"] == chosen,
            "alternative": one.get("alternative") or short(str(one["plan_id"])),
            "direction": one["direction"],
            "peak_kw": float(max(one["discharge_peak_kw"], one["charge_peak_kw"])),
            "discharge_kwh": float(one["discharge_kwh"]),
            "relief_kw": float(one["relief_kw"]),
            "reserve_margin_h": float(one["reserve_margin_h"]),
            "sites": one["sites"],
        }
        for one in cards
    ]


def acknowledged(commands: Sequence[Doc]) -> dict[str, int]:
    """Return how many commands have which last word; those without one are waiting."""
    counts: dict[str, int] = {}
    for one in commands:
        word = one["verdict"] or "waiting"
        counts[word] = counts.get(word, 0) + 1
    return counts
