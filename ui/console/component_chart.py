"""What Prophet's forecast is made of, in three small pictures on one axis of time. Pure."""

from zoneinfo import ZoneInfo

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.charts import BLUE, GREEN, PURPLE, kilo_of, parsed

_PARTS = (("trend_w", PURPLE), ("daily_w", BLUE), ("weekly_w", GREEN))


def component_figure(found: Doc, zone: ZoneInfo) -> go.Figure:
    """Return trend, day and week below each other, kW; day and week are what they add to the trend."""
    titles = [texts.COMPONENTS[name] for name, _ in _PARTS]
    figure = make_subplots(
        rows=len(_PARTS), cols=1, shared_xaxes=True, vertical_spacing=0.09, subplot_titles=titles
    )
    at = parsed(found["at"], zone)
    for row, (name, colour) in enumerate(_PARTS, start=1):
        figure.add_trace(
            go.Scatter(
                x=at, y=kilo_of(found[name]), name=texts.COMPONENTS[name], mode="lines", line={"color": colour, "width": 2},
                hovertemplate="%{y:,.2f} kW",
            ),
            row=row,
            col=1,
        )  # fmt: skip
        figure.update_yaxes(title_text="kW", automargin=True, row=row, col=1)
    figure.update_layout(
        height=460,
        showlegend=False,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
        uirevision="keep",
        dragmode=False,
    )
    return figure
