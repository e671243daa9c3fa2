"""What all charts share: colours that every eye tells apart, a quiet layout, lines with gaps, bands.

Colours: Okabe and Ito, "Color Universal Design" (2008), without black and yellow, which vanish on dark and on white.
A state is never told by its colour alone: its shape and its name say it too.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILLION, PURPLE, GREY = "#E69F00", "#D55E00", "#CC79A7", "#8C8C8C"
STATE_COLOURS = {
    "float": GREEN,
    "dispatch": BLUE,
    "recharge": SKY,
    "outage": VERMILLION,
    "recovery": PURPLE,
    "fault": ORANGE,
    "offline": GREY,
}
STATE_SYMBOLS = {
    "float": "circle",
    "dispatch": "triangle-down",
    "recharge": "triangle-up",
    "outage": "x",
    "recovery": "diamond",
    "fault": "square",
    "offline": "circle-open",
}
STATUS_COLOURS = {
    "proposed": GREY,
    "validated": SKY,
    "rejected": VERMILLION,
    "approved": PURPLE,
    "declined": ORANGE,
    "dispatched": BLUE,
    "completed": GREEN,
    "aborted": VERMILLION,
}
CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"]}
QUIET = {"displayModeBar": False}
_GAP_STEPS = 3.5


def blank(height: int, *, legend: bool = True, unit: str = "") -> go.Figure:
    """Return an empty figure of a height in pixels; zoom and hidden lines survive a refresh."""
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 28 if legend else 8, "b": 8},
        showlegend=legend,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0.0, "title": None},
        hovermode="x unified",
        uirevision="keep",
        yaxis={"title": unit or None, "automargin": True},
        xaxis={"automargin": True},
        dragmode="zoom",
    )
    return figure


def parsed(instants: Sequence[str], zone: ZoneInfo) -> list[datetime]:
    """Return instants of the API on the reader's clock."""
    return [datetime.fromisoformat(one).astimezone(zone) for one in instants]


def with_gaps(
    at: Sequence[datetime], values: Sequence[float | None]
) -> tuple[list[datetime], list[float | None]]:
    """Return a line that breaks where nothing was measured, instead of bridging hours of silence.

    A gap is longer than 3.5 times the usual (median) distance of points.
    """
    if len(at) < 3:
        return list(at), list(values)
    steps = sorted(later - earlier for earlier, later in pairwise(at))
    widest = _GAP_STEPS * steps[len(steps) // 2]
    out_at, out = [at[0]], [values[0]]
    for k in range(1, len(at)):
        if at[k] - at[k - 1] > widest > timedelta(0):
            out_at.append(at[k - 1] + (at[k] - at[k - 1]) / 2)
            out.append(None)
        out_at.append(at[k])
        out.append(values[k])
    return out_at, out


def line(
    figure: go.Figure,
    at: Sequence[datetime],
    values: Sequence[float | None],
    *,
    name: str,
    colour: str,
    unit: str,
    dash: str = "solid",
    axis: str = "y",
) -> None:
    """Add a line."""
    x, y = with_gaps(at, values)
    figure.add_trace(
        go.Scatter(
            x=x, y=y, name=name, mode="lines", line={"color": colour, "width": 2, "dash": dash}, yaxis=axis,
            hovertemplate=f"%{{y:,.2f}} {unit}",
        )
    )  # fmt: skip


def band(
    figure: go.Figure,
    at: Sequence[datetime],
    lower: Sequence[float],
    upper: Sequence[float],
    *,
    name: str,
    colour: str,
) -> None:
    """Add a shaded band between two lines."""
    common = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_trace(go.Scatter(x=list(at), y=list(upper), showlegend=False, **common))
    figure.add_trace(
        go.Scatter(x=list(at), y=list(lower), fill="tonexty", fillcolor=faint(colour), name=name, **common)
    )


def faint(colour: str, alpha: float = 0.22) -> str:
    """Return a colour that what lies behind shines through."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def mark(figure: go.Figure, at: datetime, label: str) -> None:
    """Add a thin upright line at an instant."""
    figure.add_vline(x=at, line={"width": 1, "dash": "dot", "color": GREY})
    figure.add_annotation(
        x=at, y=1.0, yref="paper", yanchor="top", xanchor="left", text=label, showarrow=False, font={"size": 11}
    )  # fmt: skip


def kilo_of(values: Sequence[float | None]) -> list[float | None]:
    """Return quantities in thousands, as screens show them."""
    return [None if one is None else one / 1e3 for one in values]
