"""Battery health in pictures and rows: what is due in which month, how far state of health is known. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import plotly.graph_objects as go

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.charts import BLUE, GREY, ORANGE, VERMILLION, blank
from ui.console.formats import NOTHING, percent

_SOON, _MOST_BARS = 12, 20  # months that stand out; the weakest batteries drawn


def months_ahead(now: datetime, count: int) -> list[str]:
    """Return this month and the following ones as YYYY-MM."""
    first = now.year * 12 + now.month - 1
    return [f"{(first + k) // 12}-{(first + k) % 12 + 1:02d}" for k in range(count + 1)]


def due(batteries: Sequence[Doc], now: datetime, months: int) -> list[Doc]:
    """Return the batteries to replace within some months, the soonest first, then the weakest."""
    last = months_ahead(now, months)[-1]
    found = [one for one in batteries if one["replace_month"] is not None and one["replace_month"] <= last]
    return sorted(found, key=lambda one: (one["replace_month"], _soh(one), one["site_id"]))


def unknown(batteries: Sequence[Doc]) -> list[Doc]:
    """Return the batteries of which nothing is known."""
    return [one for one in batteries if one["soh"] is None or one["remaining"] is None]


def month_figure(found: Sequence[Doc], now: datetime, months: int) -> go.Figure:
    """Return how many batteries are due in each month; the coming year stands out by colour and by place."""
    names = months_ahead(now, months)
    counts = Counter(one["replace_month"] for one in found)
    overdue = sum(count for name, count in counts.items() if name < names[0])
    values = [counts[name] + (overdue if k == 0 else 0) for k, name in enumerate(names)]
    figure = blank(240, legend=False)
    figure.add_trace(
        go.Bar(
            x=names, y=values, marker={"color": [VERMILLION if k < _SOON else ORANGE for k in range(len(names))]},
            hovertemplate="%{x}: %{y}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(hovermode="closest", dragmode=False, bargap=0.2)
    figure.update_xaxes(type="category", title=None, nticks=12)
    figure.update_yaxes(title=texts.HEALTH_BATTERIES, tickformat="d", rangemode="tozero")
    return figure


def soh_figure(batteries: Sequence[Doc]) -> go.Figure | None:
    """Return the weakest batteries' state of health with its 95 % interval, and where their end of life lies."""
    known = [one for one in batteries if one["soh"] is not None]
    found = sorted(known, key=lambda one: (_soh(one), one["site_id"]))[:_MOST_BARS]
    if not found:
        return None
    figure = blank(max(200, 22 * len(found) + 60), legend=False)
    middle = [100.0 * _soh(one) for one in found]
    figure.add_trace(
        go.Scatter(
            x=middle, y=[one["site_id"] for one in found], mode="markers", marker={"color": BLUE, "size": 9},
            error_x={
                "type": "data", "symmetric": False, "color": GREY,
                "array": [100.0 * one["soh"]["high_frac"] - x for one, x in zip(found, middle, strict=True)],
                "arrayminus": [x - 100.0 * one["soh"]["low_frac"] for one, x in zip(found, middle, strict=True)],
            },
            hovertemplate="%{y}: %{x:.0f} %<extra></extra>",
        )
    )  # fmt: skip
    for floor in sorted({one["replace_at_frac"] for one in found}):
        figure.add_vline(x=100.0 * floor, line={"color": VERMILLION, "dash": "dash", "width": 2})
    figure.update_layout(hovermode="closest", dragmode=False)
    figure.update_xaxes(title=texts.HEALTH_SOH_AXIS, ticksuffix=" %")
    figure.update_yaxes(title=None, autorange="reversed", type="category")
    return figure


def battery_rows(batteries: Sequence[Doc]) -> list[dict[str, Any]]:
    """Return the table of batteries; what is not known is empty and its reason stands beside it."""
    return [
        {
            "site_id": one["site_id"],
            "simulated": one["simulated"],
            "replace_by": one["replace_month"] or NOTHING,
            "likely": month_of(one, "middle"),
            "latest": month_of(one, "late"),
            "soh": soh_words(one),
            "resistance_mohm": None if one["resistance_ohm"] is None else 1e3 * one["resistance_ohm"],
            "cycles_28": float(one["full_cycles"]),
            "wear_pct": 100.0 * one["wear_frac_per_year"],
            "battery_c": one["mean_battery_c"],
            "reason": one["remaining_why"] if one["soh"] is not None else one["soh_why"],
        }
        for one in batteries
    ]


def soh_words(battery: Doc) -> str:
    """Return the state of health with its interval."""
    soh = battery["soh"]
    if soh is None:
        return NOTHING
    return f"{percent(soh['soh_frac'])} ({percent(soh['low_frac'])} – {percent(soh['high_frac'])})"


def month_of(battery: Doc, when: str) -> str:
    """Return the month of one of the three dates of the end of life; years too far out are "later"."""
    life = battery["remaining"]
    if life is None:
        return NOTHING
    at, late = datetime.fromisoformat(life[when]), datetime.fromisoformat(life["late"])
    return texts.HEALTH_LATER if battery["replace_month"] is None and at == late else f"{at:%Y-%m}"


def _soh(battery: Doc) -> float:
    soh = battery["soh"]
    return 9.0 if soh is None else float(soh["soh_frac"])
