"""Plans in pictures: when they run, what they ask by quarter hour, what they do to feeders, what was delivered. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
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
    STATUS_COLOURS,
    VERMILLION,
    blank,
    faint,
    mark,
)
from ui.console.formats import local, named, span

STEP = timedelta(minutes=15)
_MOST_CURVES = 8
_CURVE_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, GREY)
_DASHES = ("solid", "dash", "dot", "dashdot")


def curve(plan: Doc, total_w: Sequence[float], zone: ZoneInfo) -> tuple[list[datetime], list[float]]:
    """Return setpoints by quarter hour of a plan, kW, with the end of the last: a staircase."""
    start = datetime.fromisoformat(plan["window_start"]).astimezone(zone)
    values = [one / 1e3 for one in total_w]
    at = [start + k * STEP for k in range(len(values) + 1)]
    return at, [*values, values[-1]] if values else []


def curves_of(plan: Doc) -> list[tuple[str, Sequence[float]]]:
    """Return a plan's curves by name, W: one of each feeder, the heaviest first; beyond eight the rest is one curve.

    Where no site is registered any more there is just the sum of all.
    """
    found: list[tuple[str, Sequence[float]]] = [
        (one["feeder_id"], one["total_w"])
        for one in sorted(plan["feeder_curves"], key=lambda one: -sum(abs(w) for w in one["total_w"]))
    ]
    if not found:
        return [(texts.CHART_SETPOINT, plan["total_w"])] if plan["total_w"] else []
    if len(found) <= _MOST_CURVES:
        return found
    alone, rest = found[: _MOST_CURVES - 1], found[_MOST_CURVES - 1 :]
    together = [sum(column) for column in zip(*(values for _, values in rest), strict=True)]
    return [*alone, (texts.CHART_OTHER_FEEDERS.format(count=len(rest)), together)]


def curve_figure(plan: Doc, zone: ZoneInfo) -> go.Figure | None:
    """Return what a plan asks of each feeder's sites together; None where it has no schedule. Charging is up.

    Curves differ by dash as well as by colour, and their names stand in the legend.
    """
    curves = curves_of(plan)
    if not curves:
        return None
    figure = blank(220 if len(curves) == 1 else 280, legend=True, unit="kW")
    for k, (name, total_w) in enumerate(curves):
        at, values = curve(plan, total_w, zone)
        colour = _CURVE_COLOURS[k % len(_CURVE_COLOURS)]
        figure.add_trace(
            go.Scatter(
                x=at, y=values, mode="lines", name=name, hovertemplate="%{y:,.2f} kW",
                line={"shape": "hv", "color": colour, "width": 2, "dash": _DASHES[k % len(_DASHES)]},
                fill="tozeroy" if len(curves) == 1 else None, fillcolor=faint(colour),
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
        ("commanded_measured_wh", texts.CHART_COMMANDED, SKY),
        ("delivered_wh", texts.CHART_DELIVERED, BLUE),
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
                name=named(texts.STATUS, status),
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
    mark(figure, now.astimezone(zone), texts.NOW)
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
