"""Which sites are alike in the shape of their load, beside one of them."""

import plotly.graph_objects as go
import streamlit as st

from ui.console.api_client import ApiError, Doc
from ui.console.charts import BLUE, GREY, QUIET
from ui.console.desk import Desk, go_to
from ui.console.formats import harmless

TITLE = "Sites with the same shape of load"
NONE_YET = "Shapes are compared once two weeks of history are there."
NOT_IN_ONE = "This site has too little history of its own; it is taken to be like its neighbours."
ABOUT = "Group {label} of {count}, {sites} sites; typical: {medoid}. Groups are found again in other days to {stability:.0%}."
MOVED = "Moved here from group {before}: {reason}"
_HOURS_A_DAY = 24


def group_of(clusters: Doc, site_id: str) -> Doc | None:
    """Return the group that a site is in."""
    return next((one for one in clusters["clusters"] if site_id in one["site_ids"]), None)


def profile_figure(group: Doc) -> go.Figure:
    """Draw a group's typical working day and weekend, in units of the site's own mean load."""
    figure = go.Figure()
    hours = list(range(_HOURS_A_DAY))
    for name, first, colour in (("working day", 0, BLUE), ("weekend", _HOURS_A_DAY, GREY)):
        values = group["profile"][first : first + _HOURS_A_DAY]
        figure.add_scatter(x=hours, y=values, name=name, mode="lines", line={"color": colour, "shape": "hv"})
    figure.update_layout(
        height=220,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        yaxis_title="of the mean",
        xaxis_title="hour, local",
    )
    return figure


def show_profile(desk: Desk, site_id: str) -> None:
    """Draw the site's group, its typical day, its newest move and the other sites in it."""
    with st.expander(TITLE):
        try:
            clusters = desk.api.get("/v1/profile-clusters")
        except ApiError as error:
            st.caption(harmless(str(error)))
            return
        group = group_of(clusters, site_id)
        if group is None:
            st.caption(NOT_IN_ONE if clusters["clusters"] else NONE_YET)
            return
        st.caption(
            ABOUT.format(
                label=group["label"],
                count=len(clusters["clusters"]),
                sites=len(group["site_ids"]),
                medoid=harmless(group["medoid_site_id"]),
                stability=max(0.0, clusters["stability"]),
            )
        )
        for move in clusters["moves"]:
            if move["site_id"] == site_id:
                st.caption(MOVED.format(before=move["before"], reason=harmless(move["reason"])))
        st.plotly_chart(profile_figure(group), config=QUIET, key=f"profile {site_id}")
        others = [one for one in group["site_ids"] if one != site_id]
        chosen = st.selectbox("Go to one of them", others, index=None, key=f"like {site_id}")
        if chosen is not None:
            go_to("site", site=str(chosen))
