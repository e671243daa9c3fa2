"""The fleet in pictures and rows: map, feeders against their limits, hours of backup. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.charts import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    STATE_COLOURS,
    STATE_SYMBOLS,
    VERMILLION,
    blank,
)
from ui.console.formats import MOST_AUTONOMY_H, hours, named, percent

_LABELLED = 30
_MANY = 1500
_WIDTHS_H = (0.5, 1.0, 2.0, 4.0, 8.0)
_MOST_BINS = 16


def state_of(site: Doc) -> str:
    """Return a site's state as it is shown: who is not online is offline, whatever it said last."""
    return str(site["state"] or "unknown") if site["online"] else "offline"


def states_of(sites: Sequence[Doc]) -> dict[str, int]:
    """Return how many sites are in which state, the troubled ones first."""
    order = ("outage", "fault", "offline", "recovery", "recharge", "dispatch", "float")
    counts: dict[str, int] = {}
    for site in sites:
        counts[state_of(site)] = counts.get(state_of(site), 0) + 1
    return dict(
        sorted(counts.items(), key=lambda one: order.index(one[0]) if one[0] in order else len(order))
    )


def site_rows(sites: Sequence[Doc], state: str | None = None) -> list[dict[str, Any]]:
    """Return the table of sites, those with the least margin first; columns are keys of `texts.COLUMN`."""
    chosen = [one for one in sites if state is None or state_of(one) == state]
    chosen = sorted(chosen, key=lambda one: (_or_last(one["margin_h"]), one["site_id"]))
    return [
        {
            "site_id": one["site_id"],
            "name": one["name"],
            "state": named(texts.STATE, state_of(one)),
            "mode": named(texts.MODES, one["mode"]),
            "feeder_id": one["feeder_id"],
            "load_kw": _kilo(one["load_w"]),
            "battery_kw": _kilo(one["battery_w"]),
            "soc_pct": None if one["soc_frac"] is None else round(100.0 * one["soc_frac"], 1),
            "autonomy_h": one["autonomy_h"],
            "margin_h": one["margin_h"],
            "spare_kwh": _kilo(one["spare_wh"]),
            "incidents": one["open_incidents"],
            "simulated": one["simulated"],
        }
        for one in chosen
    ]


def _or_last(value: float | None) -> float:
    return math.inf if value is None else value


def _kilo(value: float | None) -> float | None:
    return None if value is None else round(value / 1e3, 2)


def map_figure(sites: Sequence[Doc], height: int = 380) -> go.Figure:
    """Return the sites on a plain ground: longitude and latitude in true proportion, one trace a state."""
    figure = blank(height)
    middle = math.radians(sum(one["latitude"] for one in sites) / max(1, len(sites)))
    many = len(sites) > _MANY
    trace_of = go.Scattergl if many else go.Scatter
    for state in states_of(sites):
        here = [one for one in sites if state_of(one) == state]
        figure.add_trace(
            trace_of(
                x=[one["longitude"] for one in here],
                y=[one["latitude"] for one in here],
                mode="markers+text" if len(sites) <= _LABELLED else "markers",
                text=[one["site_id"] for one in here],
                textposition="top center",
                textfont={"size": 10},
                customdata=[one["site_id"] for one in here],
                hovertext=[hover_of(one) for one in here],
                hoverinfo="text",
                name=f"{named(texts.STATE, state)} ({len(here)})",
                marker={
                    "color": STATE_COLOURS.get(state, GREY),
                    "symbol": STATE_SYMBOLS.get(state, "circle"),
                    "size": 6 if many else 13,
                    "line": {"width": 1, "color": STATE_COLOURS.get(state, GREY)},
                },
            )
        )
    figure.update_layout(hovermode="closest", dragmode="pan")
    figure.update_xaxes(title=None, ticksuffix="°", nticks=6, zeroline=False)
    figure.update_yaxes(
        title=None, ticksuffix="°", nticks=5, zeroline=False, scaleanchor="x", scaleratio=1.0 / max(0.1, math.cos(middle)),
    )  # fmt: skip
    return figure


def hover_of(site: Doc) -> str:
    """Return what a site says about itself when pointed at."""
    lines = [
        f"<b>{site['site_id']}</b> {site['name']}",
        texts.SITE_POINT_STATE.format(
            state=named(texts.STATE, state_of(site)), mode=named(texts.MODES, site["mode"])
        ),
        texts.SITE_POINT.format(
            soc=percent(site["soc_frac"]), backup=hours(site["autonomy_h"]), margin=hours(site["margin_h"])
        ),
    ]
    if site["simulated"]:
        lines.append(texts.SIMULATED)
    return "<br>".join(lines)


def feeder_figure(feeders: Sequence[Doc]) -> go.Figure:
    """Return each feeder's background load and its sites' import, stacked, with the limit as an upright mark; kW."""
    figure = blank(max(150, 46 * len(feeders) + 70))
    names = [one["name"] or one["feeder_id"] for one in feeders]
    parts: Mapping[str, tuple[str, str]] = {
        "background_w": (texts.CHART_OTHER_LOAD, SKY),
        "sites_w": (texts.CHART_OUR_SITES, BLUE),
    }
    for key, (label, colour) in parts.items():
        figure.add_trace(
            go.Bar(
                y=names, x=[(one[key] or 0.0) / 1e3 for one in feeders], name=label, orientation="h",
                marker={"color": colour}, hovertemplate="%{x:,.1f} kW",
            )
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            y=names, x=[one["import_limit_w"] / 1e3 for one in feeders], name=texts.CHART_LIMIT, mode="markers",
            marker={"symbol": "line-ns", "size": 18, "line": {"width": 3, "color": VERMILLION}},
            hovertemplate="%{x:,.1f} kW",
        )
    )  # fmt: skip
    figure.update_layout(barmode="stack", hovermode="y unified", bargap=0.45, dragmode=False)
    figure.update_xaxes(title="kW", rangemode="tozero")
    figure.update_yaxes(title=None, autorange="reversed")
    return figure


def unknown_feeders(feeders: Sequence[Doc]) -> list[str]:
    """Return the feeders whose import is not known, because their background load is not."""
    return [one["feeder_id"] for one in feeders if one["import_w"] is None]


def histogram(values_h: Sequence[float]) -> tuple[list[float], list[int]]:
    """Return left edges and counts of hours of backup, in the narrowest bins that give at most 16; the last holds the rest."""
    most = min(max(values_h, default=0.0), MOST_AUTONOMY_H)
    width = next((one for one in _WIDTHS_H if most / one < _MOST_BINS), _WIDTHS_H[-1])
    counts = [0] * (int(most / width) + 1)
    for value in values_h:
        counts[min(int(value / width), len(counts) - 1)] += 1
    return [width * k for k in range(len(counts))], counts


def backup_figure(sites: Sequence[Doc]) -> go.Figure | None:
    """Return how many sites have how many hours of backup; None where none has reported."""
    known = [one["autonomy_h"] for one in sites if one["autonomy_h"] is not None]
    if not known:
        return None
    edges, counts = histogram(known)
    width = edges[1] - edges[0] if len(edges) > 1 else _WIDTHS_H[0]
    figure = blank(230, legend=False)
    figure.add_trace(
        go.Bar(
            x=[edge + width / 2 for edge in edges], y=counts, width=width * 0.92, marker={"color": GREEN},
            customdata=[f"{edge:g}–{edge + width:g} h" for edge in edges],
            hovertemplate=texts.CHART_SITES_COUNT.format(hours="%{customdata}", sites="%{y}") + "<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(hovermode="closest", dragmode=False)
    figure.update_xaxes(title=texts.CHART_BACKUP_HOURS, rangemode="tozero")
    figure.update_yaxes(title=texts.CHART_SITES, tickformat="d", rangemode="tozero")
    return figure


def worst(sites: Sequence[Doc], most: int = 10) -> list[Doc]:
    """Return the sites with the least backup above their reserve, the worst first."""
    known = [one for one in sites if one["margin_h"] is not None]
    return sorted(known, key=lambda one: (one["margin_h"], one["site_id"]))[:most]


def worst_figure(sites: Sequence[Doc]) -> go.Figure | None:
    """Return the ten least margins over the reserve, h; below zero in another colour and left of the line."""
    found = worst(sites)
    if not found:
        return None
    figure = blank(max(230, 24 * len(found) + 50), legend=False)
    figure.add_trace(
        go.Bar(
            y=[one["site_id"] for one in found], x=[one["margin_h"] for one in found], orientation="h",
            marker={"color": [VERMILLION if one["margin_h"] < 0.0 else ORANGE if one["margin_h"] < 1.0 else GREEN for one in found]},
            customdata=[
                texts.CHART_MARGIN_OF.format(backup=hours(one["autonomy_h"]), reserve=hours(one["reserve_h"])) for one in found
            ],
            hovertemplate=texts.CHART_MARGIN_POINT.format(site="%{y}", hours="%{x:.2f}") + "<br>%{customdata}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(hovermode="closest", dragmode=False, bargap=0.4)
    figure.update_xaxes(title=texts.CHART_MARGIN, zeroline=True, zerolinewidth=2)
    figure.update_yaxes(title=None, autorange="reversed", type="category")
    return figure
